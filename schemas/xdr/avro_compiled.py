"""Avro binary, read by code made for one writer schema: what `avro_binary` reads, five times as fast, without words for problems.

A general reader spends most of its time finding out what comes next. Here the schema becomes a Python function once, and the
function only reads. It answers what `avro_binary.read_value` answers, and refuses what that refuses; tests hold the two together.
A schema whose types contain themselves has no such function: how deep a message goes is then for the careful reader to watch.
fastavro's reader takes twice as long, and takes some damaged messages for whole ones (a branch -1, numbers beyond 64 bits).
"""

import struct
from collections.abc import Callable
from typing import Any

from schemas.xdr.avro_schema import AvroType


class Refused(Exception):
    """The bytes are not one value of the schema."""


class Unusual(Exception):
    """Not for the quick way: a list or map holds NaN or an infinity, or a branch is not written in one byte.

    The bytes after it were not looked at.
    """


REFUSED = (Refused, IndexError, UnicodeDecodeError, struct.error, OverflowError)
"""What a compiled function raises for bytes that are not one value of its schema."""

Compiled = Callable[[bytes, int], Any]
"""The value that the bytes are from the place on. Raises REFUSED, Unusual."""


def compiled(schema: AvroType) -> Compiled | None:
    """The function that reads values of `schema`, leaving out null fields of a record at its top. None: there cannot be one."""
    return None if schema.recursive else _Maker().made(schema)


def _varint(data: bytes, at: int, first: int) -> tuple[int, int]:
    """A number whose first byte, before `at`, is not its last; still zigzag. And where it ends.

    Written out for the lengths that amounts and times have, without masks: the marks of bytes that go on are taken off as a sum.
    """
    b = data[at]
    if b < 0x80:
        return first + (b << 7) - 0x80, at + 1
    c = data[at + 1]
    if c < 0x80:
        return first + (b << 7) + (c << 14) - 0x4080, at + 2
    d = data[at + 2]
    if d < 0x80:
        return first + (b << 7) + (c << 14) + (d << 21) - 0x204080, at + 3
    e = data[at + 3]
    if e < 0x80:
        return first + (b << 7) + (c << 14) + (d << 21) + (e << 28) - 0x10204080, at + 4
    f = data[at + 4]
    number = first + (b << 7) + (c << 14) + (d << 21) + (e << 28) + (f << 35) - 0x810204080
    if f < 0x80:
        return number, at + 5
    number, shift, at = number - (0x80 << 35), 42, at + 5
    while True:
        byte = data[at]
        at += 1
        number += (byte & 0x7F) << shift
        if byte < 0x80:
            break
        shift += 7
        if shift > 63:
            raise Refused
    if number >> 64:
        raise Refused
    return number, at


def _no_branch(data: bytes, at: int, first: int, branches: int) -> None:
    """No branch is written in the one byte before `at`. Raises Unusual when more bytes than need be write one, else Refused."""
    if first > 0x7F:
        number, _ = _varint(data, at, first)
        if not number & 1 and number < 2 * branches:
            raise Unusual
    raise Refused


_NAMES: dict[str, Any] = {
    "varint": _varint,
    "no_branch": _no_branch,
    "double": struct.Struct("<d").unpack_from,
    "single": struct.Struct("<f").unpack_from,
    "Refused": Refused,
    "Unusual": Unusual,
}
"""What the code may use. In it: v the bytes, p the place in them, n their number, b a number still zigzag."""
_NUMBER = ("b = v[p]", "p += 1", "if b > 127: b, p = varint(v, p, b)")
_LENGTH = (*_NUMBER, "if b & 1: raise Refused", "q = p + (b >> 1)")
_BLOCKS = (
    " c = (b >> 1) ^ -(b & 1)",
    " e = -1",
    " if c < 0:",
    "  c = -c",
    *(f"  {line}" for line in _LENGTH),
    "  e = q",
    " if c > n - p: raise Refused",
)
_SIMPLE: dict[str, tuple[tuple[str, ...], str]] = {
    "boolean": (("b = v[p]", "p += 1", "if b > 1: raise Refused"), "b == 1"),
    "int": (
        ("b = v[p]", "p += 1", "if b > 127:", " b, p = varint(v, p, b)", " if b > 0xFFFFFFFF: raise Refused"),
        "(b >> 1) ^ -(b & 1)",
    ),
    "long": (_NUMBER, "(b >> 1) ^ -(b & 1)"),
    "bytes": ((*_LENGTH, "x = v[p:q]", "p = q"), "x"),
    "string": ((*_LENGTH, "x = v[p:q].decode()", "p = q"), "x"),
}
"""Statements that read a value, and the expression that it then is."""


