"""MessagePack, the connector's format `message-pack`: `[1, 1, [key, gen, exp, lut, bins]]`, deletes `[1, 2, [key, flags, ...]]`.

key = [namespace, set, digest, user key]; a bin = [name, particle type, flags, value]. Every value has its own type, and it must
be the one its bin names: nothing is converted. A nil value is a deleted bin; a bin of a particle type we do not know travels as
it came.

No source shows gen and lut in deletes, where the JSON encodings have them: exactly two more elements are taken for them, anything
else that follows the flags is passed over, and the delete is without version.
Facts: xdr-kafka message reference, 1.6 and cases 1-4, 8-16, 19-27, 35, 39.
"""

from typing import Any

from schemas.base64_text import to_base64
from schemas.bins import LIST_ORDERED, MAP_KEY_ORDERED, MAP_KEY_VALUE_ORDERED, NULL_TYPE, BinType, GeoJson, Hll
from schemas.events import DELETE, WRITE
from schemas.nested import nested_text
from schemas.xdr.bin_values import Misfit
from schemas.xdr.json_text import double_text
from schemas.xdr.metadata import Metadata
from schemas.xdr.normal_form import Bin, Read, last_of_each_name
from schemas.xdr.options import DecodeOptions
from schemas.xdr.packed import BLOBS, NotText, Unpacker, geojson
from schemas.xdr.problem import Undecodable
from schemas.xdr.record_types import Declared, RecordTypes

VERSION = 1
OPS = {1: WRITE, 2: DELETE}
DURABLE = 1
KEY_PARTS = ("namespace", "set", "digest", "user_key")
PARTICLES: dict[int, BinType] = {
    1: BinType.INT,
    2: BinType.FLOAT,
    3: BinType.STR,
    **dict.fromkeys(BLOBS, BinType.BLOB),
    17: BinType.BOOL,
    18: BinType.HLL,
    19: BinType.MAP,
    20: BinType.LIST,
    23: BinType.GEOJSON,
}
"""Bin types by particle type (aerospike-server: as/include/base/datamodel.h). 16, a vector, is none yet."""
LIST_ORDERS: dict[int, str] = {0: BinType.LIST, 1: LIST_ORDERED}
MAP_ORDERS: dict[int, str] = {0: BinType.MAP, 1: MAP_KEY_ORDERED, 3: MAP_KEY_VALUE_ORDERED}
_PLACES = {name: f"key[{place}]" for place, name in enumerate(KEY_PARTS)} | {
    name: name for name in ("msg", "gen", "lut", "exp", "durable")
}

_Entry = tuple[Any, Any, Any, Any, str | None]
"""A bin as it stands in a message, and the fault of its value."""


class MessagePack:
    """Reads messages of the format `message-pack`, whatever they hold."""

    def __init__(self, options: DecodeOptions) -> None:
        self._no_bins = options.image == "none"
        self._types = RecordTypes(options.records)

    def read(self, value: bytes | None, key: bytes | None = None) -> Read:
        """The message in the normal form; what cannot be read is its `error`, never an exception. `key` says nothing more."""
        metadata = Metadata()
        try:
            return Read(metadata, self._read(value, metadata))
        except Undecodable as problem:
            return Read(metadata, None, (problem.code, problem.detail))
        except RecursionError:
            return Read(metadata, None, ("D102", "nested too deep to be read"))

    def _read(self, value: bytes | None, metadata: Metadata) -> list[Bin] | None:
        if value is None:
            raise Undecodable("D101", "the value is null: a tombstone, which the connector never writes")
        packed = Unpacker(value)
        op, elements = _head(packed)
        if op == DELETE:
            metadata.fill(_deleted(packed, elements), _PLACES)
            packed.end()
            return None
        if elements != 5:
            raise Undecodable("D103", f"the payload of a write has {elements} elements, not 5")
        given = key_parts(packed)
        given |= {"msg": op, "gen": packed.value(), "exp": packed.value(), "lut": packed.value()}
        metadata.fill(given, _PLACES)
        entries = _entries(packed)
        packed.end()
        if self._no_bins:
            return []
        assert metadata.namespace is not None  # else the metadata would have been a problem
        declared = self._types.bins(metadata.namespace, metadata.set)
        return last_of_each_name([_bin(place, entry, declared) for place, entry in enumerate(entries)])


def key_parts(packed: Unpacker) -> dict[str, Any]:
    """The key that stands here, by KEY_PARTS. Raises Undecodable D105 when it has not four parts, D102 when it is cut short."""
    parts = packed.array()
    if parts != len(KEY_PARTS):
        raise Undecodable("D105", "key is not an array of 4 parts" if parts is None else f"key has {parts} parts, not 4")
    given = {name: packed.value() for name in KEY_PARTS}
    if isinstance(given["digest"], str):
        given["digest"] = None  # in JSON it is text, here nobody writes it so
    return {name: NotText() if isinstance(value, GeoJson) else value for name, value in given.items()}


def _head(packed: Unpacker) -> tuple[str, int]:
    """What the message says happened, and the number of elements of its payload."""
    elements = packed.array()
    if elements != 3:
        what = "is not an array" if elements is None else f"is an array of {elements} elements"
        raise Undecodable("D102", f"the message {what}, not [version, type, payload]")
    version, kind = packed.value(), packed.value()
    if type(version) is not int or version != VERSION:
        raise Undecodable("D102", f"the message is of version {version!r:.40}, not {VERSION}")
    if type(kind) is not int or kind not in OPS:
        raise Undecodable("D104", f"the message is of type {kind!r:.40}, neither 1 (write) nor 2 (delete)")
    payload = packed.array()
    if payload is None:
        raise Undecodable("D103", "the payload is not an array")
    return OPS[kind], payload


