"""Flat JSON: every golden case of the connector's format `flat-json`, decoded by Spark."""

import pytest
from pyspark.sql import SparkSession

from tests.support.decode import decoded, differences, golden

pytestmark = pytest.mark.spark


@pytest.mark.parametrize("name", ["flat-json", "flat-json-declared"])
def test_golden_messages(spark: SparkSession, name: str) -> None:
    options, cases = golden(name)
    rows = decoded(spark, [case.message for case in cases], options)
    assert differences(cases, rows) == []
    assert [row["value"] for row in rows] == [case.message for case in cases]