class _Maker:
    """Writes the functions: one for the schema, and one for each array, map and record inside it."""

    def __init__(self) -> None:
        self._names = dict(_NAMES)
        self._functions: list[str] = []
        self._made: dict[AvroType, str] = {}

    def made(self, schema: AvroType) -> Compiled:
        body = ["def top(v, p):", " n = len(v)", *_indented(self._top(schema)), " if p != n: raise Refused", " return x"]
        exec("\n".join([*self._functions, *body]), self._names)  # of names that an Avro schema allows, and of our own
        return self._names["top"]  # type: ignore[no-any-return]

    def _top(self, schema: AvroType) -> list[str]:
        if schema.kind != "record":
            return self._value(schema, "x = {}", nested=False)
        lines = ["o = {}"]
        for name, kind in schema.fields:
            lines += self._value(kind, f"o[{name!r}] = {{}}", nested=False, nulls=False)
        return [*lines, "x = o"]

    def _value(self, kind: AvroType, assign: str, *, nested: bool, nulls: bool = True) -> list[str]:
        """Statements that read a value and assign it."""
        if kind.kind == "null":
            return [assign.format("None")] if nulls else ["pass"]
        if kind.kind in _SIMPLE:
            read, value = _SIMPLE[kind.kind]
            return [*read, assign.format(value)]
        if kind.kind in ("float", "double"):
            function, size = ("single", 4) if kind.kind == "float" else ("double", 8)
            finite = ["if x - x != 0.0: raise Unusual"] if nested else []
            return [f"x = {function}(v, p)[0]", f"p += {size}", *finite, assign.format("x")]
        if kind.kind == "fixed":
            return [f"q = p + {kind.size}", "x = v[p:q]", "p = q", assign.format("x")]
        if kind.kind == "enum":
            known = self._constant(kind.symbols)
            return [*_NUMBER, f"if b & 1 or b >= {2 * len(kind.symbols)}: raise Refused", assign.format(f"{known}[b >> 1]")]
        if kind.kind == "union":
            wide = len(kind.inner) > 64  # else a branch is one byte, unless it is written longer than it need be
            lines, word = list(_NUMBER if wide else _NUMBER[:2]), "if"
            for number, branch in enumerate(kind.inner):
                lines += [f"{word} b == {2 * number}:", *_indented(self._value(branch, assign, nested=nested, nulls=nulls))]
                word = "elif"
            return [*lines, "else: raise Refused" if wide else f"else: no_branch(v, p, b, {len(kind.inner)})"]
        return [f"x, p = {self._function(kind)}(v, p, n)", assign.format("x")]

    def _constant(self, value: Any) -> str:
        name = f"k{len(self._names)}"
        self._names[name] = value
        return name

    def _function(self, kind: AvroType) -> str:
        if kind not in self._made:
            body = self._record(kind) if kind.kind == "record" else self._container(kind)
            self._made[kind] = f"f{len(self._functions)}"
            self._functions.append("\n".join([f"def {self._made[kind]}(v, p, n):", *_indented(body)]))
        return self._made[kind]

    def _record(self, kind: AvroType) -> list[str]:
        lines: list[str] = []
        for number, (_, part) in enumerate(kind.fields):
            lines += self._value(part, f"t{number} = {{}}", nested=True)
        members = ", ".join(f"{name!r}: t{number}" for number, (name, _) in enumerate(kind.fields))
        return [*lines, f"return {{{members}}}, p"]

    def _container(self, kind: AvroType) -> list[str]:
        (inner,) = kind.inner
        if kind.kind == "array":
            item = self._value(inner, "o.append({})", nested=True)
            start, more, done = ["o = []"], [], "return o, p"
        else:
            # The key is kept aside: reading the value uses the names b, q and x again.
            item = [*_LENGTH, "k = v[p:q].decode()", "p = q", *self._value(inner, "o[k] = {}", nested=True)]
            start, more = ["o = {}", "m = 0"], [" m += c"]
            done = "return (o, p) if len(o) == m else refuse()"
            self._names["refuse"] = _refuse
        loop = [*_BLOCKS, *more, " for _ in range(c):", *(f"  {line}" for line in item), " if e >= 0 and p != e: raise Refused"]
        return [*start, "while True:", *(f" {line}" for line in _NUMBER), f" if not b: {done}", *loop]


def _refuse() -> None:
    raise Refused


def _indented(lines: list[str]) -> list[str]:
    return [f" {line}" for line in lines]


__all__ = ["Compiled", "Unusual", "REFUSED", "Refused", "compiled"]
