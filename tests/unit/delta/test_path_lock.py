"""The lock of a table's path: one writer at a time, among threads and among processes."""

import subprocess
import sys
import threading
from pathlib import Path

from sinks.delta.append import LOCK_FILE, path_lock

HOLD = """
import sys
from sinks.delta.append import path_lock
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
