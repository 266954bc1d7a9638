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


def test_files_are_made_without_a_process_for_each(spark: SparkSession, tmp_path: Path) -> None:
    """Were they not, only speed would tell. What a process that has ended took counts among its parent's children's."""
    jvm = spark.sparkContext._jvm
    assert jvm is not None
    files = jvm.org.apache.hadoop.fs.FileSystem.get(spark._jsc.hadoopConfiguration())
    before = _seconds_of_ended_children(jvm_pid(spark))
    for number in range(50):
        files.create(jvm.org.apache.hadoop.fs.Path(f"file:{tmp_path}/{number}"), True).close()
    assert _seconds_of_ended_children(jvm_pid(spark)) - before < 0.05, "50 processes take several times as much"
    assert oct((tmp_path / "7").stat().st_mode)[-3:] == "644"


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


def _seconds_of_ended_children(pid: int | None) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")
