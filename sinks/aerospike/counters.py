"""Operations that must not run twice, applied to records of Aerospike exactly once: any repetition, any crash, same final state.

    APPLY      all of a batch's change to a record and the fence, in one call, under the guard "not yet by this writer's batch"
                 |--0--> applied
                 `--filtered--> READ_BACK --this batch--> applied (by an attempt that was killed, or whose answer was lost)
                                            |--a later one--> superseded: whoever sends this has been replaced
                                            `--none (the record went away meanwhile)--> APPLY

A record that expires or is removed by others loses its fence with its bins: it begins anew with the next change.
"""

import math
from collections.abc import Sequence
from enum import IntEnum
from typing import Any

import aerospike
from aerospike import exception as ex
from aerospike_helpers.batch.records import BatchRecord, Read, Write
from aerospike_helpers.operations import list_operations, map_operations
from aerospike_helpers.operations import operations as op

from schemas.errors import ConfigError
from sinks.aerospike.classify import Answer
from sinks.aerospike.config import CountersConfig
from sinks.aerospike.connection import client_for, forget_client
from sinks.aerospike.fences import FENCE_BIN, WriterFence, kept_fence, not_yet, remember
from sinks.aerospike.mirror import Call, pace_of
from sinks.aerospike.probe import explained
from sinks.aerospike.record_changes import RecordChange, Target
from sinks.aerospike.values import INT_MAX, INT_MIN, OP_WRITE, Unfit, for_client
from sinks.contract import APPLIED, SUPERSEDED, Deadline, Disposition, Outcome

MAX_OPERATIONS = 60_000
"""Operations in one call; the protocol counts them in 16 bits."""
_KEY_ORDERED = {"map_order": aerospike.MAP_KEY_ORDERED}
_SEND_KEY = {"key": aerospike.POLICY_KEY_SEND}
_ADDING = (aerospike.OPERATOR_INCR, map_operations.map_increment("", "", 0)["op"])
_USUAL_BYTES = 256
_OPERATION_BYTES = 64


class AerospikeCounters:
    """Records that batches change by operations. Pickles as its configuration only, and keeps a pace, as AerospikeMirror."""

    def __init__(self, config: CountersConfig) -> None:
        self.config = config
        self.pace = pace_of(config)

    def __reduce__(self) -> tuple[type["AerospikeCounters"], tuple[CountersConfig]]:
        return type(self), (self.config,)

    @property
    def name(self) -> str:
        """The output's name in the flow."""
        return self.config.name

    def check(self) -> None:
        """Connect, then write and remove a record as `write` would. Raises ConfigError E120 or Retryable E210."""
        config = self.config
        client = client_for(config.client)
        key = (config.namespace, config.mark_set, bytearray(b"millrace probe"))
        fence = WriterFence(config.writer, 1, 0)
        policy = _policy(config) | _SEND_KEY | {"expressions": not_yet(fence), "total_timeout": config.client.total_timeout_ms}
        try:
            client.operate(key, [remember(fence, 0)], None, policy)
            client.remove(key)
        except ex.FilteredOut:
            pass  # left by a check that was killed between the two
        except ex.AerospikeError as error:
            raise explained(error, config) from None

    def write(self, changes: Sequence[RecordChange], fence: WriterFence, deadline: Deadline) -> Sequence[Outcome]:
        """Apply `changes`, one per record; one Outcome per change, same order: applied, superseded or rejected.

        Everything the batch does to a record must be in its one change: what comes later under the same fence is left out.
        Raises:   Retryable or InDoubt when the deadline passed first: the caller repeats the whole call. ConfigError E126 when a
                  record holds this batch with another number of events.
        Replay:   the same changes under the same fence give the same outcomes and change nothing.
        """
        outcomes: list[Outcome | None] = [None] * len(changes)
        return Call(self.config, self.pace, changes, CounterSteps(self.config, fence, outcomes), outcomes, deadline).run()

    def close(self) -> None:
        """Close this process's client. Safe to call twice."""
        forget_client(self.config.client)


class Step(IntEnum):
    """Where a change stands."""

    APPLY = 0
    READ_BACK = 1


class _Item:
    """One change on its way; index: its place in the call."""

    __slots__ = ("attempts", "change", "index", "key", "operations", "sends_key", "size_bytes")

    def __init__(self, index: int, change: RecordChange, operations: list[dict[str, Any]], config: CountersConfig) -> None:
        self.index = index
        self.change = change
        self.operations = operations
        self.key = _key(change.target, config.namespace)
        self.sends_key = change.target.user_key is not None
        self.size_bytes = _USUAL_BYTES + _OPERATION_BYTES * len(operations)
        self.attempts = 0


