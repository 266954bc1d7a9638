"""Mirrors with a defence switched off: what the oracle must notice. Workers import this module, so it works there too."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from uuid import uuid4

from aerospike_helpers import expressions as exp

from schemas.errors import InDoubt
from schemas.events import ChangeEvent
from sinks.aerospike import AerospikeCounters, AerospikeMirror, partial_steps
from sinks.aerospike import counters as counters_module
from sinks.aerospike import steps as steps_module
from sinks.aerospike.fences import WriterFence
from sinks.aerospike.merge import State
from sinks.aerospike.partial_steps import PartialProtocol, PartialStep
from sinks.aerospike.rank import is_older_rank
from sinks.aerospike.record_changes import RecordChange
from sinks.contract import Deadline, Fence, Outcome
from sinks.delta import history
from sinks.delta.transactions import Txn


def always_true(*_: object) -> Any:
    """A guard that guards nothing."""
    return exp.Or(exp.Val(True), exp.Val(True)).compile()


@contextmanager
def without_guards() -> Iterator[None]:
    """Every write of this process goes through, whatever version is stored."""
    names = ("older", "surely_older", "older_or_equal")
    intact = {name: getattr(steps_module, name) for name in names}
    for name in names:
        setattr(steps_module, name, always_true)
    try:
        yield
    finally:
        for name, guard in intact.items():
            setattr(steps_module, name, guard)


@contextmanager
def without_tombstones() -> Iterator[None]:
    """Nobody looks at tombstones: a late older write brings a deleted record back."""
    intact = steps_module.Protocol._outranked_by
    steps_module.Protocol._outranked_by = lambda *_: False  # type: ignore[method-assign]
    try:
        yield
    finally:
        steps_module.Protocol._outranked_by = intact  # type: ignore[method-assign]


@contextmanager
def _replaced(module: Any, name: str, broken: Callable[[Any], Any]) -> Iterator[None]:
    intact = getattr(module, name)
    setattr(module, name, broken(intact))
    try:
        yield
    finally:
        setattr(module, name, intact)


def bins_by_record_version() -> AbstractContextManager[None]:
    """Partial images merged by the record's version alone: a late older write loses all its bins."""

    def broken(intact: Callable[[State, State], State]) -> Callable[[State, State], State]:
        def join(a: State, b: State) -> State:
            older = a.newest and b.newest and is_older_rank(b.newest.rank, a.newest.rank)
            return intact(a, b._replace(cells={}) if older else b)

        return join

    return _replaced(partial_steps, "join", broken)


def forgetting_removed_bins() -> AbstractContextManager[None]:
    """Removed bins leave no version: a late older write brings them back."""
    return _replaced(partial_steps, "as_bin", lambda intact: lambda state, applied, _: intact(state, applied, float("inf")))


def without_side_records() -> AbstractContextManager[None]:
    """Nothing is kept beside the record: a late older write brings a deleted one back."""
    return _replaced(partial_steps, "_needs_side", lambda _: lambda *_: False)


def without_stamps() -> AbstractContextManager[None]:
    """A partial merge writes over whatever has come since it read."""
    return _replaced(partial_steps, "stamped", lambda _: always_true)


def without_looking_again() -> AbstractContextManager[None]:
    """Who wrote the record does not look whether a delete came in between."""
    return _after(PartialStep.CREATE, PartialStep.UPDATE, PartialStep.REMOVE)


def without_reading_again() -> AbstractContextManager[None]:
    """Who wrote the side record believes what was read of the record before."""
    return _after(PartialStep.WRITE_SIDE)


def _after(*steps: PartialStep) -> AbstractContextManager[None]:
    def broken(intact: Callable[..., PartialStep | Outcome]) -> Callable[..., PartialStep | Outcome]:
        def settle(self: Any, step: PartialStep, item: Any, answer: Any, bins: Any, now_s: float) -> PartialStep | Outcome:
            found = intact(self, step, item, answer, bins, now_s)
            took = step in steps and found in (PartialStep.READ_RECORD, PartialStep.LOOK_SIDE)
            return self._decide(item, now_s) if took else found

        return settle

    return _replaced(PartialProtocol, "settle", broken)


def without_transactions() -> AbstractContextManager[None]:
    """No append to a history says which batch it is: every attempt looks new to the table."""
    return _replaced(history, "output_txn", lambda _: lambda *_: Txn(f"attempt/{uuid4()}", 0))


class UnguardedMirror(AerospikeMirror):
    """A mirror whose guards let everything through."""

    def write(self, events: Sequence[ChangeEvent], fence: Fence, deadline: Deadline) -> Sequence[Outcome]:
        """As the mirror, unguarded."""
        with without_guards():
            return super().write(events, fence, deadline)


class ForgetfulMirror(AerospikeMirror):
    """A mirror that does not remember deletes."""

    def write(self, events: Sequence[ChangeEvent], fence: Fence, deadline: Deadline) -> Sequence[Outcome]:
        """As the mirror, without looking at tombstones."""
        with without_tombstones():
            return super().write(events, fence, deadline)


class CutCounters(AerospikeCounters):
    """Counters whose every call is cut: half of its records are changed, then the caller hears that the call is in doubt."""

    def write(self, changes: Sequence[RecordChange], fence: WriterFence, deadline: Deadline) -> Sequence[Outcome]:
        """Change the first half and raise InDoubt E310."""
        super().write(changes[: (len(changes) + 1) // 2], fence, deadline)
        raise InDoubt("E310", "cut by the test", output=self.name)


class UnfencedCounters(AerospikeCounters):
    """Counters whose records are changed whatever their fence says."""

    def write(self, changes: Sequence[RecordChange], fence: WriterFence, deadline: Deadline) -> Sequence[Outcome]:
        """As the counters, unfenced."""
        with _replaced(counters_module, "not_yet", lambda _: always_true):
            return super().write(changes, fence, deadline)


class UnfencedCutCounters(CutCounters, UnfencedCounters):
    """Both."""


__all__ = [
    "CutCounters",
    "ForgetfulMirror",
    "UnfencedCounters",
    "UnfencedCutCounters",
    "UnguardedMirror",
    "always_true",
    "bins_by_record_version",
    "forgetting_removed_bins",
    "without_guards",
    "without_looking_again",
    "without_reading_again",
    "without_side_records",
    "without_stamps",
    "without_transactions",
    "without_tombstones",
]
