"""The local stack as a person uses it: up twice, status, a killed starter, crashes, options, down; nothing left behind."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import aerospike
import pytest

from deploy import cli
from deploy.local import launch, ports
from deploy.local.stack import Stack, StackConfig
from deploy.local.topics import metadata_problem
from schemas.errors import ConfigError
from tests.support.kafka import end_offsets, read_all, wait_for_messages
from tests.support.leftovers import run_folder

pytestmark = pytest.mark.stack

ROOT = Path(__file__).resolve().parents[2]
LOCAL = StackConfig()


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with run_folder() as parent:
        yield parent / "stack"


@pytest.fixture(scope="module")
def stack(folder: Path) -> Iterator[Stack]:
    """One stack for the tests of this file; each leaves it up."""
    made = Stack(folder)
    made.up(LOCAL)
    yield made
    made.down()


@pytest.fixture(autouse=True)
def _no_real_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MILLRACE_KAFKA", raising=False)
    monkeypatch.delenv("MILLRACE_AEROSPIKE", raising=False)


def pids(stack: Stack) -> tuple[int | None, int | None]:
    status = stack.status()
    return status.kafka.pid, status.aerospike.pid


def wait_until(condition: Callable[[], object], what: str, timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"after {timeout_s} s: not yet {what}"
        time.sleep(0.05)


def put(stack: Stack, key: int, bins: dict[str, int]) -> None:
    node = stack.node()
    client = aerospike.client({"hosts": [(node.host, node.port)]}).connect()
    client.put(("payments", "cards", key), bins)
    client.close()


def get(stack: Stack, key: int) -> dict[str, int]:
    node = stack.node()
    client = aerospike.client({"hosts": [(node.host, node.port)]}).connect()
    try:
        bins: dict[str, int] = client.get(("payments", "cards", key))[2]
        return bins
    finally:
        client.close()


def test_a_second_up_starts_nothing(stack: Stack) -> None:
    before, told = pids(stack), []
    assert all(before)
    assert stack.up(report=told.append).healthy
    assert pids(stack) == before
    assert not [line for line in told if "starting" in line]


def test_status_as_json_gives_addresses_that_answer(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["local", "status", "--folder", str(stack.root), "--output", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["healthy"] and told["topics"] == ["xdr.payments"] and told["namespaces"] == ["payments", "mirror", "test"]
    assert metadata_problem(told["kafka"]["address"]) is None
    host, port = told["aerospike"]["address"].split(":")
    assert ports.answers(host, int(port))
    assert told["kafka"]["pid"] == stack.broker().process.pid


def test_addresses_for_the_shell_do_not_turn_the_stack_into_a_foreign_one(
    stack: Stack, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cli.main(["local", "env", "--folder", str(stack.root)]) == 0
    for line in capsys.readouterr().out.splitlines():
        name, _, value = line.removeprefix("export ").partition("=")
        monkeypatch.setenv(name, value)
    before = pids(stack)
    assert cli.main(["local", "up", "--folder", str(stack.root)]) == 0
    assert pids(stack) == before and all(before)


def test_a_change_in_the_source_becomes_a_message(stack: Stack) -> None:
    address = stack.status().kafka.address
    assert address
    held = sum(end_offsets(address, "xdr.payments").values())
    put(stack, 1, {"amount": 7})
    wait_for_messages(address, "xdr.payments", held + 1)
    assert any(b'"amount"' in (message.value or b"") for message in read_all(address, "xdr.payments"))


def test_after_crashes_up_brings_back_the_same_addresses_and_data(stack: Stack) -> None:
    put(stack, 2, {"amount": 8})
    address = stack.status().kafka.address
    assert address
    wait_for_messages(address, "xdr.payments", 1)
    held = sum(end_offsets(address, "xdr.payments").values())
    before = stack.status()
    assert stack.broker().kill() and stack.node().kill()
    down = stack.status()
    assert (down.kafka.state, down.aerospike.state) == ("stopped", "stopped")
    assert cli.main(["local", "status", "--folder", str(stack.root)]) == 1
    after = stack.up()
    assert after.healthy
    assert (after.kafka.address, after.aerospike.address) == (before.kafka.address, before.aerospike.address)
    assert sum(end_offsets(address, "xdr.payments").values()) >= held
    assert get(stack, 2) == {"amount": 8}


def test_a_part_that_hangs_is_unhealthy_not_running(stack: Stack) -> None:
    node = stack.node()
    assert node.process.signal(signal.SIGSTOP)
    try:
        hung = stack.status().aerospike
        assert hung.state == "unhealthy" and hung.problem
    finally:
        node.process.signal(signal.SIGCONT)
    wait_until(lambda: stack.status().healthy, "healthy again")


def test_changed_options_restart_only_the_part_they_concern(stack: Stack) -> None:
    kafka_pid, node_pid = pids(stack)
    told: list[str] = []
    stack.up(stack.config().with_xdr_options(format="flat-json", duplicates=0.5, seed=7), report=told.append)
    try:
        after = pids(stack)
        assert after[0] == kafka_pid and after[1] and after[1] != node_pid
        assert any("options changed" in line for line in told)
        assert "format=flat-json" in stack.config().xdr[0] and "seed=7" in stack.config().xdr[0]
    finally:
        stack.up(LOCAL)


def test_a_mistake_in_options_stops_before_anything_starts(stack: Stack) -> None:
    before = pids(stack)
    with pytest.raises(ConfigError, match="duplicats"):
        stack.up(replace(stack.config(), xdr=("namespace=payments,topic=xdr.payments,duplicats=0.5",)))
    assert pids(stack) == before
    assert stack.up().healthy, "the mistake was not remembered"


def test_real_servers_are_used_and_never_stopped(stack: Stack) -> None:
    """Another stack that is told to use this one's servers."""
    status = stack.status()
    guest = Stack(stack.root.parent / "guest")
    told = guest.up(StackConfig(kafka=status.kafka.address, aerospike=status.aerospike.address))
    assert (told.kafka.state, told.aerospike.state) == ("external", "external") and told.healthy
    assert told.kafka.pid is None
    with pytest.raises(ConfigError, match="E142"):
        guest.broker()
    assert guest.down() is False
    assert stack.status().healthy