def _deleted(packed: Unpacker, elements: int) -> dict[str, Any]:
    """The metadata of a delete."""
    if elements < 2:
        raise Undecodable("D103", f"the payload of a delete has {elements} elements, not at least 2: key and flags")
    given = key_parts(packed)
    flags = packed.value()
    more = [packed.value() for _ in range(elements - 2)]
    if type(flags) is not int:
        raise Undecodable("D103", "the flags of a delete are not an integer")
    given |= {"msg": DELETE, "durable": bool(flags & DURABLE)}
    if len(more) == 2 and all(one is None or type(one) is int for one in more):
        given |= dict(zip(("gen", "lut"), more, strict=True))
    return given


def _entries(packed: Unpacker) -> list[_Entry]:
    """The bins as they stand there. Raises Undecodable D102 and D107."""
    count = packed.array()
    if count is None:
        raise Undecodable("D107", "bins is not an array")
    entries: list[_Entry] = []
    for place in range(count):
        parts = packed.array()
        if parts != 4:
            what = "no array" if parts is None else f"an array of {parts}"
            raise Undecodable("D107", f"bins[{place}] is {what}, not [name, type, flags, value]")
        name, kind, flags = packed.value(), packed.value(), packed.value()
        packed.fault = None
        value = packed.value()
        entries.append((name, kind, flags, value, packed.fault))
    return entries


def _bin(place: int, entry: _Entry, declared: Declared) -> Bin:
    name, kind, flags, value, fault = entry
    at = f"bins[{place}] (name {name if isinstance(name, str) else 'missing'})"
    if not isinstance(name, str):
        raise Undecodable("D107", f"{at}: name is missing, or not text")
    if type(kind) is not int or not 0 <= kind <= 0xFF:
        raise Undecodable("D107", f"{at}: type is not the number of a particle type")
    if type(flags) is not int:
        raise Undecodable("D107", f"{at}: flags are not an integer")
    if value is None and fault is None:
        return name, NULL_TYPE, None
    if kind == 0:
        raise Undecodable("D107", f"{at}: type is none that has a value")
    known = PARTICLES.get(kind)
    said = known or f"particle-{kind}"
    full = _with_order(known, flags, at) if known else said
    flow = declared.get(name)
    if flow is not None and flow != said:
        if (flow, known) == (BinType.HLL, BinType.BLOB):  # as in JSON, where both look alike: the declaration knows better
            full = BinType.HLL
        else:
            declared.contradicted(f"{at}: type is {said}, but the flow declares {flow}")
    if fault is not None:
        raise Undecodable("D108", f"{at}: value of type {said} {fault}")
    try:
        return name, str(full), _text(_fitting(known, value) if known else value)
    except Misfit as why:
        raise Undecodable("D108", f"{at}: value of type {said} {why}") from None


def _with_order(known: BinType, flags: int, at: str) -> str:
    """The type with the order a list or map carries; of other types the flags mean nothing."""
    orders = LIST_ORDERS if known is BinType.LIST else MAP_ORDERS if known is BinType.MAP else None
    if orders is None:
        return known
    if flags not in orders:
        raise Undecodable("D107", f"{at}: flags {flags} are no order of a {known}")
    return orders[flags]


_PYTHON: dict[BinType, type] = {
    BinType.INT: int,
    BinType.FLOAT: float,
    BinType.STR: str,
    BinType.BLOB: bytes,
    BinType.BOOL: bool,
    BinType.LIST: list,
    BinType.MAP: dict,
}


def _fitting(known: BinType, value: Any) -> Any:
    """The value of a bin of that type. Raises Misfit."""
    if known is BinType.HLL and isinstance(value, bytes):
        return Hll(value)
    if known is BinType.GEOJSON and isinstance(value, str):
        try:
            return value if isinstance(value, GeoJson) else geojson(value.encode())
        except Misfit as why:
            raise Misfit(f"holds GeoJSON that {why}") from None
    if type(value) is not _PYTHON.get(known):
        raise Misfit(f"is {_named(value)}")
    return value


_NAMES = {bool: "a boolean", int: "an integer", float: "a float", str: "a str", bytes: "a bin", list: "an array", dict: "a map"}


def _named(value: Any) -> str:
    """What a value is in MessagePack, for people."""
    return _NAMES.get(type(value), "an extension")


def _text(value: Any) -> str:
    """A value as `schemas.bins` writes it; of a type we do not know: text itself, bytes in Base64, else as a nested value.

    Raises Misfit.
    """
    if isinstance(value, str):
        return str(value)
    if isinstance(value, bytes):
        return to_base64(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return double_text(value)
    if isinstance(value, int):
        return str(value)
    try:
        return nested_text(value)
    except (TypeError, RecursionError):  # what orjson and Python say of the same
        raise Misfit("is nested too deep") from None


__all__ = [
    "DURABLE",
    "KEY_PARTS",
    "LIST_ORDERS",
    "MAP_ORDERS",
    "MessagePack",
    "PARTICLES",
    "key_parts",
]
