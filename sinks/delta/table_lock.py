"""One writer of a Delta table at a time: in this process, and where the table lies on a local disk among all processes.

The lock is the kernel's (flock) and is gone with its holder, also after a kill. A holder that is paused keeps it: so a driver
writes down by which file everybody can see that it was replaced, and whoever waits then puts a new lock file in the old one's
place. What the paused one was about to commit, its transaction refuses: its snapshot is older than its replacement's commit.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import TextIO

LOCK_FILE = "_millrace/lock"
"""In a local table's folder; names that begin with `_` are nothing to Delta."""

_LOCKS: dict[str, Lock] = {}
_LOCKS_LOCK = Lock()
_POLL_S = 0.02
_SETTLED_S = 0.5
"""A holder writes its mark just after it has the lock: one that stands this long is not its predecessor's."""
_signed = ""


def sign_locks(replaced_when: str | None) -> None:
    """Let the locks this process takes from now on be broken once the local file `replaced_when` is there; None: never."""
    global _signed  # a process runs one flow, or one replay, at a time
    _signed = replaced_when or ""


@contextmanager
def path_lock(path: str) -> Iterator[None]:
    """Be the only writer of a table."""
    with _LOCKS_LOCK:
        lock = _LOCKS.setdefault(path, Lock())
    with lock:
        folder = Path(path)
        if "://" in path or not folder.is_dir():
            yield
            return
        file = folder / LOCK_FILE
        file.parent.mkdir(exist_ok=True)
        with _locked(file) as held:
            held.truncate(0)
            held.write(_signed)
            held.flush()
            yield


def _locked(file: Path) -> TextIO:
    """The lock file, locked: the one that is there under its name."""
    suspected = ("", 0.0)
    while True:
        held = file.open("a+")
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(held.fileno()).st_ino == _inode(file):
                return held
            held.close()
            continue
        except BlockingIOError:
            held.seek(0)
            mark, inode = held.read(), os.fstat(held.fileno()).st_ino
            held.close()
        if not mark or not Path(mark).exists():
            suspected = ("", 0.0)
        elif suspected[0] != mark:
            suspected = (mark, time.monotonic())
        elif time.monotonic() - suspected[1] > _SETTLED_S:
            _put_new(file, inode)
        time.sleep(_POLL_S)


def _put_new(file: Path, broken: int) -> None:
    """Put a new lock file in the place of the one with the inode `broken`, unless somebody else has."""
    with file.with_name("lock.new").open("a") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        if _inode(file) == broken:
            new = file.with_name(f"lock.{os.getpid()}.tmp")
            new.write_text("")
            new.replace(file)


def _inode(file: Path) -> int:
    try:
        return file.stat().st_ino
    except FileNotFoundError:
        return 0


__all__ = ["LOCK_FILE", "path_lock", "sign_locks"]
