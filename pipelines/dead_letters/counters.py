"""An output that counts, as a replay of dead letters uses it: each letter's event adds to its record exactly once.

A part of a replay is to it what a micro-batch is to the stream: fenced by the act and the part, under a writer of its own beside
the stream's. Acts follow each other under the lease of the letters, so a later act's turn is always the later one; a part that
was cut is done again under its own act and number, and finds what it had changed.
"""

import pyarrow as pa

from pipelines.counters_output import Counting
from pipelines.dead_letters.targets import Taken
from pipelines.failpoints import Failpoints
from schemas.errors import ConfigError, Terminal
from schemas.letters import REPLAY_LANE, Fate
from schemas.xdr.arrow import events_from_arrow
from sinks.aerospike.counted_places import CountedPlaces
from sinks.aerospike.counter_marks import CounterMark
from sinks.aerospike.fences import WriterFence
from sinks.aerospike.record_changes import Contribution, Target, fold
from sinks.aerospike.values import Unfit
from sinks.contract import Deadline, Disposition, Fence, Outcome


class CountersTarget:
    """See `pipelines.dead_letters.targets.Target`. counting: as a writer of its own; stream: the mark of the flow's."""

    versioned = False

    def __init__(self, counting: Counting, stream: CounterMark, budget_s: float, failpoints: Failpoints) -> None:
        self._counting = counting
        self._stream = stream
        self._budget_s = budget_s
        self._failpoints = failpoints

    def prepare(self) -> None:
        """As the sink's own check."""
        self._counting.sink.check()

    def take(self, events: pa.RecordBatch, fence: Fence) -> list[Taken]:
        """See Target. Raises ConfigError E126 when a later act has been here, or the part was cut with other events."""
        converted = events_from_arrow(events)
        taken = {one.row: Taken(Fate.DEAD, one.code, one.detail) for one in converted.rejections}
        asking: dict[int, Contribution] = {}
        for row, event in enumerate(converted.events):
            if event is None:
                continue
            if not self._counting.plan.takes(event):
                taken[row] = Taken(Fate.UNSELECTED)
                continue
            found = self._counting.plan.contribution(event)
            if isinstance(found, Unfit):
                taken[row] = Taken(Fate.DEAD, found.code, found.detail)
            elif found.operations:
                asking[row] = found
            else:
                taken[row] = Taken(Fate.APPLIED)
        if asking:
            taken |= self._count(asking, fence)
        return [taken[row] for row in range(events.num_rows)]

    def _count(self, asking: dict[int, Contribution], fence: Fence) -> dict[int, Taken]:
        """Count what no other part has counted, and remember that it is."""
        stream = self._stream.read()
        places = CountedPlaces(self._counting.sink.config, f"{self._counting.plan.set}/{stream.turn if stream else 0}")
        before = places.by_others([one.place for one in asking.values()], fence)
        taken = {row: Taken(Fate.DUPLICATE) for row, one in asking.items() if one.place in before}
        news = {row: one for row, one in asking.items() if one.place not in before}
        outcomes = self._write(list(news.values()), fence)
        counted = []
        for row, contribution in news.items():
            outcome = outcomes[contribution.target]
            if outcome.disposition is Disposition.REJECTED:
                taken[row] = Taken(Fate.DEAD, outcome.code, outcome.detail)
            else:
                taken[row] = Taken(Fate.APPLIED)
                counted.append(contribution.place)
        places.remember(counted, fence)
        return taken

    def _write(self, contributions: list[Contribution], fence: Fence) -> dict[Target, Outcome]:
        sink = self._counting.sink
        changes = list(fold(contributions).values())
        writer = WriterFence(sink.config.writer, self._counting.mark.begin(fence), fence.batch_id)
        armed = self._failpoints.armed(f"{REPLAY_LANE}:mid_sink")
        if armed is not None and len(changes) > armed.events:  # for drills: die with some records written and the others not
            sink.write(changes[: armed.events], writer, Deadline.after_s(self._budget_s))
            self._failpoints.hit(f"{REPLAY_LANE}:mid_sink", batch_id=fence.batch_id)
        outcomes = sink.write(changes, writer, Deadline.after_s(self._budget_s))
        if len(outcomes) != len(changes):
            raise Terminal("E410", f"the sink answered {len(outcomes)} times for {len(changes)} changes", output=sink.name)
        if any(outcome.disposition is Disposition.SUPERSEDED for outcome in outcomes):
            raise ConfigError("E126", "a later replay has changed the same records", output=sink.name)
        return {change.target: outcome for change, outcome in zip(changes, outcomes, strict=True)}


__all__ = ["CountersTarget"]
