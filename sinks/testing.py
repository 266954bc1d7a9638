"""Doubles that keep the sink contract: a destination in memory, and one that fails by script.

They ship with the interface, so that steps and lanes can be tested without a cluster, and so that the contract suite has
something to disagree with.
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from schemas.errors import InDoubt, MillraceError, Retryable
from schemas.events import DELETE, ChangeEvent
from schemas.lateness import NOT_MEASURED, late_by
from sinks.aerospike.config import ClientConfig, MirrorConfig
from sinks.aerospike.merge import join
from sinks.aerospike.partial_item import ABSENT, Replica, partial_items
from sinks.aerospike.rank import is_older_rank, rank_of
from sinks.contract import (
    APPLIED,
    DUPLICATE,
    Deadline,
    Disposition,
    Fence,
    Outcome,
    superseded,
)


class _Stored(NamedTuple):
    rank: int
    kind: int
    fence: Fence
    bins: dict[str, Any]
    exp_s: int | None


_WRITE, _DELETE = 0, 1


@dataclass
class MemorySink:
    """The contract in memory: newest version per digest wins, deletes are remembered for ever. Not thread-safe."""

    name: str = "memory"
    records: dict[bytes, _Stored] = field(default_factory=dict)

    def check(self) -> None:
        """Always ready."""

    def write(self, events: Sequence[ChangeEvent], fence: Fence, deadline: Deadline) -> Sequence[Outcome]:
        """Apply `events`; see `sinks.contract.RecordSink.write`."""
        newest: dict[bytes, int] = {}
        late_ms = [NOT_MEASURED] * len(events)
        for index, event in enumerate(events):
            best = newest.get(event.digest)
            if best is None or _outranks(_place(event), _place(events[best])):
                newest[event.digest] = index
            else:
                late_ms[index] = late_by(rank_of(event), rank_of(events[best]))
        for index, event in enumerate(events):
            stored = self.records.get(event.digest)
            if stored is None or stored.fence == fence:
                continue
            if not _outranks(_place(events[newest[event.digest]]), (stored.rank, stored.kind)):
                late_ms[index] = late_by(rank_of(event), stored.rank)
        return [self._one(event, events[newest[event.digest]], newest[event.digest] == index, fence, late_ms[index])
                for index, event in enumerate(events)]  # fmt: skip

    def _one(self, event: ChangeEvent, winner: ChangeEvent, wins: bool, fence: Fence, late_ms: int) -> Outcome:
        if not wins:
            return DUPLICATE if _place(event) == _place(winner) else superseded(late_ms)
        rank, kind = _place(event)
        stored = self.records.get(event.digest)
        if stored is not None and not _outranks((rank, kind), (stored.rank, stored.kind)):
            if (rank, kind) != (stored.rank, stored.kind):
                return superseded(late_ms)
            return APPLIED if stored.fence == fence else DUPLICATE
        self.records[event.digest] = _Stored(rank, kind, fence, {} if kind == _DELETE else dict(event.bins), event.exp_s)
        return APPLIED

    def visible(self) -> dict[bytes, dict[str, Any]]:
        """What a reader sees: bins by digest, deleted records absent."""
        return {digest: stored.bins for digest, stored in self.records.items() if stored.kind == _WRITE}

    def close(self) -> None:
        """Nothing to release."""


@dataclass
class PartialMemorySink:
    """The contract in memory for images of some bins, or none: each bin's newest version wins; nothing is forgotten."""

    name: str = "memory"
    records: dict[bytes, Replica] = field(default_factory=dict)

    def check(self) -> None:
        """Always ready."""

    def write(self, events: Sequence[ChangeEvent], fence: Fence, deadline: Deadline) -> Sequence[Outcome]:
        """Apply `events`; see `sinks.contract.RecordSink.write`."""
        outcomes: list[Outcome | None] = [None] * len(events)
        batch = f"{fence.epoch}/{fence.batch_id}"
        config = MirrorConfig(self.name, ClientConfig(()), "memory", image="partial")
        for item in partial_items(events, config, outcomes):
            digest = item.said[0].prepared.event.digest
            stored = item.record = self.records.get(digest, ABSENT)
            item.judge(stored.state, batch)
            for one, outcome in zip(item.said, item.settled(), strict=True):
                outcomes[one.prepared.index] = outcome
            total, values = stored.state, dict(stored.values or {})
            for one in item.said:
                brought = join(total, one.state)
                values.update({n: one.prepared.event.bins[n] for n, cell in brought.cells.items() if total.cells.get(n) != cell})
                total = brought
            self.records[digest] = Replica(True, total, 0, batch, tuple(item.applied(stored, batch)), values)
        return [outcome for outcome in outcomes if outcome is not None]

    def visible(self) -> dict[bytes, dict[str, Any]]:
        """What a reader sees: bins by digest, records that are deleted or have expired absent."""
        now_s = time.time()
        alive = {digest: found for digest, found in self.records.items() if found.state.alive(now_s)}
        return {digest: {name: (found.values or {})[name] for name in found.state.shown()} for digest, found in alive.items()}

    def close(self) -> None:
        """Nothing to release."""


class Fault(NamedTuple):
    """One scripted failure: apply the first `applied` events, then raise Retryable, or InDoubt when `in_doubt`."""

    applied: int
    in_doubt: bool = False


class FaultySink:
    """A sink that fails as its script says, then works. Counts how often it really failed, so a test can require it."""

    def __init__(self, inner: MemorySink, script: Iterable[Fault | Disposition]) -> None:
        self.inner = inner
        self.name = inner.name
        self.fired = 0
        self._script = iter(script)

    def check(self) -> None:
        """As the inner sink."""
        self.inner.check()

    def write(self, events: Sequence[ChangeEvent], fence: Fence, deadline: Deadline) -> Sequence[Outcome]:
        """Follow the script's next entry, or write through when it is exhausted. REJECTED refuses the call's last event."""
        step = next(self._script, None)
        if isinstance(step, Fault):
            self.fired += 1
            self.inner.write(events[: step.applied], fence, deadline)
            kind: type[MillraceError] = InDoubt if step.in_doubt else Retryable
            raise kind("E310" if step.in_doubt else "E210", f"scripted fault after {step.applied} events", output=self.name)
        if step is Disposition.REJECTED:
            self.fired += 1
            outcomes = self.inner.write(events[:-1], fence, deadline)
            return [*outcomes, Outcome(Disposition.REJECTED, "D205", "scripted refusal")]
        return self.inner.write(events, fence, deadline)

    def close(self) -> None:
        """As the inner sink."""
        self.inner.close()


def _place(event: ChangeEvent) -> tuple[int, int]:
    return rank_of(event), _DELETE if event.op == DELETE else _WRITE


def _outranks(a: tuple[int, int], b: tuple[int, int]) -> bool:
    return is_older_rank(b[0], a[0]) or (a[0] == b[0] and a[1] > b[1])


__all__ = ["Fault", "FaultySink", "MemorySink", "PartialMemorySink"]
