"""From the normal form in Arrow to ChangeEvents: exact values, and a refusal for each row that cannot be one."""

import math
import struct
from typing import Any

import pyarrow as pa
import pytest

from schemas.bins import GeoJson, Hll, KeyOrderedMap, KeyValueOrderedMap, OrderedList
from schemas.events import ChangeEvent
from schemas.reasons import REASONS
from schemas.xdr.arrow import Converted, events_from_arrow

TEXT = pa.string()
BIN = pa.struct([("name", TEXT), ("type", TEXT), ("value", TEXT)])
SCHEMA = pa.schema(
    [
        ("topic", TEXT),
        ("partition", pa.int32()),
        ("offset", pa.int64()),
        ("value", pa.binary()),
        ("element", pa.int32()),
        ("namespace", TEXT),
        ("set", TEXT),
        ("digest", pa.binary()),
        ("user_key", pa.struct([("type", TEXT), ("value", TEXT)])),
        ("op", TEXT),
        ("gen", pa.int32()),
        ("lut_ms", pa.int64()),
        ("exp_s", pa.int64()),
        ("bins", pa.list_(BIN)),
        ("error", pa.struct([("code", TEXT), ("detail", TEXT)])),
    ]
)
DIGEST = bytes(range(20))


def row(*bins: tuple[str, str, str | None], **other: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "topic": "xdr",
        "partition": 2,
        "offset": 7,
        "value": b"{}",
        "element": 0,
        "namespace": "shop",
        "set": "orders",
        "digest": DIGEST,
        "user_key": {"type": "str", "value": "A-1"},
        "op": "write",
        "gen": 4,
        "lut_ms": 1_764_633_600_123,
        "exp_s": None,
        "bins": [{"name": name, "type": kind, "value": value} for name, kind, value in bins],
        "error": None,
    }
    return {**values, **other}


def convert(*rows: dict[str, Any]) -> Converted:
    return events_from_arrow(pa.RecordBatch.from_pylist(list(rows), schema=SCHEMA))


def value_of(kind: str, text: str | None) -> Any:
    (event,), rejections = convert(row(("b", kind, text)))
    assert rejections == [] and event is not None
    return event.bins["b"]


def test_every_column_has_its_place() -> None:
    (event,), rejections = convert(row(("a", "int", "1"), exp_s=99))
    assert rejections == []
    want = ChangeEvent("shop", "orders", DIGEST, "A-1", "write", 4, 1_764_633_600_123, 99, {"a": 1}, "xdr", 2, 7)
    assert event == want


VALUES = [
    ("int", "9223372036854775807", (1 << 63) - 1),
    ("int", "-9223372036854775808", -(1 << 63)),
    ("float", "3", 3.0),
    ("float", "1.0E-7", 1e-7),
    ("float", "4.9E-324", 5e-324),
    ("float", "0.30000000000000004", 0.1 + 0.2),
    ("float", "Infinity", math.inf),
    ("float", "-Infinity", -math.inf),
    ("str", "", ""),
    ("str", "läuft \0", "läuft \0"),
    ("bool", "true", True),
    ("bool", "false", False),
    ("blob", "", b""),
    ("blob", "AP8Q", b"\x00\xff\x10"),
    ("hll", "AP8Q", Hll(b"\x00\xff\x10")),
    ("list", '["x",1,null,{"k":[2]},-0.0,2.0]', ["x", 1, None, {"k": [2]}, -0.0, 2.0]),
    ("list:ordered", "[1,2]", OrderedList([1, 2])),
    ("list", "[9007199254740993,9223372036854775807]", [9007199254740993, (1 << 63) - 1]),
    ("map", '{"7":"seven"}', {"7": "seven"}),
    ("map:key", '{"a":1}', KeyOrderedMap({"a": 1})),
    ("map:key-value", '{"a":1}', KeyValueOrderedMap({"a": 1})),
    ("geojson", '{"type":"Point"}', GeoJson('{"type":"Point"}')),
    ("null", None, None),
]


