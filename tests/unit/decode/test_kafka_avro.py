"""Avro with schema ids: several in one batch, one name for two schemas, ids nobody knows, and a registry that is away."""

import pickle
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.decoding import Decoding, reader_of
from pipelines.worker_errors import error_in
from schemas.errors import ConfigError, Retryable
from schemas.events import WRITE, ChangeEvent
from schemas.xdr import DecodeOptions
from schemas.xdr.normal_form import Read
from schemas.xdr.reader import Reader
from tests.support.avro_messages import (
    DELETE_SCHEMA,
    KEY,
    WRITE_MAP,
    MemorySchemas,
    as_map,
    framed,
    metadata,
    record,
    written,
)
from tests.support.decode import as_messages, comparable, read_all_ways
from tests.support.events import delete, write
from tests.support.xdr_strategies import events
from tests.unit.decode.test_avro import BINS, RUNS, TAKEN

OPTIONS = DecodeOptions("kafka-avro")
OLD = record("Write", {"n": ["null", "int"]})
NEW = record("Write", {"n": ["null", "string"], "more": ["null", "bytes"]})  # of the same name
IDS = {7: OLD, 1 << 30: NEW, 3: DELETE_SCHEMA, 4: KEY, 5: WRITE_MAP}


def message(schema_id: int, bins: dict[str, Any], event: ChangeEvent | None = None) -> bytes:
    said = metadata(event or write("k", 1))
    return framed(schema_id, written(IDS[schema_id], {**bins, "metadata": said}))


def said(reading: Read) -> str:
    assert reading.error is not None
    return ": ".join(reading.error)


def test_every_message_is_read_by_the_schema_it_names() -> None:
    schemas = MemorySchemas(IDS)
    values = [
        message(7, {"n": 1}),
        message(1 << 30, {"n": "x", "more": b"\0"}),
        message(3, {}, delete("k", 2)),
        message(7, {"n": 2}),
    ]
    _, got = read_all_ways(values * 50, OPTIONS, schemas=schemas)
    assert [event.bins for event in got.events[:4]] == [{"n": 1}, {"n": "x", "more": b"\0"}, {}, {"n": 2}]
    assert [event.op for event in got.events[:4]] == ["write", "write", "delete", "write"]
    assert sorted(schemas.asked) == [3, 7, 1 << 30], "a schema is asked for once"


@RUNS
@given(sent=st.lists(events(BINS), min_size=1, max_size=5))
def test_kafka_avro_comes_back_as_sent(sent: list[ChangeEvent]) -> None:
    sent = [event._replace(offset=offset) for offset, event in enumerate(sent)]
    values = [framed(5 if event.op == WRITE else 3, as_map(event)) for event in sent]
    _, got = read_all_ways(values, DecodeOptions("kafka-avro", records=TAKEN), schemas=MemorySchemas(IDS))
    assert got.rejections == []
    assert [comparable(event) for event in got.events] == [comparable(event) for event in sent]


@settings(deadline=None, suppress_health_check=list(HealthCheck))
@given(damage=st.data())
def test_damage_is_read_alike_all_ways(damage: st.DataObject) -> None:
    whole = message(7, {"n": 1})
    values: list[bytes | None] = []
    for _ in range(4):
        start = damage.draw(st.integers(0, len(whole)))
        end = min(len(whole), start + damage.draw(st.sampled_from([0, 1, 2, 5])))
        values.append(whole[:start] + damage.draw(st.binary(max_size=2)) + whole[end:])
    read_all_ways(values, OPTIONS, schemas=MemorySchemas(IDS))


@pytest.mark.parametrize(
    ("value", "code", "why"),
    [
        (None, "D101", "null"),
        (b"", "D109", "0 bytes, too few"),
        (b"\0\0\0\0", "D109", "4 bytes, too few"),
        (b'{"msg":"write"}', "D109", "begins with 0x7b"),
        (b"\1" + message(7, {"n": 1})[1:], "D109", "begins with 0x01"),
        (b"\0\0\0\0\7", "D109", "by schema 7"),
        (framed(7, b"\2\2") + b"x" * 200, "D109", "by schema 7"),
        (framed(8, b"\2\2"), "D110", "schema 8: the registry has no schema 8"),
        (framed(9, b"\2\2"), "D111", "schema 9: no Avro schema"),
        (framed(10, b"\2\2"), "D111", "schema 10: an array of null"),
        (framed(11, b"\2\2"), "D111", "schema 11: a schema of values is a record or a map, not bytes"),
        (framed(12, b"\2\2"), "D111", "schema 12: its field meta looks like metadata, but the flow calls it metadata"),
    ],
)
def test_dead_letters(value: bytes | None, code: str, why: str) -> None:
    odd = {
        9: '{"type":"enum","name":"A","symbols":["B","B"]}',
        10: {"type": "array", "items": "null"},
        11: '"bytes"',
        12: record("W", {}, metadata="meta"),
    }
    (reading, whole), _ = read_all_ways([value, message(7, {"n": 1})], OPTIONS, schemas=MemorySchemas(IDS | odd))
    assert said(reading).startswith(code) and why in said(reading)
    assert whole.error is None, "one bad message harms no other"


