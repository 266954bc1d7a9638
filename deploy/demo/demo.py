"""The demo, step by step: stack, workload, drivers killed in the middle of batches, drain, reconcile, verdict."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

from checkpoints.journal import Journal
from checkpoints.layout import committed_kafka_offsets
from deploy.demo.driver import Driver
from deploy.demo.measures import Lag, Progress, caught_up, lag
from deploy.demo.target import require_empty
from deploy.local.stack import Stack, StackConfig, StackStatus
from deploy.local.xdr import control
from deploy.paths import work_folder
from pipelines.flow import load_flow
from pipelines.flow.model import Flow
from pipelines.kafka_offsets import Broker
from pipelines.reconcile.report import Reconciliation, reconcile
from pipelines.session import build_session, close_session
from schemas.errors import Terminal
from sinks.delta.ledger import LedgerTable

KILL_POINTS = (
    "fast:mid_sink events=40",  # some records of a batch written, others not
    "bulk:after_history",  # history appended, its account not yet kept
    "fast:after_journal after=2",  # everything done but Spark's own commit file
)
EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
FLOWS = {"avro": "payments-avro.yaml", "kafka-avro": "payments-registry.yaml", "auto": "payments-registry.yaml"}
"""The example flow of a format; payments.yaml for those that need nothing but their name."""
TOLERANCE_S = 3.0
KILL_PATIENCE_S = 300.0
STEADY_S = 10.0
STEADY_PATIENCE_S = 120.0
MAX_WORKLOAD_S = 1_800
DRAIN_PATIENCE_S = 300.0
POLL_S = 0.1
SAY_S, SAY_THE_SAME_S = 5.0, 15.0

SHORT_LIVED = "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=240m -XX:+UseSerialGC"
"""For JVMs that live for a minute: on two cores an optimising compiler and a parallel collector would take more than they give.

