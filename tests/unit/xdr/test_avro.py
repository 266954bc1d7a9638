"""What the node ships in Avro: read back by Millrace and by fastavro, and what a schema cannot hold is skipped."""

import io
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fastavro
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deploy.local.node.algebra.elements import ListValue, MapValue
from deploy.local.node.algebra.values import particle_of
from deploy.local.node.changes import Particle
from deploy.local.xdr.avro_schemas import DEPTH, delete_schema, key_schema, write_schema
from deploy.local.xdr.change import Change, Message, Unserialisable, write_of
from deploy.local.xdr.formats import FORMATS
from deploy.local.xdr.settings import XdrSettings
from schemas.bins import BinType, GeoJson, Hll
from schemas.digest import digest_of
from schemas.errors import ConfigError
from schemas.xdr import DecodeOptions, RecordType
from schemas.xdr.options import AvroSchemas
from tests.support.avro_messages import MemorySchemas
from tests.support.decode import exact, read_all_ways
from tests.unit.xdr.node_double import double, integer, string
from tests.unit.xdr.test_formats import DIGEST, EVERY_TYPE, EXP_S, LUT_MS, POINT, gone, image

EXAMPLES = Path(__file__).parents[3] / "examples" / "avro"
DECLARED = {"pos": BinType.GEOJSON, "hll": BinType.HLL}
OPTIONS = DecodeOptions(
    "avro",
    avro=AvroSchemas(*(json.dumps(one) for one in (write_schema("metadata"), delete_schema("metadata"), key_schema()))),
    records=(RecordType("shop", None, DECLARED),),
)


def shipped(change: Change, **options: object) -> Message:
    given = XdrSettings.model_validate({"namespace": "shop", "topic": "xdr.shop", "format": "avro", **options})
    return FORMATS[given.format](given).encode(change)


def fastavros(schema: Any, data: bytes) -> Any:
    out = io.BytesIO(data)
    value = fastavro.schemaless_reader(out, fastavro.parse_schema(schema, named_schemas={}), None)
    assert out.read() == b""
    return value


def test_a_write_with_every_type() -> None:
    key, value = shipped(write_of(image(EVERY_TYPE, key=string("A-1001"))))
    bins = {
        "qty": 3,
        "price": 19.5,
        "note": "läuft",
        "paid": True,
        "sig": b"\x00\xff\x10",
        "tags": ["x", 1, None, {"k": [2]}],
        "attr": {"7": "seven", "w": 1.25},
    }
    _, got = read_all_ways([value], OPTIONS)
    (event,) = got.events
    assert exact(event.bins) == exact(
        {**{n: bins[n] for n in list(bins)[:5]}, "hll": Hll(b"\1\2"), "tags": bins["tags"], "attr": bins["attr"]}
        | {"pos": GeoJson(POINT.decode())}
    )
    assert (event.set, event.digest, event.user_key, event.gen, event.lut_ms) == ("orders", DIGEST, "A-1001", 4, LUT_MS)
    whose = {"namespace": "shop", "set": "orders", "userKey": "A-1001", "digest": DIGEST}
    said = {**whose, "msg": "write", "gen": 4, "lut": LUT_MS, "exp": EXP_S, "durable": None}
    assert fastavros(write_schema("metadata"), value) == {**bins, "hll": b"\1\2", "pos": POINT.decode(), "metadata": said}
    assert fastavros(key_schema(), key) == whose


def test_deletes_are_metadata_alone() -> None:
    readings, _ = read_all_ways([shipped(gone(durable=durable)).value for durable in (False, True)], OPTIONS)
    assert [(one.metadata.op, one.metadata.gen, one.metadata.durable) for one in readings] == [
        ("delete", 5, None),
        ("delete", 5, True),
    ]


def test_a_deleted_bin_is_null() -> None:
    (reading,), _ = read_all_ways([shipped(write_of(image({}), {"old": None, "new": integer(1)})).value], OPTIONS)
    assert reading.bins == [("old", "null", None), ("new", "int", "1")]


@pytest.mark.parametrize("key", [-(2**63), "77", b"\0\xff", 0.5])
def test_user_keys_keep_their_type(key: Any) -> None:
    stored: Particle = {int: integer, str: string, float: double}.get(type(key), lambda raw: (4, raw))(key)  # type: ignore[operator]
    change = write_of(image({}, key=stored)._replace(digest=digest_of("orders", key)))
    sent_key, value = shipped(change)
    _, got = read_all_ways([value], OPTIONS)
    assert exact(got.events[0].user_key) == exact(key) == exact(fastavros(key_schema(), sent_key)["userKey"])


