"""An exact mirror of change events in Aerospike: any order, any repetition, same final state."""

import os
import random
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from enum import IntEnum
from functools import lru_cache
from typing import Any

from aerospike import exception as ex
from aerospike_helpers.batch.records import BatchRecords

from schemas.errors import InDoubt, Retryable, Terminal
from schemas.events import ChangeEvent
from sinks.aerospike.batch_call import CallFailed, batch_write
from sinks.aerospike.classify import IN_DOUBT_CODES, Answer, answer, reject_reason
from sinks.aerospike.config import CountersConfig, MirrorConfig
from sinks.aerospike.connection import client_for, forget_client
from sinks.aerospike.partial_steps import PartialProtocol
from sinks.aerospike.probe import probe
from sinks.aerospike.steps import Protocol, wall_clock_s
from sinks.contract import Deadline, Disposition, Fence, Outcome


class AerospikeMirror:
    """A destination that holds, per digest, the newest version of each record it has seen, and remembers deletes.

    Holds configuration only and pickles; `sinks.aerospike.connection` keeps the worker's one client.
    """

    def __init__(self, config: MirrorConfig) -> None:
        self.config = config

    @property
    def name(self) -> str:
        """The output's name in the flow."""
        return self.config.name

    def check(self) -> None:
        """Connect, then write and remove a tombstone as `write` would. Raises ConfigError E120 or Retryable E210."""
        probe(self.config)

    def write(self, events: Sequence[ChangeEvent], fence: Fence, deadline: Deadline) -> Sequence[Outcome]:
        """Apply `events`; one Outcome per event, same order. See `sinks.contract.RecordSink.write` and `steps`."""
        outcomes: list[Outcome | None] = [None] * len(events)
        kind = Protocol if self.config.image == "full" else PartialProtocol
        protocol = kind(self.config, f"{fence.epoch[:8]}/{fence.batch_id}", outcomes)
        return Call(self.config, events, protocol, outcomes, deadline).run()

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
        events: Sequence[Any],
        protocol: Any,
        outcomes: list[Outcome | None],
        deadline: Deadline,
    ) -> None:
        self._config = config
        self._events = events
        self._deadline = deadline
        self._outcomes = outcomes
        self._protocol = protocol
        self._reads: frozenset[IntEnum] = self._protocol.reads
        self._ready: list[list[Any]] = [[] for _ in self._protocol.steps]
        self._whole: list[tuple[IntEnum, list[Any]]] = []  # parts of a call that failed as a whole, to be sent as they are
        self._resting: list[tuple[float, IntEnum, list[Any]]] = []  # due time on the monotonic clock
        self._flying: dict[Future[CallFailed | None], tuple[IntEnum, list[Any], BatchRecords]] = {}
        self._last_code = 0
        self._client: Any = None

    def run(self) -> list[Outcome]:
        """Drive every event to its outcome, or raise when the deadline passes first."""
        items = self._protocol.items(self._events)
        if items:
            self._client = client_for(self._config.client)
        for item in items:
            self._ready[self._protocol.first_step(item)].append(item)
        pool = _pool(os.getpid(), self._config.batches_in_flight)
        try:
            while self._work_left():
                self._wake()
                while len(self._flying) <= self._config.batches_in_flight and (chunk := self._next_chunk()):
                    self._send(pool, *chunk)
                self._collect()
        finally:
            for future in self._flying:
                future.cancel()
        return [outcome for outcome in self._outcomes if outcome is not None]

    def _work_left(self) -> bool:
        return bool(self._flying or self._whole or self._resting or any(self._ready))

    def _next_chunk(self) -> tuple[IntEnum, list[Any]] | None:
        if self._whole:
            return self._whole.pop()
        for step, waiting in zip(self._protocol.steps, self._ready, strict=True):
            if waiting:
                count, size = 0, 0
                while count < len(waiting) and count < self._config.max_batch_records:
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
        policy["total_timeout"] = max(1, min(policy["total_timeout"], int(self._deadline.left_s() * 1000)))
        policy["socket_timeout"] = min(policy["socket_timeout"], policy["total_timeout"])
        guard = self._protocol.call_guard(step, items)
        if guard is not None:
            policy["expressions"] = guard
        self._flying[pool.submit(batch_write, self._client, batch, policy)] = (step, items, batch)

    def _collect(self) -> None:
        """Wait for an answer, or for the next rest to end, and settle what came."""
        if not self._flying:
            if self._resting:
                due = min(at for at, _, _ in self._resting)
                if self._deadline.at <= due:
                    self._out_of_time()
                time.sleep(max(0.0, due - time.monotonic()))
            return
        done, _ = wait(self._flying, return_when=FIRST_COMPLETED)
        for future in done:
            step, items, batch = self._flying.pop(future)
            failed = future.result()
            if failed is None:
                self._settle(step, items, batch)
            else:
                self._settle_failed_call(step, items, failed)

    def _settle(self, step: IntEnum, items: list[Any], batch: BatchRecords) -> None:
        now_s = wall_clock_s()
        again: list[Any] = []
        settle, outcomes, ready = self._protocol.settle, self._outcomes, self._ready
        reads = step in self._reads
        for item, row in zip(items, batch.batch_records, strict=True):
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
                item.last_code = code
                again.append(item)
        self._rest(step, again)

    def _settle_failed_call(self, step: IntEnum, items: list[Any], failed: CallFailed) -> None:
        """A call that failed as a whole: repeat it, or, when one record cannot even be encoded, find that record by halving."""
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
            return
        for item in items:
            item.last_code = code
        self._rest(step, items)

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
        self._last_code = items[-1].last_code
        ceiling_ms = min(self._config.max_backoff_ms, self._config.first_backoff_ms * 2 ** min(attempts, 16))
        pause_s = random.uniform(self._config.first_backoff_ms, max(self._config.first_backoff_ms, ceiling_ms)) / 1000
        self._resting.append((time.monotonic() + pause_s, step, items))

    def _wake(self) -> None:
        now = time.monotonic()
        for rest in [rest for rest in self._resting if rest[0] <= now]:
            self._resting.remove(rest)
            self._ready[rest[1]] += rest[2]

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
        if answer(code) is Answer.SLOW_DOWN:
            raise Retryable("E211", text, output=self._config.name)
        raise Retryable("E210", text, output=self._config.name)


@lru_cache(maxsize=8)
def _pool(pid: int, batches_in_flight: int) -> ThreadPoolExecutor:
    """This process's threads for calls in flight; the process id keeps a forked worker from using its parent's."""
    return ThreadPoolExecutor(batches_in_flight, thread_name_prefix=f"mirror-{pid}")


__all__ = ["AerospikeMirror", "Call"]
