"""What of an event the client would damage or refuse, found before the call.

The client cuts a string at its first NUL, drops map entries whose key is not an integer, string or blob, and answers result
code 0 each time; one bin name over 15 bytes fails a whole batch call (measured with client 19.3; conformance cases
`value_string_unicode`, `batch_bad_bin_name_fails_whole_call`). Such a record is refused alone, with its reason.
"""

from functools import lru_cache
from typing import Any, NamedTuple

import aerospike
from aerospike_helpers import HyperLogLog
from aerospike_helpers.operations import list_operations, map_operations

from schemas.bins import (
    MAX_BIN_NAME_BYTES,
    MAX_SET_NAME_BYTES,
    PRIVATE_BIN_PREFIX,
    GeoJson,
    Hll,
    KeyOrderedMap,
    KeyValueOrderedMap,
    OrderedList,
)
from schemas.nested import Other

INT_MIN, INT_MAX = -(1 << 63), (1 << 63) - 1
_CONTAINERS = (list, dict)
_SMALL = 64
OP_WRITE: int = aerospike.OPERATOR_WRITE


class Unfit(NamedTuple):
    """Why a value cannot be stored: a reason code and words that name the place, never the value."""

    code: str
    detail: str


class BinOperations(NamedTuple):
    """Operations that write a record's bins, and those that afterwards restore an order a plain write cannot express.

    size_bytes: roughly what the values weigh on the wire: exact enough to keep a call of large records small.
    """

    writes: list[dict[str, Any]]
    orders: list[dict[str, Any]]
    size_bytes: int


def bin_operations(bins: dict[str, Any]) -> BinOperations | Unfit:
    """Operations for a record's bins, values as the client takes them; or the first thing that does not fit.

    A bin of value None is one the source deleted: in a full image it is simply not there.
    """
    operations: list[dict[str, Any]] = []
    orders: list[dict[str, Any]] = []
    size_bytes = 0
    for name, value in bins.items():
        problem = _name_problem(name)
        if problem is not None:
            return problem
        kind = type(value)
        if kind is int:
            if not INT_MIN <= value <= INT_MAX:
                return Unfit("D203", f"bin {name!r}: integer needs more than 64 bits")
        elif kind is str:
            if "\0" in value or not value.isascii():
                damage = _text_problem(value)
                if damage:
                    return Unfit("D202", f"bin {name!r}: {damage}")
            size_bytes += len(value)
        elif kind is bytes:
            size_bytes += len(value)
        elif kind is float or kind is bool:
            pass
        elif value is None:
            continue
        else:
            if kind is OrderedList:
                orders.append(list_operations.list_set_order(name, aerospike.LIST_ORDERED))
            elif kind is KeyValueOrderedMap:
                orders.append(map_operations.map_set_policy(name, {"map_order": aerospike.MAP_KEY_VALUE_ORDERED}))
            size_bytes += _weight(value)
            value = for_client(value, f"bin {name!r}")
            if type(value) is Unfit:
                return value
        operations.append({"op": OP_WRITE, "bin": name, "val": value})
    return BinOperations(operations, orders, size_bytes)


def _weight(value: Any) -> int:
    if isinstance(value, _CONTAINERS):
        return len(repr(value)) if len(value) > _SMALL else len(value)
    return len(value) if isinstance(value, str | bytes) else 0


@lru_cache(maxsize=4_096)
def set_problem(name: str | None) -> Unfit | None:
    """Why a set name cannot be used, or None."""
    if name is None:
        return None
    damage = _text_problem(name)
    if damage:
        return Unfit("D207", f"set name {name!r}: {damage}")
    if len(name) > MAX_SET_NAME_BYTES // 4 and len(name.encode()) > MAX_SET_NAME_BYTES:
        return Unfit("D207", f"set name {name!r} has {len(name.encode())} bytes, Aerospike takes {MAX_SET_NAME_BYTES}")
    return None


@lru_cache(maxsize=4_096)
def _name_problem(name: str) -> Unfit | None:
    damage = _text_problem(name)
    if damage:
        return Unfit("D201", f"bin name {name!r}: {damage}")
    size = len(name.encode())
    if not 0 < size <= MAX_BIN_NAME_BYTES:
        return Unfit("D201", f"bin name {name!r} has {size} bytes, Aerospike takes 1 to {MAX_BIN_NAME_BYTES}")
    if name.startswith(PRIVATE_BIN_PREFIX):
        return Unfit("D208", f"bin name {name!r} begins with {PRIVATE_BIN_PREFIX!r}, which the mirror keeps for itself")
    return None


def _text_problem(text: str) -> str | None:
    if "\0" in text:
        return "string holds NUL, at which the client would cut it"
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            return "string holds a lone surrogate, which is not UTF-8"
    return None


def for_client(value: Any, place: str) -> Any:
    """A value as the client takes it, or Unfit. Lists and maps are walked: the client's losses happen at any depth."""
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        return value if INT_MIN <= value <= INT_MAX else Unfit("D203", f"{place}: integer needs more than 64 bits")
    if isinstance(value, GeoJson):
        return aerospike.GeoJSON(str(value))
    if isinstance(value, Hll):
        return HyperLogLog(bytes(value))
    if isinstance(value, str):
        problem = _text_problem(value)
        return Unfit("D202", f"{place}: {problem}") if problem else value
    if isinstance(value, bytes | bytearray):
        return value
    if isinstance(value, list):
        return _list_for_client(value, place)
    if isinstance(value, dict):
        return _map_for_client(value, place)
    if isinstance(value, Other):
        return Unfit("D209", f"{place}: a value of particle type {value.particle_type}, which Millrace does not know")
    return Unfit("D205", f"{place}: a value of type {type(value).__name__} has no Aerospike type")


def _list_for_client(items: list[Any], place: str) -> Any:
    out = []
    for index, item in enumerate(items):
        item = for_client(item, f"{place}[{index}]")
        if type(item) is Unfit:
            return item
        out.append(item)
    return out


def _map_for_client(entries: dict[Any, Any], place: str) -> Any:
    out: dict[Any, Any] = aerospike.KeyOrderedDict() if isinstance(entries, KeyOrderedMap) else {}
    for key, item in entries.items():
        if isinstance(key, bool) or not isinstance(key, int | str | bytes):
            return Unfit("D202", f"{place}: map key of type {type(key).__name__}, which the client would drop")
        key = for_client(key, f"{place} key")
        item = for_client(item, f"{place}[{key!r:.40}]")
        if type(key) is Unfit or type(item) is Unfit:
            return key if type(key) is Unfit else item
        out[key] = item
    return out


__all__ = ["BinOperations", "OP_WRITE", "Unfit", "bin_operations", "for_client", "set_problem"]