SCALARS = (
    st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 63) - 1) | st.floats() | st.text(max_size=6) | st.binary(max_size=9)
)
NESTED = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3), max_leaves=8
)


def depth(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(depth, inner), default=0)


def element(value: Any) -> Any:
    """A value as the node holds it."""
    if isinstance(value, str):
        return (b"\x17" if isinstance(value, GeoJson) else b"\x03") + value.encode()
    if isinstance(value, bytes):
        return (b"\x12" if isinstance(value, Hll) else b"\x04") + value
    if isinstance(value, list):
        return ListValue([element(item) for item in value])
    if isinstance(value, dict):
        return MapValue([(element(key), element(item)) for key, item in value.items()])
    return value


def bins_of(**values: Any) -> Change:
    return write_of(image({name: particle_of(element(value)) or integer(0) for name, value in values.items()}))


@settings(deadline=None, max_examples=150, suppress_health_check=list(HealthCheck))
@given(NESTED.filter(lambda value: value is not None and depth(value) <= DEPTH))
def test_whatever_the_node_holds_comes_back(value: Any) -> None:
    sent = shipped(bins_of(v=value)).value
    _, got = read_all_ways([sent], OPTIONS)
    assert exact(got.events[0].bins["v"]) == exact(value)
    theirs = fastavros(write_schema("metadata"), sent)["v"]
    assert exact(theirs) == exact(value)


def test_what_avro_cannot_say_is_settled_as_in_json() -> None:
    value = {"a": {7: 1, -1.5: 2}, "b": [GeoJson(POINT.decode()), Hll(b"\1")]}
    _, got = read_all_ways([shipped(bins_of(**value)).value], OPTIONS)
    assert got.events[0].bins == {"a": {"7": 1, "-1.5": 2}, "b": [POINT.decode(), b"\1"]}
    with pytest.raises(Unserialisable, match="map key of type int"):
        shipped(bins_of(**value), stringify_map_keys=False)


def lists(deep: int) -> Any:
    return [] if deep == 1 else [lists(deep - 1)]


@pytest.mark.parametrize(
    "change",
    [
        bins_of(a=lists(DEPTH + 1)),
        bins_of(a={b"x": 1}),
        bins_of(metadata=1),
        write_of(image({"bad": (3, b"\xff")})),
        write_of(image({"bad": (16, b"")})),
        write_of(image({"bad": (20, bytes.fromhex("92a20378"))})),
        write_of(image({"b\udcff": integer(1)})),
    ],
    ids=["too deep", "blob key", "metadata", "not UTF-8", "vector", "cut short", "name"],
)
def test_what_the_built_in_schema_cannot_hold_is_skipped(change: Change) -> None:
    with pytest.raises(Unserialisable):
        shipped(change)


RECORD = {
    "type": "record",
    "name": "shop.Order",
    "fields": [
        {"name": "n", "type": ["null", "int"]},
        {"name": "f", "type": ["null", "float"]},
        {"name": "e", "type": ["null", {"type": "enum", "name": "E", "symbols": ["A", "B"]}]},
        {"name": "x", "type": ["null", {"type": "fixed", "name": "F", "size": 2}]},
        {"name": "r", "type": ["null", {"type": "record", "name": "R", "fields": [{"name": "a", "type": "long"}]}]},
        {"name": "must", "type": "boolean"},
        {"name": "metadata", "type": delete_schema("metadata")["fields"][0]["type"]},
    ],
}


@pytest.fixture
def record(tmp_path: Path) -> str:
    path = tmp_path / "order.avsc"
    path.write_text(json.dumps(RECORD))
    return str(path)


def test_a_record_schema_of_a_file(record: str) -> None:
    value = shipped(bins_of(n=-1, f=0.5, e="B", x=b"\0\1", r={"a": 5}, must=True), schema_file=record).value
    options = DecodeOptions("avro", avro=AvroSchemas(json.dumps(RECORD), json.dumps(delete_schema("metadata"))))
    _, got = read_all_ways([value, shipped(bins_of(must=False), schema_file=record).value], options)
    assert got.events[0].bins == {"n": -1, "f": 0.5, "e": "B", "x": b"\0\1", "r": {"a": 5}, "must": True}
    assert got.events[1].bins == {"must": False}


@pytest.mark.parametrize(
    "bins",
    [
        {"other": 1},
        {"n": 1 << 31},
        {"n": 1.0},
        {"n": True},
        {"f": 0.1},
        {"f": 1e39},
        {"f": 1},
        {"e": "C"},
        {"x": b"\0"},
        {"r": {"a": 5, "b": 6}},
        {"r": {}},
        {"must": 1},
    ],
    ids=str,
)
def test_a_bin_that_the_record_has_no_field_or_another_type_for_is_skipped(record: str, bins: dict[str, Any]) -> None:
    with pytest.raises(Unserialisable):
        shipped(bins_of(**{"must": True, **bins}), schema_file=record)


