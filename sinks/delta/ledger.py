"""The ledger table: the account of every batch of every lane, moved here from the journal exactly once.

The journal (`checkpoints.journal`) takes a batch's account inside the batch, in a millisecond; a flush moves what has gathered in
one commit of delta-rs, whose transaction says up to which batch it went, and then removes the files. Killed in between, the next
flush sees the transaction and only removes the files. Readers take both and see each account once.
"""

import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from schemas.ledger import LEDGER_ADDED, LEDGER_COLUMNS, LEDGER_DDL, LedgerRow
from sinks.delta.append import append_rows, path_lock
from sinks.delta.ddl import delta_schema
from sinks.delta.table import TableContract, create_if_absent, is_table, open_table, require_contract, said, table_path
from sinks.delta.transactions import Txn, app_id, ledger_writer, version_in

CONTRACT = TableContract(
    ddl=LEDGER_DDL,
    description="Millrace ledger: what became of every event, per output and micro-batch",
    stats="flow,lane,output,epoch,batch_id,committed_at,max_lut_ms",
    may_grow=LEDGER_ADDED,
)
_LOG = logging.getLogger("millrace.ledger")
_LOOK_EVERY = 50
_MANY_FILES = 200
_DAY_S = 86_400.0
_SCHEMA: pa.Schema = pa.schema(delta_schema(LEDGER_DDL).to_arrow())
_KEY = ["lane", "output", "epoch", "batch_id"]
ORDER = ("committed_at", "batch_id", "lane", "output", "epoch")
"""Accounts are read in this order."""


class PendingBatch(Protocol):
    """One batch's account as a journal keeps it (`checkpoints.journal.JournalEntry`)."""

    @property
    def epoch(self) -> str: ...  # noqa: D102
    @property
    def batch_id(self) -> int: ...  # noqa: D102
    @property
    def rows(self) -> tuple[LedgerRow, ...]: ...  # noqa: D102


class PendingRows(Protocol):
    """Where rows wait: `checkpoints.journal.Journal`."""

    def lanes(self) -> list[str]:
        """Lanes with rows."""

    def pending(self, lane: str) -> Sequence[PendingBatch]:
        """The lane's accounts, by epoch and ascending batch id."""

    def drop_through(self, lane: str, epoch: str, batch_id: int) -> None:
        """Forget accounts up to and including the batch."""


