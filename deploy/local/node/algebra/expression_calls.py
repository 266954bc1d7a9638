"""List and map operations inside expressions. Source: wire protocol reference, section 7.3.

`[127, type, system, [op, args...], bin]`, with a context `[127, type, system, [255, context, [op, args...]], bin]`. System 0 is
lists and maps, +0x40 changes a copy and gives the changed value. Bits (1) and HLL (2) answer 16.
"""

from collections.abc import Sequence
from typing import Any, Final

from . import collections
from .collections import Operation
from .elements import ListValue, Value
from .errors import PARAMETER, UNSUPPORTED_FEATURE, ServerError
from .expression_nodes import (
    PARTICLES,
    UNKNOWN,
    Build,
    Handler,
    Kind,
    Node,
    Slots,
    arity,
    kind_of,
    particle,
    runtime_of,
)
from .msgpack import LocatedInt
from .values import element_of, particle_of
from .view import RecordView

_MODIFY: Final = 0x40


def _argument(state: Build, value: Value) -> Node | Value:
    """Build an argument of an operation: a list is an expression, an integer may come from a slot, the rest is itself."""
    return state.node(value) if isinstance(value, ListValue | LocatedInt) else value


def _call(state: Build, args: Sequence[Value]) -> Node:
    arity(args, 4, 4)
    declared, system = kind_of(args[0]), args[1]
    if not isinstance(system, int) or isinstance(system, bool):
        raise ServerError(PARAMETER, f"no call system {system!r}")
    if system & ~_MODIFY in (1, 2):
        raise ServerError(UNSUPPORTED_FEATURE, "bit and HyperLogLog expressions")
    if system & ~_MODIFY:
        raise ServerError(PARAMETER, f"no call system {system}")
    operation = collections.parse(args[2])
    modifies = bool(system & _MODIFY)
    if modifies == operation.reads:
        raise ServerError(PARAMETER, f"operation {operation.code} in call system {system}")
    own = Kind.MAP if operation.on_map else Kind.LIST
    target = state.nodes(args[3:], *((Kind.LIST, Kind.MAP) if operation.path else (own,)))[0]
    built = [_argument(state, value) for value in operation.args]
    dynamic = any(isinstance(argument, Node) for argument in built)
    source = PARTICLES.get(target.kind, 0)

    def arguments(view: RecordView, slots: Slots) -> list[Value] | None:
        values: list[Value] = []
        for argument in built:
            if isinstance(argument, Node):
                value = argument.compute(view, slots)
                if value is UNKNOWN:
                    return None
                values.append(element_of(particle(value, argument.kind)))
            else:
                values.append(argument)
        return values

    def run(view: RecordView, slots: Slots) -> Any:
        raw = target.compute(view, slots)
        if raw is UNKNOWN:
            return UNKNOWN
        values = arguments(view, slots) if dynamic else operation.args
        if values is None:
            return UNKNOWN
        actual = Operation(operation.code, values, operation.path)
        try:
            if modifies:
                answer, exists, _ = collections.apply_modify(actual, (source, raw))
                answer = answer if exists else None
            else:
                answer = collections.apply_read(actual, (source, raw))
            kind, value = runtime_of(particle_of(answer))
        except ServerError:
            return UNKNOWN
        return value if kind is declared and kind is not Kind.NIL else UNKNOWN

    return Node(declared, run)


HANDLERS: dict[int, Handler] = {127: _call}

__all__ = ["HANDLERS"]
