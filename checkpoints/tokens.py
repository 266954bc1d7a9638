"""The files of a lease: `_millrace/leases/<token>.json`, one per driver that ever held it, each made once and by one driver only.

The highest token holds the lease. A driver takes it by making the file of the next token, which can be done once: by a hard link
on a local path, by create-if-absent elsewhere. Nobody ever writes another one's file, so a driver that wakes up late overwrites
nothing; that the next token's file is there tells it, and everybody who works for it, that it was replaced.

On a local path a kernel lock (flock) on a driver's own file says whether it lives, also after a kill -9, and the file's time is
its heartbeat. Elsewhere the heartbeat is in the file, and only its age tells.
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event
from typing import NamedTuple, Protocol
from uuid import uuid4

from checkpoints.files import Folder
from checkpoints.holder import Holder, as_text, born, holder_of, number, parsed, utc_now

LEASES = "_millrace/leases"
_BEFORE = "_millrace/lease"
"""Where builds before fencing tokens had files kept the lease; tokens go on from there."""
_KEPT = 16
"""Files of so many drivers before stay as evidence."""


class Clock(NamedTuple):
    """wall: the time of day. running: seconds that only grow, also while the machine sleeps. Both in seconds."""

    wall: Callable[[], float]
    running: Callable[[], float]


def _since_boot() -> float:
    """Seconds that include sleep of the machine, where the kernel counts them."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


SYSTEM = Clock(time.time, _since_boot)


@dataclass(frozen=True, slots=True)
class Seen:
    """What can be seen of a holder. running: not known to have ended. age_s: of its newest heartbeat, by our time of day."""

    holder: Holder | None
    running: bool
    age_s: float

    def stale(self, expiry_s: float) -> bool:
        """Whether its heartbeat is older than it promised, or, when it promised nothing, than `expiry_s`."""
        return self.age_s > ((self.holder.expiry_s if self.holder else 0.0) or expiry_s)


class Tokens(Protocol):
    """The lease files of one folder, for one driver."""

    def newest(self) -> int:
        """The highest token there is, 0 for none."""

    def look(self, token: int) -> Seen | None:
        """What can be seen of the holder of a token; None when it never was, or is forgotten."""

    def take(self, holder: Holder) -> bool:
        """Make the file of `holder.token`. False when somebody else has made it."""

    def beat(self) -> None:
        """Renew the heartbeat. Raises OSError."""

    def superseded(self) -> bool:
        """Whether there is a driver after this one. Raises OSError."""

    def note_jvm(self, pid: int) -> None:
        """Write down the driver's JVM."""

    def release(self) -> None:
        """Say that this driver has ended."""

    @property
    def fds(self) -> tuple[int, ...]:
        """Descriptors that keep the holder's lock alive."""


def file_of(token: int) -> str:
    """The name of a token's file below the checkpoint."""
    return f"{LEASES}/{token:010d}.json"


class LocalTokens:
    """Lease files on a path of this machine, or one that all machines mount."""

    def __init__(self, root: Path, clock: Clock) -> None:
        self._root = root
        self._clock = clock
        self._fd = -1
        self._holder: Holder | None = None

    @property
    def fds(self) -> tuple[int, ...]:
        """This driver's own file, locked."""
        return (self._fd,) if self._fd >= 0 else ()

    def newest(self) -> int:
        """As Tokens."""
        folder = Folder(self._root)
        return max(_tokens(folder), default=number(parsed(folder.read_text(_BEFORE)), "token"))

    def look(self, token: int) -> Seen | None:
        """As Tokens."""
        try:
            fd = os.open(self._root / file_of(token), os.O_RDONLY)
        except FileNotFoundError:
            return None
        try:
            record = parsed(os.pread(fd, 4096, 0).decode("utf-8", errors="replace"))
            return Seen(holder_of(record), _is_locked(fd), self._clock.wall() - os.fstat(fd).st_mtime)
        finally:
            os.close(fd)

    def take(self, holder: Holder) -> bool:
        """As Tokens."""
        target = self._root / file_of(holder.token)
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.{uuid4().hex}.tmp")
        fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
        try:
            # Locked and filled before anybody can see it: a file without a lock is a dead driver's.
            fcntl.flock(fd, fcntl.LOCK_EX)
            self._write(fd, as_text(holder))
            os.link(temporary, target)
        except FileExistsError:
            os.close(fd)
            return False
        except BaseException:
            os.close(fd)
            raise
        finally:
            temporary.unlink(missing_ok=True)
        self._fd, self._holder = fd, holder
        _forget(Folder(self._root), holder.token)
        return True

    def beat(self) -> None:
        """As Tokens."""
        now = self._clock.wall()
        os.utime(self._fd, (now, now))

    def superseded(self) -> bool:
        """As Tokens."""
        assert self._holder is not None
        following = self._root / file_of(self._holder.token + 1)
        return following.exists() or os.fstat(self._fd).st_nlink == 0

    def note_jvm(self, pid: int) -> None:
        """As Tokens."""
        assert self._holder is not None
        self._holder = replace(self._holder, jvm=pid, jvm_born=born(pid))
        self._write(self._fd, as_text(self._holder))

    def release(self) -> None:
        """As Tokens."""
        if self._fd < 0 or self._holder is None:
            return
        self._write(self._fd, as_text(self._holder, released_at=utc_now()))
        os.close(self._fd)  # not LOCK_UN: a child that was handed the descriptor keeps the lease until it is gone too
        self._fd = -1

    def _write(self, fd: int, text: str) -> None:
        data = text.encode()
        os.pwrite(fd, data, 0)
        os.ftruncate(fd, len(data))
        now = self._clock.wall()
        os.utime(fd, (now, now))