@pytest.mark.parametrize(("kind", "text", "want"), VALUES, ids=[f"{kind} {text}" for kind, text, _ in VALUES])
def test_values_are_exact_and_of_their_type(kind: str, text: str | None, want: Any) -> None:
    got = value_of(kind, text)
    assert got == want and type(got) is type(want)


def test_zero_keeps_its_sign_and_nan_is_one() -> None:
    assert struct.pack(">d", value_of("float", "-0.0")) == struct.pack(">d", -0.0)
    assert math.isnan(value_of("float", "NaN"))


def test_many_types_in_one_batch_fall_into_their_rows() -> None:
    rows = [row(*((f"b{number}", kind, text) for number, (kind, text, _) in enumerate(VALUES[place::3]))) for place in range(3)]
    rows.insert(1, row())
    rows.append(row(op="delete", bins=None))
    events, rejections = convert(*rows)
    assert rejections == []
    assert [list(event.bins.values()) for event in events if event] == [
        [want for _, _, want in VALUES[0::3]],
        [],
        [want for _, _, want in VALUES[1::3]],
        [want for _, _, want in VALUES[2::3]],
        [],
    ]


BAD = [
    ("int", "9223372036854775808", "D203"),
    ("int", "1.5", "D108"),
    ("int", None, "D108"),
    ("float", "abc", "D108"),
    ("float", "1d", "D108"),
    ("bool", "1", "D108"),
    ("blob", "A-8Q", "D108"),
    ("blob", "AP8", "D108"),
    ("list", "[1", "D108"),
    ("list", "{}", "D108"),
    ("list", "[NaN]", "D108"),
    ("list", "[NaN,1234567890123456789]", "D108"),
    ("list", "[[12345678901234567890]]", "D203"),
    ("map", '{"a":-9223372036854775809}', "D203"),
    ("map", "[]", "D108"),
    ("geojson", None, "D108"),
    ("vector", "[0.5]", "D209"),
]


@pytest.mark.parametrize(("kind", "text", "code"), BAD, ids=[f"{kind} {text}" for kind, text, _ in BAD])
def test_a_value_that_cannot_be_converted_rejects_its_row_alone(kind: str, text: str | None, code: str) -> None:
    good = row(("a", "int", "1"), ("b", "str", "x"))
    events, rejections = convert(good, row(("a", "int", "2"), ("b", kind, text)), good)
    assert [event is None for event in events] == [False, True, False]
    (found,) = rejections
    assert (found.row, found.code, found.decoded) == (1, code, True) and "'b'" in found.detail
    assert code in REASONS


def test_an_undecoded_row_keeps_its_reason() -> None:
    dead = {"code": "D102", "detail": "not UTF-8"}
    nothing = dict.fromkeys(("namespace", "set", "digest", "user_key", "op", "gen", "lut_ms", "bins"))
    events, rejections = convert(row(**nothing, error=dead), row(("a", "int", "1")), row(("b", "int", "x"), error=dead))
    assert [event is None for event in events] == [True, False, True]
    assert [(found.row, found.code, found.detail, found.decoded) for found in rejections] == [
        (0, "D102", "not UTF-8", False),
        (2, "D102", "not UTF-8", False),
    ]


def test_user_keys_keep_their_type() -> None:
    keys = [{"type": "int", "value": "77"}, {"type": "str", "value": "77"}, None]
    events, _ = convert(*(row(user_key=key) for key in keys))
    assert [event.user_key for event in events if event] == [77, "77", None]


def test_slices_and_chunked_tables_read_alike() -> None:
    rows = [row(*(("n", "int", str(number)) for _ in range(number % 3)), offset=number) for number in range(9)]
    rows[4]["bins"] = None
    batch = pa.RecordBatch.from_pylist(rows, schema=SCHEMA)
    want = events_from_arrow(batch).events
    assert events_from_arrow(batch.slice(3, 4)).events == want[3:7]
    table = pa.Table.from_batches([batch.slice(0, 4), batch.slice(4)])
    assert events_from_arrow(table).events == want
    assert events_from_arrow(table.filter(pa.array([place % 2 == 0 for place in range(9)]))).events == want[::2]
    assert events_from_arrow(batch.slice(0, 0)) == Converted([], [])
