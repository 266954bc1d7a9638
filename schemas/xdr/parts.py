"""Several messages in one Kafka value: a JSON array of a batch formatter, and JSON text inside a member of a JSON object.

What comes out are the messages' own bytes, exactly as they stand there, so each is read as if it had come alone.
Facts: xdr-kafka message reference, cases 34 and 36.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any

from schemas.xdr.json_text import Number, read_object, text_of_json
from schemas.xdr.problem import Undecodable

Part = bytes | Undecodable
"""One message, or why there is none at its place."""
Parts = Callable[[bytes], Sequence[Part] | None]

_SPACE = " \t\r\n"
_scan = json.JSONDecoder(parse_int=str, parse_float=str).raw_decode  # only to find the ends: a number may have any length


def is_array(value: bytes) -> bool:
    """Whether the value begins as a JSON array does."""
    return value[:1] == b"[" or value.lstrip()[:1] == b"["


def elements_of(value: bytes) -> list[bytes]:
    """The elements of the JSON array that `value` is, each as its bytes. Raises Undecodable D102 when it is broken or empty."""
    text = text_of_json(value)
    try:
        return [element.encode() for element in _elements(text)]
    except RecursionError:
        raise Undecodable("D102", "nested too deep to be read") from None
    except json.JSONDecodeError as error:
        raise Undecodable(
            "D102", f"a broken JSON array of {len(value)} bytes, at character {error.pos}: cut short, or not JSON"
        ) from None


def _elements(text: str) -> list[str]:
    found: list[str] = []
    at = _after_space(text, text.index("[") + 1)
    if text[at : at + 1] == "]":
        raise Undecodable("D102", "an empty JSON array, which holds no message")
    while True:
        _, end = _scan(text, at)
        found.append(text[at:end])
        at = _after_space(text, end)
        mark = text[at : at + 1]
        at = _after_space(text, at + 1)
        if mark == "]":
            break
        if mark != ",":
            raise json.JSONDecodeError("neither , nor ]", text, at)
    if at < len(text):
        raise Undecodable("D102", "more text after the JSON array")
    return found


def _after_space(text: str, at: int) -> int:
    while text[at : at + 1] and text[at] in _SPACE:
        at += 1
    return at


def unwrapped(value: bytes, member: str) -> bytes:
    """The text that the member of a JSON object holds. Raises Undecodable D102 and D103."""
    wrapper = read_object(value)
    inner: Any = wrapper.get(member)
    if member in wrapper.twice:
        raise Undecodable("D103", f"two members named {member}: which holds the message?")
    if not isinstance(inner, str) or isinstance(inner, Number):
        raise Undecodable("D103", f"no member named {member} that holds the message as text")
    return inner.encode()


def json_parts(member: str | None) -> Parts:
    """What takes JSON messages out of an array, and out of the `member` of a wrapper when there is one.

    It answers None for a value that is one message itself, and raises Undecodable when it cannot be told apart.
    """

    def inside(value: bytes) -> Sequence[Part]:
        if member is None:
            return [value]
        try:
            inner = unwrapped(value, member)
            return elements_of(inner) if is_array(inner) else [inner]
        except Undecodable as problem:
            return [problem]

    def parts(value: bytes) -> Sequence[Part] | None:
        if is_array(value):
            return [part for element in elements_of(value) for part in inside(element)]
        return None if member is None else inside(value)

    return parts


__all__ = ["Part", "Parts", "elements_of", "is_array", "json_parts", "unwrapped"]