With one compiler a JVM reserves 48 MB for code instead of its usual 240, and a driver kept busy has filled them within a minute.
"""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What the demo is asked to do. aerospike, namespace: a real cluster to mirror into, instead of the embedded node.

    kill_points: fail points at which a driver is killed, one driver each.
    """

    seed: int = 1
    rate: int = 200
    seconds: int = 30
    message_format: str = "json"
    aerospike: str | None = None
    namespace: str = "mirror"
    clear: bool = False
    keep: bool = False
    folder: Path | None = None
    kill_points: tuple[str, ...] = KILL_POINTS


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What happened, for people and machines. `lag_all`: over the whole run, crashes included; `lag_steady`: once caught up."""

    events: int
    kills: int
    kills_due: int
    kill_evidence: tuple[dict[str, Any], ...]
    lost: int
    doubled: int
    differing: int
    balanced: bool
    seconds: float
    events_per_second: float
    lag_all: Lag | None
    lag_steady: Lag | None
    workload: dict[str, Any]
    shipped: dict[str, str]
    ledger: tuple[dict[str, Any], ...]
    reconciliation: dict[str, Any]

    @property
    def good(self) -> bool:
        """Whether the demo proved what it claims, the kills included."""
        return not (self.lost or self.doubled or self.differing) and self.balanced and self.kills >= self.kills_due

    @property
    def verdict(self) -> str:
        """The closing line."""
        return (
            f"demo: {self.events} events, {self.kills} kills, {self.lost} lost, {self.doubled} doubled, "
            f"{self.differing} differing records"
        )

    def as_dict(self) -> dict[str, Any]:
        """For `--output json`."""
        lags = {name: value._asdict() if value else None for name, value in (("all", self.lag_all), ("steady", self.lag_steady))}
        fields = {name: value for name, value in asdict(self).items() if not name.startswith("lag_")}
        return {**fields, "lag": lags, "good": self.good, "verdict": self.verdict}


def run_demo(options: DemoOptions, say: Say) -> DemoResult:
    """Run everything and judge it. Leaves nothing running unless `keep`. Raises what a part refused."""
    root = _root(options.folder)
    stack = Stack(stack_folder(options.folder))
    stack.down(purge=True)
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    with ExitStack() as cleanup:
        if not options.keep:
            cleanup.callback(stack.down, purge=True)
        return _Demo(options, stack, root, say, cleanup).run()


def _root(folder: Path | None) -> Path:
    return folder or work_folder() / "demo"


def stack_folder(folder: Path | None) -> Path:
    """Where the stack of a demo in `folder` (None: the usual one) has its state, data and logs."""
    return _root(folder) / "stack"


class _Demo:
    def __init__(self, options: DemoOptions, stack: Stack, root: Path, say: Say, cleanup: ExitStack) -> None:
        self._options = options
        self._stack = stack
        self._root = root
        self._say = say
        self._cleanup = cleanup
        self._progress = Progress()
        self._environment: dict[str, str] = {}
        self._flow = EXAMPLES / FLOWS.get(options.message_format, "payments.yaml")

    def run(self) -> DemoResult:
        status = self._start_stack()
        source, kafka = status.aerospike.address, status.kafka.address
        if not (source and kafka):
            raise Terminal("E490", "the local stack has no addresses")
        self._environment = {
            "MILLRACE_KAFKA": kafka,
            "MILLRACE_AEROSPIKE": source,
            "MILLRACE_MIRROR": self._options.aerospike or source,
            "MILLRACE_MIRROR_NAMESPACE": self._options.namespace,
            "MILLRACE_FORMAT": self._options.message_format,
            "MILLRACE_REGISTRY": (status.registry.address or "") if status.registry else "",
            "JAVA_TOOL_OPTIONS": SHORT_LIVED,
            "PYTHONPATH": os.pathsep.join([str(EXAMPLES.parent), os.environ.get("PYTHONPATH", "")]),
        }
        with _working_in(self._root):
            flow = load_flow(self._flow, {**os.environ, **self._environment})
            if self._options.aerospike:
                require_empty(flow, clear=self._options.clear)
            began = time.monotonic()
            workload = self._start_workload(source)
            kills = self._crash_drivers()
            account = self._finish_workload(workload, source, began)
            shipped = control.shipped(source, "payments")[0]
            self._steady = lag(caught_up(self._progress.batches("fast", self._progress.driver)))
            with _session_meanwhile(flow) as session:
                self._drain(flow)
                seconds = time.monotonic() - began
                return self._judge(flow, session.result(), kills, account, shipped, seconds)

    def _start_stack(self) -> StackStatus:
        self._say(
            "Starting a Kafka broker and an embedded Aerospike node whose changes are shipped late, twice and out of order."
        )
        config = StackConfig(with_registry=self._options.message_format in ("kafka-avro", "auto")).with_xdr_options(
            format=self._options.message_format, duplicates=0.05, reorder=0.05, seed=self._options.seed
        )
        return self._stack.up(config, report=lambda line: self._say(f"  {line}"))

    def _start_workload(self, source: str) -> "subprocess.Popen[bytes]":
        options = self._options
        self._say(
            f"Writing {options.rate:,} payment operations a second, for {options.seconds} s or longer (seed {options.seed})."
        )
        account = self._root / "workload.json"
        command = [sys.executable, "-m", "deploy.cli", "simulate", "payments", "--aerospike", source, "--namespace", "payments"]
        command += ["--rate", str(options.rate), "--seconds", str(MAX_WORKLOAD_S), "--seed", str(options.seed)]
        with (self._root / "workload.log").open("wb") as log:
            process = subprocess.Popen(
                [*command, "--account", str(account), "--output", "json"],
                env={**os.environ, **self._environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._cleanup.callback(_end, process)
        return process

    def _crash_drivers(self) -> list[dict[str, Any]]:
        armed = self._root / "failpoints"
        for number, point in enumerate(self._options.kill_points, 1):
            self._say(f"Driver {number} runs the flow; it will be killed (SIGKILL) at {point!r}.")
            self._start_driver(armed, point).wait_killed(KILL_PATIENCE_S)
            self._say(f"  killed; the mirror had {self._events('fast'):,} events, the history {self._events('bulk'):,}.")
        self._say(f"Driver {len(self._options.kill_points) + 1} runs the flow to the end.")
        self._last = self._start_driver(armed, None)
        fired = armed.with_name(armed.name + ".fired")
        return [json.loads(line) for line in fired.read_text().splitlines()]

    def _start_driver(self, armed: Path, point: str | None) -> Driver:
        self._progress.driver += 1
        driver = Driver(self._flow, self._root, self._environment, armed, point, self._progress.heard)
        self._cleanup.callback(driver.kill)
        return driver

    def _events(self, lane: str) -> int:
        return sum(batch["outputs"][0]["events_in"] for batch in self._progress.batches(lane))

    def _finish_workload(self, process: "subprocess.Popen[bytes]", source: str, began: float) -> dict[str, Any]:
        """Let the last driver run caught up for a while, then end the traffic and wait until all of it is in Kafka."""
        said = resumed = time.monotonic()
        line = ""
        steady_since: float | None = None
        while process.poll() is None:
            now = time.monotonic()
            steady = bool(caught_up(self._progress.batches("fast", self._progress.driver)))
            steady_since = steady_since or (now if steady else None)
            if now - began > self._options.seconds and (
                (steady_since is not None and now - steady_since > STEADY_S) or now - resumed > STEADY_PATIENCE_S
            ):
                process.terminate()
                process.wait()
            if now - said > (SAY_S if line != self._line() else SAY_THE_SAME_S):
                said, line = now, self._line()
                self._say(f"  {line}")
            time.sleep(POLL_S)
        if process.returncode:
            raise Terminal("E490", f"the workload failed with status {process.returncode}", log=self._root / "workload.log")
        self._say("The workload is done. Waiting until every change is in Kafka, and read from there.")
        control.flush(source, "payments")
        account: dict[str, Any] = json.loads((self._root / "workload.json").read_text())
        return dict(account.get("totals", account))

    def _line(self) -> str:
        last = self._progress.last("fast")
        if last is None:
            return "the driver is starting"
        behind = f", {last['lag_events']:,} behind" if last["lag_events"] else ""
        return f"{self._events('fast'):,} events mirrored, newest {last['lag_s']:.1f} s old{behind}"

    def _drain(self, flow: Flow) -> None:
        broker = Broker(flow.source.client_options())
        partitions = broker.partitions(flow.source.topics)
        end = broker.readable(partitions)
        give_up = time.monotonic() + DRAIN_PATIENCE_S
        while any(committed_kafka_offsets(flow.lane_checkpoint(lane)) != end for lane in flow.lanes):
            if not self._last.running or time.monotonic() > give_up:
                raise Terminal("E490", "the flow did not read everything", log=self._root / "driver.log")
            time.sleep(POLL_S)
        self._last.stop()
        self._say("Everything is read; the last driver stopped in order.")

    def _judge(
        self,
        flow: Flow,
        session: SparkSession,
        kills: list[dict[str, Any]],
        account: dict[str, Any],
        shipped: dict[str, str],
        seconds: float,
    ) -> DemoResult:
        self._say("Comparing source, mirror and history, record by record.")
        found: Reconciliation = reconcile(flow, session, TOLERANCE_S)
        ledger = _ledger_totals(flow)
        events = max((check.events for check in found.offsets), default=0)
        return DemoResult(
            events=events,
            kills=len(kills),
            kills_due=len(self._options.kill_points),
            kill_evidence=tuple(kills),
            lost=found.lost,
            doubled=found.doubled,
            differing=found.differing,
            balanced=all(row["events_in"] == events for row in ledger) and all(row["balanced"] for row in ledger),
            seconds=round(seconds, 1),
            events_per_second=round(events / seconds, 1),
            lag_all=lag(self._progress.batches("fast")),
            lag_steady=self._steady,
            workload=account,
            shipped=shipped,
            ledger=tuple(ledger),
            reconciliation=found.as_dict(),
        )


_SUMMED = (
    *("messages", "rows_read", "unselected", "events_in", "applied", "superseded", "duplicate", "dead"),
    *("past_horizon", "unversioned"),
)


def _ledger_totals(flow: Flow) -> list[dict[str, Any]]:
    """The ledger summed per output; `replayed` batches count once, as they stand in it once."""
    totals: dict[str, dict[str, Any]] = {}
    for row in LedgerTable(flow.name, flow.ledger.path).read(Journal(flow.checkpoint)):
        total = totals.setdefault(row.output, {"lane": row.lane, "output": row.output, "batches": 0, "balanced": True})
        total["batches"] += 1
        for name in _SUMMED:
            total[name] = total.get(name, 0) + getattr(row, name)
        total["balanced"] &= row.events_in == row.applied + row.superseded + row.duplicate + row.dead
    return list(totals.values())


@contextmanager
def _session_meanwhile(flow: Flow) -> Iterator[Future[SparkSession]]:
    """The session of the comparison, started while the flow reads the rest: that is waiting for a trigger, mostly."""
    settings = {"spark.driver.extraJavaOptions": f"-Xss16m {SHORT_LIVED}", **flow.spark.overrides()}
    with ThreadPoolExecutor(1) as starter:
        session = starter.submit(build_session, "millrace demo", settings, flow.spark.master)
        try:
            yield session
        finally:
            if session.exception() is None:
                close_session(session.result())


def _end(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        process.kill()
        process.wait()


@contextmanager
def _working_in(folder: Path) -> Iterator[None]:
    """The example flow's paths are relative to where the driver runs; so are they here."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


__all__ = ["DemoOptions", "DemoResult", "KILL_POINTS", "SHORT_LIVED", "run_demo", "stack_folder"]
