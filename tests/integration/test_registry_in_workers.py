"""Spark's workers ask a real schema registry: several ids in one batch, an unknown one, a registry that is away or refuses."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame, Row, SparkSession

from pipelines.decoding import decoded
from pipelines.flow import load_flow
from pipelines.outputs import MirrorOutput
from pipelines.schema_registry import SchemaRegistry
from pipelines.source import messages
from pipelines.worker_errors import workers_errors_raised
from schemas.errors import ConfigError, Retryable
from schemas.xdr.options import DecodeOptions
from schemas.xdr.registry_options import RegistryOptions
from sinks.contract import Fence
from tests.support.avro_messages import DELETE_SCHEMA, framed, metadata, record, written
from tests.support.events import delete, write
from tests.support.fixtures_stack import RegistryUnderTest
from tests.support.registry_server import RegistryServer, Said, registry_server

pytestmark = [pytest.mark.spark, pytest.mark.stack]
MESSAGES = "topic STRING, partition INT, offset BIGINT, timestamp TIMESTAMP, key BINARY, value BINARY"
HEADERS = "headers ARRAY<STRUCT<key: STRING, value: BINARY>>"
AT = datetime(2026, 1, 1, tzinfo=UTC)
OLD = record("Write", {"n": ["null", "long"]})
NEW = record("Write", {"n": ["null", "string"], "more": ["null", "bytes"]})
SECRET = "hush-hush-4711"


def frame_of(spark: SparkSession, values: list[bytes]) -> DataFrame:
    rows = [("t", 0, offset, AT, b"k", value, None) for offset, value in enumerate(values)]
    return messages(spark.createDataFrame(rows, f"{MESSAGES}, {HEADERS}").repartition(2))


def rows_of(spark: SparkSession, values: list[bytes], options: DecodeOptions) -> list[Row]:
    with workers_errors_raised():
        return decoded(frame_of(spark, values), options).orderBy("offset").collect()


def options_of(folder: Path, urls: str, **registry: Any) -> DecodeOptions:
    """Through a flow file, as a run gets them."""
    flow = {
        "name": "registered",
        "source": {"bootstrap_servers": "127.0.0.1:1", "topics": "t", "format": "kafka-avro"},
        "records": [{"namespace": "test"}],
        "outputs": {"history": {"type": "delta_history", "path": "/nowhere/history"}},
        "dead_letters": "/nowhere/dead",
        "checkpoint": "/nowhere/checkpoint",
    }
    flow["source"]["registry"] = {"urls": urls, **registry}  # type: ignore[index]
    path = folder / "flow.yaml"
    path.write_text(json.dumps(flow))
    options = load_flow(path).decode_options()
    return replace(options, records=())


def message(schema_id: int, schema: dict[str, Any], bins: dict[str, Any]) -> bytes:
    event = write("k", 1) if bins else delete("k", 1)
    return framed(schema_id, written(schema, {**bins, "metadata": metadata(event)}))


def test_one_batch_names_several_schemas_and_one_nobody_has(
    spark: SparkSession, schema_registry: RegistryUnderTest, tmp_path: Path
) -> None:
    registry = SchemaRegistry(RegistryOptions((schema_registry.address,)))
    old, new, gone = (registry.register(f"s{number}", json.dumps(each)) for number, each in enumerate([OLD, NEW, DELETE_SCHEMA]))
    values = [message(old, OLD, {"n": 2**53 + 1}), message(new, NEW, {"n": "x", "more": b"\0"}), message(gone, DELETE_SCHEMA, {})]
    values.append(message(999_999, OLD, {"n": 1}))
    rows = rows_of(spark, values * 20, options_of(tmp_path, schema_registry.address))
    assert [row.op for row in rows[:3]] == ["write", "write", "delete"]
    assert [row.error is None for row in rows] == [True, True, True, False] * 20
    assert "999999" in str(rows[3].error) and rows[3].value == values[3]


def test_a_registry_that_is_away_fails_the_batch_and_no_message(spark: SparkSession, tmp_path: Path) -> None:
    """Of the history's way and of the mirror's: both raise what makes the lane try again."""
    options = options_of(tmp_path, "http://127.0.0.1:1", retry_for_ms=300)
    values = [message(7, OLD, {"n": 1})]
    with pytest.raises(Retryable, match=r"E221.*after \d+ tr.*connection refused"):
        rows_of(spark, values, options)
    mirror = MirrorOutput(_NoSink(), options, "fast", 10.0, keeps_undecoded=True, victims=(), horizon_ms=1)  # type: ignore[arg-type]
    with pytest.raises(Retryable, match="E221"):
        mirror.apply(frame_of(spark, values), Fence("epoch", 0))


def test_a_refused_login_stops_the_flow_and_shows_no_secret(
    spark: SparkSession, refusing: RegistryServer, tmp_path: Path
) -> None:
    options = options_of(tmp_path, refusing.url, username="me", password=SECRET)
    with pytest.raises(ConfigError, match=r"E152.*401") as caught:
        rows_of(spark, [message(7, OLD, {"n": 1})], options)
    assert {asked.headers.get("Authorization", "")[:6] for asked in refusing.asked} == {"Basic "}
    assert SECRET not in f"{caught.value} {caught.value.__cause__}"


@pytest.fixture
def refusing() -> Iterator[RegistryServer]:
    with registry_server() as made:
        made.answer("/schemas/ids/7", Said(401, {"error_code": 401, "message": "no"}))
        yield made


class _NoSink:
    """Nothing is ever written here: no message of these tests is read."""

    name = "nowhere"
