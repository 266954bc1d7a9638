"""A `millrace run` as users start it: a process of its own, with what it says read as it says it."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any, Self
from unittest.mock import patch

from pyspark.sql import SparkSession

from deploy.demo.demo import SHORT_LIVED
from pipelines.flow import load_flow
from pipelines.progress import TextReport
from pipelines.reconcile.report import Reconciliation, reconcile
from pipelines.runner import run_flow
from tests.support.spark import ROOT

START_S = 600.0
"""Patience with a JVM on a machine that does other things, too."""

Line = dict[str, Any]


class FlowProcess:
    """`millrace run FLOW --output json` in the background. Leaving the context kills what is left of it.

    launcher: what stands before `run`.
    """

    def __init__(
        self,
        flow: Path,
        *options: str,
        environment: Mapping[str, str] | None = None,
        launcher: Sequence[str] = (sys.executable, "-m", "deploy.cli"),
    ) -> None:
        self.lines: list[Line] = []
        self._said = threading.Condition()
        self._process = subprocess.Popen(
            [*launcher, "run", str(flow), "--output", "json", *options],
            cwd=ROOT,
            env={**os.environ, "JAVA_TOOL_OPTIONS": SHORT_LIVED, **(environment or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._errors: list[str] = []
        self._readers = [threading.Thread(target=self._read_lines), threading.Thread(target=self._read_errors)]
        for reader in self._readers:
            reader.start()

    @property
    def pid(self) -> int:
        """The driver's process."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the driver's process lives."""
        return self._process.poll() is None

    @property
    def errors(self) -> str:
        """What it has said on standard error."""
        return "".join(self._errors)

    def of_kind(self, kind: str) -> list[Line]:
        """The lines of one kind so far."""
        with self._said:
            return [line for line in self.lines if line["kind"] == kind]

    def wait_for(self, wanted: Callable[[list[Line]], bool], what: str, timeout_s: float = START_S) -> None:
        """Wait until `wanted` holds for the lines so far. Fails with everything said when the process ends or time runs out."""
        deadline = time.monotonic() + timeout_s
        with self._said:
            while not wanted(self.lines):
                ended = self._process.poll() is not None and not any(reader.is_alive() for reader in self._readers)
                assert not ended and time.monotonic() < deadline, f"never saw {what}\n{self.transcript()}"
                self._said.wait(0.2)

    def wait_for_events(self, output: str, events: int) -> None:
        """Wait until the batches shown for `output` add up to `events` taken in."""
        self.wait_for(lambda lines: taken_in(lines, output) >= events, f"{events} events in {output}")

    def wait(self, timeout_s: float = START_S) -> int:
        """Wait for the end; the exit status, negative for a signal."""
        try:
            status = self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {timeout_s} s\n{self.transcript()}") from None
        for reader in self._readers:
            reader.join()
        return status

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the driver's process only."""
        self._process.send_signal(number)

    def transcript(self) -> str:
        """Everything said, for a failed test."""
        said = "\n".join(json.dumps(line)[:400] for line in self.lines[-40:])
        return f"exit status {self._process.poll()}\n{said}\n--- stderr\n{self.errors[-6000:]}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self.wait()

    def _read_lines(self) -> None:
        assert self._process.stdout is not None
        for text in self._process.stdout:
            try:
                line = json.loads(text)
            except ValueError:
                assert not text.endswith("\n"), text  # the last line of a killed driver may be torn, no other
                continue
            with self._said:
                self.lines.append(line)
                self._said.notify_all()

    def _read_errors(self) -> None:
        assert self._process.stderr is not None
        for text in self._process.stderr:
            self._errors.append(text)


def taken_in(lines: list[Line], output: str) -> int:
    """Events that the batches shown took into an output."""
    return sum(
        row["events_in"] for line in lines if line["kind"] == "batch" for row in line["outputs"] if row["output"] == output
    )


def run_once(flow: Path, *options: str, environment: Mapping[str, str] | None = None) -> FlowProcess:
    """`millrace run FLOW --once` to its end; fails unless it ends well."""
    with FlowProcess(flow, "--once", *options, environment=environment) as process:
        status = process.wait()
        assert status == 0, process.transcript()
        return process


def run_here(flow: Path, spark: SparkSession) -> None:
    """As `millrace run FLOW --once`, in this process's own Spark session: another JVM would take 15 seconds of CPU time.

    For tests of what a flow writes; those of how it starts, dies and ends have a process of their own. Raises what it raises.
    """
    with (
        patch("pipelines.runner.build_session", return_value=spark) as begun,
        patch("pipelines.runner.close_session") as ended,
    ):
        run_flow(load_flow(flow), TextReport(StringIO()), once=True)
    assert (begun.call_count, ended.call_count) == (1, 1), "the flow did not use the session"


def reconciled(flow: Path, spark: SparkSession) -> Reconciliation:
    """What `millrace reconcile` compares, in this process's own Spark session: another JVM would take half a minute."""
    found = reconcile(load_flow(flow), spark, 3.0)
    assert found.good, found.as_dict()
    return found


def ledger_of(flow: Path) -> tuple[int, dict[str, Any]]:
    """`millrace ledger FLOW --output json`: exit status and answer."""
    done = subprocess.run(
        [sys.executable, "-m", "deploy.cli", "ledger", str(flow), "--output", "json", "--last", "100000"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr
    return done.returncode, json.loads(done.stdout)


__all__ = ["FlowProcess", "ledger_of", "reconciled", "run_here", "run_once", "taken_in"]
