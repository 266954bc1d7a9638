"""A double of AerospikeCounters: records in memory that batches change exactly once, with the same answers. Not thread-safe."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from schemas.errors import ConfigError
from sinks.aerospike.counters import change_operations
from sinks.aerospike.fences import WriterFence
from sinks.aerospike.record_changes import RecordChange, Target
from sinks.aerospike.values import Unfit
from sinks.contract import APPLIED, SUPERSEDED, Deadline, Disposition, Outcome


class _Refused(Exception):
    """The server would answer 12: the bin holds another type."""


@dataclass
class MemoryCounters:
    """Bins by target; fences by target and writer. fenced: off, for tests that must then fail."""

    name: str = "memory"
    fenced: bool = True
    adopt: bool = False
    records: dict[Target, dict[str, Any]] = field(default_factory=dict)
    fences: dict[tuple[Target, str], tuple[int, int]] = field(default_factory=dict)

    def check(self) -> None:
        """Always ready."""

    def write(self, changes: Sequence[RecordChange], fence: WriterFence, deadline: Deadline) -> Sequence[Outcome]:
        """Apply `changes`; see AerospikeCounters.write."""
        return [self._one(change, fence) for change in changes]

    def remove(self, target: Target) -> None:
        """What an expiry or somebody else's delete does: bins and fences are gone."""
        self.records.pop(target, None)
        self.fences = {key: kept for key, kept in self.fences.items() if key[0] != target}

    def close(self) -> None:
        """Nothing to release."""

    def _one(self, change: RecordChange, fence: WriterFence) -> Outcome:
        made = change_operations(change)
        if isinstance(made, Unfit):
            return Outcome(Disposition.REJECTED, made.code, made.detail)
        kept = self.fences.get((change.target, fence.writer))
        if self.fenced and kept is not None and kept[0] >= fence.rank:
            if kept[0] > fence.rank:
                return SUPERSEDED
            if kept[1] != change.events and not self.adopt:
                raise ConfigError("E126", f"batch {fence.batch_id} with {kept[1]} events, now {change.events}", output=self.name)
            return APPLIED
        try:
            self.records[change.target] = _changed(self.records.get(change.target, {}), change)
        except _Refused:
            return Outcome(Disposition.REJECTED, "D205", "Aerospike answered 12")
        self.fences[change.target, fence.writer] = (fence.rank, change.events)
        return APPLIED


def _changed(before: dict[str, Any], change: RecordChange) -> dict[str, Any]:
    bins = dict(before)
    for name, total in change.sums.items():
        bins[name] = _sum(bins.get(name), total.value())
    for name, totals in change.entries.items():
        entries = dict(_same(bins.get(name), dict))
        for key, total in totals.items():
            entries[key] = _sum(entries.get(key), total.value())
        bins[name] = entries
    for name, listed in change.lists.items():
        both = [*_same(bins.get(name), list), *change.elements(name)]
        bins[name] = both if listed.keep is None else both[-listed.keep :]
    for name, (_, value) in change.puts.items():
        bins[name] = value
    for name, puts in change.put_entries.items():
        bins[name] = _same(bins.get(name), dict) | {key: value for key, (_, value) in puts.items()}
    return bins


def _sum(before: Any, value: int | float) -> int | float:
    if before is not None and type(before) is not type(value):
        raise _Refused
    total: int | float = value if before is None else before + value
    return total


def _same(before: Any, kind: type) -> Any:
    if before is not None and not isinstance(before, kind):
        raise _Refused
    return kind() if before is None else before


__all__ = ["MemoryCounters"]
