"""An exact mirror of change events in Aerospike: any order, any repetition, same final state."""

import math
import os
import random
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from enum import IntEnum
from functools import lru_cache
from typing import Any, NamedTuple

from aerospike import exception as ex
from aerospike_helpers.batch.records import BatchRecords

from schemas.errors import InDoubt, Retryable, Terminal
from schemas.events import ChangeEvent
from sinks.aerospike.batch_call import CallFailed, batch_write
from sinks.aerospike.classify import IN_DOUBT_CODES, Answer, answer, reject_reason
from sinks.aerospike.config import CountersConfig, MirrorConfig
from sinks.aerospike.connection import client_for, forget_client
from sinks.aerospike.identity import Identity, give_identity, read_identity
from sinks.aerospike.partial_steps import PartialProtocol
from sinks.aerospike.probe import probe
from sinks.aerospike.steps import Protocol, wall_clock_s
from sinks.contract import Deadline, Disposition, Fence, Outcome
from sinks.pressure import Pace


class AerospikeMirror:
    """A destination that holds, per digest, the newest version of each record it has seen, and remembers deletes.

    Pickles as its configuration only; `sinks.aerospike.connection` keeps the worker's one client.
    pace: how fast this process may send (`sinks.pressure`); it outlives the batch.
    """

    def __init__(self, config: MirrorConfig) -> None:
        self.config = config
        self.pace = pace_of(config)

    def __reduce__(self) -> tuple[type["AerospikeMirror"], tuple[MirrorConfig]]:
        return type(self), (self.config,)

    @property
    def name(self) -> str:
        """The output's name in the flow."""
        return self.config.name

    def check(self) -> None:
        """Connect, then write and remove a tombstone as `write` would. Raises ConfigError E120 or Retryable E210."""
        probe(self.config)

    def clock_lead_s(self) -> int:
        """Seconds by which this machine's clock is ahead of the mirror's servers; see `probe`. Raises as `check`."""
        return probe(self.config)

    def identity(self, flow: str) -> Identity | None:
        """By what the mirror of this output is told from another one; None without. Raises ConfigError E120, Retryable E210."""
        return read_identity(self.config, flow)

    def give_identity(self, flow: str) -> Identity:
        """Give the mirror an identity unless it has one; the one it has. Raises as `identity`."""
        return give_identity(self.config, flow)

    def write(self, events: Sequence[ChangeEvent], fence: Fence, deadline: Deadline) -> Sequence[Outcome]:
        """Apply `events`; one Outcome per event, same order. See `sinks.contract.RecordSink.write` and `steps`."""
        outcomes: list[Outcome | None] = [None] * len(events)
        kind = Protocol if self.config.image == "full" else PartialProtocol
        protocol = kind(self.config, f"{fence.epoch[:8]}/{fence.batch_id}", outcomes)
        return Call(self.config, self.pace, events, protocol, outcomes, deadline).run()

    def close(self) -> None:
        """Close this process's client. Safe to call twice."""
        forget_client(self.config.client)


