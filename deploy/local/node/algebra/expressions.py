"""Filters and expression operations over one record.

An expression is one msgpack value: a list `[code, args...]` is a call, anything else a constant. It is compiled to closures. What
was compiled is kept for some dozens of *shapes*: the bytes without the integers that take nine of them on the wire. A version
guard made for each record differs from the last one only in such an integer, so it costs a look-up and not a build, and a
million of them leave one entry.

Codes: `expression_logic`, `expression_numbers`, `expression_record`, `expression_calls`. Matching GeoJSON, bits and HyperLogLog
answer 16, unknown codes 4. Source: wire protocol reference, section 7.
"""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from . import expression_calls, expression_logic, expression_numbers, expression_record, msgpack
from .elements import ListValue
from .errors import BIN_EXISTS, BIN_NOT_FOUND, OP_NOT_APPLICABLE, PARAMETER, ServerError
from .expression_nodes import KEEP, UNKNOWN, Build, Compute, Handler, Kind, Outcome, Slots, particle
from .view import Particle, RecordView

MAX_SIZE_BYTES: Final = 1 << 20
MAX_KEPT: Final = 64
MAX_KEPT_BYTES: Final = 1 << 13
"""Longer expressions are built each time, so that what is kept stays small."""

CREATE_ONLY: Final = 1
UPDATE_ONLY: Final = 2
ALLOW_DELETE: Final = 4
POLICY_NO_FAIL: Final = 8
EVAL_NO_FAIL: Final = 16
_FLAGS: Final = 31

_HANDLERS: Final[dict[int, Handler]] = {
    **expression_logic.HANDLERS,
    **expression_numbers.HANDLERS,
    **expression_record.HANDLERS,
    **expression_calls.HANDLERS,
}


class _Program(NamedTuple):
    """A compiled expression: its type, its root, the slots it starts with and where on the wire some of them come from."""

    kind: Kind
    compute: Compute
    slots: Slots
    offsets: tuple[tuple[int, int], ...]
    flags: int


class _Kept:
    """Compiled expressions by shape. A full store starts over: guards are few, and one build is cheap."""

    def __init__(self) -> None:
        self.programs: dict[tuple[bool, bytes], _Program] = {}
        self.layouts: dict[int, list[tuple[int, ...]]] = {}

    def find(self, payload: bytes, wrapped: bool) -> _Program | None:
        for cuts in self.layouts.get(len(payload), ()):
            program = self.programs.get((wrapped, _shape(payload, cuts)))
            # Another layout's shape has another length of its own, except by chance: the places must agree as well.
            if program is not None and tuple(offset for _, offset in program.offsets) == cuts:
                return program
        return None

    def keep(self, payload: bytes, wrapped: bool, program: _Program) -> None:
        if len(payload) > MAX_KEPT_BYTES:
            return
        if len(self.programs) >= MAX_KEPT:
            self.programs.clear()
            self.layouts.clear()
        cuts = tuple(offset for _, offset in program.offsets)
        layouts = self.layouts.setdefault(len(payload), [])
        if cuts not in layouts:
            layouts.append(cuts)
        self.programs[wrapped, _shape(payload, cuts)] = program


def _shape(payload: bytes, cuts: tuple[int, ...]) -> bytes:
    """Give the bytes without the eight that follow each cut's head byte."""
    if not cuts:
        return payload
    if len(cuts) == 1:
        at = cuts[0]
        return payload[: at + 1] + payload[at + 9 :]
    parts = []
    start = 0
    for at in cuts:
        parts.append(payload[start : at + 1])
        start = at + 9
    parts.append(payload[start:])
    return b"".join(parts)


_kept = _Kept()


def _load(payload: bytes, wrapped: bool) -> tuple[_Program, Slots]:
    """Give the program of an expression and its slots, filled with its own integers. Raises ServerError(4)."""
    program = _kept.find(payload, wrapped)
    if program is None:
        program = _build(payload, wrapped)
        _kept.keep(payload, wrapped, program)
    slots = program.slots.copy()
    for slot, offset in program.offsets:
        slots[slot] = int.from_bytes(payload[offset + 1 : offset + 9], "big", signed=True)
    return program, slots


