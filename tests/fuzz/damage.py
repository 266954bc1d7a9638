"""What happens to messages on bad days: cut, flipped, swapped, doubled, nested, blown up, framed wrongly; repeatable."""

import json
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any

Damage = Callable[[Random, bytes, Sequence[bytes]], bytes]
"""A message and the others it may be mixed with; what it becomes."""

_NUMBERS = (b"1e400", b"-1e400", b"9" * 25, b"1" * 5000, b"0.1e-999", b"-0", b"18446744073709551616", b"1E5", b"NaN", b"01")
_VALUES: tuple[Any, ...] = (None, True, 0, -1, 1 << 70, 1.5, "", "x", "write", "delete", "AP8=", [], {}, [[1]], {"a": 1})
_PLAIN = (str, int, float, type(None))
_TEXTS = (
    *(b"\xff", b"\xed\xa0\x80", b"\xc3", b"\xf4\x90\x80\x80", b"\xef\xbb\xbf"),
    *(b"\\ud800", b"\\udc00\\ud800", b"\x00", b'"', b"\\"),
)
_FRAMES = (
    *(b"\x00\x00\x00\x00\x01", b"\x00", b"\x93", b"\x00\xff\xff\xff\xff", b"Obj\x01", b"\xdf\xff"),
    *(b"[", b"{", b'"', b"\xef\xbb\xbf"),
)


def cut(random: Random, message: bytes, others: Sequence[bytes]) -> bytes:
    """Its end, its beginning, or something in the middle is missing."""
    start, end = sorted((random.randrange(len(message) + 1), random.randrange(len(message) + 1)))
    return random.choice([message[:start], message[start:], message[:start] + message[end:]])


def flip(random: Random, message: bytes, others: Sequence[bytes]) -> bytes:
    """One to five bits are others."""
    damaged = bytearray(message)
    for _ in range(random.randint(1, 5)):
        if damaged:
            damaged[random.randrange(len(damaged))] ^= 1 << random.randrange(8)
    return bytes(damaged)


def swap(random: Random, message: bytes, others: Sequence[bytes]) -> bytes:
    """A stretch stands in the place of another, of its own or of another message."""
    other = random.choice([message, random.choice(others)])
    start, end = sorted((random.randrange(len(message) + 1), random.randrange(len(message) + 1)))
    first, last = sorted((random.randrange(len(other) + 1), random.randrange(len(other) + 1)))
    return message[:start] + other[first:last] + message[end:]


def members(random: Random, message: bytes, others: Sequence[bytes]) -> bytes:
    """Members of an object change places, or one stands there twice."""
    parts = message.split(b",")
    one, two = random.randrange(len(parts)), random.randrange(len(parts))
    if random.random() < 0.5:
        parts[one], parts[two] = parts[two], parts[one]
    else:
        parts.insert(one, parts[two])
    return b",".join(parts)


def nest(random: Random, message: bytes, others: Sequence[bytes]) -> bytes:
    """Deep nesting where a value may stand."""
    depth = random.choice([3, 50, 500, 3000, 100_000 if random.random() < 0.02 else 100])
    opening, closing = random.choice([(b"[", b"]"), (b'{"a":', b"}"), (b"\x91", b""), (b"\x81\xa1a", b"")])
    at = _place(random, message)
    return message[:at] + opening * depth + b"1" + closing * random.choice([depth, depth - 1, 0]) + message[at:]


def number(random: Random, message: bytes, others: Sequence[bytes]) -> bytes:
    """A number becomes a strange one."""
    at = _place(random, message)
    end = at
    while message[end : end + 1].isdigit():
        end += 1
    return message[:at] + random.choice(_NUMBERS) + message[max(end, at) :]


def characters(random: Random, message: bytes, others: Sequence[bytes]) -> bytes:
    """Bytes that are no sound text, and half of a surrogate pair."""
    at = random.randrange(len(message) + 1)
    return message[:at] + random.choice(_TEXTS) + message[at + random.randrange(3) :]


def frame(random: Random, message: bytes, others: Sequence[bytes]) -> bytes:
    """The bytes before the message are of another format, or of none; or another message follows."""
    return random.choice([random.choice(_FRAMES) + message, message + random.choice(others), message + b"\x00", message * 2])


def digest(random: Random, message: bytes, others: Sequence[bytes]) -> bytes:
    """Twenty bytes that might be the digest are others: the record of somebody else, or of nobody."""
    wrong = random.randbytes(random.choice([20, 20, 20, 19, 21, 0]))
    at = message.find(b"=")
    if at >= 27:
        return message[: at - 27] + b64encode(wrong) + message[at + 1 :]
    at = random.randrange(max(1, len(message) - 20))
    return message[:at] + wrong + message[at + 20 :]


def structure(random: Random, message: bytes, others: Sequence[bytes]) -> bytes:
    """Sound JSON of another shape: values of other types, members gone, renamed, or taken from elsewhere in the message."""
    try:
        whole = json.loads(message)
    except (ValueError, RecursionError):
        return flip(random, message, others)
    inside = list(_containers(whole))
    for _ in range(random.randint(1, 3)):
        holder = random.choice(inside) if inside else []
        places: list[Any] = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
        if not places:
            continue
        place, odd = random.choice(places), random.choice([*_VALUES, random.choice(inside)])
        change = random.randrange(3)
        if change == 0:
            holder[place] = odd if isinstance(odd, _PLAIN) else json.loads(json.dumps(odd))
        elif change == 1:
            del holder[place]
        elif isinstance(holder, dict):
            name = random.choice([*places, "msg", "key", "bins", "value", "type", "digest", "$blob", ""])
            holder[str(name)] = holder.pop(place)
        else:
            holder.insert(place, json.loads(json.dumps(holder[place])))
    return json.dumps(whole, ensure_ascii=random.random() < 0.5, separators=(",", ":")).encode("utf-8", "surrogatepass")


def _containers(value: Any) -> Iterator[Any]:
    if isinstance(value, dict | list):
        yield value
        for item in value.values() if isinstance(value, dict) else value:
            yield from _containers(item)


def _place(random: Random, message: bytes) -> int:
    """Somewhere, mostly behind a colon or a comma."""
    for _ in range(8):
        at = random.randrange(len(message) + 1)
        if message[at - 1 : at] in (b":", b",", b"["):
            return at
    return random.randrange(len(message) + 1)


KINDS: tuple[Damage, ...] = (cut, flip, swap, members, nest, number, characters, frame, digest, structure)
_OFTEN = (*KINDS, structure, structure, structure, digest, members)


def damaged(random: Random, message: bytes, others: Sequence[bytes]) -> bytes:
    """The message after one to three of the KINDS; one in twenty stays whole."""
    if random.random() < 0.05:
        return message
    for _ in range(random.choice([1, 1, 1, 2, 3])):
        message = random.choice(_OFTEN)(random, message, others)
    return message


__all__ = ["KINDS", "damaged"]
