"""List and map operations on a bin: bytes of the operation and of the bin in, bytes of both results out.

Request: msgpack `[code, args...]`, or with a context `[255, [type, value, ...], [code, args...]]`.
Codes: `lists` and `maps`. Path expressions (254) answer 16.
Source: wire protocol reference, section 8.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from . import contexts, lists, maps, msgpack
from .contexts import Step
from .elements import ListValue, MapValue, Value
from .errors import INCOMPATIBLE_TYPE, PARAMETER, UNSUPPORTED_FEATURE, ServerError
from .values import element_of, particle_of
from .view import LIST, MAP, Particle

_CONTEXT: Final = 255
_PATH: Final = 254
_FIRST_MAP_CODE: Final = 64


@dataclass(frozen=True, slots=True)
class Operation:
    """One decoded list or map operation."""

    code: int
    args: Sequence[Value]
    path: Sequence[Step] = ()

    @property
    def on_map(self) -> bool:
        """Whether the code is one for maps."""
        return self.code >= _FIRST_MAP_CODE

    @property
    def reads(self) -> bool:
        """Whether the code is one that changes nothing."""
        return self.code in _READ_CODES


_READ_CODES: Final = frozenset((*lists.READS, *lists.SELECT, *maps.READS, *maps.SELECT))
_MODIFY_CODES: Final = frozenset((*lists.MODIFIES, *lists.REMOVE, *maps.MODIFIES, *maps.REMOVE))


def parse(value: Value) -> Operation:
    """Read an operation from its decoded list. Raises ServerError(4) for anything else, 16 for path expressions."""
    path: Sequence[Step] = ()
    if not isinstance(value, ListValue) or not value.items:
        raise ServerError(PARAMETER, "an operation is a list")
    code = value.items[0]
    if code == _CONTEXT and not isinstance(code, bool):
        if len(value.items) != 3 or not isinstance(value.items[2], ListValue) or not value.items[2].items:
            raise ServerError(PARAMETER, "an operation with a context has three parts")
        path = contexts.parse(value.items[1])
        value = value.items[2]
        code = value.items[0]
    if code == _PATH:
        raise ServerError(UNSUPPORTED_FEATURE, "path expressions")
    if not isinstance(code, int) or isinstance(code, bool) or not (code in _READ_CODES or code in _MODIFY_CODES):
        raise ServerError(PARAMETER, f"no list or map operation {code!r}")
    return Operation(int(code), value.items[1:], path)


def _parsed(payload: bytes) -> Operation:
    try:
        return parse(msgpack.decode(payload))
    except msgpack.MsgpackError as error:
        raise ServerError(PARAMETER, str(error)) from None


def _container(operation: Operation, existing: Particle) -> Value:
    if existing[0] not in (LIST, MAP):
        code = PARAMETER if operation.path else INCOMPATIBLE_TYPE
        raise ServerError(code, f"a bin of particle type {existing[0]} is neither list nor map")
    return element_of(existing)


def apply_read(operation: Operation, existing: Particle | None) -> Value:
    """Answer a read on a bin; None on a missing one. Raises ServerError."""
    if not operation.reads:
        raise ServerError(PARAMETER, f"operation {operation.code} is not a read")
    if existing is None:
        return None
    target = contexts.find(_container(operation, existing), operation.path)
    if operation.on_map and isinstance(target, MapValue):
        return maps.read(operation.code, operation.args, target)
    if not operation.on_map and isinstance(target, ListValue):
        return lists.read(operation.code, operation.args, target)
    raise ServerError(INCOMPATIBLE_TYPE, f"operation {operation.code} on another kind of value")


def apply_modify(operation: Operation, existing: Particle | None) -> tuple[Value, bool, Value]:
    """Change a bin: (its value afterwards, whether it exists then, the result). Raises ServerError."""
    if operation.reads:
        raise ServerError(PARAMETER, f"operation {operation.code} is a read")
    start = None if existing is None else _container(operation, existing)

    def leaf(target: Value, exists: bool, bits: int) -> tuple[Value, bool, Value]:
        order = contexts.order_flags(bits, operation.on_map)
        if operation.on_map:
            if not exists or isinstance(target, MapValue):
                after, result = maps.modify(
                    operation.code, operation.args, target if isinstance(target, MapValue) else None, order
                )
                return after, after is not None, result
        elif not exists or isinstance(target, ListValue):
            made, result = lists.modify(operation.code, operation.args, target if isinstance(target, ListValue) else None, order)
            return made, made is not None, result
        raise ServerError(INCOMPATIBLE_TYPE, f"operation {operation.code} on another kind of value")

    return contexts.change(start, existing is not None, operation.path, leaf)


def read(payload: bytes, existing: Particle | None) -> Particle | None:
    """Answer a CDT_READ; None means a reply without a value, as for a missing bin.

    Raises ServerError: 4 malformed operation, or a context on a scalar bin; 12 another type of bin; 26 no such element.
    """
    return particle_of(apply_read(_parsed(payload), existing))


def modify(payload: bytes, existing: Particle | None) -> tuple[Particle | None, Particle | None]:
    """Answer a CDT_MODIFY: (the bin afterwards, None = there is none; the result, None = a reply without a value).

    Raises ServerError: as `read`, and 23 and 24 for write flags.
    """
    after, exists, result = apply_modify(_parsed(payload), existing)
    return particle_of(after) if exists else None, particle_of(result)


__all__ = ["Operation", "apply_modify", "apply_read", "modify", "parse", "read"]
