"""Comparison, logic and control in expressions: three-valued, with unknown as the third. Source: reference, 7.1 and 7.2."""

import operator
import re
from collections.abc import Callable, Sequence
from typing import Any, Final

from . import msgpack
from .elements import ListValue, Value, order_key
from .errors import PARAMETER, UNSUPPORTED_FEATURE, ServerError
from .expression_nodes import (
    UNKNOWN,
    Build,
    Handler,
    Kind,
    Node,
    Slots,
    arity,
    common_kind,
    holds_unordered_map,
    quoted,
    strict,
)
from .posix_regex import compile_posix
from .view import RecordView

_VARIABLE: Final = re.compile(rb"[A-Za-z_][A-Za-z0-9_]*\Z")


def _unknown(state: Build, args: Sequence[Value]) -> Node:
    arity(args, 0, 0)
    return Node(Kind.ANY, lambda view, slots: UNKNOWN)


def _comparison(compare: Callable[[Any, Any], bool]) -> Handler:
    def structures(left: bytes, right: bytes) -> Any:
        a, b = msgpack.decode(left), msgpack.decode(right)
        if holds_unordered_map(a) or holds_unordered_map(b):
            return UNKNOWN
        return bool(compare(order_key(a), order_key(b)))

    def nils(left: None, right: None) -> bool:
        return compare(0, 0)

    def build(state: Build, args: Sequence[Value]) -> Node:
        arity(args, 2, 2)
        nodes = state.nodes(args)
        kind = common_kind(nodes)
        if kind in (Kind.GEO, Kind.HLL):
            raise ServerError(PARAMETER, f"{kind.name.lower()} values do not compare")
        function = structures if kind in (Kind.LIST, Kind.MAP) else nils if kind is Kind.NIL else compare
        return Node(Kind.BOOL, strict(function, nodes))

    return build


def _regex(state: Build, args: Sequence[Value]) -> Node:
    arity(args, 3, 3)
    flags, pattern = args[0], args[1]
    if not isinstance(flags, int) or isinstance(flags, bool) or not isinstance(pattern, bytes):
        raise ServerError(PARAMETER, "a regular expression takes flags and a text")
    search = compile_posix(pattern, int(flags)).search
    return Node(Kind.BOOL, strict(lambda value: search(value) is not None, state.nodes(args[2:], Kind.STRING)))


def _geo_match(state: Build, args: Sequence[Value]) -> Node:
    arity(args, 2, 2)
    state.nodes(args, Kind.GEO)
    raise ServerError(UNSUPPORTED_FEATURE, "matching GeoJSON needs cell geometry")


def _conjunction(decisive: bool) -> Handler:
    """Build `and` (decided by false) or `or` (decided by true), also after an unknown argument."""

    def build(state: Build, args: Sequence[Value]) -> Node:
        arity(args, 2)
        computes = [node.compute for node in state.nodes(args, Kind.BOOL)]

        def run(view: RecordView, slots: Slots) -> Any:
            result: Any = not decisive
            for compute in computes:
                value = compute(view, slots)
                if value is decisive:
                    return decisive
                if value is UNKNOWN:
                    result = UNKNOWN
            return result

        return Node(Kind.BOOL, run)

    return build


def _not(state: Build, args: Sequence[Value]) -> Node:
    arity(args, 1, 1)
    return Node(Kind.BOOL, strict(operator.not_, state.nodes(args, Kind.BOOL)))


def _exclusive(state: Build, args: Sequence[Value]) -> Node:
    arity(args, 2)
    return Node(Kind.BOOL, strict(lambda *values: sum(values) == 1, state.nodes(args, Kind.BOOL)))


def _cond(state: Build, args: Sequence[Value]) -> Node:
    arity(args, 3)
    if len(args) % 2 == 0:
        raise ServerError(PARAMETER, "cond has no default")
    tests = [node.compute for node in state.nodes(args[:-1:2], Kind.BOOL)]
    values = state.nodes([*args[1::2], args[-1]])
    kind = common_kind(values)
    cases = list(zip(tests, [node.compute for node in values[:-1]], strict=True))
    otherwise = values[-1].compute

    def run(view: RecordView, slots: Slots) -> Any:
        for test, value in cases:
            answer = test(view, slots)
            if answer is UNKNOWN:
                return UNKNOWN
            if answer:
                return value(view, slots)
        return otherwise(view, slots)

    return Node(kind, run)


def _let(state: Build, args: Sequence[Value]) -> Node:
    arity(args, 1)
    if len(args) % 2 == 0:
        raise ServerError(PARAMETER, "let has no body")
    outer = dict(state.scope)
    bindings = []
    for variable, expression in zip(args[:-1:2], args[1::2], strict=True):
        if not isinstance(variable, bytes) or not _VARIABLE.match(variable):
            raise ServerError(PARAMETER, f"no variable name: {variable!r}")
        node = state.node(expression)
        slot = state.slot()
        state.scope[variable] = (node.kind, slot)
        bindings.append((slot, node.compute))
    body = state.node(args[-1])
    state.scope = outer

    def run(view: RecordView, slots: Slots) -> Any:
        for slot, compute in bindings:
            slots[slot] = compute(view, slots)
        return body.compute(view, slots)

    return Node(body.kind, run)


def _variable(state: Build, args: Sequence[Value]) -> Node:
    arity(args, 1, 1)
    found = state.scope.get(args[0]) if isinstance(args[0], bytes) else None
    if found is None:
        raise ServerError(PARAMETER, f"no variable {args[0]!r}")
    kind, slot = found
    return Node(kind, lambda view, slots: slots[slot])


def _quote(state: Build, args: Sequence[Value]) -> Node:
    arity(args, 1, 1)
    if not isinstance(args[0], ListValue):
        raise ServerError(PARAMETER, "only lists are quoted")
    raw = quoted(args[0])
    return Node(Kind.LIST, lambda view, slots: raw)


HANDLERS: dict[int, Handler] = {
    0: _unknown,
    1: _comparison(operator.eq),
    2: _comparison(operator.ne),
    3: _comparison(operator.gt),
    4: _comparison(operator.ge),
    5: _comparison(operator.lt),
    6: _comparison(operator.le),
    7: _regex,
    8: _geo_match,
    16: _conjunction(decisive=False),
    17: _conjunction(decisive=True),
    18: _not,
    19: _exclusive,
    123: _cond,
    124: _variable,
    125: _let,
    126: _quote,
}

__all__ = ["HANDLERS"]
