import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipelines.failpoints import Failpoint, Failpoints, Victims, parse
from schemas.errors import ConfigError

DRIVER = """
import sys
from pathlib import Path
from pipelines.failpoints import Failpoints, Victims
import os
points = Failpoints(Path(sys.argv[1]), Victims(os.getpid()))
for batch in range(10):
    print(batch, flush=True)
    points.hit("fast:after_sink", batch_id=batch)
"""


def test_a_line_says_what_happens_where() -> None:
    assert parse("fast:after_sink") == Failpoint("fast:after_sink")
    assert parse("bulk:x after=3 action=sleep seconds=0.5") == Failpoint("bulk:x", "sleep", after=3, seconds=0.5)
    assert parse("fast:mid_sink events=40").events == 40


@pytest.mark.parametrize("line", ["after_sink", "fast:x action=explode", "fast:x after=soon", "fast:x later=3", "fast:x after"])
def test_a_line_that_is_none_is_named(line: str) -> None:
    with pytest.raises(ConfigError, match=r"\[E102\] failpoint") as refused:
        parse(line)
    assert repr(line) in str(refused.value)


def test_an_armed_point_kills_the_driver_once_and_leaves_evidence(tmp_path: Path) -> None:
    armed = tmp_path / "armed"
    armed.write_text("bulk:other\nfast:after_sink after=3\n")
    process = subprocess.Popen([sys.executable, "-c", DRIVER, str(armed)], stdout=subprocess.PIPE, text=True)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert output.split() == ["0", "1", "2", "3"]
    assert armed.read_text() == "bulk:other\n", "a point fires once: the next driver must get past it"
    record = json.loads((tmp_path / "armed.fired").read_text())
    assert (record["point"], record["action"], record["batch_id"], record["pid"]) == ("fast:after_sink", "kill", 3, process.pid)


def test_sleep_delays_and_goes_on(tmp_path: Path) -> None:
    armed = tmp_path / "armed"
    armed.write_text("fast:before_sink action=sleep seconds=0.2\n")
    points = Failpoints(armed, Victims(-1))
    before = time.monotonic()
    points.hit("fast:before_sink")
    assert time.monotonic() - before >= 0.2
    points.hit("fast:before_sink")
    assert len((tmp_path / "armed.fired").read_text().splitlines()) == 1


def test_points_are_off_without_a_file_and_when_it_is_not_there(tmp_path: Path) -> None:
    Failpoints(None, Victims(-1)).hit("fast:after_sink")
    missing = Failpoints(tmp_path / "none", Victims(-1))
    missing.hit("fast:after_sink")
    assert missing.armed("fast:after_sink") is None


def test_a_point_armed_while_running_is_seen(tmp_path: Path) -> None:
    points = Failpoints(tmp_path / "armed", Victims(-1))
    assert points.armed("fast:mid_sink") is None
    (tmp_path / "armed").write_text("fast:mid_sink events=7\n")
    found = points.armed("fast:mid_sink")
    assert found is not None and found.events == 7