class StoreTokens:
    """Lease files where no locks are. Where create-if-absent is not atomic, two that both took a token find out after a pause."""

    fds: tuple[int, ...] = ()

    def __init__(self, folder: Folder, clock: Clock, settle_s: float) -> None:
        self._folder = folder
        self._clock = clock
        self._settle_s = settle_s
        self._nonce = uuid4().hex
        self._holder: Holder | None = None

    def newest(self) -> int:
        """As Tokens."""
        return max(_tokens(self._folder), default=number(parsed(self._folder.read_text(_BEFORE)), "token"))

    def look(self, token: int) -> Seen | None:
        """As Tokens."""
        text = self._folder.read_text(file_of(token))
        if text is None:
            return None
        record = parsed(text) or {}
        return Seen(
            holder_of(record or None), not record.get("released_at"), self._clock.wall() - float(record.get("beat_s", 0.0))
        )

    def take(self, holder: Holder) -> bool:
        """As Tokens."""
        self._holder = holder
        if not self._folder.create(file_of(holder.token), self._text()):
            return False
        Event().wait(self._settle_s)
        record = parsed(self._folder.read_text(file_of(holder.token)))
        if record is None or record.get("nonce") != self._nonce:
            return False
        _forget(self._folder, holder.token)
        return True

    def beat(self) -> None:
        """As Tokens."""
        self._folder.replace(file_of(self._token), self._text())

    def superseded(self) -> bool:
        """As Tokens."""
        return self._folder.exists(file_of(self._token + 1)) or not self._folder.exists(file_of(self._token))

    def note_jvm(self, pid: int) -> None:
        """Nothing is written: nobody could end it from another machine."""

    def release(self) -> None:
        """As Tokens."""
        if self._holder is not None:
            self._folder.replace(file_of(self._token), self._text(released_at=utc_now()))

    @property
    def _token(self) -> int:
        assert self._holder is not None
        return self._holder.token

    def _text(self, **more: object) -> str:
        assert self._holder is not None
        return as_text(self._holder, nonce=self._nonce, beat_s=self._clock.wall(), **more)


def _tokens(folder: Folder) -> list[int]:
    names = (name.removesuffix(".json") for name in folder.names(LEASES))
    return sorted(int(name) for name in names if name.isascii() and name.isdigit())


def _forget(folder: Folder, token: int) -> None:
    """Remove old files, oldest first: a driver whose own file is gone knows that it was replaced."""
    with contextlib.suppress(OSError):
        for old in _tokens(folder):
            if old <= token - _KEPT:
                folder.remove(file_of(old))


def _is_locked(fd: int) -> bool:
    """Whether somebody else holds the exclusive lock. Nobody waits for the lock of another's file, so asking disturbs nobody."""
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


__all__ = ["Clock", "LEASES", "LocalTokens", "SYSTEM", "Seen", "StoreTokens", "Tokens", "file_of"]
