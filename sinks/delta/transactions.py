"""Which batches a Delta table holds, by its own record: one application id per writer, and its highest version.

An id is `millrace/<flow>/<writer>/<epoch>`: the writer is an output, or names a lane's dead letters or ledger. The epoch keeps a
new checkpoint, whose batch ids start at 0 again, apart from the one before it.

One id is looked up here, through delta-rs; `sinks.delta.table_log` lists all of them.
"""

import time
from collections.abc import Mapping
from typing import NamedTuple

from deltalake import DeltaTable, Transaction

from sinks.contract import Fence
from sinks.delta.table import open_table

PREFIX = "millrace"


class Txn(NamedTuple):
    """One transaction: who, and which batch."""

    app_id: str
    version: int

    def for_delta_rs(self) -> Transaction:
        """As delta-rs takes it; it records no time by itself."""
        return Transaction(self.app_id, self.version, int(time.time() * 1000))


def app_id(flow: str, writer: str, epoch: str) -> str:
    """The application id of one writer of one flow under one checkpoint."""
    return f"{PREFIX}/{flow}/{writer}/{epoch}"


def output_txn(flow: str, output: str, fence: Fence) -> Txn:
    """A history output's transaction for one batch."""
    return Txn(app_id(flow, output, fence.epoch), fence.batch_id)


def dead_letters_writer(lane: str, output: str | None) -> str:
    """Writer name of a lane's dead letters. Two writes of one batch need two names: Delta would skip the second."""
    return f"dead_letters/{lane}/{output or '@decode'}"


def ledger_writer(lane: str) -> str:
    """Writer name of a lane's ledger rows."""
    return f"ledger/{lane}"


def stored_version(path: str, application: str, storage_options: Mapping[str, str] | None = None) -> int | None:
    """The highest version the table holds for one application id, None when it holds none. Raises as `open_table`."""
    return version_in(open_table(path, storage_options), application)


def version_in(table: DeltaTable, application: str) -> int | None:
    """As `stored_version`, of a table as it was when it was opened."""
    version = table.transaction_version(application)
    return None if version is None else int(version)


__all__ = [
    "PREFIX",
    "Txn",
    "app_id",
    "dead_letters_writer",
    "ledger_writer",
    "output_txn",
    "stored_version",
    "version_in",
]
