"""The shared session has what the product relies on."""

import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from pipelines.session import CLASS_ARCHIVE, jar_paths, jvm_pid

pytestmark = pytest.mark.spark


def test_session_reads_and_writes_delta(spark: SparkSession, tmp_path: object) -> None:
    path = f"{tmp_path}/table"
    spark.range(3).write.format("delta").save(path)
    assert spark.read.format("delta").load(path).count() == 3


def test_session_runs_ansi_in_utc(spark: SparkSession) -> None:
    assert spark.conf.get("spark.sql.ansi.enabled") == "true"
    assert spark.conf.get("spark.sql.session.timeZone") == "UTC"


def test_the_driver_starts_from_the_class_archive(spark: SparkSession) -> None:
    """`make setup` makes it; were it not used, only speed would tell."""
    archive = jar_paths()[0].with_name(CLASS_ARCHIVE)
    assert archive.exists(), "make setup did not make it"
    maps = Path(f"/proc/{jvm_pid(spark)}/maps").read_text()
    assert str(archive) in maps, "the JVM has not mapped it: it was made with other jars or by another JVM"


def test_python_workers_are_forked_with_what_they_need(spark: SparkSession) -> None:
    """Were they not, only speed would tell: every worker imports for a second, and every task ends with a look at all of it."""

    def told(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        there = {"mirror_worker": "pipelines.mirror_worker" in sys.modules, "pandas": "pandas" in sys.modules}
        parent = Path(f"/proc/{os.getppid()}/cmdline").read_text()
        for _ in batches:
            yield pa.RecordBatch.from_pylist([{**there, "frozen": gc.get_freeze_count(), "parent": parent}])

    frame = spark.range(1).mapInArrow(told, "mirror_worker BOOLEAN, pandas BOOLEAN, frozen BIGINT, parent STRING")
    row = frame.toArrow().to_pylist()[0]
    assert "pipelines.worker_daemon" in row["parent"]
    assert row["mirror_worker"] and row["pandas"], "imported by the worker itself at best"
    assert row["frozen"] > 100_000, "every task looks through all that was imported"
