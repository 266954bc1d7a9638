"""One driver per checkpoint, also when drivers are killed."""

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import fsspec
import pytest

from checkpoints import lease_check
from checkpoints.files import Folder
from checkpoints.holder import born, end_jvm
from checkpoints.lease import Lease, current_holder
from checkpoints.lease_check import LeaseCheck
from checkpoints.tokens import LEASES, Clock, LocalTokens, StoreTokens, file_of
from schemas.errors import Retryable, Terminal

ROOT = Path(__file__).resolve().parents[3]
HOLD = """
import sys
from checkpoints.lease import Lease
with Lease(sys.argv[1], "payments"):
    print("held", flush=True)
    sys.stdin.read()
"""
STOPPABLE = """
import subprocess, sys, time
from checkpoints.lease import Lease
from schemas.errors import Terminal
with Lease(sys.argv[1], "payments", expiry_s=0.6) as lease:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"], pass_fds=lease.fds)
    lease.note_jvm(child.pid)
    print(child.pid, flush=True)
    while True:
        try:
            lease.require_held()
        except Terminal as lost:
            print(lost, flush=True)
            break
        time.sleep(0.01)
    child.wait()
"""


@pytest.fixture(autouse=True)
def _nothing_seen_before() -> None:
    lease_check._LOOKS.clear()


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A real second process that holds the lease of tmp_path/ck."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "ck")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_second_driver_is_refused_and_told_who_has_it(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    with pytest.raises(Terminal) as refused, Lease(str(tmp_path / "ck"), "payments"):
        pass
    assert refused.value.code == "E420"
    text = str(refused.value)
    assert f"process {holder.pid} on {os.uname().nodename}, flow payments, since 20" in text
    seen = current_holder(f"file://{tmp_path}/ck")
    assert seen is not None and (seen.pid, seen.token) == (holder.pid, 1)


