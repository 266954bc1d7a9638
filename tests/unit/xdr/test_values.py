"""Particles as JSON values."""

import math
import struct

import orjson
import pytest

from deploy.local.node.changes import Particle
from deploy.local.xdr.change import Unserialisable
from deploy.local.xdr.values import JsonBin, JsonValues
from tests.unit.xdr.node_double import double, integer, string

LIST, MAP, GEOJSON = 20, 19, 23


def printed(particle: Particle, **options: object) -> tuple[str, str]:
    """Type name and JSON text of the value."""
    bin_ = JsonValues(**options).bin(particle)  # type: ignore[arg-type]
    return bin_.type, orjson.dumps(bin_.value).decode()


@pytest.mark.parametrize(
    ("particle", "expected"),
    [
        (integer(0), ("int", "0")),
        (integer(2**63 - 1), ("int", "9223372036854775807")),
        (integer(-(2**63)), ("int", "-9223372036854775808")),
        (integer(2**53 + 1), ("int", "9007199254740993")),
        ((1, b"\xff"), ("int", "-1")),
        (double(19.5), ("float", "19.5")),
        (double(3.0), ("float", "3.0")),
        (double(-0.0), ("float", "-0.0")),
        (double(5e-324), ("float", "5e-324")),
        (double(1.7976931348623157e308), ("float", "1.7976931348623157e+308")),
        (double(math.nan), ("float", "NaN")),
        (double(math.inf), ("float", "Infinity")),
        (double(-math.inf), ("float", "-Infinity")),
        (string(""), ("str", '""')),
        (string('läuft "so"\n\0'), ("str", '"läuft \\"so\\"\\n\\u0000"')),
        ((4, b"\x00\xff\x10"), ("blob", '"AP8Q"')),
        ((4, b""), ("blob", '""')),
        ((7, b"\x00"), ("blob", '"AA=="')),
        ((18, b"\x01\x02"), ("hll", '"AQI="')),
        ((17, b"\x01"), ("bool", "true")),
        ((17, b"\x00"), ("bool", "false")),
        (
            (GEOJSON, b"\0\0\0" + b'{"type":"Point","coordinates":[8.50,47.4]}'),
            ("geojson", '{"type":"Point","coordinates":[8.50,47.4]}'),
        ),
        ((GEOJSON, b"\0\0\1" + bytes(8) + b'{"type":"Point"}'), ("geojson", '{"type":"Point"}')),
    ],
)
def test_scalars_keep_type_and_value(particle: Particle, expected: tuple[str, str]) -> None:
    assert printed(particle) == expected


@pytest.mark.parametrize(
    ("packed", "expected"),
    [
        ("90", "[]"),
        ("93010203", "[1,2,3]"),
        # nil, true, false, -1, uint8, int16, uint64 at its top, int64 at its bottom
        (
            "98c0c3c2ffccffd18000cfffffffffffffffffd38000000000000000",
            "[null,true,false,-1,255,-32768,18446744073709551615,-9223372036854775808]",
        ),
        ("92a20378a3040102", '["x","AQI="]'),  # a string and a blob: the type is lost
        ("91a3120102", '["AQI="]'),  # a nested HLL
        ("91cbbff8000000000000", "[-1.5]"),
        ("91cb8000000000000000", "[-0.0]"),
        ("91ca3fc00000", "[1.5]"),
        ("919181a2036b9102", '[[{"k":[2]}]]'),
        ("91b1" + (b"\x17" + b'{"type":"Point"}').hex(), '[{"type":"Point"}]'),
        ("dc0002" + "01" + "02", "[1,2]"),
        ("dd0000000101", "[1]"),
        ("91d902" + "0378", '["x"]'),
        ("91da0002" + "0378", '["x"]'),
        ("91c4020401", '["AQ=="]'),
    ],
)
def test_lists(packed: str, expected: str) -> None:
    assert printed((LIST, bytes.fromhex(packed))) == ("list", expected)


