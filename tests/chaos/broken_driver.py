"""`millrace` with one defence switched off, so that the oracle must say no: python -m tests.chaos.broken_driver DEFENCE ...

A switch of the tests; the product has none.
"""

import sys
from collections.abc import Callable
from contextlib import ExitStack

from deploy.cli import entry
from pipelines import wiring
from tests.support.broken import ForgetfulMirror, UnguardedMirror, without_transactions


def _mirror(kind: type[wiring.AerospikeMirror]) -> Callable[[ExitStack], None]:
    def switch_off(_: ExitStack) -> None:
        wiring.AerospikeMirror = kind  # type: ignore[misc]  # workers unpickle the class by its name

    return switch_off


DEFENCES: dict[str, Callable[[ExitStack], None]] = {
    "guard": _mirror(UnguardedMirror),
    "tombstone": _mirror(ForgetfulMirror),
    "transaction": lambda stack: stack.enter_context(without_transactions()),
}

if __name__ == "__main__":
    with ExitStack() as stack:
        DEFENCES[sys.argv.pop(1)](stack)
        entry()

__all__ = ["DEFENCES"]