def test_asking_who_holds_it_takes_nothing(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    for _ in range(3):
        assert current_holder(str(tmp_path / "ck")) is not None
    holder.kill()
    holder.wait()
    assert current_holder(str(tmp_path / "ck")) is None
    with Lease(str(tmp_path / "ck"), "payments") as lease:
        assert lease.token == 2


def test_the_lease_of_a_killed_driver_is_free_at_once(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with Lease(str(tmp_path / "ck"), "payments") as lease:
        lease.require_held()
        assert lease.token == 2
    with pytest.raises(Terminal, match="E424"):
        lease.require_held()


def test_a_child_that_was_handed_the_descriptor_keeps_the_lease(tmp_path: Path) -> None:
    with Lease(str(tmp_path), "payments") as lease:
        child = subprocess.Popen(
            [sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE, pass_fds=lease.fds
        )
    try:
        with pytest.raises(Terminal, match="E420"), Lease(str(tmp_path), "payments"):
            pass
    finally:
        child.communicate()
    with Lease(str(tmp_path), "payments"):
        pass


def test_other_flows_checkpoints_are_not_concerned(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    with Lease(str(tmp_path / "other"), "payments") as lease:
        assert lease.token == 1


def test_the_same_process_cannot_take_it_twice(tmp_path: Path) -> None:
    with Lease(str(tmp_path), "a"):
        with pytest.raises(Terminal, match=f"process {os.getpid()}"), Lease(f"file:{tmp_path}", "a"):
            pass
        assert current_holder(str(tmp_path)) is not None
    with Lease(str(tmp_path), "a"):
        pass


@pytest.mark.parametrize("left", ["", "{", "[]", '{"pid": 1'])
def test_a_torn_file_of_a_dead_driver_locks_nobody_out(tmp_path: Path, left: str) -> None:
    path = tmp_path / file_of(3)
    path.parent.mkdir(parents=True)
    path.write_text(left)
    with Lease(str(tmp_path), "a") as lease:
        assert (lease.token, lease.replaced) == (4, None)
        assert json.loads((tmp_path / file_of(4)).read_text())["pid"] == os.getpid()


def test_a_torn_file_of_a_living_driver_lets_nobody_in(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    (tmp_path / "ck" / file_of(1)).write_text('{"tok')
    with pytest.raises(Terminal, match=r"E420.*an unnamed driver"), Lease(str(tmp_path / "ck"), "payments"):
        pass
    seen = current_holder(str(tmp_path / "ck"))
    assert seen is not None and seen.token == 1


class Hands:
    """A clock that a test turns by hand."""

    def __init__(self) -> None:
        self.s = 1_800_000_000.0
        self.clock = Clock(lambda: self.s, lambda: self.s)


@pytest.fixture
def hands() -> Hands:
    return Hands()


@pytest.fixture
def store() -> Iterator[str]:
    """An address on a file system without locks."""
    fs = fsspec.filesystem("memory")
    yield "memory://flow/ck"
    if fs.exists("/flow"):
        fs.rm("/flow", recursive=True)


@pytest.fixture(params=["local", "store"])
def place(request: pytest.FixtureRequest, tmp_path: Path, store: str) -> str:
    """A checkpoint folder of each kind."""
    return str(tmp_path / "ck") if request.param == "local" else store


def lease(place: str, hands: Hands, expiry_s: float = 30.0) -> Lease:
    """A driver's lease whose heart beats only when a test says so: the thread waits for a third of a long time."""
    return Lease(place, "payments", expiry_s=expiry_s, settle_s=0, clock=hands.clock)


def test_a_fresh_heartbeat_refuses_and_an_old_one_is_replaced_with_evidence(place: str, hands: Hands) -> None:
    with lease(place, hands) as paused:
        hands.s += 29
        with pytest.raises(Terminal, match=r"E420.*29 s old, and if no other comes the lease expires in 1 s"):
            lease(place, hands).__enter__()
        paused.beat()
        hands.s += 29
        with pytest.raises(Terminal, match="E420"):
            lease(place, hands).__enter__()
        hands.s += 2
        with lease(place, hands) as second:
            assert (paused.token, second.token) == (1, 2)
            assert second.replaced is not None and second.replaced.age_s == pytest.approx(31)
            assert second.replaced.holder is not None and second.replaced.holder.pid == os.getpid()
            assert f"process {os.getpid()} on {os.uname().nodename}" in str(second.replaced)


def test_the_holders_own_expiry_counts_and_not_the_challengers(place: str, hands: Hands) -> None:
    with lease(place, hands, expiry_s=60):
        hands.s += 31
        with pytest.raises(Terminal, match="E420"):
            lease(place, hands, expiry_s=1).__enter__()


def test_who_wakes_up_replaced_stops_and_takes_nothing_back(place: str, hands: Hands) -> None:
    with lease(place, hands) as paused:
        paused.require_held()
        hands.s += 31
        with lease(place, hands) as second:
            paused.beat()
            for _ in range(2):
                with pytest.raises(Terminal, match=f"E424.*process {os.getpid()} on") as told:
                    paused.require_held()
            assert "taken by" in str(told.value) or "renewed" in str(told.value)
            second.require_held()
            holder = current_holder(place, hands.clock)
            assert holder is not None and holder.token == 2
        paused.__exit__(None, None, None)
        assert current_holder(place, hands.clock) is None, "the late release says nothing about the token after it"
    with lease(place, hands) as third:
        assert third.token == 3


def test_who_wakes_up_and_was_not_replaced_goes_on_where_locks_are(tmp_path: Path, hands: Hands) -> None:
    with lease(str(tmp_path), hands) as paused:
        hands.s += 1_000
        paused.require_held()
        paused.beat()
        with pytest.raises(Terminal, match="E420"):
            lease(str(tmp_path), hands).__enter__()


def test_without_locks_who_could_not_renew_in_time_stops(store: str, hands: Hands) -> None:
    with lease(store, hands) as cut_off:
        hands.s += 30
        cut_off.require_held()
        hands.s += 1
        with pytest.raises(Terminal, match=r"E424.*could not be renewed for 30 s"):
            cut_off.require_held()


def test_of_two_that_found_it_expired_one_gets_it(place: str, hands: Hands, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both look, then both make the file of the next token."""
    first = lease(place, hands).__enter__()
    hands.s += 31
    winner: list[Lease] = []
    for kind in (LocalTokens, StoreTokens):

        def overtaken(self: Any, token: int, intact: Any = kind.look) -> Any:
            found = intact(self, token)
            if not winner:
                winner.append(lease(place, hands))
                winner[0].__enter__()
            return found

        monkeypatch.setattr(kind, "look", overtaken)
    with pytest.raises(Terminal, match="E420"):
        lease(place, hands).__enter__()
    assert winner[0].token == 2
    winner[0].require_held()
    winner[0].__exit__(None, None, None)
    first.__exit__(None, None, None)


def test_tokens_grow_and_few_files_stay(place: str, hands: Hands) -> None:
    for token in range(1, 25):
        with lease(place, hands) as held:
            assert held.token == token
    assert len(Folder(place).names(LEASES)) == 16


def test_who_slept_through_so_many_that_its_file_is_gone_stops(tmp_path: Path, hands: Hands) -> None:
    with lease(str(tmp_path), hands) as paused:
        hands.s += 31
        for _ in range(20):
            with lease(str(tmp_path), hands):
                pass
        assert not (tmp_path / file_of(1)).exists() and not (tmp_path / file_of(2)).exists()
        with pytest.raises(Terminal, match="E424"):
            paused.require_held()
        with pytest.raises(Terminal, match="E424"):
            paused.check.require_held(hands.clock)


def test_tokens_go_on_from_those_of_earlier_builds(place: str, hands: Hands) -> None:
    Folder(place).replace("_millrace/lease", '{"token": 41, "pid": 1}')
    with lease(place, hands) as held:
        assert held.token == 42


def test_a_store_that_makes_a_file_twice_is_found_out(store: str, hands: Hands, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where create-if-absent is not atomic the later write stays, and the earlier driver sees it after its pause."""

    def unlucky(self: Folder, name: str, text: str) -> bool:
        self.replace(name, text)
        self.replace(name, json.dumps({**json.loads(text), "nonce": "another", "pid": 99, "host": "faster"}))
        return True

    monkeypatch.setattr(Folder, "create", unlucky)
    with pytest.raises(Terminal, match=r"E420.*process 99 on faster"):
        lease(store, hands).__enter__()


def test_the_heart_beats_by_itself(place: str) -> None:
    def beat() -> Any:
        return Folder(place).read_text(file_of(1)) if "://" in place else (Path(place) / file_of(1)).stat().st_mtime_ns

    with Lease(place, "a", expiry_s=0.3, settle_s=0) as held:
        first = beat()
        deadline = time.monotonic() + 20
        while beat() == first:
            assert time.monotonic() < deadline, "no heartbeat"
            time.sleep(0.01)
        held.require_held()


def test_a_driver_stopped_for_longer_than_its_lease_is_replaced_and_its_jvm_ended(tmp_path: Path) -> None:
    """Real processes: the holder is stopped by a signal, its lock still stands, its child is what a JVM would be."""
    paused = subprocess.Popen(
        [sys.executable, "-c", STOPPABLE, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert paused.stdout is not None and paused.stdin is not None
    try:
        child = int(paused.stdout.readline())
        paused.send_signal(signal.SIGSTOP)
        deadline = time.monotonic() + 20
        while True:
            try:
                second = Lease(str(tmp_path), "payments").__enter__()
                break
            except Terminal as refused:
                assert refused.code == "E420" and time.monotonic() < deadline, refused
                time.sleep(0.05)
        assert second.replaced is not None and second.replaced.holder is not None
        holder = second.replaced.holder
        assert (holder.pid, holder.jvm) == (paused.pid, child) and born(child) == holder.jvm_born > 0
        assert not end_jvm(replace(holder, machine="another")) and born(child)
        assert end_jvm(replace(holder, jvm_born=holder.jvm_born - 1)) and born(child), "another process has that id by now"
        assert end_jvm(holder) and not born(child)
        paused.send_signal(signal.SIGCONT)
        assert "E424" in paused.stdout.readline()
        second.__exit__(None, None, None)
    finally:
        paused.kill()
        paused.communicate()


class Watch:
    """What a worker sees of a driver, on a clock of its own."""

    def __init__(self) -> None:
        self.s = 5.0
        self.clock = Clock(lambda: 0.0, lambda: self.s)


def test_a_workers_driver_is_looked_for_before_every_write(place: str, hands: Hands) -> None:
    watch = Watch()
    with lease(place, hands) as driver:
        check = pickle.loads(pickle.dumps(driver.check))
        for _ in range(9):  # as long as the heart beats, whatever the clocks of the two machines say
            check.require_held(watch.clock)
            watch.s += 12
            hands.s += 12
            driver.beat()
        hands.s += 31
        with lease(place, hands) as second:
            with pytest.raises(Terminal, match=r"E424.*another driver has taken over"):
                check.require_held(watch.clock)
            second.check.require_held(watch.clock)


def test_a_worker_whose_driver_is_silent_stops_although_nobody_has_taken_over(place: str, hands: Hands) -> None:
    watch = Watch()
    with lease(place, hands) as driver:
        driver.check.require_held(watch.clock)
        watch.s += 30
        driver.check.require_held(watch.clock)
        watch.s += 11
        with pytest.raises(Retryable, match=r"E243.*no sign of life for 41 s"):
            driver.check.require_held(watch.clock)
        hands.s += 1
        driver.beat()
        watch.s += 11
        driver.check.require_held(watch.clock)


def test_a_worker_that_cannot_see_the_checkpoint_is_not_refused(tmp_path: Path) -> None:
    LeaseCheck(str(tmp_path / "not mounted here"), 3, 30.0).require_held()
