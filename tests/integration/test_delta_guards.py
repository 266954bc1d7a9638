"""Starts that would lose or double history, on checkpoints and tables that real queries wrote; and what happens unguarded."""

import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from delta.tables import DeltaTable
from pyspark.sql import DataFrame, SparkSession

from checkpoints.guards import require_startable
from checkpoints.journal import Journal
from checkpoints.layout import read_epoch
from pipelines.fingerprint import PlanGuard
from pipelines.flow import Flow
from pipelines.progress import TextReport
from pipelines.table_guards import TableGuards
from pipelines.wiring import FlowParts
from schemas.errors import Terminal
from schemas.events import EVENT_DDL
from schemas.ledger import LedgerRow
from sinks.contract import Fence
from sinks.delta.append import append_frame
from sinks.delta.history import DeltaHistory
from sinks.delta.table_log import read_log
from sinks.delta.transactions import Txn, stored_version

pytestmark = pytest.mark.spark
RETENTION = "delta.setTransactionRetentionDuration"


class Lane:
    """A history lane over a folder of files, one file per batch."""

    def __init__(self, spark: SparkSession, folder: Path) -> None:
        self.spark = spark
        self.folder = folder
        self.source = folder / "source"
        self.path = str(folder / "history")
        self.ran: list[int] = []
        self.source.mkdir()

    def send(self, offset: int) -> None:
        values = f"'t', 0, {offset}, now(), null, null, 0, 'n', null, X'00', null, 'write', false, 1, 5, null, array(), null"
        names = [field.name for field in self.spark.createDataFrame([], EVENT_DDL).schema]
        types = self.spark.createDataFrame([], EVENT_DDL).schema
        row = self.spark.sql(f"SELECT {values}").toDF(*names).to(types)
        row.coalesce(1).write.mode("append").parquet(str(self.source))

    def flow(self, checkpoint: Path, outputs: Sequence[str]) -> Flow:
        return Flow.model_validate(
            {
                "name": "f",
                "source": {"bootstrap_servers": "127.0.0.1:9092", "topics": ["t"]},
                "records": [{"namespace": "n"}],
                "lanes": {
                    "bulk": {"outputs": {name: {"type": "delta_history", "path": self.place_of(name)} for name in outputs}}
                },
                "dead_letters": {"path": str(self.folder / "letters")},
                "ledger": {"path": str(self.folder / "ledger")},
                "checkpoint": str(checkpoint),
            }
        )

    def run(self, checkpoint: Path, *, adopt: bool = False, guarded: bool = True, outputs: Sequence[str] = ("o",)) -> None:
        """What a driver does: guards, tables, then all that is there."""
        place = checkpoint / "bulk"
        if guarded:
            flow = self.flow(checkpoint, outputs)
            plan = PlanGuard(flow)
            plan.require(TextReport())
            guards = TableGuards(flow, FlowParts(flow).tables, adopt=adopt)
            guards.require()
            guards.remember()
            plan.remember()
        histories = [DeltaHistory("f", output, self.place_of(output)) for output in outputs]
        for history in histories:
            history.prepare()
        stream = self.spark.readStream.schema(EVENT_DDL).option("maxFilesPerTrigger", 1).parquet(str(self.source))

        def body(frame: DataFrame, batch_id: int) -> None:
            epoch = read_epoch(str(place))
            assert epoch is not None
            self.ran.append(batch_id)
            for history in histories:
                history.write(frame, Fence(epoch, batch_id))
            Journal(str(checkpoint)).put("bulk", [account(epoch, batch_id)])

        query = stream.writeStream.foreachBatch(body).option("checkpointLocation", str(place)).trigger(availableNow=True).start()
        query.awaitTermination()

    def place_of(self, output: str) -> str:
        return self.path if output == "o" else str(self.folder / output)

    def offsets(self, output: str = "o") -> list[int]:
        rows = self.spark.read.format("delta").load(self.place_of(output)).select("offset").collect()
        return sorted(row.offset for row in rows)


def account(epoch: str, batch_id: int) -> LedgerRow:
    return LedgerRow(
        flow="f", lane="bulk", output="o", epoch=epoch, batch_id=batch_id, committed_at="2026-01-01T00:00:00.000+00:00",
        messages=1, rows_read=1, unselected=0, events_in=1, applied=1, superseded=0, duplicate=0, dead=0, past_horizon=0,
        unversioned=0, seconds=0.0, max_lut_ms=None, start_offsets="{}", end_offsets="{}",
    )  # fmt: skip


@pytest.fixture
def lane(spark: SparkSession, tmp_path: Path) -> Lane:
    return Lane(spark, tmp_path)


def refused(code: str, start: Callable[[], None]) -> str:
    with pytest.raises(Terminal) as error:
        start()
    assert error.value.code == code
    return str(error.value)


def without(checkpoint: Path, log: str, batch: int) -> None:
    for name in (f"{batch}", f".{batch}.crc"):
        (checkpoint / "bulk" / log / name).unlink()


