"""Background processes: found again, stopped whole, and never mistaken for another that was given their pid."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploy.local import launch, ports, process

SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); time.sleep(600)",
]
# Waits with the signal blocked: a handler beside a sleep may run just before the sleep begins, which then goes on.
ORDERLY = [
    sys.executable,
    "-c",
    "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM]); print('ready', flush=True);"
    "signal.sigwait([signal.SIGTERM]); print('ended in order')",
]
PARENT = [
    sys.executable,
    "-c",
    "import subprocess, sys, time; c = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']);"
    "print('child', c.pid, flush=True); time.sleep(600)",
]


def wait_until(condition: Callable[[], object], what: str, timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"after {timeout_s} s: not yet {what}"
        time.sleep(0.02)


def runs(pid: int) -> bool:
    return launch.start_mark(pid) is not None


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    for pid_file in tmp_path.glob("*.pid"):
        process.at(pid_file.stem, tmp_path).stop(grace_s=0.1)


def test_started_found_by_name_and_stopped(folder: Path) -> None:
    started = process.start("server", [*SLEEP], folder)
    pid = started.pid
    assert pid and os.getpgid(pid) == pid != os.getpgid(0)
    assert process.at("server", folder).pid == pid
    assert process.start("server", [*SLEEP], folder).pid == pid, "a second start leaves the first alone"
    assert started.command == SLEEP
    assert started.stop() is True
    assert not runs(pid) and not started.alive and not started.pid_file.exists()
    assert started.stop() is False


def test_stop_takes_the_children_along(folder: Path) -> None:
    started = process.start("parent", PARENT, folder)
    wait_until(lambda: "child" in started.log_tail(), "child started")
    child = int(started.log_tail().split()[-1])
    assert runs(child)
    assert started.stop()
    assert not runs(child)


def test_children_whose_leader_died_are_still_stopped(folder: Path) -> None:
    started = process.start("parent", PARENT, folder)
    wait_until(lambda: "child" in started.log_tail(), "child started")
    child, leader = int(started.log_tail().split()[-1]), started.pid
    assert leader
    os.kill(leader, signal.SIGKILL)
    wait_until(lambda: not started.alive, "leader gone")
    assert runs(child)
    assert started.stop()
    assert not runs(child)


def test_one_that_ignores_sigterm_is_killed(folder: Path) -> None:
    started = process.start("stubborn", STUBBORN, folder)
    wait_until(lambda: "ready" in started.log_tail(), "ready")
    pid = started.pid
    assert pid and started.stop(grace_s=0.2)
    assert not runs(pid)


def test_a_stopped_one_is_ended_too(folder: Path) -> None:
    started = process.start("frozen", ORDERLY, folder)
    wait_until(lambda: "ready" in started.log_tail(), "ready")
    assert started.signal(signal.SIGSTOP)
    pid = started.pid
    assert pid and started.stop(grace_s=5)
    assert not runs(pid)
    assert started.log_tail().endswith("ended in order")


def test_kill_leaves_a_pid_file_that_says_nothing_runs(folder: Path) -> None:
    started = process.start("server", SLEEP, folder)
    first = started.pid
    assert started.kill()
    assert started.pid is None and started.pid_file.exists()
    assert started.kill() is False and started.signal(signal.SIGTERM) is False
    again = process.start("server", SLEEP, folder)
    assert again.pid and again.pid != first


def test_a_pid_that_was_handed_out_again_is_left_alone(folder: Path) -> None:
    other = subprocess.Popen(SLEEP, start_new_session=True)
    try:
        record = folder / "server.pid"
        record.write_text(json.dumps({"pid": other.pid, "started": "an earlier boot:1", "command": SLEEP}))
        handle = process.at("server", folder)
        assert not handle.alive
        assert handle.stop() is False and handle.kill() is False and handle.signal(signal.SIGTERM) is False
        assert other.poll() is None and runs(other.pid)
    finally:
        other.kill()
        other.wait()


def test_a_torn_pid_file_counts_as_none(folder: Path) -> None:
    (folder / "server.pid").write_text('{"pid": 1')
    handle = process.at("server", folder)
    assert not handle.alive and handle.stop() is False


def test_a_killed_starter_leaves_a_process_that_is_found_and_stopped(folder: Path) -> None:
    code = f"""
import sys, time
from pathlib import Path
from deploy.local import process
process.start("server", [sys.executable, "-c", "import time; time.sleep(600)"], Path({str(folder)!r}))
print("started", flush=True)
time.sleep(600)
"""
    starter = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])
    assert starter.stdout and starter.stdout.readline() == "started\n"
    starter.kill()
    starter.wait()
    starter.stdout.close()
    handle = process.at("server", folder)
    pid = handle.pid
    assert pid and runs(pid), "the server outlives its starter"
    assert handle.stop()
    assert not runs(pid)


def test_the_pid_file_is_the_childs_own(folder: Path) -> None:
    """Written by the child before it becomes the command: there is no moment with a process and no way to find it."""
    record = folder / "server.pid"
    child = subprocess.Popen([sys.executable, "-I", "-S", launch.__file__, str(record), *SLEEP], start_new_session=True)
    wait_until(record.exists, "pid file written")
    entry = json.loads(record.read_text())
    assert entry["pid"] == child.pid and entry["started"] == launch.start_mark(child.pid)
    process.at("server", folder).stop()
    child.wait()


def test_a_command_that_does_not_exist_shows_in_the_log(folder: Path) -> None:
    started = process.start("server", ["/no/such/command"], folder)
    wait_until(lambda: not started.alive, "ended")
    assert "/no/such/command" in started.log_tail() or "No such file" in started.log_tail()


def test_environment_and_working_folder_reach_the_command(folder: Path) -> None:
    code = "import os; print(os.environ['COLOUR'], os.getcwd(), flush=True)"
    started = process.start("server", [sys.executable, "-c", code], folder, environment={"COLOUR": "blue"}, cwd=folder)
    wait_until(lambda: started.log_tail(), "printed")
    assert started.log_tail() == f"blue {folder.resolve()}"


def test_a_long_log_is_set_aside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "LOG_LIMIT_BYTES", 10)
    (folder / "server.log").write_text("an old and long log\n")
    process.start("server", SLEEP, folder)
    assert (folder / "server.log.1").read_text() == "an old and long log\n"
    assert (folder / "server.log").read_text() == ""


def test_start_marks_tell_processes_apart() -> None:
    assert launch.start_mark(os.getpid()) == launch.start_mark(os.getpid())
    assert launch.start_mark(os.getpid()) != launch.start_mark(1)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    wait_until(lambda: launch.start_mark(gone.pid) is None, "a zombie counts as gone")
    gone.wait()


def test_free_ports_differ_and_keep_out_of_the_range_of_outgoing_connections() -> None:
    chosen = ports.free_ports(5)
    assert len(set(chosen)) == 5 and all(20_000 <= port < 32_000 for port in chosen)
    assert all(ports.is_free(port) for port in chosen)


def test_a_listening_port_is_not_free_and_answers() -> None:
    port = ports.free_ports(1)[0]
    assert not ports.answers("127.0.0.1", port)
    with socket.socket() as server:
        server.bind(("127.0.0.1", port))
        server.listen()
        assert not ports.is_free(port)
        assert ports.answers("127.0.0.1", port)
    assert ports.is_free(port)