@pytest.mark.parametrize(
    ("packed", "expected"),
    [
        ("80", "{}"),
        ("8107a20378", '{"7":"x"}'),
        ("81ffa20378", '{"-1":"x"}'),
        ("81cb3ff8000000000000a20378", '{"1.5":"x"}'),
        ("81a20361a20378", '{"a":"x"}'),
        # 7 and "7" meet: the later one stays, as with a parser that takes the last member
        ("8207a20378a20337a20379", '{"7":"y"}'),
        ("de0001a2036101", '{"a":1}'),
        ("df00000001a2036101", '{"a":1}'),
    ],
)
def test_maps_have_text_keys(packed: str, expected: str) -> None:
    assert printed((MAP, bytes.fromhex(packed))) == ("map", expected)


@pytest.mark.parametrize(
    ("kind", "packed", "ordered", "order"),
    [
        (LIST, "93010203", False, None),
        (LIST, "94c70001010203", True, None),
        (LIST, "92c7001001", False, None),  # an index is stored, but the list is not ordered
        (MAP, "81a2036303", None, None),
        (MAP, "82c70001c0a2036303", None, "key"),
        (MAP, "82c70003c0a2036303", None, "key-value"),
        (MAP, "82c70011c0a2036303", None, "key"),
    ],
)
def test_the_order_of_a_collection_is_told_and_is_no_element(
    kind: int, packed: str, ordered: bool | None, order: str | None
) -> None:
    bin_ = JsonValues().bin((kind, bytes.fromhex(packed)))
    assert (bin_.ordered, bin_.order) == (ordered, order)
    assert bin_.value == ({"c": 3} if kind == MAP else [1, 2, 3][: len(bin_.value)])
    assert isinstance(bin_, JsonBin)


@pytest.mark.parametrize("key", ["a20401", "c3", "c0", "9101", "8101a20378", "a21201"])
def test_a_map_key_that_is_no_text_and_no_number_is_unserialisable(key: str) -> None:
    with pytest.raises(Unserialisable, match="map key"):
        printed((MAP, bytes.fromhex("81" + key + "01")))


def test_numeric_map_keys_are_unserialisable_when_not_stringified() -> None:
    packed = (MAP, bytes.fromhex("810701"))
    assert printed(packed) == ("map", '{"7":1}')
    with pytest.raises(Unserialisable, match="map key"):
        printed(packed, stringify_map_keys=False)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_printed_as_asked(number: float) -> None:
    nested = (LIST, b"\x91\xcb" + struct.pack(">d", number))
    token = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[str(number)]
    assert printed(double(number), nonfinite="token")[1] == token
    assert printed(nested, nonfinite="token")[1] == f"[{token}]"
    assert printed(double(number), nonfinite="string")[1] == f'"{token}"'
    for particle in (double(number), nested):
        with pytest.raises(Unserialisable, match="finite"):
            printed(particle, nonfinite="skip")


@pytest.mark.parametrize(
    ("particle", "why"),
    [
        ((3, b"\xff\xfe"), "UTF-8"),
        ((3, b"\xed\xa0\x80"), "UTF-8"),  # a lone surrogate
        ((LIST, b"\x91\xa2\x03\xff"), "UTF-8"),
        ((16, b""), "particle type 16"),
        ((LIST, b"\x92\x01"), "cut short"),
        ((LIST, b"\x91\xa5\x03x"), "cut short"),
        ((LIST, b""), "cut short"),
        ((LIST, b"\x80"), "mixed up"),
        ((LIST, b"\x91\xc1"), "marker 0xc1"),
        ((LIST, b"\x91" * 100_000 + b"\x01"), "nested"),
        ((GEOJSON, b"\0\0\0[1]"), "object"),
        ((GEOJSON, b"\0\0\0{"), "JSON"),
    ],
)
def test_what_json_cannot_hold_is_unserialisable(particle: Particle, why: str) -> None:
    with pytest.raises(Unserialisable, match=why):
        printed(particle)
