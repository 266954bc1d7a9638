"""The dead-letter table of a flow: what could not be decoded or what an output cannot hold, with the original bytes.

One append per batch, lane and cause (decoding, or one output), each under its own transaction. Unlike history the set of letters
may differ between two attempts at a batch: a server refuses a record in one and takes it in the other, a new release decodes what
the old one could not. So when the table holds the batch already, letters it lacks are added and none is taken away: an event may
have a letter *and* have been applied by a later attempt (replaying it is harmless), but none is without both.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from schemas.tables import DEAD_LETTERS_DDL, DEAD_LETTERS_STATS_COLUMNS
from schemas.xdr.guess import guess
from sinks.contract import Fence
from sinks.delta.append import append_frame, append_rows, path_lock
from sinks.delta.ddl import delta_schema
from sinks.delta.table import TableContract, create_if_absent, open_table, require_contract, table_path
from sinks.delta.transactions import Txn, app_id, dead_letters_writer, version_in

CONTRACT = TableContract(
    ddl=DEAD_LETTERS_DDL,
    description="Millrace dead letters: messages that could not be decoded or that an output cannot hold",
    stats=DEAD_LETTERS_STATS_COLUMNS,
    may_grow=frozenset({"format_guess"}),
)
_SCHEMA: pa.Schema = pa.schema(delta_schema(DEAD_LETTERS_DDL).to_arrow())
_GIVEN = (
    "code", "detail", "topic", "partition", "offset", "element", "kafka_timestamp", "key", "value", "headers", "namespace",
    "digest",
)  # fmt: skip
_POSITION = ("topic", "partition", "offset", "element")
_POSITION_DDL = "topic STRING, `partition` INT, `offset` BIGINT, element INT"
_REQUIRED = ("code", *_POSITION)


Place = tuple[str, int, int, int]
"""Topic, partition, offset, element."""


class DeadLetters:
    """The dead-letter table of one flow. Any lane's thread may append.

    path: the table, plain path, file:// or an address both Spark and delta-rs know.
    storage_options: for delta-rs, where the path needs credentials; Spark has its own settings.
    """

    def __init__(self, flow: str, path: str, storage_options: Mapping[str, str] | None = None) -> None:
        self.flow = flow
        self.path = table_path(path)
        self._storage_options = dict(storage_options or {})
        self._grow = False

    def prepare(self) -> None:
        """Make the table when it is not there, then `check`. Raises ConfigError E121, Retryable E230."""
        create_if_absent(self.path, CONTRACT, self._storage_options)
        self.check()

    def check(self) -> None:
        """Raise ConfigError E121 unless the table's columns and properties fit; changes nothing."""
        self._grow = require_contract(self.path, CONTRACT, self._storage_options)

    def append(self, rows: pa.Table, *, lane: str, output: str | None, fence: Fence, format: str) -> int:
        """Append letters that were collected on the driver; without Spark. Returns how many were new to the table.

        rows:   columns code, topic, partition, offset, element, and where known detail, kafka_timestamp, key, value,
                headers, namespace, digest; others are ignored. None appends nothing, and nothing marks the batch.
        output: who refused the record, None for what could not be decoded. One call per batch, lane and output.
        Raises  Retryable E230 when the table cannot be read or written.
        """
        if not rows.num_rows:
            return 0
        letters = _letters(rows, self._origin(lane, output, fence, format))
        with path_lock(self.path):
            table = open_table(self.path, self._storage_options)
            txn, held = self._next(table, lane, output, fence)
            if held is not None:
                letters = letters.filter(pa.array([place not in held for place in _positions(letters)], pa.bool_()))
            if letters.num_rows:
                append_rows(letters, table, txn, grow=self._grow)
                self._grow = False
        return int(letters.num_rows)

    def append_undecoded(self, frame: DataFrame, *, lane: str, fence: Fence, format: str) -> None:
        """Append the rows of a batch in normal form that could not be decoded (`error` is set), by Spark: for any number of rows.

        Costs a Spark action: ask only when the batch's counts say that there are such rows. Raises Retryable E230 on a conflict.
        """
        undecoded = frame.filter(F.col("error").isNotNull()).withColumns(
            {"code": F.col("error")["code"], "detail": F.col("error")["detail"]}
        )
        given = undecoded.select(*(name for name in _GIVEN if name in undecoded.columns))
        letters = given.mapInArrow(LetterRows(self._origin(lane, None, fence, format)), DEAD_LETTERS_DDL)
        with path_lock(self.path):
            txn, held = self._next(open_table(self.path, self._storage_options), lane, None, fence)
            if held:
                places = frame.sparkSession.createDataFrame(sorted(held), _POSITION_DDL)
                letters = letters.join(places, list(_POSITION), "left_anti").select(*_SCHEMA.names)
                if letters.isEmpty():  # an empty commit would use up the mending's version
                    return
            append_frame(letters, self.path, txn, grow=self._grow)
            self._grow = False

    def undecoded_of(self, lane: str, fence: Fence) -> int:
        """How many messages of a batch that could not be decoded have a letter."""
        return len(self._held(open_table(self.path, self._storage_options), lane, None, fence))

    def of_batch(self, lane: str, fence: Fence) -> Iterator[dict[str, Any]]:
        """All letters of a batch of a lane that are in the table, few at a time, by their columns."""
        dataset = open_table(self.path, self._storage_options).to_pyarrow_dataset()
        of_batch = (pc.field("batch_id") == fence.batch_id) & (pc.field("epoch") == fence.epoch)
        of_lane = (pc.field("flow") == self.flow) & (pc.field("lane") == lane)
        scanner = dataset.scanner(filter=of_batch & of_lane, batch_size=256, batch_readahead=1, fragment_readahead=1)
        for batch in scanner.to_batches():
            yield from batch.to_pylist()

    def _origin(self, lane: str, output: str | None, fence: Fence, format: str) -> dict[str, Any]:
        return {
            "flow": self.flow, "lane": lane, "output": output, "epoch": fence.epoch, "batch_id": fence.batch_id, "format": format,
            "seen_at": datetime.now(UTC),
        }  # fmt: skip

    def _next(self, table: DeltaTable, lane: str, output: str | None, fence: Fence) -> tuple[Txn, set[Place] | None]:
        """The transaction to append with, and, when the table holds letters of this very batch, where they stood in Kafka."""
        application = app_id(self.flow, dead_letters_writer(lane, output), fence.epoch)
        stored = version_in(table, application)
        if stored is None or stored < fence.batch_id:
            return Txn(application, fence.batch_id), None
        held = self._held(table, lane, output, fence)
        # The batch's own id is spent; letters only grow in number, so an append that is repeated carries the version it had.
        return Txn(f"{application}/mended/{fence.batch_id}", len(held)), held

    def _held(self, table: DeltaTable, lane: str, output: str | None, fence: Fence) -> set[Place]:
        dataset = table.to_pyarrow_dataset()
        of_output = pc.is_null(pc.field("output")) if output is None else pc.field("output") == output
        of_batch = (pc.field("batch_id") == fence.batch_id) & (pc.field("epoch") == fence.epoch) & of_output
        of_lane = (pc.field("flow") == self.flow) & (pc.field("lane") == lane)
        return set(_positions(dataset.to_table(columns=list(_POSITION), filter=of_batch & of_lane)))


