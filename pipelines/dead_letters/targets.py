"""The outputs of a flow as a replay uses them: in this process, without Spark, each event answered for."""

from typing import NamedTuple, Protocol

import pyarrow as pa

from pipelines.failpoints import Failpoints
from schemas.errors import Terminal
from schemas.letters import REPLAY_LANE, Fate
from schemas.xdr.arrow import events_from_arrow
from sinks.contract import Deadline, Disposition, Fence, RecordSink
from sinks.delta.late_rows import LateRows

_FATES = {
    Disposition.APPLIED: Fate.APPLIED,
    Disposition.SUPERSEDED: Fate.SUPERSEDED,
    Disposition.DUPLICATE: Fate.DUPLICATE,
    Disposition.REJECTED: Fate.DEAD,
}


class Taken(NamedTuple):
    """How an output took one event; code and detail: why it could not."""

    fate: Fate
    code: str = ""
    detail: str = ""
    past_horizon: bool = False


class Target(Protocol):
    """One output. versioned: whether it keeps only the newest version of a record."""

    versioned: bool

    def prepare(self) -> None:
        """Check that it can be written. Raises ConfigError, Retryable."""

    def take(self, events: pa.RecordBatch, fence: Fence) -> list[Taken]:
        """Write events in normal form, answered row for row; the same events under the same fence get the same answers.

        Raises Retryable, InDoubt or Terminal; some events may then be written, and the whole call is to be repeated.
        """


class MirrorTarget:
    """A record sink, called as a worker of the stream would."""

    versioned = True

    def __init__(self, sink: RecordSink, budget_s: float, failpoints: Failpoints) -> None:
        self._sink = sink
        self._budget_s = budget_s
        self._failpoints = failpoints

    def prepare(self) -> None:
        """As the sink's own check."""
        self._sink.check()

    def take(self, events: pa.RecordBatch, fence: Fence) -> list[Taken]:
        """See Target."""
        converted = events_from_arrow(events)
        taken = {one.row: Taken(Fate.DEAD, one.code, one.detail) for one in converted.rejections}
        rows = [(row, event) for row, event in enumerate(converted.events) if event is not None]
        armed = self._failpoints.armed(f"{REPLAY_LANE}:mid_sink")
        if armed is not None and len(rows) > armed.events:  # for drills: die with some events written and the rest not
            self._sink.write([event for _, event in rows[: armed.events]], fence, Deadline.after_s(self._budget_s))
            self._failpoints.hit(f"{REPLAY_LANE}:mid_sink", batch_id=fence.batch_id)
        outcomes = self._sink.write([event for _, event in rows], fence, Deadline.after_s(self._budget_s)) if rows else []
        if len(outcomes) != len(rows):
            raise Terminal("E410", f"the sink answered {len(outcomes)} times for {len(rows)} events", output=self._sink.name)
        for (row, _), outcome in zip(rows, outcomes, strict=True):
            taken[row] = Taken(_FATES[outcome.disposition], outcome.code, outcome.detail, outcome.past_horizon)
        return [taken[row] for row in range(events.num_rows)]


class HistoryTarget:
    """A Delta history: rows it lacks are appended, those it has are left."""

    versioned = False

    def __init__(self, rows: LateRows) -> None:
        self._rows = rows

    def prepare(self) -> None:
        """Check that the table is there and fits."""
        self._rows.check()

    def take(self, events: pa.RecordBatch, fence: Fence) -> list[Taken]:
        """See Target."""
        return [Taken(Fate.APPLIED if ours else Fate.DUPLICATE) for ours in self._rows.append(events, fence)]


__all__ = ["HistoryTarget", "MirrorTarget", "Taken", "Target"]
