"""Particles as JSON values, as the connector prints them.

Top-level bins keep their type name beside the value (typed JSON) or lose it (flat JSON); inside lists and maps the type is always
lost: blobs and HLLs are Base64 text, GeoJSON is an object. Map keys are text: `stringify_map_keys` turns numbers into text, any
other key makes the record unserialisable. `7` and `"7"` in one map become one member, the later one (xdr-kafka reference 1.2).
Integers stay exact to 64 bits and doubles to the bit, -0.0 included. Packing of collections: wire protocol reference 3.5.
"""

import math
import struct
from base64 import b64encode
from typing import Any, NamedTuple

import orjson

from deploy.local.node.algebra.view import BLOB, BOOL, FLOAT, GEOJSON, HLL, INTEGER, LIST, MAP, STRING
from deploy.local.node.changes import Particle
from deploy.local.xdr.change import Unserialisable

LANGUAGE_BLOBS = range(7, 13)
KEY_ORDERED, VALUE_ORDERED, LIST_ORDERED = 1, 2, 1
_DOUBLE = struct.Struct(">d")
_FLOAT = struct.Struct(">f")
_TOKENS = {"nan": b"NaN", "inf": b"Infinity", "-inf": b"-Infinity"}


class JsonBin(NamedTuple):
    """A bin for JSON: the type's name in typed JSON, the value, and the order of a collection (bool or text), if it has one."""

    type: str
    value: Any
    ordered: bool | None = None
    order: str | None = None


class JsonValues:
    """Turns particles into values that `orjson.dumps` prints as the connector would.

    nonfinite: `token` (bare NaN, Infinity, -Infinity), `string` (the same in quotes) or `skip` (the record is unserialisable).
    """

    def __init__(self, *, stringify_map_keys: bool = True, nonfinite: str = "token") -> None:
        self._stringify = stringify_map_keys
        self._nonfinite = nonfinite

    def bin(self, particle: Particle) -> JsonBin:
        """One bin. Raises Unserialisable."""
        kind, raw = particle
        if kind == INTEGER:
            return JsonBin("int", int.from_bytes(raw, "big", signed=True))
        if kind == STRING:
            return JsonBin("str", _text(raw))
        if kind == FLOAT:
            return JsonBin("float", self._double(_DOUBLE.unpack(raw)[0]))
        if kind == BOOL:
            return JsonBin("bool", raw != b"\0")
        if kind == BLOB or kind in LANGUAGE_BLOBS:
            return JsonBin("blob", b64encode(raw).decode())
        if kind == HLL:
            return JsonBin("hll", b64encode(raw).decode())
        if kind == GEOJSON:
            return JsonBin("geojson", _geojson(raw[3 + 8 * int.from_bytes(raw[1:3], "big") :]))
        if kind in (LIST, MAP):
            return self._collection(raw, kind)
        raise Unserialisable(f"bin of particle type {kind}")

    def _collection(self, raw: bytes, kind: int) -> JsonBin:
        reader = _Reader(raw, self)
        try:
            found, count = reader.header()
            if found != kind:
                raise Unserialisable("list and map are mixed up")
            if kind == LIST:
                flags, items = reader.list_items(count)
                return JsonBin("list", items, ordered=bool(flags & LIST_ORDERED))
            flags, members = reader.map_members(count)
        except (IndexError, struct.error) as error:
            raise Unserialisable("collection is cut short") from error
        except RecursionError as error:
            raise Unserialisable("collection is nested too deeply") from error
        order = None
        if flags & KEY_ORDERED:
            order = "key-value" if flags & VALUE_ORDERED else "key"
        return JsonBin("map", members, order=order)

    def _double(self, number: float) -> Any:
        if math.isfinite(number):
            return number
        if self._nonfinite == "skip":
            raise Unserialisable("double is not a finite number")
        token = _TOKENS[str(number)]
        return orjson.Fragment(token) if self._nonfinite == "token" else token.decode()

    def _blob(self, raw: bytes) -> Any:
        """A blob inside a collection."""
        return _Blob(b64encode(raw).decode())

    def _geojson(self, raw: bytes) -> Any:
        """GeoJSON inside a collection."""
        return _geojson(raw)

    def _map_key(self, key: Any) -> str:
        if type(key) is str:
            return key
        # Only real numbers: bool is an int to Python, but not to the connector.
        if type(key) in (int, float) and self._stringify:
            return str(key) if math.isfinite(key) else _TOKENS[str(key)].decode()
        raise Unserialisable(f"map key of type {type(key).__name__}")


