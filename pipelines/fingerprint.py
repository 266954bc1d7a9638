"""A flow over the state it left: refuse what would lose or mix, unless an operator accepts that very change by name."""

from collections.abc import Sequence

from checkpoints.layout import committed_kafka_offsets, read_lane
from checkpoints.plan import KeptPlan, Plan, changes, read_plan, with_lanes_of, write_plan
from pipelines.flow.model import Flow
from pipelines.flow.outputs import AerospikeCounters, AnyOutput, DeltaHistory
from pipelines.flow.problems import suggestion
from pipelines.flow.records import Records
from pipelines.kafka_offsets import Offsets
from pipelines.progress import Report
from schemas.errors import Terminal

SOURCE = "kafka"
"""The name of a flow's one source."""
NEVER = ("flow-name",)
"""Changes that cannot be accepted."""


def plan_of(flow: Flow) -> Plan:
    """What of a flow has a bearing on what was read and written. Addresses, limits, intervals, formats and policies have none.

    A table is told by its own identity (`pipelines.table_guards`), so its path is no part of this.
    """
    return Plan(
        flow=flow.name,
        sources={SOURCE: {"topics": sorted(flow.source.topics), "image": flow.source.image}},
        records={name: content for entry in flow.records for name, content in _taken(entry)},
        lanes={
            lane: {name: _identity(output) for name, output in options.outputs.items()} for lane, options in flow.lanes.items()
        },
        letters_lane=flow.decode_owner,
    )


def _taken(entry: Records) -> list[tuple[str, dict[str, object]]]:
    only = sorted(entry.bins or ()) if entry.policies.new_bin == "ignore" else None
    content: dict[str, object] = {"rename": dict(entry.rename), "only_bins": only}
    sets = ("*",) if entry.sets is None else (*entry.sets, "") if entry.without_set else entry.sets
    return [(f"{entry.namespace}/{name}", content) for name in sets]


def _identity(output: AnyOutput) -> dict[str, object]:
    if isinstance(output, DeltaHistory):
        return {"type": output.type}
    if isinstance(output, AerospikeCounters):
        what = output.model_dump(mode="json", include={"namespace", "set", "mark_set", "key", "bins", "events"})
        return {"type": output.type, **what}
    return {"type": output.type, "namespace": output.namespace, "tombstone_set": output.tombstone_set}


class PlanGuard:
    """The judgement of one start. accept: names of changes the operator accepts."""

    def __init__(self, flow: Flow, accept: Sequence[str] = ()) -> None:
        self._flow = flow
        self._accept = tuple(accept)
        self._plan = plan_of(flow)
        self._kept = read_plan(flow.checkpoint)
        self._accepted: tuple[str, ...] = ()

    def require(self, report: Report) -> None:
        """Tell harmless changes; refuse (Terminal E443) others that were not accepted, and acceptances of what did not change."""
        found = [] if self._kept is None else changes(self._kept.plan, self._plan, self._last_batches(), self._unread())
        asked = {change.name for change in found if change.name}
        earlier = set(self._kept.accepted if self._kept else ())
        unknown = [name for name in self._accept if name not in asked | earlier]
        if unknown:
            raise Terminal(
                "E443",
                f"{', '.join(unknown)} cannot be accepted: the flow has not changed so",
                remedy=suggestion(unknown[0], sorted(asked)) or "Leave out --accept.",
                flow=self._flow.name,
            )
        refused = [change for change in found if change.name and (change.name not in self._accept or change.name in NEVER)]
        if refused:
            told = "; ".join(f"[{change.name}] {change.told}" for change in refused)
            accept = " ".join(f"--accept {change.name}" for change in refused)
            raise Terminal(
                "E443",
                told,
                remedy=_UNDO if any(change.name in NEVER for change in refused) else f"{_UNDO} Or accept it: `{accept}`.",
                flow=self._flow.name,
            )
        for change in found:
            report.event("changed", f"{'accepted: ' if change.name else ''}{change.told}", change=change.name or None)
        self._accepted = tuple(sorted(asked))

    @property
    def added_outputs(self) -> frozenset[str]:
        """Outputs that are accepted to begin in the middle."""
        kinds = ("output-added", "output-moved", "output-changed")
        return frozenset(name.partition(":")[2] for name in self._accepted if name.startswith(kinds))

    def remember(self) -> None:
        """Keep the plan for the next start. Call when every guard has passed."""
        before = self._kept
        plan = self._plan if before is None else with_lanes_of(before.plan, self._plan)
        accepted = sorted({*(before.accepted if before else ()), *self._accepted})
        kept = KeptPlan(plan, tuple(accepted))
        if kept != before:
            write_plan(self._flow.checkpoint, kept)
            self._kept = kept

    def _last_batches(self) -> dict[str, int]:
        lanes = {*self._flow.lanes, *(self._kept.plan.lanes if self._kept else ())}
        states = {lane: read_lane(self._flow.lane_checkpoint(lane)).last_offsets for lane in lanes}
        return {lane: last for lane, last in states.items() if last is not None}

    def _unread(self) -> int:
        """Messages the lane that wrote letters so far has not finished, and the one that would write them now has."""
        if self._kept is None or self._kept.plan.letters_lane == self._plan.letters_lane:
            return 0
        before = committed_kafka_offsets(self._flow.lane_checkpoint(self._kept.plan.letters_lane))
        return ahead(committed_kafka_offsets(self._flow.lane_checkpoint(self._plan.letters_lane)) or {}, before or {})


def ahead(one: Offsets, other: Offsets) -> int:
    """Messages `one` is past and `other` is not; partitions are never set off against each other."""
    return sum(
        max(0, offset - other.get(topic, {}).get(partition, 0))
        for topic, partitions in one.items()
        for partition, offset in partitions.items()
    )


_UNDO = "Undo the change, or start with a fresh checkpoint folder and, for histories, a new table."

__all__ = ["NEVER", "PlanGuard", "SOURCE", "ahead", "plan_of"]
