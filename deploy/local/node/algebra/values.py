"""Between bins and elements: raw bytes as a Python value and back, and the check of lists and maps on their way in."""

import struct

from . import msgpack
from .elements import ListValue, MapValue, Value, order_key, sort_pairs
from .errors import INCOMPATIBLE_TYPE, PARAMETER, UNREADABLE_VALUE, ServerError
from .view import BLOB, BOOL, FLOAT, GEOJSON, HLL, INTEGER, LIST, MAP, STRING, Particle

_FLOAT = struct.Struct(">d")
_INTEGER = struct.Struct(">q")
_CELLS = struct.Struct(">BH")
_SIGN = 1 << 63
_MASK = (1 << 64) - 1


def wrap(number: int) -> int:
    """Give the signed 64-bit integer that arithmetic on the server would leave."""
    return ((number + _SIGN) & _MASK) - _SIGN


def validate_collection(particle_type: int, raw: bytes) -> bytes:
    """Give the bytes to store for a list (20) or map (19) sent by a client.

    They are the bytes received, unless a container declares an order its elements are not in: then the same value in that order.
    Raises ServerError(1) when the bytes are not one whole value of that type, hold a wildcard or infinity, or repeat a map key.
    """
    value = _container(particle_type, raw)
    return msgpack.encode(value) if _settle(value) else raw


def _container(particle_type: int, raw: bytes) -> ListValue | MapValue:
    try:
        value = msgpack.decode(raw)
    except msgpack.MsgpackError as error:
        raise ServerError(UNREADABLE_VALUE, str(error)) from None
    if particle_type == LIST and isinstance(value, ListValue):
        return value
    if particle_type == MAP and isinstance(value, MapValue):
        return value
    raise ServerError(UNREADABLE_VALUE, f"not a value of particle type {particle_type}")


def _settle(value: Value) -> bool:
    """Bring what declares an order into it, in place; whether anything moved."""
    moved = False
    if isinstance(value, ListValue):
        for item in value.items:
            if type(item) not in _PLAIN:
                moved |= _settle(item)
        if value.ordered:
            keys = [order_key(item) for item in value.items]
            if any(keys[i] < keys[i - 1] for i in range(1, len(keys))):
                value.items.sort(key=order_key)
                moved = True
    elif isinstance(value, MapValue):
        for key, item in value.pairs:
            if type(key) not in _PLAIN:
                moved |= _settle(key)
            if type(item) not in _PLAIN:
                moved |= _settle(item)
        keys = [order_key(key) for key, _ in value.pairs]
        in_order = sorted(keys)
        if any(in_order[i] == in_order[i - 1] for i in range(1, len(in_order))):
            raise ServerError(UNREADABLE_VALUE, "a map key occurs twice")
        if value.key_ordered and in_order != keys:
            value.pairs[:] = sort_pairs(value.pairs)
            moved = True
    elif type(value) not in _PLAIN:
        raise ServerError(UNREADABLE_VALUE, f"{value!r} cannot be stored")
    return moved


_PLAIN = frozenset((int, bytes, bool, float, type(None)))


def storable(value: Value) -> Value:
    """Give an operation's argument as it may be stored, ordered containers in order. Raises ServerError(4) for what never is."""
    if type(value) not in _PLAIN:
        try:
            _settle(value)
        except ServerError as error:
            raise ServerError(PARAMETER, str(error)) from None
    return value


def element_of(particle: Particle | None) -> Value:
    """Give the element a particle would be inside a list. Raises ServerError(1) for unreadable bytes, 12 for language blobs."""
    if particle is None:
        return None
    kind, raw = particle
    if kind == INTEGER:
        return int.from_bytes(raw, "big", signed=True)
    if kind in (STRING, BLOB, HLL):
        return bytes((kind,)) + raw
    if kind == FLOAT:
        return float(_FLOAT.unpack(raw)[0])
    if kind == BOOL:
        return raw != b"\x00"
    if kind in (LIST, MAP):
        return _container(kind, raw)
    if kind == GEOJSON:
        return bytes((GEOJSON,)) + geojson_text(raw)
    raise ServerError(INCOMPATIBLE_TYPE, f"particle type {kind} has no place in a list")


def geojson_text(raw: bytes) -> bytes:
    """Give the JSON text of a GeoJSON particle, without its flags and cells."""
    if len(raw) < _CELLS.size:
        raise ServerError(UNREADABLE_VALUE, "a GeoJSON value is cut off")
    return raw[_CELLS.size + 8 * int(_CELLS.unpack_from(raw)[1]) :]


def particle_of(value: Value) -> Particle | None:
    """Give the particle a bin or a reply would hold for an element; None for nil. Raises ServerError(4) for wildcards."""
    if value is None:
        return None
    if isinstance(value, bool):
        return BOOL, b"\x01" if value else b"\x00"
    if isinstance(value, int):
        return INTEGER, _INTEGER.pack(wrap(value))
    if isinstance(value, float):
        return FLOAT, _FLOAT.pack(value)
    if isinstance(value, ListValue):
        return LIST, msgpack.encode(value)
    if isinstance(value, MapValue):
        return MAP, msgpack.encode(value)
    if isinstance(value, bytes):
        if not value:
            return BLOB, b""
        if value[0] == GEOJSON:
            return GEOJSON, b"\x00\x00\x00" + value[1:]
        return value[0], value[1:]
    raise ServerError(PARAMETER, f"{value!r} cannot be stored")


__all__ = ["element_of", "geojson_text", "particle_of", "storable", "validate_collection", "wrap"]