class CounterSteps:
    """The steps of one call, as `sinks.aerospike.mirror.Call` drives them."""

    steps = Step
    reads = frozenset({Step.READ_BACK})

    def __init__(self, config: CountersConfig, fence: WriterFence, outcomes: list[Outcome | None]) -> None:
        self._config = config
        self._fence = fence
        self._outcomes = outcomes
        self._guard = not_yet(fence)
        self._without_key = _policy(config)
        self._with_key = self._without_key | _SEND_KEY

    def items(self, changes: Sequence[RecordChange]) -> list[_Item]:
        """The call's work; a change that cannot be stored is answered at once."""
        items = []
        for index, change in enumerate(changes):
            made = change_operations(change)
            if isinstance(made, Unfit):
                self._outcomes[index] = Outcome(Disposition.REJECTED, made.code, made.detail)
            else:
                items.append(_Item(index, change, [*made, remember(self._fence, change.events)], self._config))
        return items

    def heir(self, item: _Item, changes: Sequence[RecordChange]) -> None:
        """Nobody: a change that is refused is refused as a whole."""

    def first_step(self, item: _Item) -> Step:
        """Where a change begins."""
        return Step.APPLY

    def call_guard(self, step: Step, items: Sequence[_Item]) -> Any:
        """The fence's guard is the same for every record."""
        return self._guard if step is Step.APPLY else None

    def request(self, step: Step, item: _Item, now_s: float) -> BatchRecord:
        """What `step` sends for `item`."""
        if step is Step.READ_BACK:
            return Read(item.key, [op.read(FENCE_BIN)])
        return Write(item.key, item.operations, None, self._with_key if item.sends_key else self._without_key)

    def settle(self, step: Step, item: _Item, answer: Answer, bins: dict[str, Any] | None, now_s: float) -> Step | Outcome:
        """What an answer leads to: the next step, or the change's outcome."""
        if step is Step.APPLY:
            return APPLIED if answer is Answer.OK else Step.READ_BACK
        kept = None if answer is Answer.NOT_FOUND else kept_fence(bins, self._fence.writer)
        if kept is None or kept[0] < self._fence.rank:
            return Step.APPLY
        if kept[0] > self._fence.rank:
            return SUPERSEDED
        if kept[1] != item.change.events and not self._config.adopt:
            target = item.change.target
            raise ConfigError(
                "E126",
                f"record {target.user_key if target.digest is None else target.digest.hex()!r} of set {target.set!r} holds batch "
                f"{self._fence.batch_id} with {kept[1]} events; repeated, the batch has {item.change.events} for it",
                output=self._config.name,
                namespace=self._config.namespace,
            )
        return APPLIED


def change_operations(change: RecordChange) -> list[dict[str, Any]] | Unfit:
    """The client's operations for one change, or what of it does not fit."""
    operations: list[dict[str, Any]] = []
    for name, total in change.sums.items():
        operations.append(op.increment(name, total.value()))
    for name, totals in change.entries.items():
        operations += [map_operations.map_increment(name, _map_key(k), t.value(), _KEY_ORDERED) for k, t in totals.items()]
    for name, listed in change.lists.items():
        values = for_client(change.elements(name), f"bin {name!r}")
        if isinstance(values, Unfit):
            return values
        operations.append(list_operations.list_append_items(name, values))
        if listed.keep is not None:
            operations.append(
                list_operations.list_remove_by_index_range(
                    name, -listed.keep, aerospike.LIST_RETURN_NONE, listed.keep, inverted=True
                )
            )
    for name, (_, value) in change.puts.items():
        operations.append({"op": OP_WRITE, "bin": name, "val": for_client(value, f"bin {name!r}")})
    for name, puts in change.put_entries.items():
        for key, (_, value) in puts.items():
            operations.append(map_operations.map_put(name, _map_key(key), for_client(value, f"bin {name!r}"), _KEY_ORDERED))
    if len(operations) > MAX_OPERATIONS:
        return Unfit("D204", f"{len(operations):,} operations on one record in one batch; one call takes {MAX_OPERATIONS:,}")
    return next((bad for done in operations if (bad := _unfit(done)) is not None), operations)


def _unfit(done: dict[str, Any]) -> Unfit | None:
    """What of an operation's value the client would damage or refuse."""
    value = done.get("val")
    if type(value) is Unfit:
        return value
    if type(value) is int and not INT_MIN <= value <= INT_MAX:
        return Unfit("D203", f"bin {done['bin']!r}: the batch's sum needs more than 64 bits")
    if type(value) is float and not math.isfinite(value) and done["op"] in _ADDING:
        return Unfit("D203", f"bin {done['bin']!r}: the batch's sum is no finite number")
    return None


def _map_key(key: Any) -> Any:
    return bytearray(key) if isinstance(key, bytes) else key


def _key(target: Target, namespace: str) -> tuple[Any, ...]:
    if target.user_key is None:
        return (namespace, target.set, None, bytearray(target.digest or b""))
    return (namespace, target.set, bytearray(target.user_key) if isinstance(target.user_key, bytes) else target.user_key)


def _policy(config: CountersConfig) -> dict[str, Any]:
    return {"ttl": aerospike.TTL_NEVER_EXPIRE if config.ttl_s is None else config.ttl_s}


__all__ = ["AerospikeCounters", "CounterSteps", "MAX_OPERATIONS", "Step", "change_operations"]
