"""A driver stopped for longer than its lease, replaced, and woken up again changes nothing; and stopping means stopping."""

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from checkpoints.layout import read_lane
from checkpoints.tokens import file_of
from pipelines.failpoints import VARIABLE
from pipelines.session import CLASS_ARCHIVE, jar_paths
from tests.integration.test_run import OUTPUTS, Bench, assert_exact, bench_at, changes_of
from tests.support.fixtures_stack import AerospikeUnderTest, KafkaUnderTest
from tests.support.flow_process import FlowProcess, ledger_of, run_once
from tests.support.spark import ROOT

pytestmark = [pytest.mark.spark, pytest.mark.stack, pytest.mark.timeout(1200)]
EXPIRY_S = 3.0
PATIENCE_S = 240.0


@pytest.fixture
def bench(tmp_path: Path, kafka_broker: KafkaUnderTest, aerospike_node: AerospikeUnderTest, topic: str) -> Bench:
    more = f"lease: {{expiry_s: {EXPIRY_S}}}\n"
    return bench_at(tmp_path, kafka_broker.address, aerospike_node.address, aerospike_node.namespace, topic, more)


def until(condition: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.05)


class Armed:
    """Points at which one driver sleeps."""

    def __init__(self, file: Path, *points: str) -> None:
        self.file = file
        file.write_text("".join(f"{point}\n" for point in points))

    @property
    def environment(self) -> dict[str, str]:
        return {VARIABLE: str(self.file)}

    @property
    def fired(self) -> list[dict[str, Any]]:
        log = self.file.with_name(f"{self.file.name}.fired")
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def lease_of(bench: Bench, token: int) -> Path:
    return bench.checkpoint / file_of(token)


def silent(bench: Bench, token: int) -> Callable[[], bool]:
    """Whether a driver's heartbeat is older than its lease."""
    return lambda: time.time() - lease_of(bench, token).stat().st_mtime > EXPIRY_S + 0.2


def test_a_driver_stopped_longer_than_its_lease_and_woken_up_changes_nothing(bench: Bench, tmp_path: Path) -> None:
    """First with its JVM, which nobody can end from another machine; then alone, when its JVM is ended by who takes over."""
    changes = changes_of(bench, 0, 200)
    bench.produce(changes)
    points = Armed(tmp_path / "a", "fast:mid_sink events=20 action=sleep seconds=12", "bulk:after_history action=sleep seconds=6")
    with FlowProcess(bench.flow, environment=points.environment) as first:
        first.wait_for(lambda _: len(points.fired) == 2, "both lanes asleep in the middle of a batch")
        record = json.loads(lease_of(bench, 1).read_text())
        os.kill(first.pid, signal.SIGSTOP)
        os.kill(record["jvm"], signal.SIGSTOP)
        until(silent(bench, 1), "a heartbeat too old")
        old = lease_of(bench, 1).stat()
        lease_of(bench, 1).write_text(json.dumps({**record, "machine": "another", "host": "elsewhere"}))
        os.utime(lease_of(bench, 1), ns=(old.st_atime_ns, old.st_mtime_ns))

        again = Armed(tmp_path / "b", "fast:before_sink after=2 action=sleep seconds=2")
        with FlowProcess(bench.flow, environment=again.environment) as second:
            second.wait_for(lambda lines: any(line["kind"] == "took_over" for line in lines), "the take-over")
            (told,) = second.of_kind("took_over")
            assert (told["pid"], told["host"], told["token"], told["jvm_ended"]) == (first.pid, "elsewhere", 1, False)
            assert told["age_s"] > EXPIRY_S
            for output in OUTPUTS:
                second.wait_for_events(output, len(changes))
            more = changes_of(bench, 200, 200)  # newer versions of the same records: the first driver's counts would be others
            bench.produce(more)
            changes += more
            for output in OUTPUTS:
                second.wait_for_events(output, len(changes))

            os.kill(record["jvm"], signal.SIGCONT)
            os.kill(first.pid, signal.SIGCONT)
            assert first.wait() == 4, first.transcript()
            assert "E424" in first.errors and f"process {second.pid}" in first.errors, first.transcript()
            assert not first.of_kind("batch"), "nothing it counted was shown or kept"

            more = changes_of(bench, 400, 100)
            bench.produce(more)
            changes += more
            second.wait_for(lambda _: bool(again.fired), "the second driver asleep before its mirror")
            os.kill(second.pid, signal.SIGSTOP)
            until(silent(bench, 2), "a heartbeat too old")
            with FlowProcess(bench.flow) as third:
                third.wait_for(lambda lines: any(line["kind"] == "started" for line in lines), "the third driver")
                (told,) = third.of_kind("took_over")
                assert (told["pid"], told["token"], told["jvm_ended"]) == (second.pid, 2, True)
                os.kill(second.pid, signal.SIGCONT)
                assert second.wait() == 4 and "E424" in second.errors, second.transcript()
                fresh = changes_of(bench, 500, 50)
                bench.produce(fresh)
                changes += fresh
                until(lambda: in_ledger(bench) == dict.fromkeys(OUTPUTS, len(changes)), "a fresh change gets through")
                third.send(signal.SIGTERM)
                assert third.wait() == 0, third.transcript()
    assert_exact(bench, changes)