def test_an_unknown_id_may_be_known_later() -> None:
    schemas = MemorySchemas({3: DELETE_SCHEMA})
    reader = Reader(OPTIONS, schemas)
    value = message(7, {"n": 1})
    assert said(reader.read(value)[0]).startswith("D110")
    schemas.texts[7] = MemorySchemas(IDS).texts[7]
    assert reader.read(value)[0].error is None


WITHOUT = record("Write", {"n": ["null", "int"]}, metadata=None)
EMPTY = record("Delete", {}, metadata=None)


def test_without_metadata_identity_comes_from_the_key_and_the_kind_from_the_schema() -> None:
    one, two = write("k", 1), delete(b"\0\1", 2)
    schemas = MemorySchemas({1: WITHOUT, 2: EMPTY, 4: KEY})
    keys = [framed(4, written(KEY, metadata(one))), framed(4, written(KEY, metadata(two)))]
    values = [framed(1, written(WITHOUT, {"n": 5})), framed(2, b"")]
    readings, got = read_all_ways(values, OPTIONS, keys, schemas)
    assert [(event.op, event.digest, event.user_key, event.gen, event.lut_ms) for event in got.events] == [
        ("write", one.digest, "k", None, None),
        ("delete", two.digest, b"\0\1", None, None),
    ]
    assert readings[0].bins == [("n", "int", "5")] and readings[1].bins is None


@pytest.mark.parametrize(
    ("key", "code", "why"),
    [
        (None, "D105", "no Kafka key"),
        (b"\0\0", "D109", "its Kafka key has 2 bytes"),
        (b"x" * 20, "D109", "its Kafka key begins with 0x78"),
        (framed(8, b""), "D110", "schema 8"),
        (framed(4, b"\2"), "D109", "the Kafka key by schema 4"),
        (framed(6, b"\2x"), "D105", "its Kafka key is no record with namespace and digest"),
        (framed(2, b""), "D105", "key.namespace is missing or empty"),
        (framed(9, b""), "D111", "schema 9 of the Kafka key: not JSON"),
    ],
)
def test_without_metadata_the_key_must_say_whose_event_it_is(key: bytes | None, code: str, why: str) -> None:
    schemas = MemorySchemas({1: WITHOUT, 2: EMPTY, 4: KEY, 6: '"string"', 9: "{"})
    (reading,), _ = read_all_ways([framed(1, written(WITHOUT, {"n": 5}))], OPTIONS, [key], schemas)
    assert said(reading).startswith(code) and why in said(reading)


AWAY = Retryable("E220", "no answer from the schema registry")


@pytest.mark.parametrize("use", ["read", "quick", "events", "table"])
def test_a_registry_that_is_away_is_no_fault_of_a_message(use: str) -> None:
    schemas = MemorySchemas(IDS)
    schemas.down = AWAY
    reader = Reader(OPTIONS, schemas)
    value = message(7, {"n": 1})
    ask = {
        "read": lambda: reader.read(value),
        "quick": lambda: reader.quick(value),
        "events": lambda: reader.events(as_messages([value])),
        "table": lambda: reader.table(as_messages([value])),
    }[use]
    with pytest.raises(Retryable, match="no answer from the schema registry"):
        ask()
    schemas.down = None
    assert ask(), "and is read when it is back"


def test_schemas_that_are_known_need_no_registry() -> None:
    schemas = MemorySchemas(IDS)
    reader = Reader(OPTIONS, schemas)
    assert reader.read(message(7, {"n": 1}))[0].error is None
    schemas.down = AWAY
    assert reader.events(as_messages([message(7, {"n": 2})])).events[0].bins == {"n": 2}


def test_a_reader_without_a_registry_is_refused() -> None:
    with pytest.raises(ConfigError, match="needs a schema registry"):
        Reader(OPTIONS)


def test_a_history_tells_the_driver_why_its_worker_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spark hands on the text of a worker's error alone; the error is found in it, as it was."""
    schemas = MemorySchemas(IDS)
    schemas.down = Retryable("E220", 'nobody "answers" at\nall: ü', address="127.0.0.1:1")
    monkeypatch.setattr("pipelines.decoding.schema_source", lambda options: schemas)
    reader_of.cache_clear()
    messages = as_messages([message(7, {"n": 1})]).to_batches()[0]
    with pytest.raises(RuntimeError) as failed:
        list(Decoding(pickle.dumps(OPTIONS))(iter([messages])))
    reader_of.cache_clear()
    found = error_in(Exception(f"org.apache.spark.SparkException: Traceback\n  {failed.value}\n more of it [E999] x"))
    assert type(found) is Retryable
    assert (found.code, found.message, found.context) == (AWAY.code, 'nobody "answers" at\nall: ü', {"address": "127.0.0.1:1"})
    assert error_in(Exception("something else")) is None
