"""The history output: every event of a flow once, appended to a Delta table with the batch that read it.

Exactness: an append carries the transaction (flow, output, epoch; batch id), so a repeated batch is not appended again. Before
the first batch after a start the table itself is asked what it holds. An event that XDR ships twice is two Kafka messages and two
rows: both happened in Kafka, and whoever derives a state takes the newest version anyway. So nothing is superseded or duplicate
here: events in = applied + dead, and dead are the messages that could not be decoded (they go to the dead-letter table).
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from uuid import uuid4

import pyarrow.compute as pc
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from schemas.bins import BinType
from schemas.errors import Retryable, Terminal
from schemas.tables import HISTORY_STATS_COLUMNS, PARTITION_COLUMN, RESCUED, bin_columns, history_ddl
from schemas.xdr.columns import Apart, apart_of
from schemas.xdr.options import RecordType
from sinks.contract import Fence
from sinks.delta.append import append_files, append_frame, path_lock, takes_files
from sinks.delta.counts import NOTHING, BatchCounts, Tallies, taken, tallies
from sinks.delta.data_files import FILE_DDL, DataFiles
from sinks.delta.history_columns import ArrowStep, HistoryRows
from sinks.delta.new_bins import ADDED_BY_COLUMN, BinRules, new_bins_in, rules_of
from sinks.delta.table import TableContract, create_if_absent, open_table, require_contract, struct_fields, table_path
from sinks.delta.transactions import Txn, output_txn, stored_version

_PLACE = ("topic", "partition", "offset", "element")


class DeltaHistory:
    """A history table of one output. Lives on the driver; `write` is called by one thread, one batch at a time.

    path:     the table, plain path, file:// or an address both Spark and delta-rs know.
    declared: bins with their types become typed columns; None keeps all bins in one map. See `schemas.tables.history_ddl`.
    storage_options: for delta-rs, where the path needs credentials; Spark has its own settings.
    records:  the flow's record types, for their policies about new bins and changed types.
    added:    bins that have a column without being declared. Known after `check`; `write` adds more where a policy says so.
    """

    def __init__(
        self,
        flow: str,
        output: str,
        path: str,
        declared: Mapping[str, BinType] | None = None,
        storage_options: Mapping[str, str] | None = None,
        records: Iterable[RecordType] = (),
    ) -> None:
        self.flow = flow
        self.name = output
        self.path = table_path(path)
        self.declared = None if declared is None else dict(declared)
        self.added: dict[str, BinType] = {}
        self._rules = rules_of(records, declared)
        self._storage_options = dict(storage_options or {})
        self._held: dict[str, int] = {}
        self._grow = False
        self._takes_files: bool | None = None
        self._tallies: tuple[str, Tallies] | None = None

    @property
    def contract(self) -> TableContract:
        """What the table must look like. It may lack declared bins: they are added by the next append."""
        return TableContract(
            ddl=history_ddl(self.declared),
            description=f"Millrace history: every change event once (flow {self.flow}, output {self.name})",
            stats=HISTORY_STATS_COLUMNS,
            partition_by=(PARTITION_COLUMN,),
            may_grow=frozenset() if self.declared is None else frozenset({"bins", RESCUED}),
        )

    @property
    def columns(self) -> dict[str, BinType] | None:
        """Declared bins, and those that have a column without being declared; None for schemaless."""
        return None if self.declared is None else {**self.declared, **self.added}

    @property
    def apart(self) -> Apart:
        """Bins that `write` takes as columns of their own, too, beside the normal form: it costs less."""
        return apart_of(bin_columns(self.columns or {}).typed)

    @property
    def rules(self) -> BinRules:
        """What becomes of bins and values the columns do not foresee."""
        return replace(self._rules, added=frozenset(self.added))

    @property
    def bins_kept_aside(self) -> dict[str, str]:
        """Declared bins that cannot be columns, each with the reason; they are kept in `_rescued`."""
        return bin_columns(self.declared or {}).aside

    def prepare(self) -> None:
        """Make the table unless it is there, then `check`. Two drivers may do so at once. Raises ConfigError, Retryable E230."""
        create_if_absent(self.path, self.contract, self._storage_options)
        self.check()

    def check(self) -> None:
        """Raise ConfigError E121 unless the table's columns, partitions and properties fit; changes nothing."""
        self._grow = require_contract(self.path, self.contract, self._storage_options)
        if self.declared is not None and self._rules.adding:
            self.added = self._added_to_table(self.declared)

    def _added_to_table(self, declared: Mapping[str, BinType]) -> dict[str, BinType]:
        """The table's columns of bins that are not declared, by the type they are known by."""
        held = struct_fields(self.path, "bins", self._storage_options)
        taken_names = {name.lower() for name in declared}
        return {
            name: ADDED_BY_COLUMN[kind]
            for name, kind in held.items()
            if name.lower() not in taken_names and kind in ADDED_BY_COLUMN
        }

    def write(
        self, frame: DataFrame, fence: Fence, read: ArrowStep | None = None, passed: Callable[[str], None] = lambda place: None
    ) -> BatchCounts:
        """Append the batch's events, once, and count everything the batch held; one Spark action.

        frame:  the whole batch in normal form (`schemas.events`): undecodable rows are counted as dead and not written; with a
                boolean column `selected`, decoded rows for which it is not true are counted as unselected and not written.
        read:   what makes the normal form of `frame`, when that is something else (Kafka messages): both then happen in one step.
        passed: told of places on the way, for drills: "files", the data files are there and the log names none of them (not where
                Spark writes them); "log", the commit is there.
        Replay: the same batch under the same fence changes nothing and counts the same. Should a changed decoder now read rows
                the first attempt could not, those are appended, so that no event falls between history and dead letters.
        Raises: Terminal E422 when the table holds later batches of this checkpoint; Retryable E230 on a conflict; else what Spark
                raises.
        """
        txn = output_txn(self.flow, self.name, fence)
        if self._newest(txn) >= fence.batch_id:
            return self._replayed(frame, fence, read, txn)
        self._held.pop(txn.app_id, None)  # whatever happens below, the table knows better
        counts = self._appended(frame, fence, read, txn, passed)
        if counts is None:  # Delta did nothing: someone else wrote this batch meanwhile
            return self._replayed(frame, fence, read, txn)
        self._held[txn.app_id] = fence.batch_id
        self._grow = False
        return counts

    def _appended(
        self, frame: DataFrame, fence: Fence, read: ArrowStep | None, txn: Txn, passed: Callable[[str], None]
    ) -> BatchCounts | None:
        """Append the batch, in one commit with the columns that new bins get. None when Delta did nothing."""
        while True:
            rows, held = self._counted(frame, fence, read, adding=True)
            try:
                if self._grow or not self._written_by_workers():
                    with path_lock(self.path):  # a replay of dead letters may append from another process
                        append_frame(self._events(frame, rows), self.path, txn, grow=self._grow)
                elif not self._files_appended(frame, rows, txn, lambda: passed("files")):
                    return None
            except Exception as failure:  # Spark's error has the worker's text in it, and no type of its own
                new = {name: kind for name, kind in new_bins_in(failure).items() if name not in (self.columns or {})}
                if not new:
                    raise
                self.added |= new
                self._grow = True
                continue
            passed("log")
            return held()

    def _written_by_workers(self) -> bool:
        """Whether the table is one that workers may write data files of. Asked of it once per start and after a failure."""
        if self._takes_files is None:
            self._takes_files = takes_files(self.path, open_table(self.path, self._storage_options))
        return self._takes_files

    def _files_appended(self, frame: DataFrame, rows: HistoryRows, txn: Txn, written: Callable[[], None]) -> bool:
        """Have the workers write the batch, then commit it. False when the table held it already."""
        stats = tuple(name.strip("`") for name in HISTORY_STATS_COLUMNS.split(","))
        files = frame.mapInArrow(DataFiles(rows, self.path, PARTITION_COLUMN, stats), FILE_DDL).toArrow()
        written()
        try:
            with path_lock(self.path):
                return append_files(files, self.path, txn)
        except Retryable:
            self._takes_files = None  # the table may have become one that Spark must write
            raise

    def _events(self, frame: DataFrame, rows: HistoryRows) -> DataFrame:
        """The batch's events as rows of the table."""
        return frame.mapInArrow(rows, history_ddl(self.columns))

    def _rows(
        self, fence: Fence, read: ArrowStep | None, tallies: Tallies | None = None, name: str = "", *, adding: bool = False
    ) -> HistoryRows:
        """What makes rows of the batch. adding: it fails for new bins that are to get a column."""
        origin = {"flow": self.flow, "output": self.name, "epoch": fence.epoch, "batch_id": fence.batch_id}
        rules = self.rules if adding else self.rules.without_adding()
        return HistoryRows(self.columns, origin, read, tallies, name, rules)

    def _counted(
        self, frame: DataFrame, fence: Fence, read: ArrowStep | None, *, adding: bool = False
    ) -> tuple[HistoryRows, Callable[[], BatchCounts | None]]:
        """As `_rows`, and a function that says after an action on them what the batch held; None when none was needed."""
        application = frame.sparkSession.sparkContext.applicationId
        if self._tallies is None or self._tallies[0] != application:
            self._tallies = application, tallies(frame.sparkSession)
        held, name = self._tallies[1], uuid4().hex
        held.value.clear()  # of a write that failed
        return self._rows(fence, read, held, name, adding=adding), lambda: taken(held, name)

    def _newest(self, txn: Txn) -> int:
        """The last batch of this checkpoint in the table, -1 for none. Asked of the table once per start and after a failure."""
        if txn.app_id not in self._held:
            stored = stored_version(self.path, txn.app_id, self._storage_options)
            self._held[txn.app_id] = -1 if stored is None else stored
        return self._held[txn.app_id]

    def _replayed(self, frame: DataFrame, fence: Fence, read: ArrowStep | None, txn: Txn) -> BatchCounts:
        newest = self._newest(txn)
        if newest > fence.batch_id:
            raise Terminal(
                "E422",
                f"batch {fence.batch_id} is to be written, but the table holds batches up to {newest} of this checkpoint",
                path=self.path,
                output=self.name,
                epoch=fence.epoch,
            )
        rows, held = self._counted(frame, fence, read)
        self._events(frame, rows).count()
        counts = held() or NOTHING
        rows_there = self._rows_there(frame.sparkSession, fence)
        if rows_there < counts.applied:
            events = self._events(frame, self._rows(fence, read))
            missing = events.join(self._places(frame.sparkSession, fence), list(_PLACE), "left_anti")
            # An id of its own, since the batch's is spent; the rows held so far grow with every mending, so a repeat is skipped.
            mending = Txn(f"{txn.app_id}/mended/{fence.batch_id}", rows_there)
            with path_lock(self.path):
                append_frame(missing.select(*events.columns), self.path, mending, grow=self._grow)
        return replace(counts, replayed=True)

    def _rows_there(self, session: SparkSession, fence: Fence) -> int:
        """How many rows of the batch the table holds. Of a plain table without Spark, which takes seconds for its log alone."""
        table = open_table(self.path, self._storage_options)
        if not takes_files(self.path, table):
            return self._places(session, fence).count()
        of_batch = (pc.field("batch_id") == fence.batch_id) & (pc.field("epoch") == fence.epoch)
        of_output = (pc.field("flow") == self.flow) & (pc.field("output") == self.name)
        return int(table.to_pyarrow_dataset().count_rows(filter=of_batch & of_output))

    def _places(self, session: SparkSession, fence: Fence) -> DataFrame:
        """Where in Kafka the rows of the batch stood that the table holds."""
        of_batch = (F.col("batch_id") == fence.batch_id) & (F.col("epoch") == fence.epoch)
        of_output = (F.col("flow") == self.flow) & (F.col("output") == self.name)
        return session.read.format("delta").load(self.path).filter(of_batch & of_output).select(*_PLACE)


__all__ = ["DeltaHistory"]
