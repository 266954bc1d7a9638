"""Background processes that can always be found again and stopped, also after their starter was killed.

Each process leads a session and process group of its own, writes to a log file, and is described by a pid file that holds
its pid and start time. A pid that was handed to another process since is recognised and left alone.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from deploy.local import launch

LOG_LIMIT_BYTES = 16 * 1024 * 1024
"""A log beyond this is set aside as `<name>.log.1` when its process starts again."""
POLL_S = 0.05


class _Entry(TypedDict):
    """What `launch.py` writes to the pid file."""

    pid: int
    started: str
    command: list[str]


@dataclass(frozen=True, slots=True)
class Process:
    """A background process: its name, pid file and log. Says nothing about whether it runs; ask `alive`."""

    name: str
    pid_file: Path
    log_file: Path

    @property
    def pid(self) -> int | None:
        """The pid of the running process; None when it does not run."""
        entry = self._entry()
        return entry["pid"] if entry and self._is_ours(entry) else None

    @property
    def alive(self) -> bool:
        """Whether the very process that the pid file describes runs."""
        return self.pid is not None

    @property
    def command(self) -> list[str] | None:
        """The command the pid file was written for, running or not; None without a pid file."""
        entry = self._entry()
        return list(entry["command"]) if entry else None

    def signal(self, number: int) -> bool:
        """Send signal `number` to the whole group. False when the process does not run."""
        pid = self.pid
        if pid is None:
            return False
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, number)
        return True

    def stop(self, grace_s: float = 10.0) -> bool:
        """End the process and all of its group: SIGTERM, then SIGKILL after `grace_s`. False when nothing ran.

        Returns only when no process of the group is left; the pid file is removed then. Safe to repeat.
        """
        entry = self._entry()
        if entry is None:
            return False
        group = entry["pid"]
        if not self._is_ours(entry) and not self._orphans(group):
            self.pid_file.unlink(missing_ok=True)
            return False
        _signal_group(group, signal.SIGTERM)
        # A stopped (SIGSTOP) process takes SIGTERM only when it goes on.
        _signal_group(group, signal.SIGCONT)
        if not _wait(lambda: not _group_alive(group), grace_s):
            _signal_group(group, signal.SIGKILL)
            if not _wait(lambda: not _group_alive(group), 10.0):
                raise RuntimeError(f"{self.name}: process group {group} does not end after SIGKILL; see {self.log_file}")
        self.pid_file.unlink(missing_ok=True)
        return True

    def kill(self) -> bool:
        """End the whole group with SIGKILL, as a crash would. False when nothing ran. The pid file stays."""
        pid = self.pid
        if pid is None:
            return False
        _signal_group(pid, signal.SIGKILL)
        if not _wait(lambda: not _group_alive(pid), 10.0):
            raise RuntimeError(f"{self.name}: process group {pid} does not end after SIGKILL")
        return True

    def log_tail(self, lines: int = 20) -> str:
        """The last `lines` of the log, for messages to people."""
        try:
            text = self.log_file.read_text(errors="replace")
        except FileNotFoundError:
            return ""
        return "\n".join(text.splitlines()[-lines:])

    def _entry(self) -> _Entry | None:
        try:
            entry: _Entry = json.loads(self.pid_file.read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return None
        return entry

    @staticmethod
    def _is_ours(entry: _Entry) -> bool:
        _reap(entry["pid"])
        return launch.start_mark(entry["pid"]) == entry["started"]

    @staticmethod
    def _orphans(group: int) -> bool:
        """Whether the leader is gone but members of its group run. A pid is not handed out again while a group has it."""
        return launch.start_mark(group) is None and _group_alive(group)


def start(
    name: str, command: Sequence[str], folder: Path, *, environment: Mapping[str, str] | None = None, cwd: Path | None = None
) -> Process:
    """Start `command` in the background as `name`, with its pid file and log in `folder`.

    The process survives its starter. When one of that name runs already, it is left alone and returned.
    environment: added to this process's own.
    """
    folder.mkdir(parents=True, exist_ok=True)
    process = at(name, folder)
    if process.alive:
        return process
    process.pid_file.unlink(missing_ok=True)
    with contextlib.suppress(FileNotFoundError):
        if process.log_file.stat().st_size > LOG_LIMIT_BYTES:
            process.log_file.replace(process.log_file.with_name(process.log_file.name + ".1"))
    with process.log_file.open("ab") as log:
        child = subprocess.Popen(
            [sys.executable, "-I", "-S", launch.__file__, str(process.pid_file), *command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, **(environment or {})},
            cwd=cwd,
        )
    if not _wait(lambda: process.pid_file.exists() or child.poll() is not None, 10.0) or not process.pid_file.exists():
        raise RuntimeError(f"{name} did not start: {process.log_tail(5)}")
    # From here on the pid file is the handle; Popen must not warn about a process that is meant to outlive it.
    child.returncode = 0
    return process


def at(name: str, folder: Path) -> Process:
    """The process called `name` of `folder`, running or not."""
    return Process(name, folder / f"{name}.pid", folder / f"{name}.log")


def _signal_group(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _group_alive(group: int) -> bool:
    _reap(group)
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    members = list(_members(group))
    # A group may be left with zombies that only their parent can clear: nothing runs then.
    return any(launch.start_mark(pid) for pid in members) if members else not Path("/proc/self/stat").exists()


def _members(group: int) -> list[int]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError, PermissionError):
            if int((folder / "stat").read_text().rpartition(")")[2].split()[2]) == group:
                found.append(int(folder.name))
    return found


def _reap(pid: int) -> None:
    """Clear the zombie when this very process was the starter; otherwise nothing happens."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def _wait(condition: Callable[[], bool], timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
    return True


__all__ = ["Process", "at", "start"]
