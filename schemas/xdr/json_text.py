"""A Kafka value as one JSON object, exactly: every digit of a number, every member that stands there twice, or why it is none.

Readers of JSON are lenient in ways that change data in silence: they make a float of a large integer, keep one of two members of
the same name, replace what is not UTF-8. Here numbers stay text (`Number`), members that stand twice are remembered (`Object`),
and bytes that are not one JSON object raise Undecodable with the reason code of `schemas.reasons`.

Bare NaN, Infinity and -Infinity are no JSON, but a double may be one and connectors write them so; they are read as `Number`.
"""

import json
import math
import re
from itertools import chain
from typing import Any

import orjson

from schemas.xdr.problem import Undecodable

_ESCAPED_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_INTEGER = re.compile(r"-?(0|[1-9][0-9]*)").fullmatch
_INT64 = range(-(1 << 63), 1 << 63)
MAX_DEPTH = 200
"""Arrays and objects in each other. A server since 8.2 takes 64 lists and maps, those before more (Aerospike's release notes)."""


class Number(str):
    """A number as it is written, or NaN, Infinity, -Infinity."""

    __slots__ = ()

    @property
    def is_integer(self) -> bool:
        """Whether it is written without fraction and exponent."""
        return _INTEGER(self) is not None

    def int64(self) -> int | None:
        """Its value when it is a 64-bit integer, else None."""
        if len(self) > 20 or not _INTEGER(self):
            return None
        value = int(self)
        return value if value in _INT64 else None

    def double(self) -> float:
        """The nearest double; an infinity when it is too large for one."""
        return float(self)


class Object(dict[str, Any]):
    """A JSON object; of members of one name the last counts, at the place of the last.

    twice: the names that stand in it more than once.
    """

    __slots__ = ("twice",)

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.twice: frozenset[str] = frozenset()
        if len(self) < len(pairs):
            self.clear()
            twice = set()
            for name, value in pairs:
                if name in self:
                    twice.add(name)
                    del self[name]
                self[name] = value
            self.twice = frozenset(twice)

    def require_once(self, *names: str) -> None:
        """Raise Undecodable D103 when one of the names stands there twice: readers disagree about which one counts."""
        for name in names:
            if name in self.twice:
                raise Undecodable("D103", f"two members named {name}: which counts?")


_decoder = json.JSONDecoder(object_pairs_hook=Object, parse_int=Number, parse_float=Number, parse_constant=Number)


def read_object(value: bytes | None) -> Object:
    """The one JSON object that `value` is. Raises Undecodable D101 (no value) or D102 (not one JSON object in sound UTF-8)."""
    if value is None:
        raise Undecodable("D101", "the value is null: a tombstone, which the connector never writes")
    text = text_of_json(value)
    start = text.lstrip(" \t\r\n")
    if not start:
        raise Undecodable("D102", "the value is empty")
    if start[0] == "[":
        raise Undecodable("D102", "a JSON array, not one object")
    if start[0] != "{":
        raise Undecodable("D102", f"not JSON: {len(value)} bytes of something else")
    try:
        found, end = _decoder.raw_decode(start)
    except RecursionError:
        raise Undecodable("D102", "nested too deep to be read") from None
    except ValueError as error:
        place = f"at character {error.pos + len(text) - len(start)}" if isinstance(error, json.JSONDecodeError) else "in a number"
        raise Undecodable("D102", f"a broken JSON object of {len(value)} bytes, {place}: cut short, or not JSON") from None
    if start[end:].strip(" \t\r\n"):
        raise Undecodable("D102", "more text after the JSON object")
    if start.count("[") + start.count("{") > MAX_DEPTH and _is_too_deep(found):
        raise Undecodable("D102", f"nested too deep to be read: more than {MAX_DEPTH} arrays and objects in each other")
    if _ESCAPED_SURROGATE.search(start) and not _is_sound(found):
        raise Undecodable("D102", "a string holds an unpaired surrogate escape, which is no character")
    assert isinstance(found, Object)  # it began with a brace
    return found


def text_of_json(value: bytes) -> str:
    """The text of a value that should be JSON. Raises Undecodable D102 for what is certainly none, and for what is not UTF-8."""
    for start, words in (
        (b"\x00", "0x00, like Avro with a schema id"),
        (b"\x93", "0x93, like MessagePack"),
        (b"\xef\xbb\xbf", "a byte order mark"),
    ):
        if value.startswith(start):
            raise Undecodable("D102", f"not JSON: begins with {words}")
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Undecodable("D102", f"not UTF-8: byte {error.start} is {value[error.start]:#04x}") from None


def _is_too_deep(value: Any) -> bool:
    """Looked for level by level: what is too deep for those who read on must not be too deep for this."""
    level = [value]
    for _ in range(MAX_DEPTH):
        inside = chain.from_iterable(one.values() if isinstance(one, dict) else one for one in level)
        level = [one for one in inside if isinstance(one, dict | list)]
        if not level:
            return False
    return True


def _is_sound(value: Any) -> bool:
    """Whether no string in `value` holds half a surrogate pair."""
    try:
        if isinstance(value, str):
            value.encode("utf-8")
        elif isinstance(value, dict):
            return all(_is_sound(name) and _is_sound(member) for name, member in value.items())
        elif isinstance(value, list):
            return all(map(_is_sound, value))
    except UnicodeEncodeError:
        return False
    return True


def compact(value: Any) -> str:
    """`value` as JSON text without white space: integers with every digit, other numbers as the shortest text of their double."""
    if isinstance(value, Number):
        return str(value) if value.is_integer else double_text(value.double())
    if isinstance(value, dict):
        members = (f"{json.dumps(name, ensure_ascii=False)}:{compact(member)}" for name, member in value.items())
        return f"{{{','.join(members)}}}"
    if isinstance(value, list):
        return f"[{','.join(map(compact, value))}]"
    return json.dumps(value, ensure_ascii=False)


def double_text(value: float) -> str:
    """A double as text: the shortest number that is exactly it, or NaN, Infinity, -Infinity."""
    if math.isfinite(value):
        return orjson.dumps(value).decode()
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


__all__ = ["MAX_DEPTH", "Number", "Object", "compact", "double_text", "read_object", "text_of_json"]
