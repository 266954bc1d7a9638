"""What a history holds of each batch: rows, how many of them twice, and where in Kafka they stood. Without Spark, in windows.

The first pass counts rows by batch and is a few numbers per batch. The second looks at places, so many rows at a time, whatever
the table's size; the table's own statistics say which files a window needs.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from sinks.delta.table import is_table, open_table, table_path

ROWS_AT_ONCE = 2_000_000
_PLACE = ["batch_id", "topic", "partition", "offset", "element"]
_GATHERED = 1_000
Place = tuple[int, int]
"""Offset and element."""


class Held(NamedTuple):
    """What a history holds of one batch in one partition. lowest, highest: of the offsets; both belong to it.

    again: rows whose place another row of the batch has, too; example: such a place, or None.
    lettered: places that a dead letter of the batch has, too.
    """

    rows: int
    again: int
    lowest: int
    highest: int
    example: Place | None
    lettered: int


class HistoryRows:
    """The rows of one output of a flow in its table, as it stands when this is made."""

    def __init__(self, flow: str, output: str, path: str, storage_options: Mapping[str, str] | None = None) -> None:
        self._mine = (pc.field("flow") == flow) & (pc.field("output") == output)
        there = is_table(table_path(path), storage_options)
        self._dataset: Any = open_table(table_path(path), storage_options).to_pyarrow_dataset() if there else None

    def counts(self) -> dict[str, dict[int, int]]:
        """Rows by checkpoint and batch."""
        parts: list[pa.Table] = []
        for batch in self._batches(["epoch", "batch_id"], self._mine):
            parts.append(_counted(pa.Table.from_batches([batch]), ["epoch", "batch_id"]))
            if len(parts) >= _GATHERED:
                parts = [_added_up(parts)]
        found: dict[str, dict[int, int]] = {}
        for row in _added_up(parts).to_pylist() if parts else ():
            found.setdefault(row["epoch"], {})[row["batch_id"]] = row["rows"]
        return found

    def held(
        self, epoch: str, counts: Mapping[int, int], letters: Mapping[int, Sequence[tuple[str, int, int, int]]]
    ) -> Iterator[tuple[int, dict[tuple[str, int], Held]]]:
        """For each batch of `counts`, in rising order, what the table holds of it by topic and partition.

        counts: rows of each batch, as `counts` says. letters: places of dead letters by batch, of batches that have any.
        """
        for batches in _windows(counts):
            chosen = self._mine & (pc.field("epoch") == epoch)
            chosen &= (pc.field("batch_id") >= batches[0]) & (pc.field("batch_id") <= batches[-1])
            read = list(self._batches(_PLACE, chosen))
            found = _by_partition(pa.Table.from_batches(read), letters) if read else {}
            for batch_id in batches:
                yield batch_id, found.get(batch_id, {})

    def _batches(self, columns: Sequence[str], chosen: pc.Expression) -> Iterator[pa.RecordBatch]:
        if self._dataset is None:
            return
        scanner = self._dataset.scanner(columns=list(columns), filter=chosen, batch_readahead=2, fragment_readahead=2)
        yield from (batch for batch in scanner.to_batches() if batch.num_rows)


def _windows(counts: Mapping[int, int]) -> Iterator[list[int]]:
    """Batches in rising order, put together as long as they have no more than ROWS_AT_ONCE rows."""
    window: list[int] = []
    rows = 0
    for batch_id in sorted(counts):
        if window and rows + counts[batch_id] > ROWS_AT_ONCE:
            yield window
            window, rows = [], 0
        window.append(batch_id)
        rows += counts[batch_id]
    if window:
        yield window


def _counted(rows: pa.Table, by: list[str]) -> pa.Table:
    return rows.group_by(by).aggregate([([], "count_all")]).rename_columns({"count_all": "rows"})


def _added_up(parts: list[pa.Table]) -> pa.Table:
    total = pa.concat_tables(parts).group_by(["epoch", "batch_id"]).aggregate([("rows", "sum")])
    return total.rename_columns({"rows_sum": "rows"})


def _by_partition(
    rows: pa.Table, letters: Mapping[int, Sequence[tuple[str, int, int, int]]]
) -> dict[int, dict[tuple[str, int], Held]]:
    places = _counted(rows, _PLACE)
    twice = places.filter(pc.greater(places.column("rows"), 1))
    examples = {(row["batch_id"], row["topic"], row["partition"]): (row["offset"], row["element"]) for row in twice.to_pylist()}
    lettered: dict[tuple[int, str, int], int] = {}
    wanted = {(batch_id, *place) for batch_id, found in letters.items() for place in found}
    if wanted:
        offsets = pa.array(sorted({place[3] for place in wanted}), pa.int64())
        near = places.filter(pc.is_in(places.column("offset"), offsets))
        for place in set(zip(*(near.column(name).to_pylist() for name in _PLACE), strict=True)) & wanted:
            lettered[place[:3]] = lettered.get(place[:3], 0) + 1
    sums = places.group_by(["batch_id", "topic", "partition"]).aggregate(
        [("rows", "sum"), ("rows", "count"), ("offset", "min"), ("offset", "max")]
    )
    found: dict[int, dict[tuple[str, int], Held]] = {}
    for row in sums.to_pylist():
        key = row["batch_id"], row["topic"], row["partition"]
        held = Held(
            row["rows_sum"], row["rows_sum"] - row["rows_count"], row["offset_min"], row["offset_max"], examples.get(key),
            lettered.get(key, 0),
        )  # fmt: skip
        found.setdefault(row["batch_id"], {})[row["topic"], row["partition"]] = held
    return found


__all__ = ["Held", "HistoryRows", "Place", "ROWS_AT_ONCE"]
