"""What expressions read of a record: bins, key and metadata. Source: wire protocol reference, section 7.1."""

from collections.abc import Callable, Sequence
from typing import Any

from .elements import Value
from .errors import PARAMETER, ServerError
from .expression_nodes import PARTICLES, UNKNOWN, Build, Handler, Kind, Node, Slots, arity, kind_of, name, unpack
from .view import INTEGER, RecordView

_NANOSECONDS_PER_MS = 1_000_000
_NANOSECONDS_PER_S = 1_000_000_000


def _bin(state: Build, args: Sequence[Value]) -> Node:
    arity(args, 2, 2)
    kind, bin_name = kind_of(args[0]), name(args[1])
    wanted = PARTICLES.get(kind)
    if wanted is None:
        raise ServerError(PARAMETER, "no bin is nil")
    if wanted == INTEGER:

        def integer(view: RecordView, slots: Slots) -> Any:
            found = view.bins.get(bin_name)
            if found is None or found[0] != INTEGER:
                return UNKNOWN
            return int.from_bytes(found[1], "big", signed=True)

        return Node(kind, integer)

    def run(view: RecordView, slots: Slots) -> Any:
        found = view.bins.get(bin_name)
        return UNKNOWN if found is None or found[0] != wanted else unpack(kind, found[1])

    return Node(kind, run)


def _bin_type(state: Build, args: Sequence[Value]) -> Node:
    arity(args, 1, 1)
    bin_name = name(args[0])

    def run(view: RecordView, slots: Slots) -> int:
        found = view.bins.get(bin_name)
        return 0 if found is None else found[0]

    return Node(Kind.INT, run)


def _key(state: Build, args: Sequence[Value]) -> Node:
    arity(args, 1, 1)
    kind = kind_of(args[0])
    if kind not in (Kind.INT, Kind.STRING, Kind.BLOB):
        raise ServerError(PARAMETER, f"no key is of type {kind.name.lower()}")

    def run(view: RecordView, slots: Slots) -> Any:
        key = view.key
        return UNKNOWN if key is None or key[0] != PARTICLES[kind] else unpack(kind, key[1])

    return Node(kind, run)


def _digest_modulo(state: Build, args: Sequence[Value]) -> Node:
    arity(args, 1, 1)
    modulus = args[0]
    if not isinstance(modulus, int) or isinstance(modulus, bool) or not modulus:
        raise ServerError(PARAMETER, f"digest modulo {modulus!r}")
    divisor = abs(int(modulus))
    return Node(Kind.INT, lambda view, slots: int.from_bytes(view.digest[16:20], "little") % divisor)


def _metadata(kind: Kind, read: Callable[[RecordView], Any]) -> Handler:
    def build(state: Build, args: Sequence[Value]) -> Node:
        arity(args, 0, 0)
        return Node(kind, lambda view, slots: read(view))

    return build


def _void_time_ns(view: RecordView) -> int:
    return view.void_time_s * _NANOSECONDS_PER_S if view.void_time_s else -1


def _ttl_s(view: RecordView) -> int:
    return view.void_time_s - view.now_ms // 1000 if view.void_time_s else -1


_size = _metadata(Kind.INT, lambda view: view.size_bytes)

HANDLERS: dict[int, Handler] = {
    64: _digest_modulo,
    65: _size,
    66: _metadata(Kind.INT, lambda view: view.last_update_ms * _NANOSECONDS_PER_MS),
    67: _metadata(Kind.INT, lambda view: max(0, view.now_ms - view.last_update_ms)),
    68: _metadata(Kind.INT, _void_time_ns),
    69: _metadata(Kind.INT, _ttl_s),
    70: _metadata(Kind.STRING, lambda view: view.set_name.encode("utf-8", "surrogateescape")),
    71: _metadata(Kind.BOOL, lambda view: view.key is not None),
    72: _metadata(Kind.BOOL, lambda view: False),
    73: _size,
    74: _size,
    80: _key,
    81: _bin,
    82: _bin_type,
}

__all__ = ["HANDLERS"]
