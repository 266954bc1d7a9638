"""Values of every bin type, ordinary and extreme, from a seeded generator.

Left out on purpose is what the official client loses without a word: NUL in strings, map keys that are neither integer, string
nor bytes. Maps have keys of one type, so that `7` and `"7"` never meet in a format whose keys are text.
"""

import json
import random
from typing import Any, Final

from schemas.bins import BinType, GeoJson, KeyOrderedMap, KeyValueOrderedMap, OrderedList

LARGE_BYTES: Final = 100 * 1024

INTEGERS: Final = (0, 1, -1, 127, -128, 255, 2**31, -(2**31) - 1, 2**53 + 1, -(2**53) - 1, 2**63 - 1, -(2**63))
FLOATS: Final = (
    *(0.0, -0.0, 1.0, -1.5, 0.1, 1 / 3, 5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, -1.7976931348623157e308),
    *(1e-7, 1e21, 1e16, 123456789.12345679, 4.35, 2.0**53),
)
STRINGS: Final = (
    *("", " ", "0", "null", "true", "plain", "Zażółć gęślą jaźń", "日本語のテキスト", "שלום עולם", "مرحبا بالعالم"),
    *("🦀", "👩‍👩‍👧‍👦 🏳️‍🌈 𝔘𝔫𝔦𝔠𝔬𝔡𝔢", "e\u0301 \u00e9", "\ufeffmark", "a\u200bb", "\u2028line\u2029paragraph"),
    *('quote " back \\ slash / tab \t new \n line \r', "control \x01\x1f\x7f", "{'json': \"[1,2\"}", "𐍈" * 40, "long " * 4096),
)
BLOBS: Final = (b"", b"\x00", b"\xff" * 16, bytes(range(256)), b"text as bytes", b"\xc3\x28", b"\x80" * 1000)
POINTS: Final = ((-80.604333, 28.608389), (21.0122, 52.2297), (139.6917, 35.6895), (0.0, 0.0), (-179.999, -89.999), (180.0, 90.0))
_NAMES: Final = ("Ada", "Zoë", "Łukasz", "Søren", "Nguyễn", "José", "山田", "Мария", "عمر", "Chloë 🦋", "O'Brien", "Åsa")
_SURNAMES: Final = ("Kowalska", "Müller", "Ó Briain", "García-Núñez", "鈴木", "Иванова", "Sørensen", "D'Angelo", "van der Berg")


def integer(rng: random.Random) -> int:
    """An integer: an extreme one as often as not."""
    return rng.choice(INTEGERS) if rng.random() < 0.5 else rng.randint(-(2**63), 2**63 - 1)


def double(rng: random.Random) -> float:
    """A finite double of any magnitude."""
    return rng.choice(FLOATS) if rng.random() < 0.5 else rng.uniform(-1, 1) * 10.0 ** rng.randint(-300, 300)


def string(rng: random.Random) -> str:
    """Text in some script, now and then empty or long."""
    if rng.random() < 0.6:
        return rng.choice(STRINGS)
    return " ".join(rng.choice(STRINGS[:16]) for _ in range(rng.randint(1, 6)))


def blob(rng: random.Random) -> bytes:
    """Bytes, now and then none."""
    return rng.choice(BLOBS) if rng.random() < 0.5 else rng.randbytes(rng.randint(1, 200))


def geojson(rng: random.Random) -> GeoJson:
    """A point, a circle or a polygon."""
    lon, lat = rng.choice(POINTS)
    shape = rng.random()
    if shape < 0.6:
        return GeoJson(json.dumps({"type": "Point", "coordinates": [lon, lat]}))
    if shape < 0.8:
        return GeoJson(json.dumps({"type": "AeroCircle", "coordinates": [[lon, lat], rng.choice((1.0, 500.5, 10_000.0))]}))
    ring = [[0.0, 0.0], [1.5, 0.0], [1.5, 1.25], [0.0, 1.25], [0.0, 0.0]]
    return GeoJson(json.dumps({"type": "Polygon", "coordinates": [ring]}))


