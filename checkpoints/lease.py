"""One driver at a time runs a flow's checkpoint: the lease, with a token that grows and a heartbeat that must be renewed.

A driver that is dead is replaced at once where the kernel can tell (local paths). One whose heartbeat is older than its expiry
may be replaced although it still exists: it is paused, or cut off. Should it wake up, it finds the file of the next token and
stops (E424). What it does between its last look and its next write, every output has to stand: docs/guarantees.md, "Two drivers".
"""

import contextlib
from dataclasses import dataclass
from threading import Event, Thread
from types import TracebackType
from typing import Self

from checkpoints.files import Folder
from checkpoints.holder import Holder, this_process
from checkpoints.lease_check import LeaseCheck
from checkpoints.tokens import SYSTEM, Clock, LocalTokens, Seen, StoreTokens, Tokens, file_of
from schemas.errors import Terminal

EXPIRY_S = 30.0
"""How old a heartbeat may grow before another driver may take the lease."""
SETTLE_S = 2.0
"""How long a driver on a store without locks waits before it looks whether the token it made is its own."""


@dataclass(frozen=True, slots=True)
class Replaced:
    """A driver whose lease was taken although nothing says that it has ended. age_s: of its last heartbeat."""

    holder: Holder | None
    age_s: float

    def __str__(self) -> str:
        return f"{self.holder or 'a driver whose name cannot be read'}; its last heartbeat is {self.age_s:.0f} s old"


class Lease:
    """The right to run a flow's checkpoint, held while the context is open.

    checkpoint: the flow's checkpoint folder (all lanes), plain path, file:// or any fsspec address.
    expiry_s:   a heartbeat older than this may be replaced; it is renewed every third of it.
    settle_s:   for stores without locks.
    Entering raises Terminal E420, naming the holder, when another driver has it.
    """

    def __init__(
        self,
        checkpoint: str,
        flow: str,
        *,
        expiry_s: float = EXPIRY_S,
        settle_s: float = SETTLE_S,
        clock: Clock = SYSTEM,
    ) -> None:
        self.token = 0
        """The fencing token: larger than that of every driver before. 0 before entering."""
        self.replaced: Replaced | None = None
        """Whom this driver has replaced, when that one may still exist."""
        self._folder = Folder(checkpoint)
        self._flow = flow
        self._expiry_s = expiry_s
        self._clock = clock
        self._has_locks = self._folder.local is not None
        self._tokens: Tokens
        if self._folder.local is not None:
            self._tokens = LocalTokens(self._folder.local, clock)
        else:
            self._tokens = StoreTokens(self._folder, clock, settle_s)
        self._renewed_at = 0.0
        self._lost = "never taken"
        self._stop = Event()
        self._thread: Thread | None = None

    @property
    def fds(self) -> tuple[int, ...]:
        """File descriptors to hand to child processes that must keep the lease too (the driver's JVM). Empty without locks."""
        return self._tokens.fds

    @property
    def check(self) -> LeaseCheck:
        """What a worker of this driver asks before it writes; pickles."""
        return LeaseCheck(self._folder.path, self.token, self._expiry_s)

    @property
    def replaced_when(self) -> str | None:
        """The local file that is there once this driver is replaced; None on other stores."""
        return str(self._folder.local / file_of(self.token + 1)) if self._folder.local is not None else None

    def note_jvm(self, pid: int) -> None:
        """Write down which process is the driver's JVM, so that a driver that takes over can end it."""
        self._tokens.note_jvm(pid)

    def require_held(self) -> None:
        """Raise Terminal E424 when another driver has taken the lease. Looks at two files on a local path, else costs nothing."""
        if not self._lost and self._has_locks:
            self._look()
        elif not self._lost and self._clock.running() - self._renewed_at > self._expiry_s:
            self._lost = f"it could not be renewed for {self._expiry_s:g} s"
        if self._lost:
            raise Terminal("E424", f"the lease is not held: {self._lost}", file=f"{self._folder.path}/{file_of(self.token)}")

    def beat(self) -> None:
        """Renew the heartbeat, unless the lease is lost. Raises OSError when the storage does not answer."""
        asked_at = self._clock.running()
        if self._lost or self._look():
            return
        self._tokens.beat()
        self._renewed_at = asked_at

    def __enter__(self) -> Self:
        newest = self._tokens.newest()
        found = self._tokens.look(newest) if newest else None
        if found is not None and found.running:
            if not found.stale(self._expiry_s):
                raise self._refused(found, newest)
            self.replaced = Replaced(found.holder, found.age_s)
        if not self._tokens.take(this_process(self._flow, newest + 1, self._expiry_s)):
            raise self._refused(self._tokens.look(newest + 1), newest + 1)
        self.token = newest + 1
        self._lost = ""
        self._renewed_at = self._clock.running()
        self._thread = Thread(target=self._beat_until_stopped, name="millrace-lease", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop.set()
        if self._thread is None:
            return
        self._thread.join()
        self._thread = None
        with contextlib.suppress(OSError):  # it then ends with the process, or expires
            self._tokens.release()
        self._lost = self._lost or "it was released"

    def _look(self) -> bool:
        """Whether the lease was taken by another driver."""
        if not self._lost and self._tokens.superseded():
            following = self._tokens.look(self.token + 1)
            gone = "its file is gone: others came long ago, or somebody removed it"
            self._lost = f"taken by {following.holder or 'an unnamed driver'}" if following else gone
        return bool(self._lost)

    def _beat_until_stopped(self) -> None:
        while not self._stop.wait(self._expiry_s / 3):
            with contextlib.suppress(OSError):  # the storage is away for a moment; where that counts, `require_held` notices
                self.beat()

    def _refused(self, seen: Seen | None, token: int) -> Terminal:
        holder = seen.holder if seen else None
        age_s = max(0.0, seen.age_s) if seen else 0.0
        left_s = max(0.0, ((holder.expiry_s if holder else 0.0) or self._expiry_s) - age_s)
        return Terminal(
            "E420",
            f"the checkpoint is run by {holder or 'an unnamed driver'}; its last heartbeat is {age_s:.0f} s old, "
            f"and if no other comes the lease expires in {left_s:.0f} s",
            file=f"{self._folder.path}/{file_of(token)}",
        )


def current_holder(checkpoint: str, clock: Clock = SYSTEM) -> Holder | None:
    """Who runs the checkpoint now, paused or not, or None. Takes nothing, so an operator may ask at any time."""
    folder = Folder(checkpoint)
    tokens = LocalTokens(folder.local, clock) if folder.local is not None else StoreTokens(folder, clock, 0.0)
    newest = tokens.newest()
    seen = tokens.look(newest) if newest else None
    if seen is None or not seen.running or (folder.local is None and seen.stale(EXPIRY_S)):
        return None
    return seen.holder or Holder(newest, 0, "?", "?", "?")


__all__ = ["EXPIRY_S", "Holder", "Lease", "Replaced", "current_holder"]
