"""What a checkpoint says, on checkpoints that Spark wrote (golden/, see make_golden.py)."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from checkpoints.guards import require_startable
from checkpoints.layout import (
    LaneState,
    batch_ids,
    committed_kafka_offsets,
    end_offsets,
    initial_offsets,
    last_kafka_offsets,
    read_epoch,
    read_lane,
    start_offsets,
)
from schemas.errors import Terminal

GOLDEN = Path(__file__).with_name("golden")


@pytest.fixture
def lane(tmp_path: Path) -> Callable[[str], Path]:
    """A copy of a golden checkpoint, to be damaged."""
    return lambda case: Path(shutil.copytree(GOLDEN / case, tmp_path / case))


@pytest.mark.parametrize(("case", "offsets", "commit"), [("done", 2, 2), ("planned", 2, 1), ("first", 0, None), ("named", 1, 1)])
def test_state_of_what_spark_wrote(case: str, offsets: int, commit: int | None) -> None:
    epoch = json.loads((GOLDEN / case / "metadata").read_text())["id"]
    state = LaneState(str(GOLDEN / case), epoch, offsets, commit)
    assert read_lane(str(GOLDEN / case)) == state
    assert read_lane(f"file://{GOLDEN}/{case}/") == state
    assert read_lane(f"file:{GOLDEN}/{case}") == state, "as Hadoop writes it"
    assert require_startable(str(GOLDEN / case)) == state
    assert not state.is_new


def test_offsets_of_each_batch() -> None:
    path = str(GOLDEN / "done")
    assert batch_ids(path, "offsets") == batch_ids(path, "commits") == [0, 1, 2]
    assert initial_offsets(path) == start_offsets(path, 0) == {"done": {0: 0, 1: 0}}
    assert end_offsets(path, 0) == start_offsets(path, 1) == {"done": {0: 1, 1: 2}}
    assert end_offsets(path, 1) == start_offsets(path, 2) == {"done": {0: 3, 1: 5}}
    assert end_offsets(path, 2) == last_kafka_offsets(path) == committed_kafka_offsets(path) == {"done": {0: 6, 1: 9}}


def test_a_planned_batch_is_read_again_from_its_start() -> None:
    assert last_kafka_offsets(str(GOLDEN / "planned")) == {"planned": {0: 6, 1: 9}}
    assert committed_kafka_offsets(str(GOLDEN / "planned")) == {"planned": {0: 3, 1: 5}}
    assert last_kafka_offsets(str(GOLDEN / "first")) == {"first": {0: 1, 1: 2}}
    assert committed_kafka_offsets(str(GOLDEN / "first")) == {"first": {0: 0, 1: 0}}


def test_named_sources() -> None:
    assert (GOLDEN / "named/offsets/1").read_text().startswith("v2\n"), "else this is the other format again"
    assert end_offsets(str(GOLDEN / "named"), 1) == {"named": {0: 3, 1: 5}}
    assert start_offsets(str(GOLDEN / "named"), 0) == {"named": {0: 0, 1: 0}}


def test_first_offsets_that_are_missing_or_damaged(lane: Callable[[str], Path]) -> None:
    path = lane("first")
    for damage in (b"\0v2\n{}", b'\0v1\n{"first":', b""):
        (path / "sources/0/0").write_bytes(damage)
        with pytest.raises(Terminal, match=r"E421.*sources/0/0"):
            start_offsets(str(path), 0)
    (path / "sources/1").mkdir()
    with pytest.raises(Terminal, match="holds 2 sources"):
        start_offsets(str(path), 0)
    shutil.rmtree(path / "sources")
    with pytest.raises(Terminal, match="the file is missing"):
        start_offsets(str(path), 0)


def test_a_lane_that_never_started(tmp_path: Path) -> None:
    state = require_startable(str(tmp_path / "none"))
    assert state.is_new and state.epoch is None
    assert last_kafka_offsets(str(tmp_path / "none")) is None
    assert committed_kafka_offsets(str(tmp_path / "none")) is None
    assert not (tmp_path / "none").exists(), "reading must not create"


def test_killed_before_anything_was_planned(lane: Callable[[str], Path]) -> None:
    path = lane("first")
    (path / "offsets/0").unlink()
    assert committed_kafka_offsets(str(path)) == {"first": {0: 0, 1: 0}}, "first offsets are written before the first plan"
    (path / "sources/0/0").unlink()
    assert committed_kafka_offsets(str(path)) is None
    assert require_startable(str(path)).epoch is not None


def test_side_files_are_not_part_of_the_log(lane: Callable[[str], Path]) -> None:
    path = lane("done")
    for name in (".3.crc", ".4.1b2c.tmp", "5.tmp", "x"):
        (path / "offsets" / name).write_text("v1")
    assert read_lane(str(path)).last_offsets == 2


@pytest.mark.parametrize("text", ["", "{", "{}", "[]", '{"id": 3}', '{"id": ""}'])
def test_damaged_identity(lane: Callable[[str], Path], text: str) -> None:
    path = lane("done")
    (path / "metadata").write_text(text)
    with pytest.raises(Terminal) as error:
        read_epoch(str(path))
    assert error.value.code == "E421" and f"{path}/metadata" in str(error.value)


def _remove(*names: str) -> Callable[[Path], None]:
    return lambda path: [(path / name).unlink() for name in names] and None


def _truncate(name: str, size: int) -> Callable[[Path], None]:
    return lambda path: (path / name).write_bytes((path / name).read_bytes()[:size]) and None


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (_remove("metadata"), "`metadata` is missing"),
        (_remove("offsets/2"), "batch 2 is committed but the last offsets file is of batch 1"),
        (_remove("offsets/0", "offsets/1", "offsets/2"), "the last offsets file is of batch None"),
        (_remove("commits/2", "commits/1"), "batches 1 to 2 have no commit"),
        (_truncate("offsets/2", 0), "torn"),
        (_truncate("offsets/2", 60), "holds 0 source lines"),
        (lambda path: (path / "offsets/2").write_text("v1\n{}\n{\"done\":{\"0\":6,") and None, "not Kafka offsets"),
        (lambda path: (path / "offsets/2").write_text("v1\n{}\n{}\n{}") and None, "holds 2 source lines"),
        (lambda path: (path / "offsets/2").write_text("v1\n{}\n3") and None, "not Kafka offsets"),
    ],
)  # fmt: skip
def test_a_damaged_log_is_refused_before_spark_repeats_or_skips(
    lane: Callable[[str], Path], damage: Callable[[Path], None], told: str
) -> None:
    path = lane("done")
    require_startable(str(path))
    damage(path)
    with pytest.raises(Terminal) as error:
        require_startable(str(path))
    assert error.value.code == "E421" and told in str(error.value), error.value
    assert str(path) in str(error.value)


def test_what_an_ordinary_kill_leaves_may_start(lane: Callable[[str], Path]) -> None:
    path = lane("done")
    (path / "commits/2").unlink()
    assert require_startable(str(path)).last_commit == 1
