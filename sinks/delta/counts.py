"""What a batch held, counted by Spark in the same pass that writes it."""

import time
from dataclasses import dataclass
from typing import Any

from pyspark.sql import Column, DataFrame, Observation
from pyspark.sql import functions as F

_WAIT_S = 10


@dataclass(frozen=True, slots=True)
class BatchCounts:
    """A batch's account in a history output: events_in = applied + dead, rows_read = events_in + unselected.

    replayed: the table held this batch already. The other numbers read the same as the first time.
    """

    rows_read: int
    unselected: int
    applied: int
    dead: int
    max_lut_ms: int | None
    replayed: bool = False

    @property
    def events_in(self) -> int:
        """Messages that concern the flow."""
        return self.rows_read - self.unselected


def is_selected(frame: DataFrame) -> Column:
    """Rows that concern the flow: column `selected` where there is one, else all; never false for what was not decoded."""
    undecoded = F.col("error").isNotNull()
    return undecoded | F.coalesce(F.col("selected"), F.lit(False)) if "selected" in frame.columns else F.lit(True)


def is_event(frame: DataFrame) -> Column:
    """Rows that become history: selected and decoded."""
    return is_selected(frame) & F.col("error").isNull()


def count_columns(frame: DataFrame) -> list[Column]:
    """Aggregates over the whole batch, to observe it or to ask for it."""
    selected, event = is_selected(frame), is_event(frame)
    return [
        F.count(F.lit(1)).alias("rows_read"),
        F.count_if(~selected).alias("unselected"),
        F.count_if(event).alias("applied"),
        F.count_if(F.col("error").isNotNull()).alias("dead"),
        F.max(F.when(event, F.col("lut_ms"))).alias("max_lut_ms"),
    ]


def counted_again(frame: DataFrame) -> BatchCounts:
    """Count by an action of its own: the rare path, for a batch the table holds already."""
    row = frame.agg(*count_columns(frame)).first()
    assert row is not None  # a global aggregate always has one row
    return _counts(row.asDict())


def observed(observation: Observation) -> BatchCounts | None:
    """The observed counts of the write that just returned; None when Spark delivered none.

    `Observation.get` waits for ever when Delta skipped the write or a listener event was dropped, so the wait is bounded here.
    """
    future: Any = observation._jo.future()  # type: ignore[union-attr]  # set since the observation is on a frame
    deadline = time.monotonic() + _WAIT_S
    while not future.isCompleted():  # the listener bus is asynchronous: usually a few milliseconds
        if time.monotonic() > deadline:
            return None
        time.sleep(0.002)
    return _counts(observation.get)


def _counts(values: dict[str, Any]) -> BatchCounts:
    newest = values["max_lut_ms"]
    return BatchCounts(
        int(values["rows_read"]),
        int(values["unselected"]),
        int(values["applied"]),
        int(values["dead"]),
        None if newest is None else int(newest),
    )


__all__ = ["BatchCounts", "count_columns", "counted_again", "is_event", "is_selected", "observed"]
