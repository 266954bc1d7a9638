"""A cluster that takes so many records a second and refuses the rest, on a clock of its own, for the mirror's real call loop."""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import pytest
from aerospike import exception as ex
from aerospike_helpers.batch.records import BatchRecords

from pipelines.pressure import SharedPressure
from schemas.events import ChangeEvent
from sinks import contract, pressure
from sinks.aerospike import mirror as mirror_module
from sinks.aerospike.config import ClientConfig, MirrorConfig
from sinks.aerospike.mirror import AerospikeMirror
from sinks.contract import Deadline, Fence, Outcome

DEVICE_OVERLOAD, TIMEOUT = 18, 9
CALL_S = 0.02
"""What a call costs beside its records."""


class Clock:
    """Time that passes only when somebody waits."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        """Seconds."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Pass."""
        self.now += seconds


@dataclass
class CrowdedCluster:
    """Stands where the client does. `takes`: records a second at a time, None for all; what is more gets `code`.

    speed: records a second it works off when it takes all. call_s: what a call costs beside its records. A call with less time
    than it needs gets no answer; `unanswered` counts these. calls, records, taken: counted by whole second since the start.
    """

    clock: Clock
    takes: Callable[[float], float | None]
    code: int = DEVICE_OVERLOAD
    speed: float = 400.0
    call_s: float = CALL_S
    unanswered: int = 0
    calls: Counter[int] = field(default_factory=Counter)
    records: Counter[int] = field(default_factory=Counter)
    taken: Counter[int] = field(default_factory=Counter)
    sizes: list[int] = field(default_factory=list)
    applied: Counter[str] = field(default_factory=Counter)
    sent: Counter[str] = field(default_factory=Counter)
    _room: float = 0.0
    _room_at: float = 0.0

    def batch_write(self, batch: BatchRecords, policy: dict[str, Any]) -> None:
        """Answer a call."""
        rows = batch.batch_records
        second = self.second
        self.calls[second] += 1
        self.records[second] += len(rows)
        self.sizes.append(len(rows))
        allowed = self._allowed(len(rows))
        needs_s = self.call_s + allowed / self.speed
        left_s = policy["total_timeout"] / 1000
        if left_s < needs_s:
            self.unanswered += 1
            self.clock.sleep(left_s)
            raise ex.TimeoutError
        for number, row in enumerate(rows):
            key = str(row.key[2])
            self.sent[key] += 1
            row.result = 0 if number < allowed else self.code
            if row.result == 0:
                self.applied[key] += 1
        self.taken[second] += allowed
        batch.result = 0 if allowed == len(rows) else -16
        self.clock.sleep(needs_s)

    @property
    def second(self) -> int:
        """The whole second since the clock's start."""
        return int(self.clock.now - 1_000.0)

    def _allowed(self, rows: int) -> int:
        limit = self.takes(self.clock.now - 1_000.0)
        elapsed, self._room_at = self.clock.now - self._room_at, self.clock.now
        if limit is None:
            return rows
        self._room = min(limit, self._room + elapsed * limit)
        allowed = min(rows, int(self._room))
        self._room -= allowed
        return allowed


class AtOnce:
    """A pool of threads without threads: a call is answered when it is submitted."""

    def submit(self, work: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Do it."""
        done: Future[Any] = Future()
        done.set_result(work(*arguments))
        return done


@dataclass
class Writer:
    """The mirror's real call loop on the cluster's clock, begun and asked as a micro-batch does."""

    cluster: CrowdedCluster
    sink: AerospikeMirror
    shared: SharedPressure

    def write(self, events: list[ChangeEvent], batch: int = 1, budget_s: float = 3_600.0) -> list[Outcome]:
        """One batch of one window."""
        self.sink.pace.begin(self.shared.allowance("mirror"))
        outcomes = self.again(events, batch, budget_s)
        self.shared.learn("mirror", [self.sink.pace.seen])
        return outcomes

    def again(self, events: list[ChangeEvent], batch: int = 1, budget_s: float = 3_600.0) -> list[Outcome]:
        """One more window of the same batch."""
        return list(self.sink.write(events, Fence("epoch", batch), Deadline(self.cluster.clock.now + budget_s)))


def writer_at(monkeypatch: pytest.MonkeyPatch, takes: Callable[[float], float | None], **changes: Any) -> Writer:
    """A writer before a cluster that takes `takes(second)` records a second. changes: of the MirrorConfig."""
    clock = Clock()
    cluster = CrowdedCluster(clock, takes)
    monkeypatch.setattr(mirror_module, "time", clock)
    monkeypatch.setattr(mirror_module, "client_for", lambda config: cluster)
    monkeypatch.setattr(mirror_module, "_pool", lambda pid, size: AtOnce())
    monkeypatch.setattr(contract, "monotonic", clock.monotonic)
    config = MirrorConfig("mirror", ClientConfig((("h", 3000, None),)), "ns", max_batch_records=100, **changes)
    sink = AerospikeMirror(config)
    pauses = config.first_backoff_ms / 1000, config.max_backoff_ms / 1000
    sink.pace = pressure.Pace(config.max_batch_records, config.batches_in_flight, *pauses, clock=clock.monotonic)
    return Writer(cluster, sink, SharedPressure(clock.monotonic))


__all__ = ["CALL_S", "Clock", "CrowdedCluster", "DEVICE_OVERLOAD", "TIMEOUT", "Writer", "writer_at"]
