import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pytest

from pipelines.failpoint_files import FileWatch, Watched
from pipelines.failpoint_names import points_of, require_known
from pipelines.failpoint_rows import StruckStep
from pipelines.failpoints import VARIABLE, Failpoints, Victims
from pipelines.flow.model import Flow
from schemas.errors import ConfigError
from tests.chaos.matrix.scenarios import BOUNDARIES, IN_WORKERS, SCENARIOS, SHORT


def flow(folder: Path) -> Flow:
    return Flow.model_validate(
        {
            "name": "f",
            "source": {"bootstrap_servers": "127.0.0.1:9", "topics": ["t"]},
            "records": [{"namespace": "payments"}],
            "lanes": {
                "fast": {
                    "outputs": {
                        "mirror": {"type": "aerospike", "hosts": ["127.0.0.1:9"], "namespace": "mirror"},
                        "counts": {
                            "type": "aerospike_counters",
                            "hosts": ["127.0.0.1:9"],
                            "namespace": "counts",
                            "set": "counts",
                            "key": {"record": "digest"},
                            "bins": {"n": "count"},
                        },
                    }
                },
                "bulk": {"outputs": {"history": {"type": "delta_history", "path": str(folder / "history")}}},
            },
            "dead_letters": {"path": str(folder / "dead_letters")},
            "checkpoint": str(folder / "checkpoint"),
        }
    )


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("fast:after_sinc", "did you mean 'fast:after_sink'"),
        ("slow:after_sink", "did you mean 'fast:after_sink'"),
        ("bulk:mid_sink", "did you mean"),
        ("zzz:zzz", "there are @replay:after_counts, @replay:after_history"),
        ("fast:after_sink action=kill-worker", "for points inside a worker"),
        ("fast:before_plan action=sleep", "nothing can be held up there"),
        ("fast:after_sink action=explode", "want LANE:POINT"),
    ],
)
def test_a_line_that_is_no_point_of_the_flow_is_refused_with_a_suggestion(tmp_path: Path, line: str, says: str) -> None:
    armed = tmp_path / "armed"
    armed.write_text(f"fast:after_sink\n\n{line}\n")
    with pytest.raises(ConfigError, match=r"\[E102\]") as refused:
        require_known(armed, flow(tmp_path))
    assert says in str(refused.value)


def test_every_point_may_be_armed(tmp_path: Path) -> None:
    armed = tmp_path / "armed"
    armed.write_text("".join(f"{point} after=1\n" for point in points_of(flow(tmp_path))))
    require_known(armed, flow(tmp_path))
    require_known(None, flow(tmp_path))
    require_known(tmp_path / "none", flow(tmp_path))


def test_the_matrix_strikes_every_boundary(tmp_path: Path) -> None:
    points = points_of(flow(tmp_path))
    aliases = {"fast:mid_mirror"}  # the same place as fast:mid_sink, which belongs to the first output that comes to it
    ours = {name for name in points if not name.startswith("@")} - aliases
    assert {line.split()[0] for line in BOUNDARIES} == ours
    in_workers = {name for name in points if points[name].where == "worker"}
    assert {line.split()[0] for line in IN_WORKERS} == in_workers - {"fast:mid_sink"}
    assert {blow.name for blow in SCENARIOS["driver"].blows} == set(BOUNDARIES)
    kinds = {points[line.split()[0]].name for line in (*SHORT, *IN_WORKERS)}
    assert kinds == {points[name].name for name in ours}, "the short one has every kind once"


