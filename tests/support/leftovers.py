"""Folders of servers started for one test run, and the end of those whose run was killed before it could stop them."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy.local import launch, process
from deploy.paths import work_folder


@contextmanager
def run_folder() -> Iterator[Path]:
    """A folder for the servers of this test run; everything in it is stopped and deleted at the end.

    First, the same is done for runs that no longer live. Which run owns a folder is written in it: pid and start time.
    """
    parent = work_folder() / "test"
    parent.mkdir(parents=True, exist_ok=True)
    for folder in parent.iterdir():
        if not _owner_lives(folder):
            _clear(folder)
    mine = parent / str(os.getpid())
    mine.mkdir(exist_ok=True)
    (mine / "owner.json").write_text(json.dumps({"pid": os.getpid(), "started": launch.start_mark(os.getpid())}))
    try:
        yield mine
    finally:
        _clear(mine)


def _owner_lives(folder: Path) -> bool:
    try:
        owner = json.loads((folder / "owner.json").read_text())
    except (OSError, json.JSONDecodeError):
        return False
    return bool(launch.start_mark(owner["pid"]) == owner["started"])


def _clear(folder: Path) -> None:
    for pid_file in folder.rglob("*.pid"):
        process.at(pid_file.stem, pid_file.parent).stop(grace_s=5.0)
    shutil.rmtree(folder, ignore_errors=True)


__all__ = ["run_folder"]