def test_a_record_without_a_bin_that_must_be_there_is_skipped(record: str) -> None:
    with pytest.raises(Unserialisable):
        shipped(bins_of(n=1), schema_file=record)


def test_a_float_field_holds_what_is_exactly_a_float(record: str) -> None:
    for number in (math.nan, math.inf, -0.0):
        shipped(bins_of(f=number, must=True), schema_file=record)


@pytest.mark.parametrize("option", ["schema_file", "delete_schema_file", "key_schema_file"])
def test_files_that_cannot_be_used_are_refused(option: str, tmp_path: Path) -> None:
    (tmp_path / "odd").write_text("{")
    for name, why in (("gone", "cannot be read"), ("odd", "not JSON")):
        with pytest.raises(ConfigError, match=f"{option}.*{why}"):
            shipped(gone(), **{option: str(tmp_path / name)})


def test_only_avro_can_do_without_metadata() -> None:
    with pytest.raises(ValueError, match="only avro and kafka-avro"):
        shipped(gone(), format="flat-json", metadata_key="")


class Registered(MemorySchemas):
    """A registry in memory that gives ids. subjects: by id."""

    def __init__(self) -> None:
        super().__init__({})
        self.subjects: dict[str, int] = {}

    def register(self, subject: str, text: str) -> int:
        schema_id = self.subjects.setdefault(subject, 1000 + len(self.subjects))
        self.texts[schema_id] = text
        return schema_id


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[Registered]:
    made = Registered()
    asked: list[str] = []

    def register(client: Any, subject: str, text: str) -> int:
        asked.extend(client.options.urls)
        return made.register(subject, text)

    monkeypatch.setattr("pipelines.schema_registry.SchemaRegistry.register", register)
    yield made
    assert set(asked) == {"http://registry/api"}


KAFKA = {"format": "kafka-avro", "registry": "http://registry/api"}


@pytest.mark.parametrize(
    ("options", "subjects"),
    [
        ({}, ["xdr.shop-map", "xdr.shop-millrace.xdr.Delete", "xdr.shop-millrace.xdr.Key"]),
        ({"registry_topic": "other"}, ["other-map", "other-millrace.xdr.Delete", "other-millrace.xdr.Key"]),
        ({"subjects": "record-name"}, ["map", "millrace.xdr.Delete", "millrace.xdr.Key"]),
    ],
)
def test_schema_ids_and_subjects(registry: Registered, options: dict[str, str], subjects: list[str]) -> None:
    written, removed = shipped(bins_of(a=1), **KAFKA, **options), shipped(gone(), **KAFKA, **options)
    assert list(registry.subjects) == subjects
    assert [message[:5].hex() for message in (written.value, removed.value, written.key, removed.key)] == [
        *("00000003e8", "00000003e9", "00000003ea", "00000003ea"),
    ]
    _, got = read_all_ways([written.value, removed.value], DecodeOptions("kafka-avro"), schemas=registry)
    assert [(event.op, event.bins) for event in got.events] == [("write", {"a": 1}), ("delete", {})]


def test_a_record_is_registered_under_its_full_name(registry: Registered, record: str) -> None:
    shipped(bins_of(must=True), **KAFKA, schema_file=record)
    assert next(iter(registry.subjects)) == "xdr.shop-shop.Order"


def test_without_metadata_the_key_says_whose_event_it_is(registry: Registered) -> None:
    changes = [shipped(change, **KAFKA, metadata_key="") for change in (bins_of(a=1), gone(key=string("A-1001")))]
    _, got = read_all_ways(
        [value for _, value in changes], DecodeOptions("kafka-avro"), [key for key, _ in changes], schemas=registry
    )
    assert [(event.op, event.digest, event.user_key, event.lut_ms, event.bins) for event in got.events] == [
        ("write", DIGEST, None, None, {"a": 1}),
        ("delete", DIGEST, "A-1001", None, {}),
    ]
    assert changes[1].value[5:] == b""


def test_a_registry_is_needed() -> None:
    with pytest.raises(ConfigError, match="kafka-avro needs registry=URL"):
        shipped(gone(), format="kafka-avro")


@pytest.mark.parametrize(
    ("name", "schema"), [("write", write_schema("metadata")), ("delete", delete_schema("metadata")), ("key", key_schema())]
)
def test_the_example_schemas_are_the_built_in_ones(name: str, schema: Any) -> None:
    assert json.loads((EXAMPLES / f"{name}.avsc").read_text()) == schema
