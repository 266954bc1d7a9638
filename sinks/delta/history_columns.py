"""The normal form of events as the columns of a history table, batch by batch in Spark's Python workers.

Made there and not by Spark expressions: what differs from batch to batch (its id) would be part of the code Spark generates, and
compiling that anew took seconds of every batch.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from schemas.bins import LIST_ORDERED, MAP_KEY_ORDERED, MAP_KEY_VALUE_ORDERED, BinType
from schemas.tables import PARTITION_COLUMN, bin_columns, history_ddl
from schemas.xdr.columns import apart_column
from sinks.delta.counts import NOTHING, Tallies, events_among
from sinks.delta.ddl import delta_schema
from sinks.delta.new_bins import MOST_ADDED, NO_RULES, BinRules, NewBins, may_be_column
from sinks.delta.typed_text import exact_integers, typed_values

Batches = Iterator[pa.RecordBatch]
ArrowStep = Callable[[Batches], Batches]
"""What `mapInArrow` takes."""

_FINER: dict[BinType, tuple[str, ...]] = {
    BinType.LIST: (LIST_ORDERED,),
    BinType.MAP: (MAP_KEY_ORDERED, MAP_KEY_VALUE_ORDERED),
}
_AS_THEY_ARE = (
    *("namespace", "set", "digest", "user_key", "op", "durable", "gen", "lut_ms", "exp_s"),
    *("topic", "partition", "offset", "element", "kafka_timestamp"),
)
_MILLISECONDS_A_DAY = 86_400_000


@dataclass(frozen=True)
class HistoryRows:
    """The function given to `mapInArrow`: from the normal form (`schemas.events`) to `history_ddl(declared)`.

    declared: bins that become typed columns; what such a column cannot hold stays in `_rescued`. None: all bins in one map.
              Bins that got a column without being declared are among them.
    origin:   flow, output, epoch and batch_id, the same for every row.
    read:     what makes the normal form, when it is not what comes in.
    tallies, name: where each partition says, at its end, what it held, and under which name; None: nobody asks.
    rules:    what becomes of bins and values the columns do not foresee. When new bins are to get columns, a partition that has
              any fails at its end, with NewBins.
    """

    declared: Mapping[str, BinType] | None
    origin: Mapping[str, Any]
    read: ArrowStep | None = None
    tallies: Tallies | None = None
    name: str = ""
    rules: BinRules = NO_RULES

    def __call__(self, batches: Batches) -> Batches:
        """Rows that are no events (see `sinks.delta.counts.events_among`) are counted and left out."""
        schema = _schema(None if self.declared is None else tuple(self.declared.items()))
        counts = NOTHING
        new: dict[str, str] = {}
        for batch in batches if self.read is None else self.read(batches):
            events, held = events_among(batch)
            counts += held
            yield self._rows(events, schema, new)
        if new:
            raise NewBins(new)
        if self.tallies is not None:
            self.tallies.add({self.name: [counts]})

    def _rows(self, events: pa.RecordBatch, schema: pa.Schema, new: dict[str, str]) -> pa.RecordBatch:
        rows = events.num_rows
        columns: dict[str, Any] = {name: events.column(name) for name in _AS_THEY_ARE}
        columns |= {name: pa.repeat(pa.scalar(value, schema.field(name).type), rows) for name, value in self.origin.items()}
        columns[PARTITION_COLUMN] = _date(events)
        bins = _Bins(events.column("bins"))
        if self.declared is None:
            columns["bins"] = bins.as_map(bins.present)
        else:
            cells, held = _typed(events, bins, bin_columns(self.declared).typed, schema, self.rules)
            columns |= cells
            if self.rules.adding and len(self.rules.added) < MOST_ADDED and not held.all():
                self._find_new(events, bins, held, new)
        return pa.RecordBatch.from_arrays([columns[field.name].cast(field.type) for field in schema], schema=schema)

    def _find_new(self, events: pa.RecordBatch, bins: "_Bins", held: npt.NDArray[np.bool_], new: dict[str, str]) -> None:
        """Add to `new` what is to get a column: bins of the record types that want it, with the type they come with first."""
        places, rows = pa.array(np.flatnonzero(~held)), pa.array(bins.row[~held])
        columns = [column.take(places) for column in (bins.names, bins.kinds)]
        columns += [events.column(name).take(rows) for name in ("namespace", "set")]
        for name, kind, *whose in dict.fromkeys(zip(*(column.to_pylist() for column in columns), strict=True)):
            base = kind.partition(":")[0]
            there = {**(self.declared or {}), **dict.fromkeys(new, BinType.STR)}
            if any(record.fits(*whose) for record in self.rules.adding) and may_be_column(name, base, there):
                new[name] = base


@lru_cache(maxsize=16)
def _schema(declared: tuple[tuple[str, BinType], ...] | None) -> pa.Schema:
    return pa.schema(delta_schema(history_ddl(None if declared is None else dict(declared))).to_arrow())


def _date(events: pa.RecordBatch) -> Any:
    """UTC date of `lut_ms`, else of the Kafka timestamp."""
    kafka_ms = pc.floor(pc.divide(events.column("kafka_timestamp").cast(pa.int64()).cast(pa.float64()), 1000))
    clock_ms = pc.coalesce(events.column("lut_ms").cast(pa.float64()), kafka_ms)
    return pc.floor(pc.divide(clock_ms, _MILLISECONDS_A_DAY)).cast(pa.int32()).cast(pa.date32())


class _Bins:
    """The bins of a batch, entry after entry: names, types and texts, and the row each entry belongs to.

    present: of every row, whether it has bins at all: deletes and dead letters have none.
    """

    def __init__(self, column: Any) -> None:
        flat = column.flatten()
        self.names, self.kinds, self.texts = (flat.field(name) for name in ("name", "type", "value"))
        self.present: npt.NDArray[np.bool_] = column.is_valid().to_numpy(zero_copy_only=False)
        counts = pc.fill_null(column.value_lengths(), 0).to_numpy(zero_copy_only=False)
        self.row: npt.NDArray[np.intp] = np.repeat(np.arange(len(column)), counts)

    def as_map(self, shown: npt.NDArray[np.bool_], entries: npt.NDArray[np.bool_] | None = None) -> Any:
        """MAP<name, STRUCT<type, value>> of the entries chosen (None: all); null in rows that are not `shown`."""
        values = pa.StructArray.from_arrays([self.kinds, self.texts], ["type", "value"])
        return self._map(self.names, values, shown, entries)

    def types_as_map(self, entries: npt.NDArray[np.bool_]) -> Any:
        """MAP<name, type> of the entries chosen; null where there are none."""
        return self._map(self.names, self.kinds, self.rows_of(entries), entries)

    def rows_of(self, entries: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """The rows that one of the entries belongs to."""
        found = np.zeros(len(self.present), dtype=bool)
        found[self.row[entries]] = True
        return found

    def _map(self, keys: Any, values: Any, shown: npt.NDArray[np.bool_], entries: npt.NDArray[np.bool_] | None) -> Any:
        row = self.row
        if entries is not None:
            places = pa.array(np.flatnonzero(entries))
            keys, values, row = keys.take(places), values.take(places), row[entries]
        ends = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=len(shown)))])
        offsets = pa.array(ends, pa.int32(), mask=np.append(~shown, False))  # a null offset is how Arrow is told of a null map
        return pa.MapArray.from_arrays(offsets, keys, values)


def _typed(
    events: pa.RecordBatch, bins: _Bins, typed: Mapping[str, BinType], schema: pa.Schema, rules: BinRules
) -> tuple[dict[str, Any], npt.NDArray[np.bool_]]:
    """Declared bins into typed columns; whatever such a column cannot hold stays where it is, in `_rescued`.

    Values that come as columns of their own (`schemas.xdr.columns.Apart`) stay as they are; the others are entries of `bins`.
    Answers the columns, and of each entry whether a typed column holds it.
    """
    names, kinds = bins.names, bins.kinds
    held = np.zeros(len(bins.row), dtype=bool)
    finer = np.zeros(len(bins.row), dtype=bool)
    cells = []
    for name, kind in typed.items():
        bases = rules.held_by(name, kind)
        fitting = [full for base in bases for full in (base.value, *_FINER.get(base, ()))]
        mine = pc.and_(pc.equal(names, name), pc.is_in(kinds, pa.array(fitting)))
        places = np.flatnonzero(pc.fill_null(mine, False).to_numpy(zero_copy_only=False))
        texts = bins.texts.take(pa.array(places))
        values = typed_values(kind, texts)
        if len(fitting) > 1:
            other = pc.not_equal(kinds.take(pa.array(places)), kind.value).to_numpy(zero_copy_only=False)
            if kind is BinType.FLOAT and other.any():
                values = exact_integers(texts, values, other)
        fit = values.is_valid().to_numpy(zero_copy_only=False)
        held[places[fit]] = True
        if len(fitting) > 1:
            finer[places[fit & other]] = True
        apart = apart_column(name) in events.schema.names
        if len(places) or not apart:
            at = np.full(len(bins.present), -1)
            at[bins.row[places]] = np.arange(len(places))
            values = values.take(pa.array(at, pa.int64(), mask=at < 0))
        if apart:
            column = events.column(apart_column(name))
            values = pc.coalesce(column, values) if len(places) else column
        cells.append(values)
    columns = {"_rescued": bins.as_map(bins.rows_of(~held), ~held), "bin_types": bins.types_as_map(finer)}
    if typed:
        fields = list(schema.field("bins").type)
        columns["bins"] = pa.StructArray.from_arrays(
            [cell.cast(field.type) for cell, field in zip(cells, fields, strict=True)],
            fields=fields,
            mask=pa.array(~bins.present),
        )
    return columns, held


__all__ = ["ArrowStep", "HistoryRows"]
