"""MessagePack as Python values, exactly: a key that stands in a map twice is noticed, and every byte is accounted for.

Readers of MessagePack are lenient in ways that change data in silence: they keep one of two equal keys of a map, and pass over
bytes that follow. Here bytes that are no MessagePack, or end too early, raise Undecodable D102; a value that is MessagePack, but
none that Aerospike has, is noted as `Unpacker.fault`, since only its bin is in doubt.
Values are those of `schemas.nested`: extensions are particles, by the number of their type.
Facts: xdr-kafka message reference, 1.6; the MessagePack specification.
"""

from struct import Struct
from typing import Any

from schemas.bins import GeoJson, Hll
from schemas.nested import Other
from schemas.xdr.bin_values import Misfit, bin_text
from schemas.xdr.json_text import MAX_DEPTH, read_object
from schemas.xdr.problem import Undecodable

BLOBS = frozenset((4, *range(7, 13)))
"""Particle types of bytes: blobs, and those in which clients of some languages keep their objects."""
HLL, GEOJSON = 18, 23

INT64_MAX = (1 << 63) - 1
_INTEGERS = {0xCC + i: Struct(f">{kind}") for i, kind in enumerate("BHIQbhiq")}
_DOUBLES = {0xCA: Struct(">f"), 0xCB: Struct(">d")}
_LENGTHS = (Struct(">B"), Struct(">H"), Struct(">I"))
_NOTHING = {0xC0: None, 0xC2: False, 0xC3: True}


class NotText:
    """Stands where a text should that is not UTF-8."""


class Unpacker:
    """Reads a MessagePack value from its beginning on.

    fault: what is wrong with a value read since it was last set to None, in words that follow "value of type T"; the first wins.
    """

    __slots__ = ("_at", "_data", "fault")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self.fault: str | None = None

    def array(self) -> int | None:
        """How many elements the array has that begins here, its head being read then; None when no array begins here."""
        marker = self._marker()
        if 0x90 <= marker <= 0x9F:
            self._at += 1
            return marker & 0x0F
        if marker in (0xDC, 0xDD):
            self._at += 1
            return self._length(marker - 0xDB)
        return None

    def end(self) -> None:
        """Raise Undecodable D102 when more bytes follow."""
        if self._at != len(self._data):
            raise Undecodable("D102", f"{len(self._data) - self._at} more bytes after the message")

    def value(self, depth: int = 0) -> Any:
        """The value that stands here. Raises Undecodable D102."""
        marker = self._marker()
        self._at += 1
        if marker < 0x80:
            return marker
        if marker >= 0xE0:
            return marker - 0x100
        if 0xA0 <= marker <= 0xBF:
            return self._text(marker & 0x1F)
        if marker <= 0x8F:
            return self._map(marker & 0x0F, depth)
        if marker <= 0x9F:
            return self._list(marker & 0x0F, depth)
        if marker in _NOTHING:
            return _NOTHING[marker]
        if marker in _INTEGERS:
            number = self._unpack(_INTEGERS[marker])
            if number > INT64_MAX:
                self._note("holds an integer that needs more than 64 bits")
            return number
        if marker in _DOUBLES:
            return self._unpack(_DOUBLES[marker])
        if 0xD9 <= marker <= 0xDB:
            return self._text(self._length(marker - 0xD9))
        if 0xC4 <= marker <= 0xC6:
            return self._take(self._length(marker - 0xC4))
        if marker in (0xDC, 0xDD):
            return self._list(self._length(marker - 0xDB), depth)
        if marker in (0xDE, 0xDF):
            return self._map(self._length(marker - 0xDD), depth)
        if 0xC7 <= marker <= 0xC9:
            return self._extension(self._length(marker - 0xC7))
        if 0xD4 <= marker <= 0xD8:
            return self._extension(1 << (marker - 0xD4))
        raise Undecodable("D102", f"not MessagePack: byte {self._at - 1} is {marker:#x}, which begins no value")

    def _list(self, count: int, depth: int) -> list[Any]:
        self._deeper(depth)
        found = []
        for _ in range(count):  # a comprehension would be one more frame a level
            found.append(self.value(depth + 1))
        return found

    def _map(self, count: int, depth: int) -> dict[Any, Any]:
        self._deeper(depth)
        found: dict[Any, Any] = {}
        for _ in range(count):
            key = self.value(depth + 1)
            value = self.value(depth + 1)
            if isinstance(key, list | dict):
                self._note("holds a map with a key that is a list or a map")
            elif key in found:  # 1, 1.0 and true are three keys to a server, but one to Python: better refused than mixed up
                self._note(f"holds one key twice: {key!r:.40}")
            else:
                found[key] = value
        return found

    def _extension(self, length: int) -> Any:
        (kind,) = self._take(1)
        raw = self._take(length)
        if kind == GEOJSON:
            try:
                return geojson(raw)
            except Misfit as why:
                self._note(f"holds GeoJSON that {why}")
                return None
        if kind == HLL:
            return Hll(raw)
        return raw if kind in BLOBS else Other(kind - 0x100 if kind >= 0x80 else kind, raw)

    def _text(self, length: int) -> Any:
        raw = self._take(length)
        try:
            return raw.decode()
        except UnicodeDecodeError as error:
            self._note(f"holds text that is not UTF-8: byte {error.start} is {raw[error.start]:#04x}")
            return NotText()

    def _note(self, fault: str) -> None:
        if self.fault is None:
            self.fault = fault

    def _deeper(self, depth: int) -> None:
        if depth >= MAX_DEPTH:
            raise Undecodable("D102", f"nested too deep to be read: more than {MAX_DEPTH} lists and maps in each other")

    def _marker(self) -> int:
        if self._at >= len(self._data):
            raise self._cut_short()
        return self._data[self._at]

    def _length(self, width: int) -> int:
        return self._unpack(_LENGTHS[width])  # type: ignore[no-any-return]

    def _unpack(self, packed: Struct) -> Any:
        start, self._at = self._at, self._at + packed.size
        if self._at > len(self._data):
            raise self._cut_short()
        return packed.unpack_from(self._data, start)[0]

    def _take(self, length: int) -> bytes:
        start, self._at = self._at, self._at + length
        if self._at > len(self._data):
            raise self._cut_short()
        return self._data[start : self._at]

    def _cut_short(self) -> Undecodable:
        return Undecodable("D102", f"cut short: the message goes on after its {len(self._data)} bytes")


def geojson(raw: bytes) -> GeoJson:
    """GeoJSON as its one text. Raises Misfit for what is no JSON object, with words that follow "GeoJSON that"."""
    try:
        return GeoJson(bin_text("geojson", read_object(raw)))
    except Undecodable as problem:
        raise Misfit(f"is no JSON object: {problem.detail}") from None
    except RecursionError:
        raise Misfit("is nested too deep to be read") from None


__all__ = ["BLOBS", "GEOJSON", "HLL", "INT64_MAX", "NotText", "Unpacker", "geojson"]
