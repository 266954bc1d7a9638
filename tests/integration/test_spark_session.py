"""The shared session has what the product relies on."""

import pytest
from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark


def test_session_reads_and_writes_delta(spark: SparkSession, tmp_path: object) -> None:
    path = f"{tmp_path}/table"
    spark.range(3).write.format("delta").save(path)
    assert spark.read.format("delta").load(path).count() == 3


def test_session_runs_ansi_in_utc(spark: SparkSession) -> None:
    assert spark.conf.get("spark.sql.ansi.enabled") == "true"
    assert spark.conf.get("spark.sql.session.timeZone") == "UTC"
