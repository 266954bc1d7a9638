"""One driver per checkpoint, also when drivers are killed."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from checkpoints.lease import LEASE_FILE, Lease, current_holder
from schemas.errors import Terminal

ROOT = Path(__file__).resolve().parents[3]
HOLD = """
import sys
from checkpoints.lease import Lease
with Lease(sys.argv[1], "payments"):
    print("held", flush=True)
    sys.stdin.read()
"""


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
def test_a_torn_lease_file_locks_nobody_out(tmp_path: Path, left: str) -> None:
    path = tmp_path / LEASE_FILE
    path.parent.mkdir()
    path.write_text(left)
    with Lease(str(tmp_path), "a") as lease:
        assert lease.token == 1
        assert json.loads(path.read_text())["pid"] == os.getpid()


@pytest.fixture
def store() -> Iterator[str]:
    """An address on a file system without locks."""
    fs = fsspec.filesystem("memory")
    yield "memory://flow/ck"
    if fs.exists("/flow"):
        fs.rm("/flow", recursive=True)


def _record(store: str) -> dict[str, object]:
    with fsspec.open(f"{store}/{LEASE_FILE}", "r") as file:
        return dict(json.load(file))


def _write(store: str, record: dict[str, object]) -> None:
    with fsspec.open(f"{store}/{LEASE_FILE}", "w") as file:
        json.dump(record, file)


def _wait_until(condition: object, seconds: float = 10.0) -> None:
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "condition did not come true"
        time.sleep(0.01)


def test_without_locks_a_live_driver_is_respected_and_a_released_lease_is_free(store: str) -> None:
    with Lease(store, "a", settle_s=0) as first:
        first.require_held()
        assert current_holder(store) is not None
        with pytest.raises(Terminal, match=r"E420.*expires in \d+ s"), Lease(store, "a", settle_s=0):
            pass
    assert current_holder(store) is None
    with Lease(store, "a", settle_s=0) as second:
        assert second.token == 2


def test_without_locks_the_lease_is_renewed(store: str) -> None:
    with Lease(store, "a", expiry_s=0.3, settle_s=0) as lease:
        first = _record(store)["expires_at_s"]
        _wait_until(lambda: _record(store)["expires_at_s"] != first)
        lease.require_held()


def test_without_locks_a_dead_drivers_lease_expires(store: str) -> None:
    _write(
        store,
        {"token": 7, "pid": 1, "host": "gone", "flow": "a", "started_at": "?", "nonce": "x", "expires_at_s": time.time() - 1},
    )
    with Lease(store, "a", settle_s=0) as lease:
        assert lease.token == 8


def test_without_locks_a_lease_that_was_taken_is_noticed_and_not_taken_back(store: str) -> None:
    with Lease(store, "a", expiry_s=0.3, settle_s=0) as lease:
        other = {**_record(store), "nonce": "other", "pid": 4711, "host": "elsewhere"}
        _write(store, other)

        def lost() -> bool:
            try:
                lease.require_held()
            except Terminal as error:
                return error.code == "E424" and "process 4711 on elsewhere" in str(error)
            return False

        _wait_until(lost)
    assert _record(store)["nonce"] == "other"


def test_of_two_that_found_it_expired_the_one_that_wrote_last_wins(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other writes between our write and our second look."""
    from checkpoints import lease as module

    _write(store, {"token": 1, "expires_at_s": 0})
    lease = Lease(store, "a", settle_s=0)
    replace = module.Folder.replace

    def replaced_and_overtaken(self: object, name: str, text: str) -> None:
        replace(self, name, text)  # type: ignore[arg-type]
        _write(store, {**_record(store), "nonce": "overtaker", "pid": 99, "host": "faster"})

    monkeypatch.setattr(module.Folder, "replace", replaced_and_overtaken)
    with pytest.raises(Terminal, match=r"E420.*process 99 on faster"):
        lease.__enter__()
