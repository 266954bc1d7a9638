"""Dead letters told apart in Arrow: the columns a letter is known by, in a form that can be joined.

Beside the identity (`schemas.letters.LetterId`) stands the Kafka timestamp: a topic that was created again has other messages at
the same offsets. A message that is read again under a new checkpoint is the same letter.
"""

from collections.abc import Iterable
from itertools import pairwise
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from schemas.letters import LetterId

PLACE = ("topic", "partition", "offset", "element", "output", "kafka_timestamp")
"""The columns of a letter's key, as they stand in the tables."""
KEYS = pa.schema(
    [
        ("topic", pa.string()),
        ("partition", pa.int32()),
        ("offset", pa.int64()),
        ("element", pa.int32()),
        ("output", pa.string()),
        ("kafka_timestamp", pa.timestamp("us", tz="UTC")),
    ]
)


class LetterKey(NamedTuple):
    """A letter, and the Kafka timestamp of its message in microseconds since 1970 (None: not known)."""

    id: LetterId
    kafka_us: int | None

    @property
    def message(self) -> tuple[str, int, int, int | None]:
        """The message the letter is of, or of a part of."""
        return self.id.topic, self.id.partition, self.id.offset, self.kafka_us

    def as_list(self) -> list[Any]:
        """Plain data, for JSON."""
        return [*self.id, self.kafka_us]

    @classmethod
    def from_list(cls, parts: list[Any]) -> "LetterKey":
        """From plain data."""
        return cls(LetterId(*parts[:5]), parts[5])


def keys_of(rows: pa.Table | pa.RecordBatch) -> list[LetterKey]:
    """The keys of rows with the columns PLACE (nulls as they are in the tables)."""
    columns = [rows.column(name).to_pylist() for name in PLACE[:-1]]
    times = rows.column("kafka_timestamp").cast(pa.timestamp("us", tz="UTC")).cast(pa.int64()).to_pylist()
    return [LetterKey(LetterId(*place), at) for *place, at in zip(*columns, times, strict=True)]


def key_columns(keys: Iterable[LetterKey]) -> dict[str, pa.Array]:
    """Keys as the columns PLACE."""
    listed = list(keys)
    given = {name: [getattr(key.id, name) for key in listed] for name in PLACE[:-1]}
    columns = {name: pa.array(values, KEYS.field(name).type) for name, values in given.items()}
    columns["kafka_timestamp"] = pa.array([key.kafka_us for key in listed], pa.int64()).cast(KEYS.field("kafka_timestamp").type)
    return columns


def joinable(rows: pa.Table) -> pa.Table:
    """The rows with PLACE columns that hold no nulls: a join finds no null equal to another."""
    filled = {
        "output": pc.fill_null(rows.column("output"), ""),
        "kafka_timestamp": pc.fill_null(rows.column("kafka_timestamp").cast(pa.timestamp("us", tz="UTC")).cast(pa.int64()), -1),
    }
    for name, column in filled.items():
        rows = rows.set_column(rows.schema.get_field_index(name), name, column)
    return rows


def unjoined(rows: pa.Table) -> pa.Table:
    """What `joinable` made, with its nulls again."""
    output, at = rows.column("output"), rows.column("kafka_timestamp")
    given = {
        "output": pc.if_else(pc.equal(output, ""), pa.scalar(None, pa.string()), output),
        "kafka_timestamp": pc.if_else(pc.equal(at, -1), pa.scalar(None, pa.int64()), at).cast(pa.timestamp("us", tz="UTC")),
    }
    for name, column in given.items():
        rows = rows.set_column(rows.schema.get_field_index(name), name, column)
    return rows


def newest_rows(rows: pa.Table, order: list[str]) -> pa.Table:
    """Of every letter the row that is last by `order`; PLACE columns joinable."""
    others = [name for name in rows.schema.names if name not in PLACE]
    ordered = rows.sort_by([(name, "ascending") for name in order])
    newest = ordered.group_by(list(PLACE), use_threads=False).aggregate([(name, "last") for name in others])
    return newest.rename_columns([name.removesuffix("_last") for name in newest.schema.names])


def at_places(messages: Iterable[tuple[str, int, int, int | None]]) -> Any:
    """An Arrow filter for rows whose message is among these; by ranges, too, which files and row groups can be skipped by."""
    by_partition: dict[tuple[str, int], set[int]] = {}
    for topic, partition, offset, _ in messages:
        by_partition.setdefault((topic, partition), set()).add(offset)
    found = pc.scalar(False)
    for (topic, partition), offsets in sorted(by_partition.items()):
        in_range = pc.scalar(False)
        for first, last in _ranges(sorted(offsets)):
            in_range = in_range | ((pc.field("offset") >= first) & (pc.field("offset") <= last))
        here = (pc.field("topic") == topic) & (pc.field("partition") == partition)
        found = found | (here & in_range & pc.field("offset").isin(pa.array(sorted(offsets), pa.int64())))
    return found


_MOST_RANGES = 16


def _ranges(offsets: list[int]) -> list[tuple[int, int]]:
    """Few ranges that hold all offsets, cut at the widest gaps."""
    gaps = sorted(range(1, len(offsets)), key=lambda at: offsets[at] - offsets[at - 1], reverse=True)[: _MOST_RANGES - 1]
    cuts = [0, *sorted(gaps), len(offsets)]
    return [(offsets[first], offsets[after - 1]) for first, after in pairwise(cuts)]


__all__ = ["KEYS", "LetterKey", "PLACE", "at_places", "joinable", "key_columns", "keys_of", "newest_rows", "unjoined"]
