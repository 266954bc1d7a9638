"""Mirrors with a defence switched off: what the oracle must notice. Workers import this module, so it works there too."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from aerospike_helpers import expressions as exp

from schemas.events import ChangeEvent
from sinks.aerospike import AerospikeMirror
from sinks.aerospike import steps as steps_module
from sinks.contract import Deadline, Fence, Outcome


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


__all__ = ["ForgetfulMirror", "UnguardedMirror", "always_true", "without_guards", "without_tombstones"]