class LedgerTable:
    """The ledger of one flow.

    path: the table, plain path, file:// or an address delta-rs knows. Never written by Spark.
    """

    def __init__(self, flow: str, path: str, storage_options: Mapping[str, str] | None = None) -> None:
        self.flow = flow
        self.path = table_path(path)
        self._storage_options = dict(storage_options or {})
        self._appends = 0
        self._vacuumed_at_s: float | None = None

    def prepare(self) -> None:
        """Make the table when it is not there, then `check`. Raises ConfigError E121, Retryable E230."""
        create_if_absent(self.path, CONTRACT, self._storage_options)
        self.check()

    def check(self) -> None:
        """Raise ConfigError E121 unless the table's columns and properties fit; changes nothing."""
        require_contract(self.path, CONTRACT, self._storage_options)

    def flush(self, journal: PendingRows, lane: str) -> int:
        """Move the lane's pending accounts into the table and drop them from the journal. Returns how many rows were appended.

        Raises Retryable E230 when the table cannot be read or written (nothing is dropped), Terminal E425 on a damaged journal.
        """
        moved = 0
        for epoch, batches in groupby(journal.pending(lane), key=lambda batch: batch.epoch):
            moved += self._flush_epoch(journal, lane, epoch, list(batches))
        return moved

    def flush_all(self, journal: PendingRows) -> int:
        """`flush` for every lane that has a journal. Returns how many rows were appended."""
        return sum(self.flush(journal, lane) for lane in journal.lanes())

    def append(self, rows: Sequence[LedgerRow]) -> int:
        """Append the account of one batch that goes through no journal, once however often it is asked for.

        Batches of one lane and epoch come in rising order. Returns how many rows were new. Raises Retryable E230.
        """
        lane, epoch, batch_id = rows[0].lane, rows[0].epoch, rows[0].batch_id
        with path_lock(self.path):
            application = app_id(self.flow, ledger_writer(lane), epoch)
            table = open_table(self.path, self._storage_options)
            stored = version_in(table, application)
            if stored is not None and stored >= batch_id:
                return 0
            append_rows(_table(rows), table, Txn(application, batch_id), grow=True)
        return len(rows)

    def _flush_epoch(self, journal: PendingRows, lane: str, epoch: str, batches: Sequence[PendingBatch]) -> int:
        last = max(batch.batch_id for batch in batches)
        with path_lock(self.path):
            application = app_id(self.flow, ledger_writer(lane), epoch)
            table = open_table(self.path, self._storage_options)
            stored = version_in(table, application)
            new = [row for batch in batches if stored is None or batch.batch_id > stored for row in batch.rows]
            if new:
                append_rows(_table(new), table, Txn(application, last), grow=True)
                self._merge_small_files()
        journal.drop_through(lane, epoch, last)
        return len(new)

    def _merge_small_files(self) -> None:
        """A file per flush would be thousands a day, and reading them minutes: merge them now and then, in half a second.

        Another writer or a store that is away only puts it off. Merged files are removed once no reader can still want them.
        """
        self._appends += 1
        if self._appends % _LOOK_EVERY != 1:
            return
        try:
            table = DeltaTable(self.path, storage_options=self._storage_options)
            if len(table.file_uris()) <= _MANY_FILES:
                return
            table.optimize.compact()
            if self._vacuumed_at_s is None or time.monotonic() - self._vacuumed_at_s > _DAY_S:
                self._vacuumed_at_s = time.monotonic()
                table.vacuum(dry_run=False)  # keeps what is younger than the table's retention, a week by default
        except (DeltaError, OSError) as error:
            _LOG.warning("the ledger's small files stay for now: %s", said(error))

    def read(
        self,
        journal: PendingRows | None = None,
        *,
        lane: str | None = None,
        output: str | None = None,
        epoch: str | None = None,
        since: datetime | None = None,
    ) -> list[LedgerRow]:
        """The flow's accounts, table and journal together, each once, ordered by time and batch.

        since: only those committed at that time or later. A table that is not there yet counts as empty.
        Raises Retryable E230 when the storage does not answer, Terminal E425 on a damaged journal file.
        """
        return rows_of(self.accounts(journal, lane=lane, output=output, epoch=epoch, since=since))

    def accounts(
        self,
        journal: PendingRows | None = None,
        *,
        lane: str | None = None,
        output: str | None = None,
        epoch: str | None = None,
        since: datetime | None = None,
        columns: Sequence[str] = _SCHEMA.names,
    ) -> pa.Table:
        """As `read`, in Arrow, for any number of accounts. columns: which; ORDER is always among them."""
        names = list(dict.fromkeys((*ORDER, *columns)))
        # The journal first: rows that a keeper moves meanwhile are then seen twice rather than not at all.
        waiting = (
            [] if journal is None else [row for name in journal.lanes() for one in journal.pending(name) for row in one.rows]
        )
        chosen = pc.field("flow") == self.flow
        for name, value in (("lane", lane), ("output", output), ("epoch", epoch)):
            if value is not None:
                chosen &= pc.field(name) == value
        if since is not None:
            chosen &= pc.field("committed_at") >= pa.scalar(since, _SCHEMA.field("committed_at").type)
        parts = [_table(waiting).filter(chosen).select(names), *self.stored(chosen, names)]
        return _each_once(pa.concat_tables(parts)).sort_by([(name, "ascending") for name in ORDER])

    def stored(self, chosen: pc.Expression, names: Sequence[str]) -> Iterator[pa.Table]:
        """The table's own rows as they stand there, doubled ones twice, in pieces. Columns the table lacks are null."""
        if not is_table(self.path, self._storage_options):
            return
        dataset = open_table(self.path, self._storage_options).to_pyarrow_dataset()
        there = [name for name in names if name in dataset.schema.names]
        wanted = pa.schema([_SCHEMA.field(name) for name in names])
        for batch in dataset.scanner(columns=there, filter=chosen).to_batches():
            columns = [
                batch.column(name) if name in there else pa.nulls(batch.num_rows, _SCHEMA.field(name).type) for name in names
            ]
            yield pa.Table.from_arrays(columns, names=list(names)).cast(wanted)


def _each_once(rows: pa.Table) -> pa.Table:
    """The last row of every account: what is in the table stands, whatever the journal says."""
    groups = rows.append_column("row", pa.array(range(rows.num_rows), pa.int64())).group_by(_KEY).aggregate([("row", "max")])
    return rows if groups.num_rows == rows.num_rows else rows.take(groups.column("row_max"))


def _table(rows: Iterable[LedgerRow]) -> pa.Table:
    records = [{**row.as_dict(), "committed_at": _time(row.committed_at)} for row in rows]
    return pa.Table.from_pylist(records, schema=_SCHEMA)


def rows_of(accounts: pa.Table) -> list[LedgerRow]:
    """The accounts, of all columns, as ledger rows."""
    return [_row(record) for record in accounts.to_pylist()]


def _row(record: dict[str, Any]) -> LedgerRow:
    values = {name: record[name] for name in LEDGER_COLUMNS}
    values["committed_at"] = record["committed_at"].isoformat(timespec="milliseconds")
    return LedgerRow(**values)


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


__all__ = ["CONTRACT", "LedgerTable", "ORDER", "PendingBatch", "PendingRows", "rows_of"]
