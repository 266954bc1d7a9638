"""Plain Avro: everything Avro can carry comes back, the right schema is found, and what fits none or both is a dead letter."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.bins import BinType, GeoJson, Hll
from schemas.digest import digest_of
from schemas.errors import ConfigError
from schemas.events import DELETE, ChangeEvent
from schemas.xdr import DecodeOptions, RecordType
from schemas.xdr.avro import problem_of
from schemas.xdr.normal_form import Read
from schemas.xdr.options import AvroSchemas, Policies
from schemas.xdr.reader import Reader
from tests.support.avro_messages import DELETE_SCHEMA, KEY, METADATA, WRITE_MAP, as_map, metadata, record, written
from tests.support.decode import comparable, exact, plain, read_all_ways
from tests.support.events import delete, write
from tests.support.xdr_strategies import INT64, NAMES, POINT, TEXT, events

RUNS = settings(deadline=None, suppress_health_check=list(HealthCheck))
NESTED = st.recursive(
    st.none() | st.booleans() | INT64 | st.floats() | TEXT | st.binary(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=6,
)


def deep(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(deep, inner), default=0)


VALUES = NESTED.filter(lambda value: deep(value) <= 2)
DECLARED = {"d_geo": BinType.GEOJSON, "d_hll": BinType.HLL, "d_int": BinType.INT}
BINS = st.builds(
    lambda some, declared: {**some, **declared},
    st.dictionaries(NAMES, VALUES, max_size=6),
    st.fixed_dictionaries(
        {}, optional={"d_geo": st.just(POINT), "d_hll": st.binary(max_size=8).map(Hll), "d_int": st.none() | INT64}
    ),
)


def options(write: Any = WRITE_MAP, delete: Any = DELETE_SCHEMA, key: Any = None, **more: Any) -> DecodeOptions:
    texts = [None if schema is None else json.dumps(schema) for schema in (write, delete, key)]
    return DecodeOptions("avro", avro=AvroSchemas(texts[0] or "", *texts[1:]), **more)


def said(reading: Read) -> str:
    assert reading.error is not None, plain(reading)
    return ": ".join(reading.error)


TAKEN = tuple(RecordType(namespace, None, DECLARED, policies=Policies(user_key="trust")) for namespace in ("shop", "ü"))


@RUNS
@given(sent=st.lists(events(BINS), min_size=1, max_size=5))
def test_avro_comes_back_as_sent(sent: list[ChangeEvent]) -> None:
    sent = [event._replace(offset=offset) for offset, event in enumerate(sent)]
    _, got = read_all_ways([as_map(event) for event in sent], options(records=TAKEN))
    assert got.rejections == []
    assert [comparable(event) for event in got.events] == [comparable(event) for event in sent]


@RUNS
@given(event=events(BINS), damage=st.data())
def test_damaged_avro_is_read_alike_all_ways(event: ChangeEvent, damage: st.DataObject) -> None:
    whole = as_map(event)
    values: list[bytes | None] = []
    for _ in range(4):
        start = damage.draw(st.integers(0, len(whole)))
        end = min(len(whole), start + damage.draw(st.sampled_from([0, 1, 2, 5, 20])))
        values.append(whole[:start] + damage.draw(st.binary(max_size=2)) + whole[end:])
    read_all_ways(values, options(records=TAKEN))


def test_no_message_cut_short_is_an_event_and_no_changed_byte_an_exception() -> None:
    whole = as_map(write("k", 1, bins={"a": 1, "b": [1.5, {"x": b"\0"}], "c": "läuft"}))
    readings, _ = read_all_ways([whole[:end] for end in range(len(whole))], options())
    assert all(said(reading).startswith("D109") for reading in readings)
    changed = [whole[:at] + bytes([whole[at] ^ bit]) + whole[at + 1 :] for at in range(len(whole)) for bit in (1, 2, 0x80)]
    _, got = read_all_ways(changed, options())
    assert len(got.rejections) > len(changed) // 4, "the damage does not show"


FIELDS = {
    "n": ["null", "int"],
    "f": ["null", "float"],
    "e": ["null", {"type": "enum", "name": "Colour", "symbols": ["RED", "BLUE"]}],
    "x": ["null", {"type": "fixed", "name": "Two", "size": 2}],
    "r": ["null", {"type": "record", "name": "Inner", "fields": [{"name": "a", "type": ["null", "long"]}]}],
    "t": ["null", {"type": "long", "logicalType": "timestamp-millis"}],
    "g": ["null", "string"],
}
RECORD = record("Write", FIELDS)


def as_record(bins: dict[str, Any], schema: Any = RECORD, **more: Any) -> bytes:
    return written(schema, {**bins, "metadata": {**metadata(write("k", 1)), **more}})


def test_every_type_of_avro_becomes_one_of_aerospike() -> None:
    bins = {"n": -7, "f": 0.1, "e": "BLUE", "x": b"\0\xff", "r": {"a": None}, "t": 1_764_633_600_123, "g": "x"}
    (reading,), got = read_all_ways([as_record(bins)], options(RECORD))
    assert reading.bins == [
        ("n", "int", "-7"),
        ("f", "float", "0.10000000149011612"),
        ("e", "str", "BLUE"),
        ("x", "blob", "AP8="),
        ("r", "map", '{"a":null}'),
        ("t", "int", "1764633600123"),
        ("g", "str", "x"),
    ]
    assert exact(got.events[0].bins["r"]) == exact({"a": None})


@pytest.mark.parametrize("image", ["full", "partial"])
def test_a_null_field_is_a_bin_that_is_not_in_the_message(image: Any) -> None:
    (reading,), _ = read_all_ways([as_record({"n": 1})], options(RECORD, image=image))
    assert reading.bins == [("n", "int", "1")]


@pytest.mark.parametrize("image", ["full", "partial"])
def test_a_null_in_a_map_is_a_deleted_bin(image: Any) -> None:
    (reading,), got = read_all_ways([as_map(write("k", 1, bins={"a": None, "b": 2}))], options(image=image))
    assert reading.bins == [("a", "null", None), ("b", "int", "2")]
    assert got.events[0].bins == {"a": None, "b": 2}


def test_without_bins_in_the_image_no_bin_is_read() -> None:
    (reading,), _ = read_all_ways([as_record({"n": 1})], options(RECORD, image="none"))
    assert reading.error is None and reading.bins == []


@pytest.mark.parametrize(
    ("bins", "declared", "why"),
    [
        ({"n": 1}, {"n": BinType.FLOAT}, "n is int, but the flow declares float"),
        ({"g": "AP8="}, {"g": BinType.BLOB}, "g is str, but the flow declares blob"),
        ({"g": "[1]"}, {"g": BinType.GEOJSON}, "g is declared geojson, but is no JSON object"),
        ({"g": '{"a":1,"a":2}'}, {"g": BinType.GEOJSON}, "declared geojson, but is no JSON object"),
        ({"x": b"ab"}, {"x": BinType.STR}, "x is blob, but the flow declares str"),
    ],
)
def test_a_value_that_contradicts_its_declaration(bins: dict[str, Any], declared: dict[str, BinType], why: str) -> None:
    taken = (RecordType("source", None, declared),)
    (reading,), _ = read_all_ways([as_record(bins)], options(RECORD, records=taken))
    assert said(reading).startswith("D108") and why in said(reading)


def test_declarations_settle_geojson_and_hll() -> None:
    taken = (RecordType("source", None, {"g": BinType.GEOJSON, "x": BinType.HLL}),)
    value = as_record({"g": '{"type": "Point", "coordinates": [8.50, 47.4]}', "x": b"\0\1"})
    _, got = read_all_ways([value], options(RECORD, records=taken))
    assert got.events[0].bins == {"g": GeoJson('{"type":"Point","coordinates":[8.5,47.4]}'), "x": Hll(b"\0\1")}


@pytest.mark.parametrize("key", [1 << 60, "A-1", b"\0\xff", 1.5])
def test_user_keys_of_every_type_keep_it(key: Any) -> None:
    event = write("k", 1, digest=digest_of("contract", key), user_key=key)
    _, got = read_all_ways([as_map(event)], options())
    assert exact(got.events[0].user_key) == exact(key) and got.events[0].digest == digest_of("contract", key)


def test_a_durable_delete_says_so() -> None:
    gone = metadata(delete("k", 2))
    values = [written(DELETE_SCHEMA, {"metadata": {**gone, "durable": durable}}) for durable in (None, True, False)]
    readings, _ = read_all_ways(values, options())
    assert [reading.metadata.durable for reading in readings] == [None, True, False]
    assert all(reading.bins is None and reading.metadata.op == DELETE for reading in readings)


@pytest.mark.parametrize(
    ("members", "code", "why"),
    [
        ({"msg": "upsert"}, "D104", "metadata.msg is upsert"),
        ({"namespace": ""}, "D105", "metadata.namespace is missing or empty"),
        ({"digest": b"x" * 19}, "D105", "metadata.digest is not 20 bytes"),
        ({"gen": 70_000}, "D106", "metadata.gen is 70000"),
        ({"gen": None}, "D106", "metadata.gen is missing beside"),
        ({"lut": 1_764_633_600}, "D106", "seconds, not milliseconds"),
        ({"exp": -2}, "D106", "metadata.exp is -2"),
    ],
)
def test_metadata_is_checked_as_in_every_format(members: dict[str, Any], code: str, why: str) -> None:
    (reading,), _ = read_all_ways([as_record({"n": 1}, **members)], options(RECORD))
    assert said(reading).startswith(code) and why in said(reading)


def test_kinds_of_events_are_read_in_any_case_and_old_servers_have_no_version() -> None:
    values = [as_record({"n": 1}, msg="WRITE"), as_record({"n": 1}, gen=0, lut=0, exp=0), as_record({"n": 1}, lut=None, exp=None)]
    _, got = read_all_ways(values, options(RECORD))
    assert [event.lut_ms is None for event in got.events] == [False, True, True]


SAME = record("Gone", {"n": ["null", "int"]})
PREFIX = record("Before", {}) | {"fields": [record("Gone", {})["fields"][0]]}


def test_a_message_that_both_schemas_fit_is_told_apart_by_its_kind() -> None:
    """Case: two schemas with the same bytes; the metadata says which one it was."""
    said = written(SAME, {"n": 1, "metadata": metadata(write("k", 1))}), written(SAME, {"metadata": metadata(delete("k", 2))})
    readings, _ = read_all_ways(said, options(record("Write", {"n": ["null", "int"]}), SAME))
    assert [reading.metadata.op for reading in readings] == ["write", "delete"]


WITHOUT = {"type": "record", "name": "W", "fields": [{"name": "a", "type": "string"}]}
WITHOUT_TOO = {"type": "record", "name": "D", "fields": [{"name": "b", "type": "bytes"}]}


def test_a_message_that_both_schemas_fit_and_whose_kind_nobody_knows_is_a_dead_letter() -> None:
    both = written(WITHOUT, {"a": "x"})
    (reading,), _ = read_all_ways([both], options(WITHOUT, WITHOUT_TOO, KEY), [written(KEY, metadata(write("k", 1)))])
    assert said(reading).startswith("D112")


def test_a_message_that_is_a_write_by_one_schema_and_a_delete_by_the_other_is_a_dead_letter() -> None:
    one, other = ({"name": name, "type": kind} for name, kind in (("metadata", METADATA), ("b", "Metadata")))
    first = {"type": "record", "name": "W", "fields": [one, other]}
    second = {"type": "record", "name": "D", "fields": [{**one, "name": "b"}, {**other, "name": "metadata"}]}
    both = written(first, {"metadata": metadata(write("k", 1)), "b": metadata(delete("k", 2))})
    (reading,), _ = read_all_ways([both], options(first, second))
    assert said(reading).startswith("D112")


def test_the_kind_must_be_that_of_the_schema() -> None:
    values = [
        as_record({"n": 1}, msg="delete"),
        written(DELETE_SCHEMA, {"metadata": metadata(write("k", 1))}),
        b"",
        b"\xff",
        None,
    ]
    readings, _ = read_all_ways(values, options(RECORD))
    assert [said(reading)[:4] for reading in readings] == ["D109", "D109", "D109", "D109", "D101"]
    assert "whole message of the write schema, but its msg is delete" in said(readings[0])
    assert "by the write schema" in said(readings[2]) and "by the delete schema" in said(readings[2])


def test_deletes_may_be_written_as_writes_are() -> None:
    values = [as_record({"n": 1}), as_record({}, msg="delete")]
    readings, _ = read_all_ways(values, options(RECORD, None))
    assert [reading.metadata.op for reading in readings] == ["write", "delete"]
    assert [reading.bins for reading in readings] == [[("n", "int", "1")], None]


EMPTY = {"type": "record", "name": "Gone", "fields": []}


def test_without_metadata_the_kafka_key_says_whose_event_it_is() -> None:
    one, two = write("k", 1), delete(7, 2)
    keys = [written(KEY, metadata(one)), written(KEY, metadata(two)), None, b"\x02x"]
    values = [written(WITHOUT, {"a": "x"}), b"", written(WITHOUT, {"a": "x"}), written(WITHOUT, {"a": "x"})]
    readings, got = read_all_ways(values, options(WITHOUT, EMPTY, KEY), keys)
    assert [(event.op, event.digest, event.user_key, event.lut_ms, event.bins) for event in got.events] == [
        ("write", one.digest, "k", None, {"a": "x"}),
        ("delete", two.digest, 7, None, {}),
    ]
    assert said(readings[2]).startswith("D105") and said(readings[3]).startswith("D109")


def test_metadata_may_stand_in_a_map_of_maps_too() -> None:
    schema = {"type": "map", "values": ["null", "long", {"type": "map", "values": ["null", "long", "string", "bytes"]}]}
    (reading, none), _ = read_all_ways(
        [written(schema, {"a": 1, "metadata": metadata(write("k", 1))}), written(schema, {"a": 1})], options(schema, None, KEY)
    )
    assert reading.error is None and reading.bins == [("a", "int", "1")]
    assert said(none).startswith("D105")


def test_a_type_that_contains_itself_is_read_the_thorough_way() -> None:
    """Lists of lists without end need a named type; the quick way leaves them."""
    cell = {
        "type": "record",
        "name": "Cell",
        "fields": [{"name": "v", "type": ["null", "long", {"type": "array", "items": "Cell"}]}],
    }
    schema = record("Write", {"a": ["null", cell]})
    value = as_record({"a": {"v": [{"v": 1}, {"v": [{"v": None}]}]}}, schema)
    (reading,), _ = read_all_ways([value], options(schema))
    assert reading.bins == [("a", "map", '{"v":[{"v":1},{"v":[{"v":null}]}]}')]
    assert Reader(options(schema)).quick(value) is None


@pytest.mark.parametrize(
    ("schemas", "name", "why"),
    [
        (AvroSchemas('"long"'), "write", "is a record or a map, not long"),
        (AvroSchemas("{"), "write", "not JSON"),
        (AvroSchemas(json.dumps(RECORD), "{"), "delete", "not JSON"),
        (AvroSchemas(json.dumps(RECORD), None, '"bytes"'), "key", "no record with namespace and digest"),
        (AvroSchemas(json.dumps(WITHOUT), json.dumps(EMPTY)), "write", "then a key schema is needed"),
        (AvroSchemas(json.dumps(RECORD), json.dumps(EMPTY)), "delete", "then a key schema is needed"),
        (AvroSchemas(json.dumps(WITHOUT), None, json.dumps(KEY)), "write", "then a delete schema is needed"),
        (AvroSchemas(json.dumps(record("W", {}, metadata="meta"))), "write", "its field meta looks like metadata"),
        (AvroSchemas(json.dumps(record("W", {"metadata": "long"}, metadata=None))), "write", "should be the metadata"),
    ],
)
def test_schemas_that_cannot_be_used_are_named(schemas: AvroSchemas, name: str, why: str) -> None:
    problem = problem_of(schemas, "metadata")
    assert problem is not None and problem[0] == name and why in problem[1]


def test_usable_schemas_have_no_problem() -> None:
    assert problem_of(AvroSchemas(json.dumps(RECORD), json.dumps(DELETE_SCHEMA), json.dumps(KEY)), "metadata") is None
    assert problem_of(AvroSchemas(json.dumps(WITHOUT), json.dumps(EMPTY), json.dumps(KEY)), "metadata") is None
    assert problem_of(AvroSchemas(json.dumps(record("W", {}, metadata="meta"))), "meta") is None


def test_a_reader_without_schemas_is_refused() -> None:
    with pytest.raises(ConfigError, match="needs the connector's schemas"):
        Reader(DecodeOptions("avro"))
    with pytest.raises(ConfigError, match="cannot be used: not JSON"):
        Reader(DecodeOptions("avro", avro=AvroSchemas("{")))


def test_the_quick_way_is_taken() -> None:
    """Should it refuse what it took before, everything would be slow, yet right."""
    reader = Reader(options())
    bins = {"a": 1, "b": 1.5, "c": "x", "d": True, "e": b"x", "f": [1, {"k": None}], "g": {"x": 1.5}}
    assert reader.quick(as_map(write("k", 1, bins=bins))) is not None
    assert reader.quick(as_map(delete("k", 1))) is not None
    assert Reader(options(RECORD, None)).quick(as_record({"n": 1})) is not None
