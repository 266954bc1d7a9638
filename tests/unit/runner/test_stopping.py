"""How a stop is asked for: by a signal, as process 1, or by a JVM that shuts down."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipelines import spark_submit
from pipelines.spark_submit import shutdown_held
from pipelines.stop_signals import StopSignals

WAITS = """
import os, sys
from pipelines.stop_signals import StopSignals
with StopSignals(lambda name, times: print(name, times, flush=True)) as stop:
    print(os.getpid(), flush=True)
    assert stop.wait(60) and not stop.forced
"""

AT_ANY_MOMENT = """
import os, signal, threading
from pipelines.progress import JsonReport
from pipelines.stop_signals import StopSignals
report = JsonReport(open(os.devnull, "w"))
heard, answered = [], threading.Semaphore(0)
def told(name, times):
    report.event("stopping", name)
    heard.append(times)
    answered.release()
with StopSignals(told) as stop:
    def send():
        for _ in range(1000):
            os.kill(os.getpid(), signal.SIGTERM)
            answered.acquire()
    threading.Thread(target=send, daemon=True).start()
    while len(heard) < 1000:
        report.event("tick", "")
        stop.wait(1e-5)
        stop._asked.clear()  # else only the first wait would wait
assert stop.count == 1000 and heard == list(range(1, 1001))
"""


def test_a_signal_may_come_at_any_moment() -> None:
    """A handler runs between two steps of the main thread, which may hold the very lock that the handler wants."""
    done = subprocess.run([sys.executable, "-c", AT_ANY_MOMENT], timeout=60, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_signal_asks_once_and_a_second_one_forces() -> None:
    said: list[tuple[str, int]] = []
    before = signal.getsignal(signal.SIGTERM)
    with StopSignals() as stop:
        stop.told = lambda name, times: said.append((name, times))
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.wait(30) and stop.asked and not stop.forced
        stop.ask("SIGTERM")
        assert stop.forced and said == [("SIGTERM", 1), ("SIGTERM", 2)]
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_process_1_of_a_container_stops(name: str) -> None:
    """The kernel keeps signals without a handler from process 1; needs leave to make a pid namespace."""
    container = subprocess.Popen(
        ["unshare", "--fork", "--pid", "--mount-proc", "--kill-child", sys.executable, "-c", WAITS],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert container.stdout is not None
    if container.stdout.readline() != "1\n":
        container.wait()
        pytest.skip("no leave to make a pid namespace")
    children = Path(f"/proc/{container.pid}/task/{container.pid}/children").read_text()
    os.kill(int(children), getattr(signal, name))
    assert container.stdout.readline() == f"{name} 1\n"
    assert container.wait(60) == 0
    container.stdout.close()


class Hooks:
    """Hadoop's hooks: one at a time, on a thread of the JVM."""

    def __init__(self) -> None:
        self.held: list[tuple[Any, int, int]] = []

    def get(self) -> "Hooks":
        return self

    def addShutdownHook(self, hook: Any, priority: int, seconds: int, _: object) -> None:
        self.held.append((hook, priority, seconds))

    def removeShutdownHook(self, hook: Any) -> None:
        self.held = [held for held in self.held if held[0] is not hook]


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Any, Hooks]]:
    hooks = Hooks()
    java = SimpleNamespace(
        lang=SimpleNamespace(Thread=lambda runnable: runnable),
        util=SimpleNamespace(concurrent=SimpleNamespace(TimeUnit=SimpleNamespace(SECONDS="s"))),
    )
    hadoop = SimpleNamespace(hadoop=SimpleNamespace(util=SimpleNamespace(ShutdownHookManager=hooks)))
    jvm = SimpleNamespace(java=java, org=SimpleNamespace(apache=hadoop))
    monkeypatch.setattr(spark_submit, "ensure_callback_server_started", lambda gateway: None)
    yield SimpleNamespace(sparkContext=SimpleNamespace(_gateway=None, _jvm=jvm)), hooks


@contextmanager
def submitted(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setenv("PYSPARK_GATEWAY_PORT", "1")
        yield


def test_a_jvm_that_shuts_down_waits_until_the_flow_has_stopped(session: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made, hooks = session
    asked: list[str] = []
    with submitted(monkeypatch):
        with shutdown_held(made, asked.append, 7):
            ((hook, priority, seconds),) = hooks.held
            assert priority > 40 and seconds >= 7
            shutdown = threading.Thread(target=hook.run)
            shutdown.start()
            deadline = time.monotonic() + 30
            while not asked:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            shutdown.join(0.2)
            assert shutdown.is_alive(), "the flow has not stopped yet"
        shutdown.join(30)
        assert not shutdown.is_alive() and asked == ["SIGTERM"]
        assert hooks.held == [], "a JVM that ends in order asks nobody"
        hook.run()
        assert asked == ["SIGTERM"]


def test_a_driver_that_started_its_jvm_itself_holds_nothing(session: Any) -> None:
    made, hooks = session
    with shutdown_held(made, lambda _: None, 7):
        assert hooks.held == []
