"""Typed JSON: every golden case of the connector's format `json`, decoded by Spark."""

import pytest
from pyspark.sql import SparkSession

from schemas.errors import ConfigError
from schemas.xdr import DecodeOptions
from schemas.xdr.decode import decode
from tests.support.decode import as_kafka, decoded, differences, golden

pytestmark = pytest.mark.spark


@pytest.mark.parametrize("name", ["json", "json-declared", "json-no-bins"])
def test_golden_messages(spark: SparkSession, name: str) -> None:
    options, cases = golden(name)
    rows = decoded(spark, [case.message for case in cases], options)
    assert differences(cases, rows) == []
    assert [row["value"] for row in rows] == [case.message for case in cases]
    assert {(row["topic"], row["partition"], row["key"]) for row in rows} == {("xdr", 3, b"k")}


def test_an_unknown_format_is_refused_before_anything_runs(spark: SparkSession) -> None:
    with pytest.raises(ConfigError, match="no decoder for format 'xml'"):
        decode(as_kafka(spark, [b"{}"]), DecodeOptions(format="xml"))


SETTINGS = ["spark.sql.ansi.enabled", "spark.sql.caseSensitive"]


@pytest.mark.parametrize("setting", SETTINGS)
def test_session_settings_change_no_event(spark: SparkSession, setting: str) -> None:
    """What a message means must not depend on settings a flow may replace (a dead letter's words may). Others are refused."""
    options, cases = golden("json")
    before = spark.conf.get(setting)
    assert before in ("true", "false")
    spark.conf.set(setting, "false" if before == "true" else "true")
    try:
        rows = decoded(spark, [case.message for case in cases], options)
    finally:
        spark.conf.set(setting, before)
    good = [place for place, case in enumerate(cases) if case.dead is None]
    assert differences([cases[place] for place in good], [rows[place] for place in good]) == []
    assert [row["error"] is None for row in rows] == [case.dead is None for case in cases]