WATCHER = """
import os, sys, time
from pathlib import Path
from pipelines.failpoint_files import FileWatch, Watched
from pipelines.failpoints import Failpoints, Victims
root = Path(sys.argv[1])
offsets = root / "lane" / "offsets"
watch = FileWatch(
    Failpoints(root / "armed", Victims(os.getpid(), int(sys.argv[2]))),
    {
        "fast:after_plan": Watched(offsets, r"\\d+", root / "lane"),
        "fast:before_plan": Watched(offsets, r"\\.\\d+\\..*\\.tmp", root / "lane"),
    },
)
watch.start()
print("ready", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize(("point", "name"), [("fast:after_plan", "8"), ("fast:before_plan", ".8.abc-1.tmp")])
def test_a_file_that_appears_kills_and_the_evidence_shows_the_checkpoint(tmp_path: Path, point: str, name: str) -> None:
    for log in ("offsets", "commits"):
        (tmp_path / "lane" / log).mkdir(parents=True)
        (tmp_path / "lane" / log / "7").touch()
    (tmp_path / "armed").write_text(f"{point}\n")
    jvm = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    driver = subprocess.Popen(
        [sys.executable, "-c", WATCHER, str(tmp_path), str(jvm.pid)], stdout=subprocess.PIPE, text=True, cwd=Path.cwd()
    )
    assert driver.stdout is not None and driver.stdout.readline() == "ready\n"
    time.sleep(0.1)
    assert driver.poll() is None, "what was there before does not strike"
    (tmp_path / "lane" / "offsets" / name).touch()
    assert driver.wait(30) == -signal.SIGKILL and jvm.wait(30) == -signal.SIGKILL
    record = (tmp_path / "armed.fired").read_text()
    assert f'"file": "{name}", "there": true' in record
    assert '"offsets": ["7", "' + name + '"], "commits": ["7"]' in record


def test_a_jvm_that_a_watched_point_has_stopped_outlives_its_python_awake(tmp_path: Path) -> None:
    jvm = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        (tmp_path / "armed").write_text("fast:after_plan action=kill-python\n")
        (tmp_path / "lane" / "offsets").mkdir(parents=True)
        driver = subprocess.Popen(
            [sys.executable, "-c", WATCHER, str(tmp_path), str(jvm.pid)], stdout=subprocess.PIPE, text=True, cwd=Path.cwd()
        )
        assert driver.stdout is not None and driver.stdout.readline() == "ready\n"
        (tmp_path / "lane" / "offsets" / "8").touch()
        assert driver.wait(30) == -signal.SIGKILL
        assert Path(f"/proc/{jvm.pid}/stat").read_text().rpartition(")")[2].split()[0] != "T"
    finally:
        jvm.kill()
        jvm.wait()


def test_a_point_armed_later_begins_with_what_is_there_and_the_jvm_goes_on_when_it_does_not_fire(tmp_path: Path) -> None:
    offsets = tmp_path / "offsets"
    offsets.mkdir()
    jvm = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    points = Failpoints(tmp_path / "armed", Victims(-1, jvm.pid))
    watch = FileWatch(points, {"fast:after_plan": Watched(offsets, r"\d+", tmp_path)})
    watch.start()
    try:
        (offsets / "1").touch()
        (tmp_path / "armed").write_text("fast:after_plan after=5\n")
        time.sleep(0.3)
        assert points._visits["fast:after_plan"] == 0
        (offsets / "2").touch()
        give_up = time.monotonic() + 30
        while points._visits["fast:after_plan"] != 1:
            assert time.monotonic() < give_up
            time.sleep(0.01)
        while Path(f"/proc/{jvm.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T":
            assert time.monotonic() < give_up, "the JVM was left stopped"
            time.sleep(0.01)
    finally:
        watch.stop()
        jvm.kill()
        jvm.wait()


def test_a_history_is_struck_in_the_middle_of_its_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    armed = tmp_path / "armed"
    armed.write_text("bulk:mid_history events=5 action=sleep seconds=0\nbulk:decode action=sleep seconds=0\n")
    monkeypatch.setenv(VARIABLE, str(armed))
    batches = [pa.RecordBatch.from_pydict({"n": list(range(start, start + 4))}) for start in (0, 4)]
    step = StruckStep(lambda given: given, "bulk", "history", Victims(-1), 9)
    rows = list(step(iter(batches)))
    assert [row["n"] for batch in rows for row in batch.to_pylist()] == list(range(8)), "the rows are the same"
    assert [batch.num_rows for batch in rows] == [4, 1, 3]
    fired = (tmp_path / "armed.fired").read_text()
    assert '"written": 5' in fired and '"point": "bulk:decode"' in fired and '"batch_id": 9' in fired


def test_kill_worker_takes_the_worker_alone(tmp_path: Path) -> None:
    armed = tmp_path / "armed"
    armed.write_text("fast:decode action=kill-worker\n")
    code = (
        "import sys; from pathlib import Path; from pipelines.failpoints import Failpoints, Victims\n"
        "Failpoints(Path(sys.argv[1]), Victims(int(sys.argv[2]))).hit('fast:decode')"
    )
    worker = subprocess.run([sys.executable, "-c", code, str(armed), str(os.getpid())], check=False)
    assert worker.returncode == -signal.SIGKILL


def test_stop_stops_driver_and_jvm_until_they_are_woken(tmp_path: Path) -> None:
    (tmp_path / "armed").write_text("fast:decode action=stop\n")
    victims = [subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) for _ in range(2)]
    Failpoints(tmp_path / "armed", Victims(victims[0].pid, victims[1].pid)).hit("fast:decode")
    try:
        for victim in victims:
            assert os.waitid(os.P_PID, victim.pid, os.WSTOPPED | os.WNOWAIT) is not None
    finally:
        for victim in victims:
            victim.kill()
            victim.wait()