def test_a_real_server_that_does_not_answer_is_refused(stack: Stack) -> None:
    with pytest.raises(ConfigError, match=r"E140.*127\.0\.0\.1:1"):
        Stack(stack.root.parent / "guest2").up(StackConfig(kafka="127.0.0.1:1"))


def test_logs_of_both_parts_can_be_read(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["local", "logs", "--folder", str(stack.root), "--lines", "5"]) == 0
    printed = capsys.readouterr().out
    assert "kafka | " in printed and "aerospike | " in printed
    assert cli.main(["local", "logs", "kafka", "--folder", str(stack.root)]) == 0
    printed = capsys.readouterr().out
    assert "Kafka Server started" in printed and "aerospike | " not in printed


def test_after_the_starter_was_killed_down_leaves_no_process_and_frees_the_ports(tmp_path: Path) -> None:
    """SIGKILL to `millrace local up` as soon as the broker's process exists, long before the stack is up."""
    with stack_folder(tmp_path) as folder:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MILLRACE_")}
        command = [sys.executable, "-m", "deploy.cli", "local", "up", "--folder", str(folder)]
        starter = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)
        broker_file = folder / "kafka" / "kafka.pid"
        wait_until(broker_file.exists, "broker's process started", 60)
        starter.send_signal(signal.SIGKILL)
        starter.wait()
        broker = json.loads(broker_file.read_text())["pid"]
        assert launch.start_mark(broker), "the broker outlives its starter"
        left = Stack(folder)
        config = left.config()
        assert config.kafka_port and config.aerospike_port
        assert cli.main(["local", "down", "--folder", str(folder)]) == 0
        assert not members(broker), "the whole process group is gone"
        assert all(ports.is_free(port) for port in (config.kafka_port, config.controller_port or 0, config.aerospike_port))
        assert left.down() is False


def test_down_ends_everything_and_purge_forgets(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    groups = [pid for pid in pids(stack) if pid]
    config = stack.config()
    assert len(groups) == 2
    assert cli.main(["local", "down", "--folder", str(stack.root)]) == 0
    assert not [pid for group in groups for pid in members(group)]
    assert config.kafka_port and config.aerospike_port
    assert ports.is_free(config.kafka_port) and ports.is_free(config.aerospike_port)
    assert stack.config() == config and (stack.root / "kafka").exists(), "ports and data stay"
    assert cli.main(["local", "down", "--purge", "--folder", str(stack.root)]) == 0
    assert not (stack.root / "kafka").exists() and not (stack.root / "aerospike").exists()
    assert stack.config().kafka_port is None
    capsys.readouterr()
    assert cli.main(["local", "down", "--folder", str(stack.root)]) == 0
    assert "nothing was running" in capsys.readouterr().out


def members(group: int) -> list[int]:
    """Pids of live processes in a process group."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] not in "ZX":
            found.append(int(entry.parent.name))
    return found


@contextmanager
def stack_folder(parent: Path) -> Iterator[Path]:
    """A stack's folder that is taken down even when the test fails."""
    try:
        yield parent / "stack"
    finally:
        Stack(parent / "stack").down()
