"""Spark's writer, paused in the middle of its commit and replaced: what keeps a batch from being there twice."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable
from pyspark.sql import SparkSession

from sinks.delta.append import append_frame
from sinks.delta.ddl import delta_schema
from sinks.delta.transactions import Txn

pytestmark = pytest.mark.spark


class Pausing:
    """For mapInArrow: says that it has begun, and hands its rows on once it may."""

    def __init__(self, folder: Path) -> None:
        self.begun, self.go = folder / "begun", folder / "go"

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        self.begun.touch()
        while not self.go.exists():
            time.sleep(0.02)
        yield from batches


@pytest.mark.parametrize("transaction", ["same", "none of its own"])
def test_a_driver_paused_in_its_commit_and_replaced_writes_nothing(spark: SparkSession, tmp_path: Path, transaction: str) -> None:
    """The writer has looked at the table, then slept while another driver wrote the batch. Without the id it would double."""
    path = str(tmp_path / "rows")
    DeltaTable.create(path, delta_schema("output STRING, batch_id BIGINT"))
    rows = spark.createDataFrame([("o", 1)], "output STRING, batch_id LONG").coalesce(1)
    ours, theirs = Txn("millrace/f/o/e", 1), Txn("millrace/f/o/e" if transaction == "same" else "another", 1)
    late: list[Exception] = []
    pausing = Pausing(tmp_path)

    def zombie() -> None:
        try:
            append_frame(rows.mapInArrow(pausing, rows.schema), path, theirs)
        except Exception as refused:
            late.append(refused)

    paused = threading.Thread(target=zombie)
    paused.start()
    deadline = time.monotonic() + 120
    while not pausing.begun.exists():
        assert paused.is_alive() and time.monotonic() < deadline, f"the paused write never began: {late}"
        time.sleep(0.05)
    append_frame(rows, path, ours)
    pausing.go.touch()
    paused.join(120)
    there = spark.read.format("delta").load(path).count()
    if transaction == "same":
        assert there == 1 and [getattr(refused, "code", refused) for refused in late] == ["E230"]
    else:
        assert there == 2 and not late
