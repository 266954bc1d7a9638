"""What a compiled expression is made of: typed nodes, the values they compute, and the state of one build.

A node computes one value from a record and an environment, or UNKNOWN. Values by type:

| type                           | value                                               |
| nil, bool, int, float          | None, bool, signed 64-bit int, float                |
| string, blob, geo, hll         | bytes as in the bin                                 |
| list, map                      | bytes as in the bin: msgpack                        |

The environment is a list of slots: integers that took nine bytes on the wire, so that the next guard that differs only in
them can use the same nodes, and the variables of `let`.
"""

from collections.abc import Callable, Sequence
from enum import Enum, IntEnum
from typing import Any, Final, NamedTuple, TypeAlias

from . import msgpack
from .elements import ListValue, MapValue, Value
from .errors import PARAMETER, ServerError
from .msgpack import LocatedInt
from .values import element_of, particle_of, wrap
from .view import BLOB, BOOL, FLOAT, GEOJSON, HLL, INTEGER, LIST, MAP, STRING, Particle, RecordView


class Outcome(Enum):
    """Answers that are not values."""

    UNKNOWN = "unknown"
    KEEP = "keep"


UNKNOWN: Final = Outcome.UNKNOWN
"""The expression has no value for this record."""
KEEP: Final = Outcome.KEEP
"""The operation leaves the bin as it is."""


class Kind(IntEnum):
    """Static type of a node, by the codes of the wire; ANY is that of an expression that is always unknown."""

    ANY = -1
    NIL = 0
    BOOL = 1
    INT = 2
    STRING = 3
    LIST = 4
    MAP = 5
    BLOB = 6
    FLOAT = 7
    GEO = 8
    HLL = 9


PARTICLES: Final[dict[Kind, int]] = {
    Kind.BOOL: BOOL,
    Kind.INT: INTEGER,
    Kind.STRING: STRING,
    Kind.LIST: LIST,
    Kind.MAP: MAP,
    Kind.BLOB: BLOB,
    Kind.FLOAT: FLOAT,
    Kind.GEO: GEOJSON,
    Kind.HLL: HLL,
}
_KINDS: Final[dict[int, Kind]] = {particle: kind for kind, particle in PARTICLES.items()}

Slots: TypeAlias = list[Any]
Compute: TypeAlias = Callable[[RecordView, Slots], Any]


class Node(NamedTuple):
    """A typed piece of a compiled expression."""

    kind: Kind
    compute: Compute


class Build:
    """One build: the slots handed out so far, where on the wire their integers stood, and the variables in scope."""

    def __init__(self, handlers: "dict[int, Handler]") -> None:
        self.handlers = handlers
        self.slots: Slots = []
        self.offsets: list[tuple[int, int]] = []
        self.scope: dict[bytes, tuple[Kind, int]] = {}

    def slot(self, value: object = UNKNOWN) -> int:
        """Hand out a slot."""
        self.slots.append(value)
        return len(self.slots) - 1

    def node(self, value: Value) -> Node:
        """Build a call or a constant. Raises ServerError(4) when it cannot be built."""
        if not isinstance(value, ListValue):
            return self.constant(value)
        code = value.items[0] if value.items else None
        handler = self.handlers.get(code) if isinstance(code, int) and not isinstance(code, bool) else None
        if handler is None:
            raise ServerError(PARAMETER, f"no expression {code!r}")
        return handler(self, value.items[1:])

    def nodes(self, values: Sequence[Value], *kinds: Kind) -> list[Node]:
        """Build arguments that all have one of some types (any when none is named)."""
        built = [self.node(value) for value in values]
        for node in built:
            if kinds and node.kind not in kinds and node.kind != Kind.ANY:
                raise ServerError(PARAMETER, f"an argument of type {node.kind.name.lower()} does not fit")
        return built

    def constant(self, value: Value) -> Node:
        """Build a constant."""
        if isinstance(value, LocatedInt):
            slot = self.slot(wrap(value))
            self.offsets.append((slot, value.offset))
            return Node(Kind.INT, lambda view, slots: slots[slot])
        kind, fixed = runtime_of(particle_of(value))
        return Node(kind, lambda view, slots: fixed)