def nested(rng: random.Random, depth: int = 3) -> Any:
    """A list, a map or, inside them, anything: null and unlike neighbours included."""
    roll = rng.random()
    if depth == 0 or roll < 0.45:
        scalars = (integer, double, string, blob, lambda _: None, lambda r: r.random() < 0.5)
        value = rng.choice(scalars)(rng)
        return value[:200] if isinstance(value, str | bytes) else value
    if roll < 0.72:
        return plain_list(rng, depth - 1)
    return plain_map(rng, depth - 1)


def plain_list(rng: random.Random, depth: int = 2) -> list[Any]:
    """A list of unlike things, also an empty one."""
    return [nested(rng, depth) for _ in range(rng.choice((0, 1, 2, 3, 5)))]


def plain_map(rng: random.Random, depth: int = 2, integer_keys: bool | None = None) -> dict[Any, Any]:
    """A map: keys are strings, in one of five integers."""
    size = rng.choice((0, 1, 2, 4))
    if integer_keys if integer_keys is not None else rng.random() < 0.2:
        keys: list[Any] = [rng.choice((*range(-3, 9), 2**40, 2**63 - 1, -(2**63))) for _ in range(size)]
    else:
        keys = [rng.choice(("", "a", "ż", "🔑", "key with spaces", 'quo"te', "a.b", "0", "long" * 20)) for _ in range(size)]
    return {key: nested(rng, depth) for key in keys}


def key_ordered_map(rng: random.Random) -> KeyOrderedMap:
    """A key-ordered map."""
    entries = plain_map(rng)
    return KeyOrderedMap({key: entries[key] for key in sorted(entries)})


def key_value_ordered_map(rng: random.Random) -> KeyValueOrderedMap:
    """A key- and value-ordered map of scores."""
    return KeyValueOrderedMap({name: rng.randint(0, 50) for name in sorted(rng.sample("abcdefgh", rng.randint(1, 6)))})


def ordered_list(rng: random.Random) -> OrderedList:
    """An ordered list of integers."""
    return OrderedList(sorted(rng.choice((*range(-20, 20), *INTEGERS)) for _ in range(rng.randint(0, 8))))


def of_type(rng: random.Random, kind: BinType) -> Any:
    """A value for a bin of a type; not for HLL, which only the server makes."""
    makers = {
        BinType.INT: integer,
        BinType.FLOAT: double,
        BinType.STR: string,
        BinType.BOOL: lambda r: r.random() < 0.5,
        BinType.BLOB: blob,
        BinType.LIST: plain_list,
        BinType.MAP: lambda r: key_ordered_map(r) if r.random() < 0.3 else plain_map(r),
        BinType.GEOJSON: geojson,
    }
    return makers[kind](rng)


def large(rng: random.Random) -> str | bytes | list[int]:
    """Text, bytes or a list of integers; one in three of some 100 KiB, the others of some kilobytes."""
    size = LARGE_BYTES if rng.random() < 0.34 else rng.randint(2_000, 12_000)
    roll = rng.random()
    if roll < 0.4:
        return rng.randbytes(size)
    if roll < 0.8:
        word = rng.choice(("lorem ", "zażółć ", "🦀 "))
        return word * (size // len(word.encode()))
    return [rng.randint(-(2**63), 2**63 - 1) for _ in range(size // 9)]


def person(rng: random.Random) -> str:
    """A name."""
    return f"{rng.choice(_NAMES)} {rng.choice(_SURNAMES)}"


__all__ = [
    "LARGE_BYTES",
    "blob",
    "double",
    "geojson",
    "integer",
    "key_ordered_map",
    "key_value_ordered_map",
    "large",
    "of_type",
    "ordered_list",
    "person",
    "plain_list",
    "plain_map",
    "string",
]
