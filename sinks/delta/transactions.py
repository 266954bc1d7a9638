"""Which batches a Delta table holds, by its own record: one application id per writer, and its highest version.

An id is `millrace/<flow>/<writer>/<epoch>`: the writer is an output, or names a lane's dead letters or ledger. The epoch keeps a
new checkpoint, whose batch ids start at 0 again, apart from the one before it.

One id is looked up through delta-rs. It cannot list all ids, which the start-up guards need, so `list_transactions` reads the
table's log itself: the newest table checkpoint and the commits after it (delta: PROTOCOL.md, "Transaction Identifiers").
"""

import contextlib
import json
import re
import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import fsspec
import pyarrow.parquet as pq
from deltalake import DeltaTable, Transaction

from schemas.errors import Retryable
from sinks.contract import Fence
from sinks.delta.table import is_table, open_table

PREFIX = "millrace"
_COMMIT = re.compile(r"^(\d{20})\.json$")
_CHECKPOINT = re.compile(r"^(\d{20})\.checkpoint(?:\.(\d{10})\.(\d{10})|\.[0-9a-f-]{36})?\.(parquet|json)$")
_LOOK_BACK = 50
"""Commits read beside those after the table checkpoint, to see a RESTORE that the checkpoint covers."""


class Txn(NamedTuple):
    """One transaction: who, and which batch."""

    app_id: str
    version: int

    def for_delta_rs(self) -> Transaction:
        """As delta-rs takes it; it records no time by itself."""
        return Transaction(self.app_id, self.version, int(time.time() * 1000))


class StoredTxn(NamedTuple):
    """The highest version of one application id a table holds.

    updated_ms: when it was written, by the writer's clock; None when the writer did not say.
    committed:  table version of that commit; None when it is known only to lie in the table checkpoint.
    """

    app_id: str
    version: int
    updated_ms: int | None
    committed: int | None


class TableLog(NamedTuple):
    """What a table's log says about writers. restored: table version of the newest RESTORE seen, or None."""

    stored: dict[str, StoredTxn]
    restored: int | None


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


def read_log(path: str, storage_options: Mapping[str, str] | None = None) -> TableLog:
    """All application ids of the table with their versions, and the newest RESTORE. Empty when there is no table.

    Raises Retryable E230 when the log cannot be read whole, for instance because it is being cleaned up.
    """
    if not is_table(path, storage_options):
        return TableLog({}, None)
    try:
        return _read_log(path, storage_options)
    except OSError as error:
        raise Retryable("E230", f"the table's log cannot be read: {error}", path=path) from error


def _read_log(path: str, storage_options: Mapping[str, str] | None) -> TableLog:
    fs, root = fsspec.core.url_to_fs(path, **dict(storage_options or {}))
    fs.invalidate_cache()
    log = f"{root.rstrip('/')}/_delta_log"
    names = {str(found).rsplit("/", 1)[-1] for found in fs.ls(log, detail=False)}
    commits = sorted(int(match[1]) for name in names if (match := _COMMIT.match(name)))
    version, parts = _newest_checkpoint(names)
    newest = max(commits, default=version)
    after = range(version + 1, newest + 1)
    missing = set(after) - set(commits)
    if missing:
        raise Retryable("E230", f"commit {min(missing)} of the table's log is missing", path=path)
    stored: dict[str, StoredTxn] = {}
    for part in parts:
        for kept in _checkpointed(fs, f"{log}/{part}"):
            stored[kept["appId"]] = StoredTxn(kept["appId"], int(kept["version"]), kept.get("lastUpdated"), None)
    restored = None
    for commit in (number for number in commits if number > version or number > newest - _LOOK_BACK):
        for action in _actions(fs, f"{log}/{commit:020d}.json", required=commit > version):
            txn = action.get("txn")
            if txn is not None and int(txn["version"]) >= getattr(stored.get(txn["appId"]), "version", -1):
                stored[txn["appId"]] = StoredTxn(txn["appId"], int(txn["version"]), txn.get("lastUpdated"), commit)
            if action.get("commitInfo", {}).get("operation") == "RESTORE":
                restored = commit
    return TableLog(stored, restored)


def _newest_checkpoint(names: set[str]) -> tuple[int, list[str]]:
    """Version and files of the newest checkpoint that is complete; (-1, []) without one."""
    found: dict[tuple[int, int], list[str]] = {}
    for name in names:
        match = _CHECKPOINT.match(name)
        if match:
            found.setdefault((int(match[1]), int(match[3] or 1)), []).append(name)
    whole = [(version, parts, sorted(files)) for (version, parts), files in found.items() if len(files) >= parts]
    if not whole:
        return -1, []
    version, parts, files = max(whole)
    return version, files if parts > 1 else files[:1]


def _checkpointed(fs: Any, file: str) -> Iterator[dict[str, Any]]:
    if file.endswith(".json"):
        for action in _actions(fs, file, required=True):
            if action.get("txn"):
                yield action["txn"]
        return
    with fs.open(file, "rb") as source:
        parquet = pq.ParquetFile(source)
        if "txn" not in parquet.schema_arrow.names:
            return
        for batch in parquet.iter_batches(columns=["txn"]):
            yield from (txn for txn in batch.column("txn").to_pylist() if txn is not None and txn.get("appId") is not None)


def _actions(fs: Any, file: str, *, required: bool) -> Iterator[dict[str, Any]]:
    text = b""
    with contextlib.ExitStack() as stack:
        if not required:  # an old commit may be cleaned up between listing and reading
            stack.enter_context(contextlib.suppress(FileNotFoundError))
        text = fs.cat_file(file)
    yield from (json.loads(line) for line in text.splitlines() if line.strip())


__all__ = [
    "PREFIX",
    "StoredTxn",
    "TableLog",
    "Txn",
    "app_id",
    "dead_letters_writer",
    "ledger_writer",
    "output_txn",
    "read_log",
    "stored_version",
    "version_in",
]
