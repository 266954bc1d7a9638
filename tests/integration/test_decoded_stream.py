"""What a lane's outputs get of a Kafka message: decoded, marked, headers and original bytes kept for dead letters."""

from datetime import UTC, datetime
from typing import Any

import pytest
from pyspark.sql import Row, SparkSession

from pipelines.decoding import decoded
from pipelines.flow import parse_flow
from pipelines.source import messages
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
MESSAGES = "topic STRING, partition INT, offset BIGINT, timestamp TIMESTAMP, key BINARY, value BINARY"
HEADERS = "headers ARRAY<STRUCT<key: STRING, value: BINARY>>"
AT = datetime(2026, 1, 1, tzinfo=UTC)


def rows_of(spark: SparkSession, values: list[bytes], headers: list[Any] | None = None) -> list[Row]:
    carried = headers or [None] * len(values)
    rows = [("t", 0, offset, AT, b"k", value, header) for offset, (value, header) in enumerate(zip(values, carried, strict=True))]
    frame = spark.createDataFrame(rows, f"{MESSAGES}, {HEADERS}")
    return decoded(messages(frame), parse_flow(FLOW).flow.decode_options()).orderBy("offset").collect()


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
    assert [len(row.bins) for row in rows] == [1, 1, 0, 1, 0]
    assert [row.value for row in rows] == [None] * 5, "what was read needs its bytes no longer"
    assert {(row.topic, row.kafka_timestamp.astimezone(UTC)) for row in rows} == {("t", AT)}


def test_what_cannot_be_decoded_is_selected_with_its_bytes_and_headers(spark: SparkSession) -> None:
    good = Change("a", 1_700_000_000_000, 1, {"n": 1}).message()[1]
    rows = rows_of(spark, [b"not json", good], [[("from", b"\x00\xff"), ("empty", None)], None])
    assert (rows[0].selected, rows[0].key, rows[0].value) == (True, b"k", b"not json")
    assert rows[0].headers == [Row(key="from", value=b"\x00\xff"), Row(key="empty", value=None)]
    assert (rows[1].selected, rows[1].key, rows[1].headers, rows[1].error) == (True, None, None, None)