class _Blob(str):
    """Base64 text of a nested blob: a value like any string, but no map key."""

    __slots__ = ()


class _Reader:
    """Reads the packed form of one collection."""

    def __init__(self, raw: bytes, values: JsonValues) -> None:
        self._raw = raw
        self._at = 0
        self._values = values

    def header(self) -> tuple[int, int]:
        """Particle type, and number of elements or pairs, of the collection that starts here."""
        marker = self._take(1)[0]
        if 0x80 <= marker <= 0x9F:
            return (MAP if marker < 0x90 else LIST), marker & 0x0F
        if 0xDC <= marker <= 0xDF:
            return (LIST if marker < 0xDE else MAP), int.from_bytes(self._take(4 if marker & 1 else 2), "big")
        raise Unserialisable(f"no list or map at marker {marker:#x}")

    def list_items(self, count: int) -> tuple[int, list[Any]]:
        """Order flags and values of a list of `count` elements."""
        flags, count = self._flags(count)
        return flags, [self.value() for _ in range(count)]

    def map_members(self, count: int) -> tuple[int, dict[str, Any]]:
        """Order flags and members of a map of `count` pairs."""
        flags, left = self._flags(count)
        if left != count:
            self.value()  # The flags are the key of a pair whose value is nil.
        members: dict[str, Any] = {}
        for _ in range(left):
            key = self._values._map_key(self.value(as_key=True))
            members[key] = self.value()
        return flags, members

    def value(self, *, as_key: bool = False) -> Any:
        """The next element; as a map key, numbers and blobs stay what they are."""
        marker = self._raw[self._at]
        self._at += 1
        if marker < 0x80:
            return marker
        if marker >= 0xE0:
            return marker - 0x100
        if 0xA0 <= marker <= 0xBF:
            return self._string(self._take(marker & 0x1F))
        if marker <= 0x9F or 0xDC <= marker <= 0xDF:
            self._at -= 1
            kind, count = self.header()
            return self.list_items(count)[1] if kind == LIST else self.map_members(count)[1]
        if marker == 0xC0:
            return None
        if marker in (0xC2, 0xC3):
            return marker == 0xC3
        if marker in (0xCA, 0xCB):
            number = _DOUBLE.unpack(self._take(8))[0] if marker == 0xCB else _FLOAT.unpack(self._take(4))[0]
            return number if as_key else self._values._double(number)
        if 0xCC <= marker <= 0xCF:
            return int.from_bytes(self._take(1 << (marker - 0xCC)), "big")
        if 0xD0 <= marker <= 0xD3:
            return int.from_bytes(self._take(1 << (marker - 0xD0)), "big", signed=True)
        if 0xC4 <= marker <= 0xC6 or 0xD9 <= marker <= 0xDB:
            base = 0xC4 if marker <= 0xC6 else 0xD9
            return self._string(self._take(int.from_bytes(self._take(1 << (marker - base)), "big")))
        raise Unserialisable(f"element with marker {marker:#x}")

    def _string(self, packed: bytes) -> Any:
        """Strings, blobs and GeoJSON share one packing; the first byte is the particle type."""
        kind, body = packed[0], packed[1:]
        if kind == STRING:
            return _text(body)
        if kind == GEOJSON:
            return self._values._geojson(body)
        if kind in (BLOB, HLL) or kind in LANGUAGE_BLOBS:
            return self._values._blob(body)
        raise Unserialisable(f"element of particle type {kind}")

    def _flags(self, count: int) -> tuple[int, int]:
        """Order flags when the first element is the extension that carries them, and the number of elements after it."""
        at = self._at
        if count and self._raw[at : at + 2] == b"\xc7\x00":
            self._at += 3
            return self._raw[at + 2], count - 1
        return 0, count

    def _take(self, length: int) -> bytes:
        start, self._at = self._at, self._at + length
        if self._at > len(self._raw):
            raise IndexError
        return self._raw[start : self._at]


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        # The server keeps any bytes. Replacing them would ship something the record does not hold.
        raise Unserialisable("string is not UTF-8") from error


def _geojson(raw: bytes) -> orjson.Fragment:
    try:
        if not isinstance(orjson.loads(raw), dict):
            raise Unserialisable("GeoJSON is not an object")
    except orjson.JSONDecodeError as error:
        raise Unserialisable("GeoJSON is not JSON") from error
    return orjson.Fragment(raw)


__all__ = ["JsonBin", "JsonValues"]
