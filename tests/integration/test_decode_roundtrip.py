"""Whatever the connector can send comes out of decoding and Arrow as the very same Python values."""

import math
import string
from base64 import b64encode
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession

from schemas.bins import BinType, GeoJson, Hll, KeyOrderedMap, KeyValueOrderedMap, OrderedList
from schemas.events import DELETE, WRITE, ChangeEvent
from schemas.version import MAX_LUT_MS
from schemas.xdr import DecodeOptions, RecordType
from schemas.xdr.arrow import events_from_arrow
from schemas.xdr.decode import decode
from tests.support.decode import as_kafka
from tests.support.xdr_encode import flat, typed

pytestmark = pytest.mark.spark

INT64 = st.integers(-(1 << 63), (1 << 63) - 1)
TEXT = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        ["77", "1.5", "-0.0", "true", "null", "NaN", "[1]", "{}", '":"', '"a":"', "a", "\\", "2026-01-02", "1d", "\\ud800"]
    ),
)
NAMES = st.one_of(
    st.sampled_from(["a", "b", "gen", "msg", "key", "metadat", 'q"', "b\\", "ü.$ "]), st.text(string.ascii_letters, min_size=1)
)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
NESTED = st.recursive(
    st.none() | st.booleans() | INT64 | FINITE | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=8,
)
LISTS, MAPS = st.lists(NESTED, max_size=4), st.dictionaries(TEXT, NESTED, max_size=4)
POINT = GeoJson('{"type":"Point","coordinates":[8.5,47.4]}')
VALUES = st.one_of(
    *(st.none(), st.booleans(), INT64, st.floats(), TEXT, LISTS, MAPS, st.binary(max_size=8), st.binary(max_size=8).map(Hll)),
    *(LISTS.map(OrderedList), MAPS.map(KeyOrderedMap), MAPS.map(KeyValueOrderedMap), st.just(POINT)),
)
FLAT_VALUES = st.one_of(st.none(), st.booleans(), INT64, FINITE, TEXT, LISTS, MAPS)
DECLARED: dict[str, tuple[BinType, Any]] = {
    "d_float": (BinType.FLOAT, st.floats()),
    "d_blob": (BinType.BLOB, st.binary(max_size=8)),
    "d_hll": (BinType.HLL, st.binary(max_size=8).map(Hll)),
    "d_geo": (BinType.GEOJSON, st.just(POINT)),
    "d_str": (BinType.STR, TEXT),
}
DECLARED_BINS = st.fixed_dictionaries({}, optional={name: values for name, (_, values) in DECLARED.items()})


@st.composite
def events(draw: st.DrawFn, bins: st.SearchStrategy[dict[str, Any]]) -> ChangeEvent:
    ordered = draw(st.booleans())
    op = draw(st.sampled_from([WRITE, WRITE, WRITE, DELETE]))
    return ChangeEvent(
        namespace=draw(st.sampled_from(["shop", "ü"])),
        set=draw(st.none() | st.text(min_size=1, max_size=5)),
        digest=draw(st.binary(min_size=20, max_size=20)),
        user_key=draw(st.none() | INT64 | TEXT),
        op=op,
        gen=draw(st.integers(0, 65535)) if ordered else None,
        lut_ms=draw(st.integers(10**11, MAX_LUT_MS)) if ordered else None,
        exp_s=draw(st.none() | st.integers(1, 10**11 - 1)) if op == WRITE else None,
        bins=draw(bins) if op == WRITE else {},
        topic="xdr",
        partition=3,
        offset=0,
    )


def exact(value: Any) -> Any:
    """A value that compares type by type, and floats bit by bit."""
    if isinstance(value, float):
        return "float", "nan" if math.isnan(value) else value.hex()
    if isinstance(value, list):
        return type(value), [exact(item) for item in value]
    if isinstance(value, dict):
        return type(value), [(key, exact(item)) for key, item in value.items()]
    return type(value), value


def comparable(event: ChangeEvent) -> Any:
    return event._replace(bins={}), [(name, exact(value)) for name, value in event.bins.items()]


def back(spark: SparkSession, messages: list[bytes], options: DecodeOptions) -> list[ChangeEvent]:
    converted = events_from_arrow(decode(as_kafka(spark, messages), options).orderBy("offset").toArrow())
    assert converted.rejections == []
    return [event for event in converted.events if event is not None]


# One example is a whole Spark job of many events, so there are few and none is shrunk: the failing event is in the comparison.
RUNS = settings(
    max_examples=4,
    phases=[Phase.generate],
    deadline=None,
    suppress_health_check=list(HealthCheck),
    database=None,
    print_blob=True,
)


@RUNS
@given(sent=st.lists(events(st.dictionaries(NAMES, VALUES, max_size=6)), min_size=40, max_size=80))
def test_typed_json_comes_back_as_sent(spark: SparkSession, sent: list[ChangeEvent]) -> None:
    sent = [event._replace(offset=offset) for offset, event in enumerate(sent)]
    got = back(spark, [typed(event) for event in sent], DecodeOptions("json"))
    assert [comparable(event) for event in got] == [comparable(event) for event in sent]


@RUNS
@given(
    sent=st.lists(
        events(st.builds(lambda one, two: {**one, **two}, st.dictionaries(NAMES, FLAT_VALUES, max_size=6), DECLARED_BINS)),
        min_size=40,
        max_size=80,
    )
)
def test_flat_json_comes_back_as_sent_where_types_are_known(spark: SparkSession, sent: list[ChangeEvent]) -> None:
    sent = [event._replace(offset=offset) for offset, event in enumerate(sent)]
    records = tuple(
        RecordType(namespace, None, {name: kind for name, (kind, _) in DECLARED.items()}) for namespace in ("shop", "ü")
    )
    got = back(spark, [flat(event) for event in sent], DecodeOptions("flat-json", records=records))
    assert [comparable(event) for event in got] == [comparable(event) for event in sent]


def test_what_flat_json_cannot_say_is_a_string(spark: SparkSession) -> None:
    event = ChangeEvent("shop", None, bytes(20), None, WRITE, 1, 10**12, None, {"a": b"\x00\xff", "b": POINT}, "xdr", 3, 0)
    assert back(spark, [flat(event)], DecodeOptions("flat-json"))[0].bins == {
        "a": b64encode(b"\x00\xff").decode(),
        "b": {"type": "Point", "coordinates": [8.5, 47.4]},
    }
