"""What a batch held, counted by the workers that make its rows, in the same pass that writes it.

By a Spark accumulator: a successful task of an action counts once, whatever was tried again, and the numbers are there as soon as
the action returns. (Spark's `observe` would count in the JVM, over columns that are made and sent for nothing else.)
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.accumulators import Accumulator, AccumulatorParam
from pyspark.sql import SparkSession


@dataclass(frozen=True, slots=True)
class BatchCounts:
    """A batch's account in a history output: events_in = applied + dead, rows_read = events_in + unselected.

    Names are those of `schemas.ledger.LedgerRow`.
    replayed: the table held this batch already. The other numbers read the same as the first time.
    """

    messages: int
    rows_read: int
    unselected: int
    applied: int
    dead: int
    unversioned: int
    max_lut_ms: int | None
    replayed: bool = False

    @property
    def events_in(self) -> int:
        """Events, or messages that could not be read, that concern the flow."""
        return self.rows_read - self.unselected

    def __add__(self, other: "BatchCounts") -> "BatchCounts":
        """Both together."""
        luts = [lut for lut in (self.max_lut_ms, other.max_lut_ms) if lut is not None]
        return replace(
            self,
            messages=self.messages + other.messages,
            rows_read=self.rows_read + other.rows_read,
            unselected=self.unselected + other.unselected,
            applied=self.applied + other.applied,
            dead=self.dead + other.dead,
            unversioned=self.unversioned + other.unversioned,
            max_lut_ms=max(luts, default=None),
        )


NOTHING = BatchCounts(0, 0, 0, 0, 0, 0, None)


def events_among(rows: pa.RecordBatch) -> tuple[pa.RecordBatch, BatchCounts]:
    """The rows, in normal form, that become history, and what all of them are.

    Those are rows that were decoded and are selected: column `selected` where there is one, else all. What was not decoded
    (`error` is set) is dead, and never unselected: nobody knows whose it was.
    """
    dead = pc.is_valid(rows.column("error"))
    everything = pa.repeat(pa.scalar(True), rows.num_rows)
    selected = pc.fill_null(rows.column("selected"), False) if "selected" in rows.schema.names else everything
    wanted = pc.and_(selected, pc.invert(dead))
    events = rows if wanted.true_count == rows.num_rows else rows.filter(wanted)
    unselected = rows.num_rows - dead.true_count - wanted.true_count
    luts = events.column("lut_ms")
    return events, BatchCounts(
        messages=pc.equal(rows.column("element"), 0).true_count,
        rows_read=rows.num_rows,
        unselected=unselected,
        applied=wanted.true_count,
        dead=dead.true_count,
        unversioned=luts.null_count,
        max_lut_ms=pc.max(luts).as_py(),
    )


Tallies = Accumulator[dict[str, list[BatchCounts]]]
"""Counts by a write's name, one for each partition."""


class _Collected(AccumulatorParam[dict[str, list[BatchCounts]]]):
    """Lists put together, name by name."""

    def zero(self, value: dict[str, list[BatchCounts]]) -> dict[str, list[BatchCounts]]:
        """Nothing."""
        return {}

    def addInPlace(  # Spark's name
        self, value1: dict[str, list[BatchCounts]], value2: dict[str, list[BatchCounts]]
    ) -> dict[str, list[BatchCounts]]:
        """value1 with value2's lists behind its own."""
        for name, counts in value2.items():
            value1.setdefault(name, []).extend(counts)
        return value1


def tallies(session: SparkSession) -> Tallies:
    """An accumulator for the writes of a session."""
    nothing: dict[str, list[BatchCounts]] = {}
    return session.sparkContext.accumulator(nothing, _Collected())


def taken(held: Tallies, name: str) -> BatchCounts | None:
    """What the partitions of a write have counted, forgotten by `held`; None when none has run."""
    partitions: Any = held.value.pop(name, None)
    return None if partitions is None else total(partitions)


def total(counts: Iterable[BatchCounts]) -> BatchCounts:
    """All of them together."""
    return sum(counts, start=NOTHING)


__all__ = ["BatchCounts", "NOTHING", "Tallies", "events_among", "taken", "tallies", "total"]
