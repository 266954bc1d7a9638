"""Arithmetic and bits in expressions: 64-bit two's complement integers, IEEE doubles. Source: reference, section 7.1."""

import math
import operator
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

from .elements import Value
from .expression_nodes import UNKNOWN, Build, Handler, Kind, Node, arity, common_kind, strict
from .values import wrap

_BITS = (1 << 64) - 1
_LEAST = -(1 << 63)


def divide_float(a: float, b: float) -> float:
    """Divide as IEEE does: by zero gives an infinity or NaN."""
    if b == 0:
        if a == 0 or a != a:
            return math.nan
        return math.copysign(math.inf, a) * math.copysign(1.0, b)
    return a / b


def divide_int(a: int, b: int) -> Any:
    """Divide truncating toward zero; unknown by zero."""
    if b == 0:
        return UNKNOWN
    quotient = abs(a) // abs(b)
    return wrap(quotient if (a < 0) == (b < 0) else -quotient)


def modulo(a: int, b: int) -> Any:
    """Give the remainder with the dividend's sign; unknown by zero."""
    if b == 0:
        return UNKNOWN
    rest = abs(a) % abs(b)
    return -rest if a < 0 else rest


def power(a: float, b: float) -> float:
    """Raise as C's pow does."""
    try:
        return math.pow(a, b)
    except OverflowError:
        odd = b == math.floor(b) and b % 2 == 1
        return -math.inf if a < 0 and odd else math.inf
    except ValueError:
        return math.nan if a else divide_float(1.0, math.copysign(0.0, a) if b % 2 == 1 else 0.0)


def _log(a: float) -> float:
    if a > 0:
        return math.log(a)
    return -math.inf if a == 0 else math.nan


def logarithm(a: float, base: float) -> float:
    """Give the logarithm of a number to a base; -inf of zero, NaN below it."""
    return divide_float(_log(a), _log(base))


def _whole(function: Callable[[float], int]) -> Callable[[float], float]:
    def run(value: float) -> float:
        return math.copysign(float(function(value)), value) if math.isfinite(value) else value

    return run


def to_int(value: float) -> int:
    """Truncate toward zero; what has no 64-bit integer becomes the smallest one, as on x86-64."""
    if math.isfinite(value) and -(2.0**63) <= value < 2.0**63:
        return int(value)
    return _LEAST


def shift_left(value: int, count: int) -> int:
    """Shift left; 64 places or more, or fewer than none, leave 0."""
    return wrap(value << count) if 0 <= count < 64 else 0


def shift_right(value: int, count: int) -> int:
    """Shift right filling with zeros; 64 places or more, or fewer than none, leave 0."""
    return wrap((value & _BITS) >> count) if 0 <= count < 64 else 0


def shift_right_signed(value: int, count: int) -> int:
    """Shift right filling with the sign."""
    return value >> count if 0 <= count < 64 else (-1 if value < 0 else 0)


def scan_left(value: int, bit: bool) -> int:
    """Give the place of the first such bit from the left, the leftmost being 0; -1 when there is none."""
    bits = value & _BITS if bit else ~value & _BITS
    return 64 - bits.bit_length() if bits else -1


def scan_right(value: int, bit: bool) -> int:
    """Give the place of the first such bit from the right, the leftmost of 64 being 0; -1 when there is none."""
    bits = value & _BITS if bit else ~value & _BITS
    return 64 - (bits & -bits).bit_length() if bits else -1


def _fold(ints: Callable[..., Any], floats: Callable[..., Any], alone: Callable[[Any, Kind], Any] | None = None) -> Handler:
    """Build an operation on one or more numbers, all integers or all floats.

    alone: what a single argument gives, when not itself.
    """

    def build(state: Build, args: Sequence[Value]) -> Node:
        arity(args, 1)
        nodes = state.nodes(args, Kind.INT, Kind.FLOAT)
        kind = common_kind(nodes)
        function = floats if kind is Kind.FLOAT else ints
        if len(nodes) == 1:
            return Node(kind, strict(lambda value: alone(value, kind) if alone else value, nodes))
        if len(nodes) == 2:
            return Node(kind, strict(function, nodes))

        def run(*values: Any) -> Any:
            return reduce(lambda a, b: UNKNOWN if a is UNKNOWN else function(a, b), values)

        return Node(kind, strict(run, nodes))

    return build