def _build(payload: bytes, wrapped: bool) -> _Program:
    if len(payload) > MAX_SIZE_BYTES:
        raise ServerError(PARAMETER, f"an expression of {len(payload)} bytes")
    try:
        value = msgpack.decode(payload, locate=True)
    except msgpack.MsgpackError as error:
        raise ServerError(PARAMETER, str(error)) from None
    flags = 0
    if wrapped:
        if not isinstance(value, ListValue) or len(value.items) != 2:
            raise ServerError(PARAMETER, "an expression operation has an expression and flags")
        value, wire_flags = value.items
        if not isinstance(wire_flags, int) or isinstance(wire_flags, bool) or wire_flags & ~_FLAGS:
            raise ServerError(PARAMETER, f"expression flags {wire_flags!r}")
        flags = int(wire_flags)
    build = Build(_HANDLERS)
    try:
        node = build.node(value)
    except RecursionError:
        raise ServerError(PARAMETER, "an expression nested too deep") from None
    offsets = tuple(sorted(build.offsets, key=lambda pair: pair[1]))
    return _Program(node.kind, node.compute, build.slots, offsets, flags)


def compile_filter(payload: bytes) -> Callable[[RecordView], bool | None]:
    """Build a filter: True passes; False and None, which is unknown, do not.

    Raises ServerError: 4 when it cannot be built or is not boolean, 16 for GeoJSON, bits and HyperLogLog.
    The filter holds variables of its own: not for two threads at once.
    """
    program, slots = _load(payload, wrapped=False)
    if program.kind not in (Kind.BOOL, Kind.ANY):
        raise ServerError(PARAMETER, f"a filter of type {program.kind.name.lower()}")
    compute = program.compute

    def passes(view: RecordView) -> bool | None:
        answer: Any = compute(view, slots)
        return None if answer is UNKNOWN else answer

    return passes


def evaluate(payload: bytes, view: RecordView) -> Particle | Outcome | None:
    """Compute an expression over a record: its value, None for nil, or UNKNOWN. Raises ServerError as `compile_filter`."""
    program, slots = _load(payload, wrapped=False)
    return _value(program, slots, view)


def _value(program: _Program, slots: Slots, view: RecordView) -> Particle | Outcome | None:
    answer: Any = program.compute(view, slots)
    return UNKNOWN if answer is UNKNOWN else particle(answer, program.kind)


def expression_op(
    write: bool, payload: bytes, view: RecordView, existing: Particle | None
) -> tuple[Particle | Outcome | None, Particle | None]:
    """Run an EXP_READ or EXP_MODIFY: (the bin afterwards: a particle, None = delete it, KEEP; the result).

    payload:  msgpack `[expression, flags]`
    existing: the bin written to; None when it is missing
    Raises ServerError: 4 cannot be built, 6 create only and the bin exists, 17 update only and it does not, 26 unknown result or
    a nil that may not delete.
    """
    program, slots = _load(payload, wrapped=True)
    flags = program.flags
    if write:
        refusal = BIN_EXISTS if flags & CREATE_ONLY and existing is not None else 0
        refusal = BIN_NOT_FOUND if flags & UPDATE_ONLY and existing is None else refusal
        if refusal:
            if flags & POLICY_NO_FAIL:
                return KEEP, None
            raise ServerError(refusal, "expression write flags")
    answer = _value(program, slots, view)
    if isinstance(answer, Outcome):
        if flags & EVAL_NO_FAIL:
            return KEEP, None
        raise ServerError(OP_NOT_APPLICABLE, "the expression is unknown for this record")
    if not write:
        return KEEP, answer
    if answer is None and existing is not None and not flags & ALLOW_DELETE:
        if flags & (POLICY_NO_FAIL | EVAL_NO_FAIL):
            return KEEP, None
        raise ServerError(OP_NOT_APPLICABLE, "nil, and the bin may not be deleted")
    if answer is None and existing is None:
        return KEEP, None
    return answer, None


__all__ = [
    "KEEP",
    "MAX_KEPT",
    "MAX_KEPT_BYTES",
    "MAX_SIZE_BYTES",
    "Outcome",
    "UNKNOWN",
    "compile_filter",
    "evaluate",
    "expression_op",
]
