"""What a checkpoint says, on checkpoints that Spark wrote (golden/, see make_golden.py)."""

import json
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from checkpoints.checksum import fits
from checkpoints.guards import require_startable
from checkpoints.layout import (
    LaneState,
    batch_ids,
    committed_kafka_offsets,
    end_offsets,
    initial_offsets,
    last_kafka_offsets,
    planned_ms,
    read_epoch,
    read_lane,
    start_offsets,
)
from schemas.errors import Terminal

GOLDEN = Path(__file__).with_name("golden")
_CRC = b"crc\0" + struct.pack(">II", 512, 1)
_REAL_CRC = "6372630000000200f32abfdd"


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
    for damage in (b"\0w1\n{}", b'\0v1\n{"first":', b""):
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
        (_remove("offsets/1"), "1 is missing between 0 and 2 (file={path}/offsets/1)"),
        (_remove("offsets/0", "offsets/1"), "the file is missing (file={path}/offsets/1)"),
        (_remove("commits/1"), "1 is missing between 0 and 2 (file={path}/commits/1)"),
        (_truncate("offsets/1", 0), "not Spark's (file={path}/offsets/1)"),
        (_truncate("commits/2", 0), "not Spark's (file={path}/commits/2)"),
        (_truncate("commits/2", 3), "not the JSON object that Spark writes: '' (file={path}/commits/2)"),
        (_truncate("commits/2", 20), "not the JSON object that Spark writes"),
        (lambda path: (path / "commits/2").write_text("v1\n[]") and None, "not the JSON object that Spark writes: '[]'"),
        (lambda path: (path / "offsets/.2.crc").write_bytes(_CRC) and None, "not those its checksum is of"),
        (lambda path: (path / "offsets/.1.crc").write_bytes(_CRC) and None, "edited or is torn (file={path}/offsets/1)"),
        (lambda path: (path / "commits/.2.crc").write_bytes(_CRC) and None, "edited or is torn (file={path}/commits/2)"),
        (lambda path: (path / ".metadata.crc").write_bytes(_CRC) and None, "edited or is torn (file={path}/metadata)"),
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
    assert error.value.code == "E421" and told.replace("{path}", str(path)) in str(error.value), error.value
    assert str(path) in str(error.value)
    assert ("remove it and its checksum" in error.value.remedy) == ("commits/2 " in f"{error.value} ".replace(")", " "))


def test_the_first_batch_needs_the_first_offsets(lane: Callable[[str], Path]) -> None:
    path = lane("first")
    require_startable(str(path))
    (path / "sources/0/0").unlink()
    with pytest.raises(Terminal, match=r"E421.*the file is missing.*sources/0/0"):
        require_startable(str(path))


@pytest.mark.parametrize("name", ["offsets/2", "offsets/1", "commits/2"])
def test_a_file_of_a_newer_spark_is_not_called_damaged(lane: Callable[[str], Path], name: str) -> None:
    path = lane("done")
    (path / name).write_text((path / name).read_text().replace("v1", "v3", 1))
    with pytest.raises(Terminal, match=rf"E445.*format v3, and this release knows v1 and v2 .*{name}"):
        require_startable(str(path))


def test_first_offsets_of_a_newer_spark(lane: Callable[[str], Path]) -> None:
    path = lane("first")
    (path / "sources/0/0").write_bytes(b'\0v2\n{"first":{}}')
    with pytest.raises(Terminal, match=r"E445.*format v2, and this release knows v1"):
        require_startable(str(path))


def test_a_gap_before_what_spark_keeps_is_its_cleaning_up(lane: Callable[[str], Path]) -> None:
    path = lane("done")
    for number in range(3, 8):
        for log in ("offsets", "commits"):
            shutil.copy(path / log / "2", path / log / str(number))
    (path / "offsets/3").unlink()
    require_startable(str(path), kept=4)
    with pytest.raises(Terminal, match=r"3 is missing between 2 and 7"):
        require_startable(str(path), kept=6)


def test_the_checksums_hadoop_writes() -> None:
    """The bytes of a real `offsets/.0.crc` of Spark 4.2 for the file beside it: 512 bytes a sum."""
    data = (GOLDEN / "done/offsets/2").read_bytes()
    parts = [data[at : at + 512] for at in range(0, len(data), 512)]
    whole = b"crc\0" + struct.pack(">I", 512) + b"".join(struct.pack(">I", zlib.crc32(part)) for part in parts)
    assert len(parts) > 1 and fits(data, whole)
    assert not fits(data[:-1], whole) and not fits(data + b" ", whole) and not fits(data.replace(b"6", b"7"), whole)
    assert fits(b"v1\n{}", b"other layout"), "what we cannot read judges nothing"
    # A real pair, as Spark left it: commits/3 and commits/.3.crc
    assert fits(b'v1\n{"nextBatchWatermarkMs":0}', bytes.fromhex(_REAL_CRC))


def test_when_a_batch_was_planned(lane: Callable[[str], Path]) -> None:
    path = lane("done")
    assert planned_ms(str(path), 2) == 1_795_235_170_884
    assert planned_ms(str(path), 3) is None
    (path / "offsets/2").write_text("v1\n{}\n{}")
    assert planned_ms(str(path), 2) is None


def test_what_an_ordinary_kill_leaves_may_start(lane: Callable[[str], Path]) -> None:
    path = lane("done")
    (path / "commits/2").unlink()
    assert require_startable(str(path)).last_commit == 1