@dataclass(frozen=True)
class LetterRows:
    """The function given to `mapInArrow`: rows of `_GIVEN` columns as rows of the table. origin: what all of them share."""

    origin: Mapping[str, Any]

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """The letters, batch by batch."""
        for batch in batches:
            yield from _letters(batch, self.origin).to_batches()


def _letters(rows: pa.Table | pa.RecordBatch, origin: Mapping[str, Any]) -> pa.Table:
    names = rows.schema.names
    missing = [name for name in _REQUIRED if name not in names]
    if missing:
        raise ValueError(f"dead letters without {', '.join(missing)}")
    columns = []
    for field in _SCHEMA:
        if field.name in origin:
            columns.append(pa.array([origin[field.name]] * rows.num_rows, field.type))
        elif field.name == "format_guess" and "value" in names:
            columns.append(pa.array(map(guess, rows.column("value").to_pylist()), field.type))
        elif field.name in names and field.name in _GIVEN:
            columns.append(rows.column(field.name).cast(field.type))
        else:
            columns.append(pa.nulls(rows.num_rows, field.type))
    return pa.Table.from_arrays(columns, schema=_SCHEMA)


def _positions(rows: pa.Table) -> list[Place]:
    return list(zip(*(rows.column(name).to_pylist() for name in _POSITION), strict=True))


__all__ = ["CONTRACT", "DeadLetters", "LetterRows"]
