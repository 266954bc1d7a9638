"""Places where a test or a drill can kill, stop or delay a flow. Off unless MILLRACE_FAILPOINTS names an armed file.

The armed file has one point per line; lines may be added while a flow runs. The points: pipelines.failpoint_names.

    fast:after_sink                      kill the driver at the next visit
    bulk:after_history after=3           let three visits of this process pass first
    fast:mid_sink events=40              inside the sink: once 40 events of a partition are written
    fast:mid_sink events=40 action=kill-worker   there, only the Python worker that writes
    fast:before_sink action=sleep seconds=5
    fast:after_sink action=stop          SIGSTOP for driver and JVM; `kill -CONT` of both, from outside, wakes them
    fast:after_journal action=kill-python   leave the JVM to notice by itself

Each line fires once: it is taken out of the file, and a JSON line (point, action, time, processes, batch) is appended to
`<file>.fired` before the blow. `kill` is SIGKILL for the JVM and for the driver's Python, as when a machine goes down with both.
"""

import fcntl
import json
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from schemas.errors import ConfigError

VARIABLE = "MILLRACE_FAILPOINTS"
ACTIONS = {
    "kill": "SIGKILL for the driver's JVM and its Python, as when the machine goes down; the default",
    "kill-python": "SIGKILL for the driver's Python; its JVM notices by itself",
    "kill-worker": "SIGKILL for the Python worker that has come here; only at points in a worker",
    "stop": "SIGSTOP for JVM and Python; `kill -CONT` of both wakes them",
    "sleep": "a pause of `seconds`; not at watched points",
}


@dataclass(frozen=True, slots=True)
class Failpoint:
    """One armed line."""

    point: str
    action: str = "kill"
    after: int = 0
    events: int = 0
    seconds: float = 1.0


@dataclass(frozen=True, slots=True)
class Victims:
    """Whom a kill takes: the driver's Python and its JVM. Travels to the workers, which may have to strike from there."""

    driver: int
    jvm: int | None = None


def parse(line: str) -> Failpoint:
    """One line of an armed file. Raises ConfigError E102 with the line when it is not one."""
    point, *options = line.split()
    try:
        values = dict(option.split("=", 1) for option in options)
        action = values.pop("action", "kill")
        armed = Failpoint(
            point,
            action,
            int(values.pop("after", "0")),
            int(values.pop("events", "0")),
            float(values.pop("seconds", "1")),
        )
    except ValueError as error:
        raise ConfigError("E102", f"failpoint {line!r}: {error}") from error
    if values or action not in ACTIONS or ":" not in point:
        raise ConfigError(
            "E102", f"failpoint {line!r}: want LANE:POINT [action={'|'.join(ACTIONS)}] [after=N] [events=N] [seconds=S]"
        )
    return armed


def armed_file() -> Path | None:
    """The armed file of this process's environment, or None when failpoints are off."""
    named = os.environ.get(VARIABLE)
    return Path(named) if named else None


@contextmanager
def _locked(path: Path) -> Iterator[list[str]]:
    """The lines of `path`, with nobody else reading or changing them; what is left in the list is written back."""
    try:
        file = path.open("r+")
    except FileNotFoundError:
        yield []
        return
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        lines = [line for line in file.read().splitlines() if line.strip()]
        before = list(lines)
        yield lines
        if lines != before:
            file.seek(0)
            file.truncate()
            file.write("".join(f"{line}\n" for line in lines))
            file.flush()
            os.fsync(file.fileno())


class Failpoints:
    """The points of one process. Built without an armed file it does nothing and costs one comparison per visit."""

    def __init__(self, file: Path | None, victims: Victims) -> None:
        self.file = file
        self.victims = victims
        self._visits: Counter[str] = Counter()

    def armed(self, point: str) -> Failpoint | None:
        """The armed line for `point`, or None. Looks, does not fire."""
        if self.file is None or not self.file.exists():
            return None
        with _locked(self.file) as lines:
            return next((found for line in lines if (found := parse(line)).point == point), None)

    def hit(self, point: str, **evidence: object) -> None:
        """Visit `point`: fire if it is armed and its visits have passed. Returns unless the action was to kill."""
        if self.file is None or not self.file.exists():
            return
        with _locked(self.file) as lines:
            fired = self._take(point, lines)
            if fired is None:
                return
            record = {
                "point": point,
                "action": fired.action,
                "at": datetime.now(UTC).isoformat(),
                "pid": os.getpid(),
                "driver": self.victims.driver,
                "jvm": self.victims.jvm,
                **evidence,
            }
            with self.file.with_name(self.file.name + ".fired").open("a") as log:
                log.write(json.dumps(record) + "\n")
                log.flush()
                os.fsync(log.fileno())
        self._strike(fired)

    def _take(self, point: str, lines: list[str]) -> Failpoint | None:
        for number, line in enumerate(lines):
            found = parse(line)
            if found.point == point:
                self._visits[point] += 1
                if self._visits[point] <= found.after:
                    return None
                del lines[number]
                self._visits[point] = 0
                return found
        return None

    def _strike(self, fired: Failpoint) -> None:
        if fired.action == "sleep":
            time.sleep(fired.seconds)
            return
        if fired.action == "stop":
            for process in (self.victims.jvm, self.victims.driver):
                if process:
                    os.kill(process, signal.SIGSTOP)
            return  # in the driver: once it is woken
        if fired.action == "kill-worker":
            os.kill(os.getpid(), signal.SIGKILL)
        if fired.action == "kill" and self.victims.jvm:
            os.kill(self.victims.jvm, signal.SIGKILL)
        if fired.action == "kill-python" and self.victims.jvm:
            os.kill(self.victims.jvm, signal.SIGCONT)  # a watched point has stopped it, and nobody else would wake it
        os.kill(self.victims.driver, signal.SIGKILL)
        time.sleep(60)  # a worker outlives its driver by moments; it must not go on writing as if nothing had happened


__all__ = ["ACTIONS", "Failpoint", "Failpoints", "VARIABLE", "Victims", "armed_file", "parse"]