def in_ledger(bench: Bench) -> dict[str, int]:
    _, ledger = ledger_of(bench.flow)
    return {total["output"]: total["events_in"] for total in ledger["totals"]}


def assert_whole_batches(bench: Bench) -> None:
    """Every batch with an account is committed, and the other way round."""
    _, ledger = ledger_of(bench.flow)
    for lane, output in (("fast", "mirror"), ("bulk", "history")):
        accounts = [row["batch_id"] for row in ledger["batches"] if row["output"] == output]
        assert max(accounts) == read_lane(str(bench.checkpoint / lane)).last_commit, f"{lane}: a batch was cut"


def test_under_spark_submit_sigterm_lets_the_batch_finish(bench: Bench, tmp_path: Path) -> None:
    import pyspark

    changes = changes_of(bench, 0, 100)
    bench.produce(changes)
    points = Armed(tmp_path / "armed", "fast:after_sink action=sleep seconds=3")
    submit = Path(pyspark.__file__).parent / "bin" / "spark-submit"
    jars = ",".join(map(str, jar_paths()))
    archive = jar_paths()[0].with_name(CLASS_ARCHIVE)
    first = next(str(jar) for jar in jar_paths() if jar.name.startswith("hadoop-bare"))  # the archive's class path begins with it
    log = f"-Xss16m -XX:SharedArchiveFile={archive} -Dlog4j2.configurationFile={(ROOT / 'pipelines' / 'log4j2.xml').as_uri()}"
    launcher = [
        str(submit),
        "--master",
        "local[2]",
        "--jars",
        jars,
        "--driver-class-path",
        first,
        "--driver-java-options",
        log,
        str(ROOT / "deploy" / "cli.py"),
    ]
    # Which Python spark-submit starts: of this virtual environment, not the first of the path.
    environment = {**points.environment, "PYSPARK_PYTHON": sys.executable}
    with FlowProcess(bench.flow, environment=environment, launcher=launcher) as process:
        process.wait_for(lambda _: bool(points.fired), "a batch whose mirror is written and whose account is not")
        process.send(signal.SIGTERM)  # to the JVM: spark-submit has become it
        assert process.wait() in (143, -signal.SIGTERM), process.transcript()
        assert [line["signal"] for line in process.of_kind("stopping")] == ["SIGTERM"], process.transcript()
        assert process.of_kind("stopped") and not process.of_kind("cut"), process.transcript()
    assert_whole_batches(bench)
    run_once(bench.flow)
    assert_exact(bench, changes)


def test_as_process_1_a_batch_that_outlasts_the_drain_time_is_cut_and_repeated(bench: Bench, tmp_path: Path) -> None:
    """As in a container without an init: signals that nobody handles would be ignored. Needs leave to make a pid namespace."""
    changes = changes_of(bench, 0, 100)
    bench.produce(changes)
    points = Armed(tmp_path / "armed", "fast:after_sink action=sleep seconds=120")
    launcher = ["unshare", "--fork", "--pid", "--mount-proc", "--kill-child", sys.executable, "-m", "deploy.cli"]
    with FlowProcess(bench.flow, "--drain-timeout", "1", environment=points.environment, launcher=launcher) as process:
        process.wait_for(lambda _: bool(points.fired), "a batch that sleeps")
        assert points.fired[0]["driver"] == 1
        (child,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(child), signal.SIGTERM)
        assert process.wait() == 3, process.transcript()
        assert process.of_kind("cut") and "E242" in process.errors, process.transcript()
    run_once(bench.flow)
    assert_exact(bench, changes)
    assert_whole_batches(bench)
