"""The lock of a table's path: one writer at a time, among threads and among processes."""

import fcntl
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from sinks.delta import table_lock
from sinks.delta.table_lock import LOCK_FILE, path_lock

HOLD = """
import sys
from sinks.delta.table_lock import path_lock
with path_lock(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.readline()
print("let go", flush=True)
"""


def test_another_process_waits_for_its_turn(tmp_path: Path) -> None:
    said: list[str] = []

    def take() -> None:
        with path_lock(str(tmp_path)):
            said.append("ours")

    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None and other.stdin is not None
        assert other.stdout.readline() == "held\n"
        waiting = threading.Thread(target=take)
        waiting.start()
        waiting.join(0.3)
        assert said == [] and waiting.is_alive()
        other.stdin.write("\n")
        other.stdin.flush()
        waiting.join(30)
    assert said == ["ours"]


def test_a_killed_holder_lets_go(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        other.kill()
        with path_lock(str(tmp_path)):
            assert (tmp_path / LOCK_FILE).exists()


def test_a_place_that_is_no_folder_is_locked_in_this_process_alone(tmp_path: Path) -> None:
    with path_lock(str(tmp_path / "not there")), path_lock("s3://bucket/table"):
        pass
    assert list(tmp_path.iterdir()) == [], "looking for a lock makes no folder"


SIGNED = """
import sys, time
from pathlib import Path
from sinks.delta.table_lock import path_lock, sign_locks
sign_locks(sys.argv[2])
with path_lock(sys.argv[1]):
    print("held", flush=True)
    while not Path(sys.argv[3]).exists():
        time.sleep(0.01)
print("let go", flush=True)
"""


def test_the_lock_of_a_paused_holder_falls_to_who_replaced_it_and_to_nobody_before(tmp_path: Path) -> None:
    table, mark, go = tmp_path / "table", tmp_path / "replaced", tmp_path / "go"
    table.mkdir()
    taken: list[int] = []

    def take(number: int) -> None:
        with path_lock(str(table)):
            taken.append(number)
            inside.append(number)
            time.sleep(0.05)
            assert inside == [number], "two are inside at once"
            inside.clear()

    inside: list[int] = []

    with subprocess.Popen(
        [sys.executable, "-c", SIGNED, str(table), str(mark), str(go)], stdout=subprocess.PIPE, text=True
    ) as paused:
        assert paused.stdout is not None and paused.stdout.readline() == "held\n"
        try:
            paused.send_signal(signal.SIGSTOP)
            waiting = [threading.Thread(target=take, args=(number,)) for number in range(3)]
            for one in waiting:
                one.start()
            waiting[0].join(1.0)
            assert taken == [], "a holder that was not replaced keeps its lock, paused or not"
            mark.touch()
            for one in waiting:
                one.join(30)
            assert sorted(taken) == [0, 1, 2]
            go.touch()
            paused.send_signal(signal.SIGCONT)
            assert paused.stdout.readline() == "let go\n", "the woken one harms nobody"
        finally:
            paused.kill()
    with path_lock(str(table)):
        pass


def test_a_lock_file_that_is_replaced_while_it_is_locked_is_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between opening and locking, whoever replaced a paused holder puts a new file there: the old one is nobody's any more."""
    intact, asked = fcntl.flock, []

    def late(held: Any, how: int) -> None:
        if not asked:
            new = tmp_path / "new"
            new.touch()
            new.replace(tmp_path / LOCK_FILE)
        asked.append(how)
        intact(held, how)

    monkeypatch.setattr(table_lock.fcntl, "flock", late)
    with path_lock(str(tmp_path)):
        with (tmp_path / LOCK_FILE).open() as there, pytest.raises(BlockingIOError):
            intact(there, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert len(asked) == 2