Handler: TypeAlias = Callable[[Build, Sequence[Value]], Node]


def runtime_of(particle: Particle | None) -> tuple[Kind, Any]:
    """Give type and value of a particle. Raises ServerError(4) for types expressions do not know."""
    if particle is None:
        return Kind.NIL, None
    kind = _KINDS.get(particle[0])
    if kind is None:
        raise ServerError(PARAMETER, f"particle type {particle[0]} in an expression")
    return kind, unpack(kind, particle[1])


def unpack(kind: Kind, raw: bytes) -> Any:
    """Give the value of a bin of a type."""
    if kind is Kind.INT:
        return int.from_bytes(raw, "big", signed=True)
    if kind in (Kind.FLOAT, Kind.BOOL):
        return element_of((PARTICLES[kind], raw))
    return raw


def particle(value: Any, kind: Kind) -> Particle | None:
    """Give the particle a value of a type would be in a bin; None for nil."""
    if value is None:
        return None
    if isinstance(value, bytes):
        return PARTICLES[kind], value
    return particle_of(value)


def kind_of(value: Value) -> Kind:
    """Read a type code. Raises ServerError(4) for anything else."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= Kind.HLL:
        return Kind(int(value))
    raise ServerError(PARAMETER, f"no type {value!r}")


def common_kind(nodes: Sequence[Node]) -> Kind:
    """Give the one type nodes share, ANY when all are always unknown. Raises ServerError(4) when they differ."""
    kinds = {node.kind for node in nodes if node.kind != Kind.ANY}
    if len(kinds) > 1:
        raise ServerError(PARAMETER, "types differ: " + ", ".join(sorted(kind.name.lower() for kind in kinds)))
    return kinds.pop() if kinds else Kind.ANY


def strict(function: Callable[..., Any], nodes: Sequence[Node]) -> Compute:
    """Compute a function of nodes; unknown as soon as one of them is."""
    if len(nodes) == 2:
        (_, left), (_, right) = nodes

        def both(view: RecordView, slots: Slots) -> Any:
            a = left(view, slots)
            if a is UNKNOWN:
                return UNKNOWN
            b = right(view, slots)
            return UNKNOWN if b is UNKNOWN else function(a, b)

        return both
    if len(nodes) == 1:
        only = nodes[0].compute

        def one(view: RecordView, slots: Slots) -> Any:
            value = only(view, slots)
            return UNKNOWN if value is UNKNOWN else function(value)

        return one
    computes = [node.compute for node in nodes]

    def every(view: RecordView, slots: Slots) -> Any:
        values = []
        for compute in computes:
            value = compute(view, slots)
            if value is UNKNOWN:
                return UNKNOWN
            values.append(value)
        return function(*values)

    return every


def arity(args: Sequence[Value], least: int, most: int | None = None) -> None:
    """Check a number of arguments. Raises ServerError(4)."""
    if len(args) < least or (most is not None and len(args) > most):
        raise ServerError(PARAMETER, f"{len(args)} arguments")


def name(value: Value) -> str:
    """Read a bin name."""
    if isinstance(value, bytes) and len(value) <= 15:
        return value.decode("utf-8", "surrogateescape")
    raise ServerError(PARAMETER, f"no bin name: {value!r}")


def holds_unordered_map(value: Value) -> bool:
    """Whether a map that does not declare key order occurs anywhere in an element."""
    if isinstance(value, ListValue):
        return any(holds_unordered_map(item) for item in value.items)
    if isinstance(value, MapValue):
        return not value.key_ordered or any(holds_unordered_map(key) or holds_unordered_map(item) for key, item in value.pairs)
    return False


def quoted(value: Value) -> bytes:
    """Give a literal list's bytes."""
    return msgpack.encode(value)


__all__ = [
    "Build",
    "Compute",
    "Handler",
    "KEEP",
    "Kind",
    "Node",
    "Outcome",
    "PARTICLES",
    "Slots",
    "UNKNOWN",
    "arity",
    "common_kind",
    "holds_unordered_map",
    "kind_of",
    "name",
    "particle",
    "quoted",
    "runtime_of",
    "strict",
    "unpack",
]
