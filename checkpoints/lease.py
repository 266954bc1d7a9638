"""One driver at a time runs a flow's checkpoint: the lease `<checkpoint>/_millrace/lease`.

On a local path the lease is a kernel lock (flock) on the file: it ends with the last process that holds it open, also after a
kill -9, and needs no expiry. Elsewhere it is a small file with an expiry, renewed by a thread; after a crash it lasts until it
expires. Either way the file names the holder, and its token grows with every driver that took it.
"""

import fcntl
import json
import os
import socket
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Thread
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

from checkpoints.files import Folder
from schemas.errors import Terminal

LEASE_FILE = "_millrace/lease"
EXPIRY_S = 30.0
"""How long a lease on a store without locks outlives its holder."""
SETTLE_S = 2.0
"""How long two drivers that both found an expired lease wait before they look who of them wrote last."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a lease. token: 1 for the first driver ever, one more for each next one. started_at: ISO 8601 UTC."""

    token: int
    pid: int
    host: str
    flow: str
    started_at: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, flow {self.flow}, since {self.started_at}"


class Lease:
    """The right to run a flow's checkpoint, held while the context is open.

    checkpoint: the flow's checkpoint folder (all lanes), plain path, file:// or any fsspec address.
    expiry_s, settle_s: for stores without locks only; the lease is renewed every third of the expiry.
    Entering raises Terminal E420, naming the holder, when another driver has it.
    """

    def __init__(self, checkpoint: str, flow: str, *, expiry_s: float = EXPIRY_S, settle_s: float = SETTLE_S) -> None:
        folder = Folder(checkpoint)
        self._held: _LockedFile | _Heartbeat
        if folder.local is not None:
            self._held = _LockedFile(folder.local / LEASE_FILE, flow)
        else:
            self._held = _Heartbeat(folder, flow, expiry_s, settle_s)

    @property
    def token(self) -> int:
        """The fencing token: larger than that of every driver before. 0 before entering."""
        return self._held.token

    @property
    def fds(self) -> tuple[int, ...]:
        """File descriptors to hand to child processes that must keep the lease too (the driver's JVM). Empty without locks."""
        return self._held.fds

    def require_held(self) -> None:
        """Raise Terminal E424 when the lease was lost. Call before each batch; costs nothing on a local path."""
        self._held.require_held()

    def __enter__(self) -> Self:
        self._held.acquire()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._held.release()


def current_holder(checkpoint: str) -> Holder | None:
    """Who runs the checkpoint now, or None. Takes nothing, so an operator may ask at any time."""
    folder = Folder(checkpoint)
    if folder.local is not None:
        return _LockedFile(folder.local / LEASE_FILE, "").other_holder()
    record = _parsed(folder.read_text(LEASE_FILE))
    if record is None or record.get("released_at") or float(record.get("expires_at_s", 0.0)) <= time.time():
        return None
    return _holder(record)


