"""The one place letters of a flow are acted on: one process at a time, each act with its own name, number and author."""

import getpass
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import uuid4

from checkpoints.lease import Lease, current_holder
from pipelines.flow.model import Flow
from schemas.errors import Terminal
from sinks.delta.letter_book import LetterBook
from sinks.delta.letter_states import Act, LetterStates
from sinks.delta.table_lock import sign_locks


def book_of(flow: Flow) -> LetterBook:
    """The flow's letters and their states; looking takes no lease."""
    return LetterBook(flow.name, flow.dead_letters.path, LetterStates(flow.name, flow.dead_letters.states))


@contextmanager
def act_on(flow: Flow, states: LetterStates, kind: str, by: str, why: str) -> Iterator[tuple[Act, Callable[[], None]]]:
    """Act on the flow's letters, alone: makes the table of states, and holds the lease in its folder meanwhile.

    Also gives what raises Terminal E424 once the lease is lost: this process was paused, and another one acts.
    The flow itself may run: its lease is another. Raises Terminal E451 when somebody else acts, ConfigError E121, Retryable E230.
    """
    states.prepare()
    lease = Lease(states.path, flow.name)
    try:
        lease.__enter__()
    except Terminal as refused:
        if refused.code != "E420":
            raise
        holder = current_holder(states.path)
        raise Terminal("E451", f"letters of flow {flow.name} are replayed or dropped by {holder or 'another process'}") from None
    try:
        # The fence kept in a mirror's records is the first characters of the id: they must differ from act to act.
        sign_locks(lease.replaced_when)
        yield Act(kind, str(uuid4()), lease.token, by, why), lease.require_held
    finally:
        sign_locks(None)
        lease.__exit__(None, None, None)


def this_person() -> str:
    """user@host of whoever runs this process."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


__all__ = ["act_on", "book_of", "this_person"]
