"""Aerospike's msgpack: strings that start with their particle type, containers that start with their order flags.

| bytes                     | meaning                                                        |
| 00-7f cc-cf d0-d3 e0-ff   | integer; written in the shortest form                          |
| a0-bf d9-db, c4-c6        | string, blob, GeoJSON or HLL; the first byte is the type       |
| cb (ca is read too)       | float                                                          |
| 90-9f dc dd               | list; a first element `c7 00 <flags>` declares its order       |
| 80-8f de df               | map; a first pair `c7 00 <flags> c0` declares its order        |
| d4 ff 00, d4 ff 01        | wildcard, infinity                                             |

Source: wire protocol reference, section 3.5.
"""

import struct
from typing import Final

from .elements import INFINITY, WILDCARD, Ext, ListValue, MapValue, Value

MAX_DEPTH: Final = 200
"""Nesting that is still read; deeper values are refused rather than exhausting the stack."""

_FLOAT32 = struct.Struct(">f").unpack_from
_FLOAT64 = struct.Struct(">d").unpack_from
_PACK_FLOAT64 = struct.Struct(">Bd").pack
_UINT_WIDTH = {0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8}
_INT_WIDTH = {0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8}
_BYTES_WIDTH = {0xD9: 1, 0xDA: 2, 0xDB: 4, 0xC4: 1, 0xC5: 2, 0xC6: 4}
_LIST_WIDTH = {0xDC: 2, 0xDD: 4}
_MAP_WIDTH = {0xDE: 2, 0xDF: 4}
_FIXEXT_LENGTH = {0xD4: 1, 0xD5: 2, 0xD6: 4, 0xD7: 8, 0xD8: 16}
_EXT_WIDTH = {0xC7: 1, 0xC8: 2, 0xC9: 4}
_SPECIAL: Final = 0xFF


class MsgpackError(ValueError):
    """Bytes that are not one whole Aerospike msgpack value."""


class LocatedInt(int):
    """An integer of nine wire bytes that remembers where it stood, so that a compiled expression can take another one there."""

    offset: int


class _Decoder:
    __slots__ = ("data", "depth", "locate", "position")

    def __init__(self, data: bytes, locate: bool) -> None:
        self.data = data
        self.position = 0
        self.depth = 0
        self.locate = locate

    def number(self, width: int, signed: bool = False) -> int:
        start = self.position
        end = start + width
        if end > len(self.data):
            raise MsgpackError(f"cut off at byte {len(self.data)}")
        self.position = end
        return int.from_bytes(self.data[start:end], "big", signed=signed)

    def take(self, length: int) -> bytes:
        start = self.position
        end = start + length
        if end > len(self.data):
            raise MsgpackError(f"cut off at byte {len(self.data)}")
        self.position = end
        return self.data[start:end]

    def value(self) -> Value:
        data = self.data
        position = self.position
        if position >= len(data):
            raise MsgpackError(f"cut off at byte {position}")
        head = data[position]
        self.position = position + 1
        if head < 0x80:
            return head
        if head >= 0xE0:
            return head - 256
        if 0xA0 <= head < 0xC0:
            return self.take(head & 31)
        if head < 0x90:
            return self.map(head & 15)
        if head < 0xA0:
            return self.list(head & 15)
        if head == 0xC0:
            return None
        if head in (0xC2, 0xC3):
            return head == 0xC3
        if head in _UINT_WIDTH:
            return self.integer(_UINT_WIDTH[head], signed=False)
        if head in _INT_WIDTH:
            return self.integer(_INT_WIDTH[head], signed=True)
        if head in _BYTES_WIDTH:
            return self.take(self.number(_BYTES_WIDTH[head]))
        if head == 0xCB:
            return float(_FLOAT64(self.take(8))[0])
        if head == 0xCA:
            return float(_FLOAT32(self.take(4))[0])
        if head in _LIST_WIDTH:
            return self.list(self.number(_LIST_WIDTH[head]))
        if head in _MAP_WIDTH:
            return self.map(self.number(_MAP_WIDTH[head]))
        if head in _FIXEXT_LENGTH or head in _EXT_WIDTH:
            self.position = position
            kind, body = self.ext()
            if kind == _SPECIAL and len(body) == 1 and body[0] < 2:
                return INFINITY if body[0] else WILDCARD
            return Ext(kind, body)
        raise MsgpackError(f"byte {head:#04x} at {position} starts no value")

    def integer(self, width: int, signed: bool) -> int:
        start = self.position - 1
        number = self.number(width, signed)
        if self.locate and width == 8:
            located = LocatedInt(number)
            located.offset = start
            return located
        return number

    def ext(self) -> tuple[int, bytes]:
        head = self.number(1)
        length = _FIXEXT_LENGTH.get(head)
        if length is None:
            length = self.number(_EXT_WIDTH[head])
        kind = self.number(1)
        return kind, self.take(length)

    def flags(self) -> int | None:
        """Read the order flags if the next element is such a header."""
        data, position = self.data, self.position
        if position < len(data) and (data[position] in _EXT_WIDTH or data[position] in _FIXEXT_LENGTH):
            kind, _ = self.ext()
            if kind != _SPECIAL:
                return kind
            self.position = position
        return None

    def enter(self, count: int) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise MsgpackError(f"nested deeper than {MAX_DEPTH}")
        if count > len(self.data) - self.position:
            raise MsgpackError(f"{count} elements announced, {len(self.data) - self.position} bytes left")

    def list(self, count: int) -> ListValue:
        self.enter(count)
        flags = self.flags() if count else None
        value = self.value
        items = [value() for _ in range(count if flags is None else count - 1)]
        self.depth -= 1
        return ListValue(items, flags or 0)

    def map(self, count: int) -> MapValue:
        self.enter(count)
        flags = self.flags() if count else None
        value = self.value
        if flags is not None:
            count -= 1
            value()
        pairs = [(value(), value()) for _ in range(count)]
        self.depth -= 1
        return MapValue(pairs, flags or 0)


