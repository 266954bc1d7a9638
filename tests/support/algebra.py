"""Wire values for tests of the node's algebra, written from the reference: operations, expressions, records."""

from dataclasses import dataclass, field
from typing import Any

from deploy.local.node.algebra import collections, expressions, msgpack, values
from deploy.local.node.algebra.elements import INFINITY, WILDCARD, ListValue, MapValue, Value, text
from deploy.local.node.algebra.errors import ServerError
from deploy.local.node.algebra.view import Particle

INVERTED = 0x10000
NONE, INDEX, REVERSE_INDEX, RANK, REVERSE_RANK, COUNT, KEY, VALUE, KEY_VALUE = range(9)
INDEX_RANGE, REVERSE_INDEX_RANGE, RANK_RANGE, REVERSE_RANK_RANGE, EXISTS = range(9, 14)


class Plain(str):
    """A name or pattern: msgpack text without the particle type in front."""


class Ordered(list[Any]):
    """A list that declares its order."""


class KeyOrdered(dict[Any, Any]):
    """A map that declares key order."""


class Pairs(tuple[Any, ...]):
    """What a key-and-value answer holds: pairs in the order they came."""


def element(value: Any) -> Value:
    """A Python value as the element the client would send."""
    if isinstance(value, Plain):
        return value.encode()
    if isinstance(value, str):
        return text(value)
    if isinstance(value, bytes):
        return b"\x04" + value
    if isinstance(value, Ordered):
        return ListValue([element(item) for item in value], 1)
    if isinstance(value, list):
        return ListValue([element(item) for item in value])
    if isinstance(value, dict):
        flags = 1 if isinstance(value, KeyOrdered) else 0
        return MapValue([(element(key), element(item)) for key, item in value.items()], flags)
    assert value is None or value is WILDCARD or value is INFINITY or isinstance(value, int | float), value
    return value


def plain(value: Value) -> Any:
    """An element as a Python value; order flags show as Ordered, KeyOrdered and Pairs."""
    if isinstance(value, bytes):
        return value[1:].decode() if value[:1] == b"\x03" else value[1:]
    if isinstance(value, ListValue):
        items = [plain(item) for item in value.items]
        return Ordered(items) if value.flags & 1 else items
    if isinstance(value, MapValue):
        pairs = [(plain(key), plain(item)) for key, item in value.pairs]
        if value.flags & 8:
            return Pairs(pairs)
        return KeyOrdered(pairs) if value.flags & 1 else dict(pairs)
    return value


def wire(*parts: Any) -> bytes:
    """The bytes of an operation or expression given as Python values."""
    return msgpack.encode(element(list(parts)))


def bin_of(value: Any) -> Particle | None:
    """A Python value as a bin; None = no bin."""
    return values.particle_of(element(value))


def value_of(particle: Any) -> Any:
    """A bin or result as a Python value."""
    assert not isinstance(particle, expressions.Outcome), particle
    return plain(values.element_of(particle))


def read(value: Any, *operation: Any) -> Any:
    """The answer of a read on a bin with this value."""
    return value_of(collections.read(wire(*operation), bin_of(value)))


def modify(value: Any, *operation: Any) -> tuple[Any, Any]:
    """(the bin afterwards, the result) of a modify on a bin with this value."""
    after, result = collections.modify(wire(*operation), bin_of(value))
    return value_of(after), value_of(result)


def code_of(call: Any, *args: Any) -> int:
    """The result code a call refuses with."""
    try:
        answer = call(*args)
    except ServerError as error:
        return error.code
    raise AssertionError(f"not refused: {answer!r}")


@dataclass
class Record:
    """A record as expressions see it."""

    bins: dict[str, Particle] = field(default_factory=dict)
    set_name: str = "conf"
    digest: bytes = bytes(range(20))
    key: Particle | None = None
    last_update_ms: int = 1_700_000_000_000
    void_time_s: int = 0
    size_bytes: int = 120
    now_ms: int = 1_700_000_060_000


def record(*, of: Record | None = None, **bins: Any) -> Record:
    """A record with these bins."""
    base = of or Record()
    made = {name: bin_of(value) for name, value in bins.items()}
    base.bins.update({name: particle for name, particle in made.items() if particle is not None})
    return base


def evaluated(expression: Any, view: Record | None = None) -> Any:
    """What an expression gives over a record; the outcome UNKNOWN as itself."""
    answer = expressions.evaluate(msgpack.encode(element(expression)), view or Record())
    return answer if isinstance(answer, expressions.Outcome) else value_of(answer)