class _LockedFile:
    """A lease on a local path: an exclusive flock. The file stays: removing it would let two drivers lock two files."""

    def __init__(self, path: Path, flow: str) -> None:
        self._path = path
        self._flow = flow
        self._fd = -1
        self.token = 0

    @property
    def fds(self) -> tuple[int, ...]:
        return (self._fd,) if self._fd >= 0 else ()

    def acquire(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            record = _parsed(os.pread(fd, 4096, 0).decode("utf-8", errors="replace"))
            os.close(fd)
            raise _refused(_holder(record), str(self._path)) from None
        except BaseException:
            os.close(fd)
            raise
        before = _parsed(os.pread(fd, 4096, 0).decode("utf-8", errors="replace"))
        holder = _this_process(self._flow, _token(before) + 1)
        self._fd, self.token = fd, holder.token
        self._write(asdict(holder))

    def release(self) -> None:
        if self._fd < 0:
            return
        record = _parsed(os.pread(self._fd, 4096, 0).decode("utf-8", errors="replace")) or {}
        self._write({**record, "released_at": _now()})
        os.close(self._fd)  # not LOCK_UN: a child that was handed the descriptor keeps the lease until it is gone too
        self._fd = -1

    def require_held(self) -> None:
        if self._fd < 0:
            raise Terminal("E424", "the lease is not held", file=str(self._path))

    def other_holder(self) -> Holder | None:
        try:
            fd = os.open(self._path, os.O_RDONLY)
        except FileNotFoundError:
            return None
        try:
            # A shared lock is refused exactly while someone holds the exclusive one, and is gone with the descriptor.
            # A driver that starts in the very same instant may be refused by it: starting once more is enough.
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _holder(_parsed(os.pread(fd, 4096, 0).decode("utf-8", errors="replace")))
        finally:
            os.close(fd)
        return None

    def _write(self, record: dict[str, Any]) -> None:
        data = json.dumps(record).encode()
        os.pwrite(self._fd, data, 0)
        os.ftruncate(self._fd, len(data))


class _Heartbeat:
    """A lease where no locks are: a file with an expiry. Two hosts' clocks further apart than the expiry break it."""

    fds: tuple[int, ...] = ()

    def __init__(self, folder: Folder, flow: str, expiry_s: float, settle_s: float, now: Callable[[], float] = time.time) -> None:
        self._folder = folder
        self._flow = flow
        self._expiry_s = expiry_s
        self._settle_s = settle_s
        self._now = now
        self._record: dict[str, Any] = {}
        self._renewed_at = 0.0
        self._stop = Event()
        self._lost = ""
        self._thread: Thread | None = None
        self.token = 0

    def acquire(self) -> None:
        found = _parsed(self._folder.read_text(LEASE_FILE))
        if found and not found.get("released_at") and float(found.get("expires_at_s", 0.0)) > self._now():
            raise self._refused(found)
        holder = _this_process(self._flow, _token(found) + 1)
        self._record = {**asdict(holder), "nonce": uuid4().hex}
        if found is None:
            if not self._folder.create(LEASE_FILE, self._stamped()):
                raise self._refused(_parsed(self._folder.read_text(LEASE_FILE)))
        else:
            self._folder.replace(LEASE_FILE, self._stamped())
        self._stop.wait(self._settle_s)
        seen = _parsed(self._folder.read_text(LEASE_FILE))
        if seen is None or seen.get("nonce") != self._record["nonce"]:
            raise self._refused(seen)
        self.token = holder.token
        self._renewed_at = self._now()
        self._thread = Thread(target=self._renew_until_stopped, name="millrace-lease", daemon=True)
        self._thread.start()

    def release(self) -> None:
        self._stop.set()
        if self._thread is None:
            return
        self._thread.join()
        self._thread = None
        if not self._lost:
            self._folder.replace(LEASE_FILE, json.dumps({**self._record, "released_at": _now()}))

    def require_held(self) -> None:
        if not self._lost and self._now() - self._renewed_at > self._expiry_s:
            self._lost = f"it could not be renewed for {self._expiry_s:g} s"
        if self._lost or self._thread is None:
            raise Terminal("E424", f"the lease is not held: {self._lost or 'never taken'}", file=self._at)

    @property
    def _at(self) -> str:
        return f"{self._folder.path}/{LEASE_FILE}"

    def _renew_until_stopped(self) -> None:
        while not self._stop.wait(self._expiry_s / 3):
            try:
                seen = _parsed(self._folder.read_text(LEASE_FILE))
                if seen is None or seen.get("nonce") != self._record["nonce"]:
                    self._lost = f"taken by {_holder(seen) or 'an unknown driver'}"
                    return
                self._folder.replace(LEASE_FILE, self._stamped())
                self._renewed_at = self._now()
            except OSError:
                continue  # the store is away for a moment; `require_held` notices when it lasts longer than the expiry

    def _stamped(self) -> str:
        return json.dumps({**self._record, "expires_at_s": self._now() + self._expiry_s})

    def _refused(self, record: dict[str, Any] | None) -> Terminal:
        left_s = float((record or {}).get("expires_at_s", 0.0)) - self._now()
        return _refused(_holder(record), self._at, f"; if that driver is dead, the lease expires in {max(0.0, left_s):.0f} s")


def _refused(holder: Holder | None, file: str, also: str = "") -> Terminal:
    return Terminal("E420", f"the checkpoint is run by {holder or 'a driver that did not write its name yet'}{also}", file=file)


def _this_process(flow: str, token: int) -> Holder:
    return Holder(token, os.getpid(), socket.gethostname(), flow, _now())


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _parsed(text: str | None) -> dict[str, Any] | None:
    """The lease file's record; None when there is none yet. A torn record names nobody but never lets anybody in by itself."""
    try:
        record = json.loads(text or "")
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def _holder(record: dict[str, Any] | None) -> Holder | None:
    if record is None:
        return None
    return Holder(
        _token(record),
        int(record.get("pid", 0)),
        str(record.get("host", "?")),
        str(record.get("flow", "?")),
        str(record.get("started_at", "?")),
    )


def _token(record: dict[str, Any] | None) -> int:
    return int((record or {}).get("token", 0))


__all__ = ["EXPIRY_S", "Holder", "LEASE_FILE", "Lease", "current_holder"]