def _fixed(function: Callable[..., Any], result: Kind, *kinds: Kind) -> Handler:
    """Build an operation with one argument per named type."""

    def build(state: Build, args: Sequence[Value]) -> Node:
        arity(args, len(kinds), len(kinds))
        nodes = [state.nodes([arg], kind)[0] for arg, kind in zip(args, kinds, strict=True)]
        return Node(result, strict(function, nodes))

    return build


def _bitwise(function: Callable[[int, int], int]) -> Handler:
    def build(state: Build, args: Sequence[Value]) -> Node:
        arity(args, 1)
        nodes = state.nodes(args, Kind.INT)
        if len(nodes) == 2:
            return Node(Kind.INT, strict(function, nodes))
        return Node(Kind.INT, strict(lambda *values: reduce(function, values), nodes))

    return build


def _absolute(state: Build, args: Sequence[Value]) -> Node:
    arity(args, 1, 1)
    nodes = state.nodes(args, Kind.INT, Kind.FLOAT)
    kind = nodes[0].kind
    return Node(kind, strict(abs if kind is Kind.FLOAT else lambda value: wrap(abs(value)), nodes))


def _negated(value: Any, kind: Kind) -> Any:
    return -value if kind is Kind.FLOAT else wrap(-value)


def _inverse(value: Any, kind: Kind) -> Any:
    return divide_float(1.0, value) if kind is Kind.FLOAT else divide_int(1, value)


def _smaller(a: Any, b: Any) -> Any:
    return b if b < a else a


def _greater(a: Any, b: Any) -> Any:
    return b if b > a else a


HANDLERS: dict[int, Handler] = {
    20: _fold(lambda a, b: wrap(a + b), operator.add),
    21: _fold(lambda a, b: wrap(a - b), operator.sub, _negated),
    22: _fold(lambda a, b: wrap(a * b), operator.mul),
    23: _fold(divide_int, divide_float, _inverse),
    24: _fixed(power, Kind.FLOAT, Kind.FLOAT, Kind.FLOAT),
    25: _fixed(logarithm, Kind.FLOAT, Kind.FLOAT, Kind.FLOAT),
    26: _fixed(modulo, Kind.INT, Kind.INT, Kind.INT),
    27: _absolute,
    28: _fixed(_whole(math.floor), Kind.FLOAT, Kind.FLOAT),
    29: _fixed(_whole(math.ceil), Kind.FLOAT, Kind.FLOAT),
    30: _fixed(to_int, Kind.INT, Kind.FLOAT),
    31: _fixed(float, Kind.FLOAT, Kind.INT),
    32: _bitwise(operator.and_),
    33: _bitwise(operator.or_),
    34: _bitwise(operator.xor),
    35: _fixed(operator.invert, Kind.INT, Kind.INT),
    36: _fixed(shift_left, Kind.INT, Kind.INT, Kind.INT),
    37: _fixed(shift_right, Kind.INT, Kind.INT, Kind.INT),
    38: _fixed(shift_right_signed, Kind.INT, Kind.INT, Kind.INT),
    39: _fixed(lambda value: (value & _BITS).bit_count(), Kind.INT, Kind.INT),
    40: _fixed(scan_left, Kind.INT, Kind.INT, Kind.BOOL),
    41: _fixed(scan_right, Kind.INT, Kind.INT, Kind.BOOL),
    50: _fold(_smaller, _smaller),
    51: _fold(_greater, _greater),
}

__all__ = ["HANDLERS"]