def test_the_life_of_a_lane(lane: Lane, tmp_path: Path) -> None:
    first, backup, second = tmp_path / "ck1", tmp_path / "backup", tmp_path / "ck2"
    lane.send(0)
    lane.run(first)
    shutil.copytree(first, backup)
    lane.send(1)
    lane.run(first)
    assert lane.offsets() == [0, 1]

    # An ordinary kill: the last batch has no commit file. It is run again and appended once.
    without(first, "commits", 1)
    lane.run(first)
    assert lane.offsets() == [0, 1]

    # The checkpoint set back to a backup: its next batch would be skipped unread.
    told = refused("E422", lambda: lane.run(backup))
    assert "batches up to 1 of checkpoint" in told and "planned batches up to 0" in told
    lane.send(2)
    with pytest.raises(Exception, match="E422"):  # and even without the guard the output itself refuses
        shutil.copytree(backup, tmp_path / "unguarded")
        for log in ("offsets", "commits"):
            without(tmp_path / "unguarded", log, 0)
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


def test_a_restored_a_cloned_and_a_new_table(lane: Lane, tmp_path: Path) -> None:
    checkpoint = tmp_path / "ck"
    for offset in range(2):
        lane.send(offset)
        lane.run(checkpoint)
    DeltaTable.forPath(lane.spark, lane.path).restoreToVersion(1)
    assert lane.offsets() == [0]
    assert "is a RESTORE, after version" in refused("E426", lambda: lane.run(checkpoint))
    lane.send(2)
    lane.run(checkpoint, adopt=True)
    assert lane.offsets() == [0, 2], "the operator accepted the hole: this is what the guard keeps from happening"
    lane.run(checkpoint)

    # A clone in the table's place has the rows, another id, and none of the transactions.
    before = Path(lane.path).rename(tmp_path / "before")
    lane.spark.sql(f"CREATE TABLE delta.`{lane.path}` SHALLOW CLONE delta.`{before}`")
    assert lane.offsets() == [0, 2] and read_log(lane.path).stored == {}
    assert "this is another table" in refused("E441", lambda: lane.run(checkpoint))
    without(checkpoint, "commits", 2)
    lane.run(checkpoint, guarded=False)
    assert lane.offsets() == [0, 2, 2], "E441 off: the last batch, run again after a kill, is in the clone twice"

    # No table any more: unguarded it is made anew and begins in the middle.
    shutil.rmtree(lane.path)
    assert "there is no table any more" in refused("E441", lambda: lane.run(checkpoint))
    lane.send(3)
    lane.run(checkpoint, guarded=False)
    assert lane.offsets() == [3], "E441 off: batches 0 to 2 are missing"


def test_two_flows_of_one_name_unguarded_double_a_history(lane: Lane, tmp_path: Path) -> None:
    """E423 off. A fresh checkpoint has ids of its own, so Delta skips nothing."""
    lane.send(0)
    lane.run(tmp_path / "a")
    lane.run(tmp_path / "b", guarded=False)
    assert lane.offsets() == [0, 0]
    refused("E423", lambda: lane.run(tmp_path / "a"))


def test_an_output_added_over_old_state_unguarded_misses_what_was_before(lane: Lane, tmp_path: Path) -> None:
    lane.send(0)
    lane.run(tmp_path / "ck")
    lane.send(1)
    assert "[output-added:more]" in refused("E443", lambda: lane.run(tmp_path / "ck", outputs=("o", "more")))
    lane.run(tmp_path / "ck", guarded=False, outputs=("o", "more"))
    assert (lane.offsets(), lane.offsets("more")) == ([0, 1], [1]), "E443 off: the new history begins in the middle"


def test_what_the_guards_rest_on(lane: Lane, tmp_path: Path) -> None:
    """Facts of Delta: an append without rows keeps its transaction, one at an old id is skipped, and ids can be forgotten."""
    path, ours = str(tmp_path / "t"), "millrace/f/o/e"
    rows = lane.spark.range(1)
    append_frame(rows, path, Txn(ours, 0))
    append_frame(rows.limit(0), path, Txn(ours, 1))
    assert stored_version(path, ours) == 1, "else a batch without events would look as if it were missing"
    append_frame(rows, path, Txn(ours, 1))
    append_frame(rows, path, Txn(ours, 0))
    assert lane.spark.read.format("delta").load(path).count() == 1, "E422 off: batches at old ids are lost without an error"
    lane.spark.sql(f"ALTER TABLE delta.`{path}` SET TBLPROPERTIES ('{RETENTION}' = 'interval 1 second')")
    time.sleep(1.5)  # the retention itself; nothing to wait for
    append_frame(rows, path, Txn(ours, 1))
    assert lane.spark.read.format("delta").load(path).count() == 2, "E444 off: the table has forgotten batch 1 and takes it twice"


@pytest.fixture
def damaged(lane: Lane, tmp_path: Path) -> Path:
    """A checkpoint with batches 0 to 2, whose last offsets file is gone."""
    checkpoint = tmp_path / "ck"
    for offset in range(3):
        lane.send(offset)
    lane.run(checkpoint)
    without(checkpoint, "offsets", 2)
    lane.ran.clear()
    return checkpoint


def test_a_missing_offsets_file_runs_a_finished_batch_again_unguarded(lane: Lane, damaged: Path) -> None:
    """E421 off: outputs that cannot tell (an account elsewhere, a mail) would have batch 1 twice; Spark fails only after that."""
    with pytest.raises(Terminal, match=r"E421.*batch 2 is committed but the last offsets file is of batch 1"):
        require_startable(str(damaged / "bulk"))
    with pytest.raises(Exception, match="CONCURRENT_STREAM_LOG_UPDATE"):
        lane.run(damaged, guarded=False, outputs=())
    assert lane.ran == [1]
