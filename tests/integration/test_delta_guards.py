"""Starts that would lose or double history, on checkpoints and tables that real queries wrote."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from delta.tables import DeltaTable
from pyspark.sql import DataFrame, SparkSession

from checkpoints.layout import read_epoch, read_lane
from schemas.errors import Terminal
from schemas.events import EVENT_DDL
from sinks.contract import Fence
from sinks.delta.guards import require_start
from sinks.delta.history import DeltaHistory

pytestmark = pytest.mark.spark


class Lane:
    """A history lane over a folder of files, one file per batch."""

    def __init__(self, spark: SparkSession, folder: Path) -> None:
        self.spark = spark
        self.source = folder / "source"
        self.path = str(folder / "history")
        self.source.mkdir()

    def send(self, offset: int) -> None:
        values = f"'t', 0, {offset}, now(), null, null, 0, 'n', null, X'00', null, 'write', false, 1, 5, null, array(), null"
        names = [field.name for field in self.spark.createDataFrame([], EVENT_DDL).schema]
        types = self.spark.createDataFrame([], EVENT_DDL).schema
        row = self.spark.sql(f"SELECT {values}").toDF(*names).to(types)
        row.coalesce(1).write.mode("append").parquet(str(self.source))

    def run(self, checkpoint: Path, *, adopt: bool = False, guarded: bool = True) -> None:
        """What a driver does: guards, tables, then all that is there."""
        if guarded:
            state = read_lane(str(checkpoint))
            require_start("f", "o", self.path, state.epoch, state.last_offsets, adopt=adopt)
        history = DeltaHistory("f", "o", self.path)
        history.prepare()
        stream = self.spark.readStream.schema(EVENT_DDL).option("maxFilesPerTrigger", 1).parquet(str(self.source))

        def body(frame: DataFrame, batch_id: int) -> None:
            epoch = read_epoch(str(checkpoint))
            assert epoch is not None
            history.write(frame, Fence(epoch, batch_id))

        query = (
            stream.writeStream.foreachBatch(body).option("checkpointLocation", str(checkpoint)).trigger(availableNow=True).start()
        )
        query.awaitTermination()

    def offsets(self) -> list[int]:
        rows = self.spark.read.format("delta").load(self.path).select("offset").collect()
        return sorted(row.offset for row in rows)


@pytest.fixture
def lane(spark: SparkSession, tmp_path: Path) -> Lane:
    return Lane(spark, tmp_path)


def refused(code: str, start: Callable[[], None]) -> str:
    with pytest.raises(Terminal) as error:
        start()
    assert error.value.code == code
    return str(error.value)


def test_the_life_of_a_lane(lane: Lane, tmp_path: Path) -> None:
    first, backup, second = tmp_path / "ck1", tmp_path / "backup", tmp_path / "ck2"
    lane.send(0)
    lane.run(first)
    shutil.copytree(first, backup)
    lane.send(1)
    lane.run(first)
    assert lane.offsets() == [0, 1]

    # An ordinary kill: the last batch has no commit file. It is run again and appended once.
    for name in ("1", ".1.crc"):
        (first / "commits" / name).unlink()
    lane.run(first)
    assert lane.offsets() == [0, 1]

    # The checkpoint set back to a backup: its next batch would be skipped unread.
    told = refused("E422", lambda: lane.run(backup))
    assert "batches up to 1 of checkpoint" in told and "planned batches up to 0" in told
    lane.send(2)
    with pytest.raises(Exception, match="E422"):  # and even without the guard the output itself refuses
        shutil.rmtree(tmp_path / "unguarded", ignore_errors=True)
        shutil.copytree(backup, tmp_path / "unguarded")
        for log in ("offsets", "commits"):
            for name in ("0", ".0.crc"):
                (tmp_path / "unguarded" / log / name).unlink()
        lane.run(tmp_path / "unguarded", guarded=False)
    assert lane.offsets() == [0, 1]

    # A fresh checkpoint on the old table, then the old checkpoint after the take-over.
    assert "this checkpoint is new" in refused("E423", lambda: lane.run(second))
    lane.run(second, adopt=True)
    assert lane.offsets() == [0, 0, 1, 1, 2], "adopting means: what is read again is appended again"
    lane.send(3)
    lane.run(second)
    assert lane.offsets() == [0, 0, 1, 1, 2, 3], "no second adoption is needed"
    assert "last wrote batch 1" in refused("E423", lambda: lane.run(first))


def test_a_restored_table(lane: Lane, tmp_path: Path) -> None:
    checkpoint = tmp_path / "ck"
    for offset in range(2):
        lane.send(offset)
        lane.run(checkpoint)
    DeltaTable.forPath(lane.spark, lane.path).restoreToVersion(1)
    assert lane.offsets() == [0]
    assert "is a RESTORE, after batch 1" in refused("E426", lambda: lane.run(checkpoint))
    lane.send(2)
    lane.run(checkpoint, adopt=True)
    assert lane.offsets() == [0, 2], "the operator accepted the hole"
    lane.run(checkpoint)
