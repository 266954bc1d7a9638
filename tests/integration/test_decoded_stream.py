"""What a lane's outputs get of a Kafka message: decoded, marked, headers and original bytes kept for dead letters."""

from datetime import UTC, datetime
from typing import Any

import pytest
from pyspark.sql import Row, SparkSession

from pipelines.flow import parse_flow
from pipelines.source import decoded
from tests.support.typed_json import Change

pytestmark = pytest.mark.spark
FLOW = """
name: selection
source: {bootstrap_servers: "127.0.0.1:1", topics: t}
records:
  - {namespace: payments, sets: [cards, "it's"]}
  - {namespace: other}
outputs: {history: {type: delta_history, path: /nowhere/history}}
dead_letters: /nowhere/dead
checkpoint: /nowhere/checkpoint
"""
MESSAGES = "key BINARY, value BINARY, topic STRING, partition INT, offset BIGINT, timestamp TIMESTAMP"
HEADERS = "headers ARRAY<STRUCT<key: STRING, value: BINARY>>"


def rows_of(spark: SparkSession, values: list[bytes], headers: list[Any] | None = None) -> list[Row]:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    rows: list[tuple[Any, ...]] = [(b"k", value, "t", 0, offset, at) for offset, value in enumerate(values)]
    ddl = MESSAGES
    if headers is not None:
        rows, ddl = [(*row, header) for row, header in zip(rows, headers, strict=True)], f"{MESSAGES}, {HEADERS}"
    frame = spark.createDataFrame(rows, ddl)
    return decoded(frame, parse_flow(FLOW).flow).orderBy("offset").collect()


def test_only_named_namespaces_and_sets_are_selected_and_the_rest_is_emptied(spark: SparkSession) -> None:
    changes = [
        Change("a", 1_700_000_000_000, 1, {"n": 1}),
        Change("a", 1_700_000_000_000, 1, {"n": 1}, set="it's"),
        Change("a", 1_700_000_000_000, 1, {"n": 1}, set="merchants"),
        Change("a", 1_700_000_000_000, 1, {"n": 1}, namespace="other", set="anything"),
        Change("a", 1_700_000_000_000, 1, {"n": 1}, namespace="unknown"),
    ]
    rows = rows_of(spark, [change.message()[1] for change in changes])
    assert [row.error for row in rows] == [None] * 5
    assert [row.selected for row in rows] == [True, True, False, True, False]
    assert [row.value is None and row.bins is None for row in rows] == [False, False, True, False, True]


def test_what_cannot_be_decoded_is_selected_with_its_bytes_and_headers(spark: SparkSession) -> None:
    good = Change("a", 1_700_000_000_000, 1, {"n": 1}).message()[1]
    rows = rows_of(spark, [b"not json", good], [[("from", b"\x00\xff")], None])
    assert (rows[0].selected, rows[0].key, rows[0].value) == (True, b"k", b"not json")
    assert rows[0].headers == [Row(key="from", value=b"\x00\xff")]
    assert (rows[1].selected, rows[1].key, rows[1].headers, rows[1].error) == (True, b"k", None, None)
