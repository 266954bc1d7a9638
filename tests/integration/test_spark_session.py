"""The shared session has what the product relies on."""

from pathlib import Path

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
