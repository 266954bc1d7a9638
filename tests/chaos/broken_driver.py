"""`millrace` with one defence switched off, so that the matrix must say no: python -m tests.chaos.broken_driver DEFENCE ...

A switch of the tests; the product has none.
"""

import sys
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from checkpoints.lease import Lease
from checkpoints.lease_check import LeaseCheck
from deploy.cli import entry
from pipelines import runner, wiring
from tests.support.broken import ForgetfulMirror, UnfencedCounters, UnguardedMirror, without_transactions

Switch = Callable[[ExitStack], None]


def _instead(module: Any, name: str, broken: Any) -> Switch:
    def switch_off(_: ExitStack) -> None:
        setattr(module, name, broken)  # a class: workers unpickle it by its name

    return switch_off


def _without_lease(_: ExitStack) -> None:
    """A driver that was replaced is not told so, and neither it nor its JVM is stopped."""
    Lease._look = lambda self: False  # type: ignore[method-assign]
    LeaseCheck.require_held = lambda self, clock=None: None  # type: ignore[method-assign,assignment]
    runner.end_jvm = lambda holder: False  # type: ignore[attr-defined]


def _startable(flow: object, parts: wiring.FlowParts, *_: object) -> None:
    """What a start has to prepare, without asking whether it may start."""
    for table in (*parts.tables.histories.values(), parts.letters, parts.ledger):
        table.prepare()
    for counting in parts.counters.values():
        counting.mark.adopt = True


DEFENCES: dict[str, Switch] = {
    "guard": _instead(wiring, "AerospikeMirror", UnguardedMirror),
    "tombstone": _instead(wiring, "AerospikeMirror", ForgetfulMirror),
    "fence": _instead(wiring, "AerospikeCounters", UnfencedCounters),
    "transaction": lambda stack: stack.enter_context(without_transactions()),
    "lease": _without_lease,
    "start": _instead(runner, "_require_startable", _startable),
}
"""What is switched off: the mirror's version guard, its tombstones, the counters' fence in each record, the transaction ids of
the history, the lease, and the guards of a start.
"""

if __name__ == "__main__":
    with ExitStack() as stack:
        DEFENCES[sys.argv.pop(1)](stack)
        entry()

__all__ = ["DEFENCES"]