def decode(data: bytes, *, locate: bool = False) -> Value:
    """Read exactly one value. Raises MsgpackError for anything else.

    locate: give integers of nine wire bytes as LocatedInt.
    """
    decoder = _Decoder(data, locate)
    value = decoder.value()
    if decoder.position != len(data):
        raise MsgpackError(f"{len(data) - decoder.position} bytes after the value")
    return value


def encode(value: Value) -> bytes:
    """Write one value in the shortest form."""
    out: list[bytes] = []
    _write(value, out)
    return b"".join(out)


def _write(value: Value, out: list[bytes]) -> None:
    if value is None:
        out.append(b"\xc0")
    elif isinstance(value, bool):
        out.append(b"\xc3" if value else b"\xc2")
    elif isinstance(value, int):
        out.append(_integer(value))
    elif isinstance(value, bytes):
        out.append(_header(len(value), 0xA0, 32, (0xD9, 0xDA, 0xDB)))
        out.append(value)
    elif isinstance(value, float):
        out.append(_PACK_FLOAT64(0xCB, value))
    elif isinstance(value, ListValue):
        out.append(_header(len(value.items) + bool(value.flags), 0x90, 16, (None, 0xDC, 0xDD)))
        if value.flags:
            out.append(bytes((0xC7, 0, value.flags)))
        for item in value.items:
            _write(item, out)
    elif isinstance(value, MapValue):
        out.append(_header(len(value.pairs) + bool(value.flags), 0x80, 16, (None, 0xDE, 0xDF)))
        if value.flags:
            out.append(bytes((0xC7, 0, value.flags, 0xC0)))
        for key, item in value.pairs:
            _write(key, out)
            _write(item, out)
    elif value is WILDCARD:
        out.append(b"\xd4\xff\x00")
    elif value is INFINITY:
        out.append(b"\xd4\xff\x01")
    elif isinstance(value, Ext):
        out.append(_ext(value))
    else:
        raise TypeError(f"not an element: {value!r}")


def _integer(value: int) -> bytes:
    if -32 <= value < 128:
        return bytes((value & 0xFF,))
    if value >= 0:
        for head, width in ((0xCC, 1), (0xCD, 2), (0xCE, 4), (0xCF, 8)):
            if value < 1 << (8 * width):
                return bytes((head,)) + value.to_bytes(width, "big")
    else:
        for head, width in ((0xD0, 1), (0xD1, 2), (0xD2, 4), (0xD3, 8)):
            if value >= -1 << (8 * width - 1):
                return bytes((head,)) + value.to_bytes(width, "big", signed=True)
    raise OverflowError(f"{value} has no 64-bit form")


def _header(length: int, fix: int, fix_limit: int, heads: tuple[int | None, int, int]) -> bytes:
    if length < fix_limit:
        return bytes((fix | length,))
    if heads[0] is not None and length < 1 << 8:
        return bytes((heads[0], length))
    if length < 1 << 16:
        return bytes((heads[1],)) + length.to_bytes(2, "big")
    return bytes((heads[2],)) + length.to_bytes(4, "big")


def _ext(value: Ext) -> bytes:
    length = len(value.data)
    for head, fixed in _FIXEXT_LENGTH.items():
        if length == fixed:
            return bytes((head, value.kind)) + value.data
    for head, width in _EXT_WIDTH.items():
        if length < 1 << (8 * width):
            return bytes((head,)) + length.to_bytes(width, "big") + bytes((value.kind,)) + value.data
    raise OverflowError(f"an extension of {length} bytes has no form")


__all__ = ["LocatedInt", "MAX_DEPTH", "MsgpackError", "decode", "encode"]
