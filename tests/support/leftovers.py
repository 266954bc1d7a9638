"""Folders of servers started for one test run, and the end of those whose run was killed before it could stop them."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy.local import launch, process
from deploy.paths import work_folder


@contextmanager
def run_folder() -> Iterator[Path]:
    """A folder for servers of this test run; everything in it is stopped and deleted at the end.

    First, the same is done for runs that no longer live. A folder's name says which process made it: pid and start mark.
    """
    parent = work_folder() / "test"
    parent.mkdir(parents=True, exist_ok=True)
    for folder in parent.iterdir():
        if not _owner_lives(folder):
            _clear(folder)
    mine = Path(tempfile.mkdtemp(prefix=f"{os.getpid()}={_mark(os.getpid())}=", dir=parent))
    try:
        yield mine
    finally:
        _clear(mine)


def _owner_lives(folder: Path) -> bool:
    pid, _, rest = folder.name.partition("=")
    mark = rest.rpartition("=")[0]
    return pid.isdecimal() and bool(mark) and _mark(int(pid)) == mark


def _mark(pid: int) -> str:
    """A process's start mark, fit for a folder's name: Hadoop refuses paths with a colon. Empty for no process."""
    return (launch.start_mark(pid) or "").replace(":", "-")


def _clear(folder: Path) -> None:
    for pid_file in folder.rglob("*.pid"):
        process.at(pid_file.stem, pid_file.parent).stop(grace_s=5.0)
    shutil.rmtree(folder, ignore_errors=True)


__all__ = ["run_folder"]
