"""Avro binary, read by its writer schema, whatever the bytes are: every value, or the place where the bytes stop making sense.

Stricter than most readers, since a damaged message should be noticed: booleans are 0 or 1, an `int` has 32 bits, a branch or
symbol exists, a block is as long as it says, text is UTF-8, no map holds a key twice, no byte is left over. Nothing is made of
a count or length that the bytes left cannot fill, so memory is bounded by the message.
Source: Avro specification 1.11, "Binary Encoding".
"""

import struct
from collections.abc import Callable
from typing import Any

from schemas.xdr.avro_schema import MAX_DEPTH, AvroType

_FLOAT = struct.Struct("<f").unpack_from
_DOUBLE = struct.Struct("<d").unpack_from


class Malformed(ValueError):
    """The bytes are not one value of the schema; says where and why."""


def read_value(schema: AvroType, data: bytes, start: int = 0) -> Any:
    """The one value that `data` is from `start` on.

    int and long are int; float and double float; string and enum str; bytes and fixed bytes; array list; map and record dict.
    Raises Malformed.
    """
    reader = _Reader(data, start)
    value = reader.value(schema, 0)
    if reader.at < len(data):
        raise Malformed(f"{len(data) - reader.at} bytes are left over after byte {reader.at}")
    return value


class _Reader:
    """Goes through one message. at: the byte it is at."""

    def __init__(self, data: bytes, at: int) -> None:
        self.at = at
        self._data = data
        self._path: list[str] = []
        self._read: dict[str, Callable[[AvroType, int], Any]] = {
            "null": lambda kind, depth: None,
            "boolean": self._boolean,
            "int": self._int,
            "long": lambda kind, depth: self._long(),
            "float": lambda kind, depth: _FLOAT(self._take(4))[0],
            "double": lambda kind, depth: _DOUBLE(self._take(8))[0],
            "bytes": lambda kind, depth: self._bytes(),
            "string": lambda kind, depth: self._text(),
            "fixed": lambda kind, depth: self._take(kind.size),
            "enum": self._enum,
            "array": self._array,
            "map": self._map,
            "record": self._record,
            "union": self._union,
        }

    def value(self, kind: AvroType, depth: int) -> Any:
        """The value of this type that stands here. depth: how many values it is inside of."""
        if depth > MAX_DEPTH:
            raise self._malformed(f"values are nested deeper than {MAX_DEPTH}")
        return self._read[kind.kind](kind, depth)

    def _malformed(self, why: str) -> Malformed:
        return Malformed(f"{'.'.join(self._path) + ': ' if self._path else ''}{why}, at byte {self.at}")

    def _take(self, size: int) -> bytes:
        left = len(self._data) - self.at
        if size > left:
            raise self._malformed(f"{size} bytes are wanted, {left} are left")
        start, self.at = self.at, self.at + size
        return self._data[start : self.at]

    def _long(self) -> int:
        number = shift = 0
        while True:
            if self.at >= len(self._data):
                raise self._malformed("the message ends inside a number")
            byte = self._data[self.at]
            self.at += 1
            number |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
            shift += 7
            if shift > 63:
                raise self._malformed("a number of more than 64 bits")
        if number >> 64:
            raise self._malformed("a number of more than 64 bits")
        return (number >> 1) ^ -(number & 1)

    def _size(self, what: str) -> int:
        size = self._long()
        if size < 0:
            raise self._malformed(f"{what} of {size} bytes")
        return size

    def _boolean(self, kind: AvroType, depth: int) -> bool:
        byte = self._take(1)[0]
        if byte > 1:
            raise self._malformed(f"a boolean that is {byte}, not 0 or 1")
        return byte == 1

    def _int(self, kind: AvroType, depth: int) -> int:
        number = self._long()
        if not -(1 << 31) <= number < 1 << 31:
            raise self._malformed("an int of more than 32 bits")
        return number

    def _bytes(self) -> bytes:
        return self._take(self._size("bytes"))

    def _text(self) -> str:
        raw = self._take(self._size("a string"))
        try:
            return raw.decode()
        except UnicodeDecodeError:
            raise self._malformed("a string that is not UTF-8") from None

    def _enum(self, kind: AvroType, depth: int) -> str:
        number = self._long()
        if not 0 <= number < len(kind.symbols):
            raise self._malformed(f"symbol {number} of enum {kind.name}, which has {len(kind.symbols)}")
        return kind.symbols[number]

    def _union(self, kind: AvroType, depth: int) -> Any:
        number = self._long()
        if not 0 <= number < len(kind.inner):
            raise self._malformed(f"branch {number} of a union of {len(kind.inner)}")
        return self.value(kind.inner[number], depth)

    def _record(self, kind: AvroType, depth: int) -> dict[str, Any]:
        return {name: self._inside(name, part, depth) for name, part in kind.fields}

    def _inside(self, name: str, kind: AvroType, depth: int) -> Any:
        self._path.append(name)
        value = self.value(kind, depth + 1)
        self._path.pop()
        return value

    def _block(self) -> tuple[int, int | None]:
        """How many items follow, and where they end when the block says it; 0: no more."""
        count = self._long()
        end = None
        if count < 0:
            count = -count
            end = self._size("a block")
            end += self.at
        if count > len(self._data) - self.at:
            raise self._malformed(f"{count} items in {len(self._data) - self.at} bytes")
        return count, end

    def _close(self, end: int | None) -> None:
        if end is not None and end != self.at:
            raise self._malformed(f"a block that says it ends at byte {end}")

    def _array(self, kind: AvroType, depth: int) -> list[Any]:
        items: list[Any] = []
        while (block := self._block())[0]:
            items += [self._inside(f"[{len(items) + more}]", kind.inner[0], depth) for more in range(block[0])]
            self._close(block[1])
        return items

    def _map(self, kind: AvroType, depth: int) -> dict[str, Any]:
        members: dict[str, Any] = {}
        while (block := self._block())[0]:
            for _ in range(block[0]):
                key = self._text()
                if key in members:
                    raise self._malformed(f"a map with the key {key[:40]!r} twice")
                members[key] = self._inside(key[:40], kind.inner[0], depth)
            self._close(block[1])
        return members


__all__ = ["Malformed", "read_value"]
