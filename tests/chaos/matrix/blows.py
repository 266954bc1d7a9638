"""Blows that fall on processes of the flow: each waits until it has really fallen, and leaves its evidence."""

import contextlib
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from tests.chaos.matrix.running import DidNotHappen, Evidence, NotDefended, Running

LEASE_S = 3.0
ENDS_WITHIN_S = 60.0


class Blow(Protocol):
    """Something that happens to a flow. name: unique in its scenario."""

    @property
    def name(self) -> str:
        """What is shown."""

    def strike(self, run: Running) -> Evidence:
        """Strike; return the evidence. Counts its kills in `run`. Raises DidNotHappen."""


@dataclass(frozen=True)
class KillDriver:
    """SIGKILL for the driver, Python and JVM, at a fail point.

    running: how often it is armed only once the driver has done batches; else from the driver's start, which costs less time.
    """

    line: str
    running: float = 1 / 3

    @property
    def name(self) -> str:
        """The fail point."""
        return self.line

    def strike(self, run: Running) -> Evidence:
        """Wait for the driver's death."""
        point = self.line.split()[0]
        since = len(run.fired())
        warm = run.driver is not None or run.rng.random() < self.running
        if warm:
            run.warm()
        run.require_driver(self.line)
        run.await_death(self.line)
        struck = run.fired()[since:]
        if [record["point"] for record in struck] != [point]:
            raise DidNotHappen(f"{self.line}: the driver died, but the evidence is {struck}")
        run.kills += 1
        return {**struck[0], "armed": "running" if warm else "at the start"}


@dataclass(frozen=True)
class KillWorker:
    """SIGKILL for the Python worker that reaches a fail point; driver and JVM live on."""

    line: str

    @property
    def name(self) -> str:
        """The fail point and whom it takes."""
        return f"{self.line} (worker)"

    def strike(self, run: Running) -> Evidence:
        """Wait until the worker is gone."""
        since = len(run.fired())
        run.require_driver(f"{self.line} action=kill-worker")
        record = run.await_fired(self.line.split()[0], since)
        await_gone(record["pid"])
        run.kills += 1
        return record


@dataclass(frozen=True)
class FreezeDriver:
    """SIGSTOP for driver and JVM at a fail point, and SIGCONT after a while. No kill: the driver goes on as if nothing were."""

    line: str
    seconds: float

    @property
    def name(self) -> str:
        """The fail point and how long."""
        return f"{self.line}, stopped for {self.seconds:.0f} s"

    def strike(self, run: Running) -> Evidence:
        """Stop, look that it stands still, wake."""
        since = len(run.fired())
        driver = run.warm()
        run.require_driver(f"{self.line} action=stop")
        record = run.await_fired(self.line.split()[0], since)
        stopped = await_stopped(record)
        said = len(driver.lines)
        time.sleep(self.seconds)
        quiet = len(driver.lines) - said
        wake(stopped)
        driver.wait_for(lambda lines: any(line["kind"] == "batch" for line in lines[said:]), "a batch after the wake")
        return {**record, "stopped_s": self.seconds, "lines_while_stopped": quiet}


@dataclass(frozen=True)
class ReplaceDriver:
    """SIGSTOP for driver and JVM at a fail point for longer than the lease; a second driver takes over; the first is woken.

    It must end by itself with E424 and change nothing. The scenario's flow has a lease of LEASE_S.
    """

    line: str

    @property
    def name(self) -> str:
        """The fail point."""
        return f"{self.line}, stopped, replaced, woken"

    def strike(self, run: Running) -> Evidence:
        """Stop the first, start the second, wake the first and see it go."""
        since = len(run.fired())
        first = run.warm()
        run.require_driver(f"{self.line} action=stop")
        record = run.await_fired(self.line.split()[0], since)
        pids = await_stopped(record)
        time.sleep(LEASE_S + 1.0)
        second = run.start_another()
        second.wait_for(lambda lines: any(line["kind"] == "took_over" for line in lines), "the take-over")
        run.warm()
        said = len(first.of_kind("batch"))
        wake(pids)
        try:
            status = first.wait(ENDS_WITHIN_S)
        except AssertionError as error:
            raise DidNotHappen(f"the driver that was replaced goes on\n{error}") from None
        if "E424" not in first.errors or len(first.of_kind("batch")) != said:
            raise NotDefended(f"the driver that was replaced ended with status {status}\n{first.transcript()}")
        return {**record, "took_over": second.of_kind("took_over")[0], "status_when_woken": status}


def _state(pid: int) -> str:
    """The process's state as /proc names it: T for stopped, Z for a zombie, empty for none."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError), open(f"/proc/{pid}/stat") as file:  # noqa: PTH123
        return file.read().rpartition(")")[2].split()[0]
    return ""


def await_gone(pid: int) -> None:
    await_(lambda: _state(pid) in ("", "Z"), f"process {pid} lives on")


def await_stopped(record: Evidence) -> list[int]:
    """Driver and JVM that a fail point has told to stop, once they stand still."""
    pids = [record["driver"], *([record["jvm"]] if record["jvm"] else [])]
    await_state(pids, "T")
    return pids


def wake(pids: list[int]) -> None:
    """SIGCONT, the JVM first; who was killed meanwhile is left alone."""
    for pid in reversed(pids):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def await_state(pids: list[int], state: str) -> None:
    await_(lambda: all(_state(pid) == state for pid in pids), f"processes {pids} are not in state {state}")


def await_(condition: Callable[[], bool], otherwise: str) -> None:
    give_up = time.monotonic() + 30
    while not condition():
        if time.monotonic() > give_up:
            raise DidNotHappen(otherwise)
        time.sleep(0.02)


__all__ = [
    *("Blow", "FreezeDriver", "KillDriver", "KillWorker", "LEASE_S", "ReplaceDriver", "await_gone", "await_state"),
    *("await_stopped", "wake"),
]
