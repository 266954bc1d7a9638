import os
import signal
import threading

import pytest

from pipelines.gate import Gate, StopRequested
from pipelines.stop_signals import StopSignals


def test_a_closed_gate_lets_nobody_in_and_cuts_nobody() -> None:
    gate = Gate()
    with gate.batch():
        gate.close()
        assert not gate.idle
    assert gate.idle
    with pytest.raises(StopRequested), gate.batch():
        pytest.fail("a batch got in after the gate was closed")
    assert gate.idle


def test_a_failed_batch_leaves_the_gate() -> None:
    gate = Gate()
    with pytest.raises(RuntimeError), gate.batch():
        raise RuntimeError
    assert gate.idle and not gate.closed


def test_the_first_signal_asks_and_the_second_forces() -> None:
    told: list[tuple[str, int]] = []
    before = signal.getsignal(signal.SIGTERM)
    with StopSignals(lambda name, times: told.append((name, times))) as stop:
        assert not stop.asked
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.wait(5) and not stop.forced
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.forced
    assert told == [("SIGTERM", 1), ("SIGINT", 2)]
    assert signal.getsignal(signal.SIGTERM) is before


def test_outside_the_main_thread_nothing_is_installed() -> None:
    before = signal.getsignal(signal.SIGTERM)
    seen: list[object] = []

    def run() -> None:
        with StopSignals() as stop:
            stop.install()
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [before]
