"""Fail points between two files that Spark writes: a thread looks at the folder and strikes when the file appears.

There is no place of ours inside Spark between the plan of a batch and the batch, or between the batch and its commit. So the
thread stops the JVM as soon as it sees the file, writes down what lies in the checkpoint, and only then deals the blow: what the
evidence says is what the next start will find. The thread looks rarely while none of its points is armed, and does not run
without an armed file.
"""

import os
import re
import signal
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pipelines.failpoints import Failpoints, parse

LOOK_S = 0.001
IDLE_S = 0.05
SHOWN = 3
"""How many of the newest names of `offsets` and `commits` evidence shows."""


@dataclass(frozen=True, slots=True)
class Watched:
    """Files that strike when they appear: names in `folder` that match `pattern` as a whole.

    checkpoint: the lane's, whose `offsets` and `commits` evidence shows.
    """

    folder: Path
    pattern: str
    checkpoint: Path

    def names(self) -> set[str]:
        """Names of the files there now."""
        wanted = re.compile(self.pattern)
        return {name for name in _listed(self.folder) if wanted.fullmatch(name)}


class FileWatch:
    """The thread that looks. `start` returns once what is there already has been seen: only what comes after it strikes."""

    def __init__(self, points: Failpoints, watched: dict[str, Watched]) -> None:
        self._points = points
        self._watched = watched
        self._seen: dict[str, set[str]] = {}
        self._changed_ns: int | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="millrace-failpoints", daemon=True)

    def start(self) -> None:
        """Begin to look, if fail points are on at all."""
        if self._points.file is not None:
            self._note_armed()
            self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(LOOK_S if self._seen else IDLE_S):
            self._note_armed()
            for point in list(self._seen):
                self._look(point)

    def _note_armed(self) -> None:
        """Read the armed file if it has changed; a point that is new in it begins with the files that are there now."""
        assert self._points.file is not None
        try:
            changed_ns = self._points.file.stat().st_mtime_ns
            if changed_ns == self._changed_ns:
                return
            lines = self._points.file.read_text().splitlines()
        except FileNotFoundError:
            changed_ns, lines = None, []
        self._changed_ns = changed_ns
        armed = {parse(line).point for line in lines if line.strip()} & self._watched.keys()
        self._seen = {
            point: self._seen[point] if point in self._seen else self._watched[point].names() for point in sorted(armed)
        }

    def _look(self, point: str) -> None:
        watched = self._watched[point]
        there = watched.names()
        new = there - self._seen[point]
        if not new:
            return
        self._freeze(signal.SIGSTOP)
        self._seen[point] |= new
        checkpoint = {log: _newest(watched.checkpoint / log) for log in ("offsets", "commits")}
        for name in sorted(new):
            self._points.hit(point, file=name, there=name in watched.names(), **checkpoint)
        self._freeze(signal.SIGCONT)

    def _freeze(self, number: signal.Signals) -> None:
        if self._points.victims.jvm:
            with suppress(ProcessLookupError):
                os.kill(self._points.victims.jvm, number)


def _listed(folder: Path) -> list[str]:
    try:
        return [entry.name for entry in folder.iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _newest(log: Path) -> list[str]:
    """The newest batch ids of a log, and the files that are being written."""
    names = [name for name in _listed(log) if not name.endswith(".crc")]
    ids = sorted((name for name in names if name.isdigit()), key=int)
    return ids[-SHOWN:] + sorted(name for name in names if name.endswith(".tmp"))


__all__ = ["FileWatch", "Watched"]
