"""Values in Avro binary by a schema, exactly or not at all: nothing is rounded, widened or left out to make a value fit.

Written apart from the readers in `schemas.xdr`, which read what comes out of it.
Source: Avro specification 1.11, "Binary Encoding".
"""

import struct
from collections.abc import Callable
from typing import Any, NamedTuple

from deploy.local.xdr.change import Unserialisable
from schemas.xdr.avro_schema import AvroType

_INT32, _INT64 = range(-(1 << 31), 1 << 31), range(-(1 << 63), 1 << 63)


def write_value(kind: AvroType, value: Any, out: bytearray) -> None:
    """Append `value` by the type. Of a union the first branch that takes the value. Raises Unserialisable."""
    if not _WRITERS[kind.kind](kind, value, out):
        raise Unserialisable(f"a value of type {type(value).__name__} is not {kind.kind}{' ' + kind.name if kind.name else ''}")


def _long(number: int, out: bytearray) -> None:
    number = (number << 1) ^ (number >> 63)
    while number > 0x7F:
        out.append((number & 0x7F) | 0x80)
        number >>= 7
    out.append(number)


def _sized(raw: bytes, out: bytearray) -> bool:
    _long(len(raw), out)
    out += raw
    return True


def _null(kind: AvroType, value: Any, out: bytearray) -> bool:
    return value is None


def _boolean(kind: AvroType, value: Any, out: bytearray) -> bool:
    if type(value) is not bool:
        return False
    out.append(value)
    return True


def _integer(kind: AvroType, value: Any, out: bytearray) -> bool:
    if type(value) is not int or value not in (_INT32 if kind.kind == "int" else _INT64):
        return False
    _long(value, out)
    return True


def _double(kind: AvroType, value: Any, out: bytearray) -> bool:
    if type(value) is not float:
        return False
    out += struct.pack("<d", value)
    return True


def _float(kind: AvroType, value: Any, out: bytearray) -> bool:
    try:
        raw = struct.pack("<f", value) if type(value) is float else b""
    except OverflowError:
        return False
    if not raw or (value == value and struct.unpack("<f", raw)[0] != value):
        return False
    out += raw
    return True


def _bytes(kind: AvroType, value: Any, out: bytearray) -> bool:
    return isinstance(value, bytes) and _sized(value, out)


def _string(kind: AvroType, value: Any, out: bytearray) -> bool:
    return isinstance(value, str) and _sized(_utf8(value), out)


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise Unserialisable("text is not UTF-8") from None


def _fixed(kind: AvroType, value: Any, out: bytearray) -> bool:
    if not isinstance(value, bytes) or len(value) != kind.size:
        return False
    out += value
    return True


def _enum(kind: AvroType, value: Any, out: bytearray) -> bool:
    if value not in kind.symbols:
        return False
    _long(kind.symbols.index(value), out)
    return True


def _array(kind: AvroType, value: Any, out: bytearray) -> bool:
    if not isinstance(value, list):
        return False
    if value:
        _long(len(value), out)
        for item in value:
            write_value(kind.inner[0], item, out)
    out.append(0)
    return True


def _map(kind: AvroType, value: Any, out: bytearray) -> bool:
    if not isinstance(value, dict):
        return False
    if value:
        _long(len(value), out)
        for name, member in value.items():
            _sized(_utf8(name), out)
            write_value(kind.inner[0], member, out)
    out.append(0)
    return True


def _record(kind: AvroType, value: Any, out: bytearray) -> bool:
    if not isinstance(value, dict):
        return False
    unknown = sorted(value.keys() - {name for name, _ in kind.fields})
    if unknown:
        raise Unserialisable(f"{kind.name} has no field {unknown[0]}")
    for name, field in kind.fields:
        write_value(field, value.get(name), out)
    return True


class Branch(NamedTuple):
    """A value that is to be written by this one branch of a union."""

    kind: AvroType
    value: Any


def _union(kind: AvroType, value: Any, out: bytearray) -> bool:
    if isinstance(value, Branch):
        _long(kind.inner.index(value.kind), out)
        write_value(value.kind, value.value, out)
        return True
    start, why = len(out), None
    for number, branch in enumerate(kind.inner):
        _long(number, out)
        try:
            if _WRITERS[branch.kind](branch, value, out):
                return True
        except Unserialisable as problem:
            why = problem
        del out[start:]
    if why is not None:
        raise why
    return False


_WRITERS: dict[str, Callable[[AvroType, Any, bytearray], bool]] = {
    "null": _null,
    "boolean": _boolean,
    "int": _integer,
    "long": _integer,
    "float": _float,
    "double": _double,
    "bytes": _bytes,
    "string": _string,
    "fixed": _fixed,
    "enum": _enum,
    "array": _array,
    "map": _map,
    "record": _record,
    "union": _union,
}
"""Each appends a value and answers True, or answers False for a value of another type."""

__all__ = ["Branch", "write_value"]
