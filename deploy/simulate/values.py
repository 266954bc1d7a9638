"""Values of every bin type, chosen by a seeded generator: ordinary ones, and the ones at the edges."""

from random import Random
from typing import Any

import aerospike

_EDGE_INTS = (0, -1, 1, (1 << 53) + 1, -(1 << 53) - 1, (1 << 63) - 1, -(1 << 63))
_EDGE_FLOATS = (0.0, -0.0, 5e-324, 1.7976931348623157e308, -2.2250738585072014e-308, 0.1, 1e21, 1 / 3)
_TEXTS = (
    "",
    " ",
    "läuft",
    "zażółć gęślą jaźń",
    "日本語",
    "🦀💳",
    "tab\tand\nnewline",
    '"quoted" \\ / back',
    "null",
    "7",
    "\u2028",
    "é",
)
_LARGE_BYTES = 100 * 1024


def text(random: Random) -> str:
    """A short text, often with more than ASCII in it."""
    return random.choice(_TEXTS) + (f" {random.randrange(1000)}" if random.random() < 0.3 else "")


def scalar(random: Random) -> Any:
    """An integer, double, text, boolean or blob."""
    return random.choice((number, double, text, boolean, blob))(random)


def number(random: Random) -> int:
    """A 64-bit integer, often at an edge."""
    return random.choice(_EDGE_INTS) if random.random() < 0.4 else random.randrange(-(10**12), 10**12)


def double(random: Random) -> float:
    """A double, often at an edge."""
    return random.choice(_EDGE_FLOATS) if random.random() < 0.4 else random.uniform(-1e6, 1e6)


def boolean(random: Random) -> bool:
    """True or false."""
    return random.random() < 0.5


def blob(random: Random) -> bytes:
    """Some bytes, now and then none."""
    return random.randbytes(random.choice((0, 1, 3, 16, 64)))


def listing(random: Random, depth: int = 2) -> list[Any]:
    """A list of mixed values with nulls in it, nested up to `depth`."""
    return [_inner(random, depth) for _ in range(random.randrange(5))]


def mapping(random: Random, depth: int = 2) -> dict[Any, Any]:
    """A map, keys texts or, more rarely, integers (JSON will carry them as texts), nested up to `depth`."""
    if random.random() < 0.2:
        return {random.randrange(100): _inner(random, depth) for _ in range(random.randrange(4))}
    return {f"k{random.randrange(20)}": _inner(random, depth) for _ in range(random.randrange(5))}


def place(random: Random) -> Any:
    """A GeoJSON point."""
    return aerospike.GeoJSON(
        {"type": "Point", "coordinates": [random.randrange(-1800, 1800) / 10, random.randrange(-900, 900) / 10]}
    )


def large(random: Random) -> str:
    """A text of some 100 KiB."""
    return random.choice("xyz") * _LARGE_BYTES


def _inner(random: Random, depth: int) -> Any:
    roll = random.random()
    if roll < 0.15:
        return None
    if depth and roll < 0.3:
        return listing(random, depth - 1)
    if depth and roll < 0.45:
        return mapping(random, depth - 1)
    return scalar(random)


__all__ = ["blob", "boolean", "double", "large", "listing", "mapping", "number", "place", "scalar", "text"]