class Call:
    """One `write`: the events' steps driven to their outcomes, several batch calls in flight, within one deadline.

    events:   what is written, one outcome each; protocol: its steps (`steps.Protocol` and its like), which share `outcomes`.
    """

    def __init__(
        self,
        config: MirrorConfig | CountersConfig,
        pace: Pace,
        events: Sequence[Any],
        protocol: Any,
        outcomes: list[Outcome | None],
        deadline: Deadline,
    ) -> None:
        self._config = config
        self._pace = pace
        self._events = events
        self._deadline = deadline
        self._outcomes = outcomes
        self._protocol = protocol
        self._reads: frozenset[IntEnum] = self._protocol.reads
        self._ready: list[list[Any]] = [[] for _ in self._protocol.steps]
        self._whole: list[tuple[IntEnum, list[Any]]] = []  # parts of a call that failed as a whole, to be sent as they are
        self._resting: list[tuple[float, IntEnum, list[Any]]] = []  # due time on the monotonic clock
        self._flying: dict[Future[CallFailed | None], _Flight] = {}
        self._last_code = 0
        self._taken = self._refused = 0
        self._client: Any = None

    def run(self) -> list[Outcome]:
        """Drive every event to its outcome, or raise when the deadline passes first."""
        began = time.monotonic()
        try:
            return self._driven()
        finally:
            self._pace.worked(time.monotonic() - began)

    def _driven(self) -> list[Outcome]:
        items = self._protocol.items(self._events)
        if items:
            self._client = client_for(self._config.client)
        for item in items:
            self._ready[self._protocol.first_step(item)].append(item)
        pool = _pool(os.getpid(), self._config.batches_in_flight)
        try:
            while self._work_left():
                self._wake()
                while self._may_send() and (chunk := self._next_chunk()):
                    self._send(pool, *chunk)
                self._collect()
        finally:
            for future in self._flying:
                future.cancel()
        return [outcome for outcome in self._outcomes if outcome is not None]

    def _work_left(self) -> bool:
        return bool(self._flying or self._whole or self._resting or any(self._ready))

    def _may_send(self) -> bool:
        under_way = len(self._flying)
        return under_way <= self._config.batches_in_flight and self._pace.wait_s(under_way) <= 0.0

    def _next_chunk(self) -> tuple[IntEnum, list[Any]] | None:
        if self._whole:
            return self._whole.pop()
        for step, waiting in zip(self._protocol.steps, self._ready, strict=True):
            if waiting:
                count, size, most = 0, 0, self._pace.call_records
                while count < len(waiting) and count < most:
                    size += waiting[count].size_bytes if step not in self._reads else 0
                    if count and size > self._config.max_batch_bytes:
                        break
                    count += 1
                chunk = waiting[:count]
                del waiting[:count]
                return step, chunk
        return None

    def _send(self, pool: ThreadPoolExecutor, step: IntEnum, items: list[Any]) -> None:
        if self._deadline.passed:
            self._out_of_time()
        now_s = wall_clock_s()
        request = self._protocol.request
        batch = BatchRecords([request(step, item, now_s) for item in items])
        policy = self._config.client.batch_policy()
        left_ms = max(1, int(self._deadline.left_s() * 1000))
        cut = left_ms < policy["total_timeout"]
        policy["total_timeout"] = min(policy["total_timeout"], left_ms)
        policy["socket_timeout"] = min(policy["socket_timeout"], policy["total_timeout"])
        guard = self._protocol.call_guard(step, items)
        if guard is not None:
            policy["expressions"] = guard
        sent_at = self._pace.sent(len(items))
        self._flying[pool.submit(batch_write, self._client, batch, policy)] = _Flight(step, items, batch, sent_at, cut)

    def _collect(self) -> None:
        """Wait for an answer, or until something may be sent again, and settle what came."""
        idle_s = self._idle_s()
        if not self._flying:
            if idle_s is not None:
                if self._deadline.left_s() <= idle_s:
                    self._out_of_time()
                time.sleep(idle_s)
                self._pace.waited(idle_s)
            return
        done, _ = wait(self._flying, idle_s, FIRST_COMPLETED)
        for future in done:
            flight = self._flying.pop(future)
            failed = future.result()
            refused = self._settle(flight) if failed is None else self._settle_failed_call(flight, failed)
            taken = len(flight.items) - refused
            self._taken += taken
            self._refused += refused
            self._pace.answered(flight.sent_at, taken, refused)

    def _idle_s(self) -> float | None:
        """Seconds until something may be sent that may not be sent now; None when only an answer can change that."""
        due_s = [at - time.monotonic() for at, _, _ in self._resting]
        if self._pace.slowed and len(self._flying) <= self._config.batches_in_flight and (self._whole or any(self._ready)):
            due_s.append(self._pace.wait_s(len(self._flying)))
        soonest_s = min(due_s, default=math.inf)
        return None if soonest_s == math.inf else max(0.0, soonest_s)

    def _settle(self, flight: "_Flight") -> int:
        """Take each record's answer. Returns how many are to be sent again as they were."""
        step = flight.step
        now_s = wall_clock_s()
        again: list[Any] = []
        settle, outcomes, ready = self._protocol.settle, self._outcomes, self._ready
        reads = step in self._reads
        for item, row in zip(flight.items, flight.batch.batch_records, strict=True):
            code = row.result
            meaning = answer(code)
            if meaning in (Answer.OK, Answer.NOT_FOUND, Answer.EXISTS, Answer.FILTERED):
                item.attempts = 0
                bins = row.record[2] if reads and row.record else None
                next_ = settle(step, item, meaning, bins, now_s)
                if isinstance(next_, Outcome):
                    outcomes[item.index] = next_
                else:
                    ready[next_].append(item)
            elif meaning is Answer.REJECT:
                self._reject(item, code, "")
            elif meaning is Answer.SETUP:
                self._setup_error(code, "")
            else:
                self._heard(flight, code)
                again.append(item)
        self._rest(step, again)
        return len(again)

    def _settle_failed_call(self, flight: "_Flight", failed: CallFailed) -> int:
        """A call that failed as a whole: repeat it, or, when one record cannot even be encoded, find that record by halving.

        Returns how many records got no answer.
        """
        step, items = flight.step, flight.items
        code, message = failed
        meaning = answer(code)
        if meaning is Answer.SETUP:
            self._setup_error(code, message)
        if meaning is Answer.REJECT and self._client.is_connected() and self._answers():
            if len(items) == 1:
                self._reject(items[0], code, message)
            else:
                half = len(items) // 2
                self._whole += [(step, items[:half]), (step, items[half:])]
            return 0
        self._heard(flight, code)
        self._rest(step, items)
        return len(items)

    def _heard(self, flight: "_Flight", code: int) -> None:
        """Remember what the cluster said last. The silence of a call that was cut is not its word: an earlier one stands."""
        if not (flight.cut and self._last_code and code in IN_DOUBT_CODES):
            self._last_code = code

    def _answers(self) -> bool:
        """Whether the cluster answers at all: some client codes mean both a bad value and a lost cluster."""
        try:
            self._client.exists((self._config.namespace, self._config.side_set, "probe"))
        except ex.AerospikeError:
            return False
        return True

    def _rest(self, step: IntEnum, items: list[Any]) -> None:
        """Put items aside for a pause that doubles with each attempt, with full jitter."""
        if not items:
            return
        attempts = 0
        for item in items:
            item.attempts += 1
            attempts = max(attempts, item.attempts)
        ceiling_ms = min(self._config.max_backoff_ms, self._config.first_backoff_ms * 2 ** min(attempts, 16))
        pause_s = random.uniform(self._config.first_backoff_ms, max(self._config.first_backoff_ms, ceiling_ms)) / 1000
        self._resting.append((time.monotonic() + pause_s, step, items))

    def _wake(self) -> None:
        """Make ready what has rested long enough, as far as the budget for sending again goes; the rest rests on."""
        if not self._resting:
            return
        now = time.monotonic()
        due = [rest for rest in self._resting if rest[0] <= now]
        self._resting = [rest for rest in self._resting if rest[0] > now]
        for _, step, items in due:
            allowed = self._pace.again(len(items))
            self._ready[step] += items[:allowed]
            if allowed < len(items):
                self._resting.append((now + self._pace.pause_s(), step, items[allowed:]))

    def _reject(self, item: Any, code: int, message: str) -> None:
        """One record refused: a dead letter, and the next older event of the same record gets its turn."""
        detail = f"Aerospike answered {code}" + (f": {message}" if message else "")
        self._outcomes[item.index] = Outcome(Disposition.REJECTED, reject_reason(code), detail)
        heir = self._protocol.heir(item, self._events)
        if heir is not None:
            self._ready[self._protocol.first_step(heir)].append(heir)

    def _setup_error(self, code: int, message: str) -> None:
        raise Terminal(
            "E440",
            f"Aerospike answered {code}" + (f" ({message})" if message else "") + " to a write that no repetition can mend",
            output=self._config.name,
            namespace=self._config.namespace,
        )

    def _out_of_time(self) -> None:
        """The deadline passed with events undecided: say which kind of trouble it was."""
        undecided = sum(outcome is None for outcome in self._outcomes)
        code = self._last_code
        text = f"{undecided} of {len(self._events)} events undecided after {self._config.batch_timeout_s:g} s, last answer {code}"
        if code in IN_DOUBT_CODES:
            raise InDoubt("E310", text, output=self._config.name)
        if self._taken and (answer(code) is Answer.SLOW_DOWN or code == 0):
            sent = self._taken + self._refused
            text += f"; {self._refused:,} of {sent:,} records refused, slowed to {100 * self._pace.share:.0f} %"
            raise Retryable("E212", text, output=self._config.name)
        if answer(code) is Answer.SLOW_DOWN:
            raise Retryable("E211", text, output=self._config.name)
        raise Retryable("E210", text, output=self._config.name)


class _Flight(NamedTuple):
    """A call under way. sent_at: as the pace counts. cut: the deadline left it less time than a call usually has."""

    step: IntEnum
    items: list[Any]
    batch: BatchRecords
    sent_at: float
    cut: bool


def pace_of(config: MirrorConfig | CountersConfig) -> Pace:
    """The pace of a process that writes by `config`."""
    pauses = config.first_backoff_ms / 1000, config.max_backoff_ms / 1000
    return Pace(config.max_batch_records, config.batches_in_flight, *pauses)


@lru_cache(maxsize=8)
def _pool(pid: int, batches_in_flight: int) -> ThreadPoolExecutor:
    """This process's threads for calls in flight; the process id keeps a forked worker from using its parent's."""
    return ThreadPoolExecutor(batches_in_flight, thread_name_prefix=f"mirror-{pid}")


__all__ = ["AerospikeMirror", "Call", "pace_of"]
