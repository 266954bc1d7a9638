"""The quick way through a message: what nearly all messages are, read by orjson; anything else is left to the thorough reader.

The rule that keeps it right: it answers only when the thorough reader would say the very same, else None. orjson keeps one of two
members of a name and makes floats of integers beyond 64 bits. So members are counted: each has one `":` in the text when nothing
stands between quote and colon, and text inside strings can only add to that number, never take away. And numbers that may have
been changed are left alone. Tests compare both readers.
"""

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import orjson

from schemas.base64_text import from_base64
from schemas.bins import BinType, GeoJson, KeyOrderedMap, KeyValueOrderedMap, OrderedList
from schemas.digest import DIGEST_BYTES
from schemas.events import DELETE, WRITE, UserKey
from schemas.version import GENERATIONS, MAX_LUT_MS
from schemas.xdr.metadata import LAST_EXP_S, OLDEST_LUT_MS
from schemas.xdr.options import DecodeOptions
from schemas.xdr.record_types import RecordTypes

_INT64_MAX = (1 << 63) - 1  # below -(1 << 63) orjson answers floats, which are no int here
_LARGE = 1e18
"""From here on a float may have been an integer that does not fit in 64 bits."""
_LISTS: dict[bool, Callable[[list[Any]], list[Any]]] = {True: OrderedList, False: lambda value: value}
_MAPS: dict[str, type[dict[str, Any]]] = {"key": KeyOrderedMap, "key-value": KeyValueOrderedMap}
DEEPEST = 64
"""Lists and maps in each other, as a server takes them since 8.2; any deeper, and the limits of the ways that follow matter."""
_SCALARS = frozenset((str, bool, type(None)))
_JSON_KINDS: dict[type, str] = {int: "int", float: "float", str: "str", bool: "bool", list: "list", dict: "map"}
_SPACE_COLON = re.compile(rb" :").search
_SPACE_BEFORE_COLON = re.compile(rb'"[ \t\r\n]+:').search


def _spaced(value: bytes) -> bool:
    """Whether space stands between a quote and a colon. Nearly always four cheap looks settle it: looking for one byte, by its
    number, and for a fixed text by `re` take a tenth of the time of `b"..." in value`."""
    might = 10 in value or 9 in value or 13 in value or _SPACE_COLON(value) is not None
    return might and _SPACE_BEFORE_COLON(value) is not None


class Ordinary(NamedTuple):
    """The part of a ChangeEvent that the message says, in its order, and after it what only the normal form tells.

    bins: Python values by name; empty for deletes. durable: of deletes; None when the message does not say.
    """

    namespace: str
    set: str | None
    digest: bytes
    user_key: UserKey | None
    op: str
    gen: int | None
    lut_ms: int | None
    exp_s: int | None
    bins: dict[str, Any]
    durable: bool | None = None


made: Callable[[tuple[Any, ...]], Ordinary] = partial(tuple.__new__, Ordinary)
"""An Ordinary of all its fields, in their order: half the time of the class's own constructor, and there is one per message."""


class Odd(Exception):
    """Not for the quick way."""


QuickRead = Callable[[bytes], Ordinary | None]


def quick_typed_json(options: DecodeOptions) -> QuickRead:
    """The quick way through the format `json`."""
    if options.image == "none":
        return _never
    records = RecordTypes(options.records)

    def read(value: bytes) -> Ordinary | None:
        try:
            message = orjson.loads(value)
            namespace, set_name, digest, user_key = message["key"]
            op, exp_s = _kind(message)
            bins: dict[str, Any] = {}
            members = len(message)
            if op == WRITE:
                types = records.bins(namespace, set_name) if records.any_bins else None
                members += _typed_bins(message["bins"], bins, types)
            if value.count(b'":') != members or _spaced(value):
                return None
            return _checked(namespace, set_name, digest, user_key, op, message["gen"], message["lut"], exp_s, bins)
        except (Odd, ValueError, TypeError, KeyError, RecursionError):
            return None  # the thorough reader says what is the matter, if anything is

    return read


def quick_flat_json(options: DecodeOptions) -> QuickRead:
    """The quick way through the format `flat-json`."""
    if options.image == "none":
        return _never
    key, records = options.metadata_key, RecordTypes(options.records)

    def read(value: bytes) -> Ordinary | None:
        try:
            message = orjson.loads(value)
            metadata = message.pop(key)
            namespace, set_name = metadata["namespace"], metadata.get("set")
            op, exp_s = _kind(metadata)
            members = 1 + len(metadata) + len(message)
            if op == WRITE:
                types = records.bins(namespace, set_name) if records.any_bins else None
                members += _declared_bins(message, types) if types else _undeclared_bins(message)
            elif message:
                return None
            if value.count(b'":') != members or _spaced(value):
                return None
            user_key = metadata.get("userKey")
            digest = metadata["digest"]
            return _checked(namespace, set_name, digest, user_key, op, metadata["gen"], metadata["lut"], exp_s, message)
        except (Odd, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return None

    return read


def _never(value: bytes) -> Ordinary | None:
    return None


def _kind(metadata: Mapping[str, Any]) -> tuple[str, int | None]:
    op = metadata["msg"]
    if op == WRITE:
        exp = metadata["exp"]
        if type(exp) is not int or not -1 <= exp <= LAST_EXP_S:
            raise Odd
        return WRITE, exp if exp > 0 else None
    if op != DELETE or "durable" in metadata:
        raise Odd
    return DELETE, None


def _checked(
    namespace: Any,
    set_name: Any,
    digest: Any,
    user_key: Any,
    op: str,
    gen: Any,
    lut: Any,
    exp_s: int | None,
    bins: dict[str, Any],
) -> Ordinary | None:
    if type(namespace) is not str or not namespace or (set_name is not None and type(set_name) is not str):
        return None
    raw = from_base64(digest)
    if len(raw) != DIGEST_BYTES:
        return None
    if user_key is not None and type(user_key) is not str and (type(user_key) is not int or user_key > _INT64_MAX):
        return None
    if type(gen) is not int or type(lut) is not int or not (0 <= gen < GENERATIONS and OLDEST_LUT_MS <= lut <= MAX_LUT_MS):
        return None
    return made((namespace, set_name or None, raw, user_key, op, gen, lut, exp_s, bins, None))


def _typed_bins(entries: Any, bins: dict[str, Any], types: Mapping[str, BinType] | None) -> int:
    """Fill `bins` and answer how many members the entries have, inner ones included. Raises Odd, or what odd input raises."""
    members = 0
    for entry in entries:
        name, kind, value = entry["name"], entry["type"], entry["value"]
        if type(name) is not str:
            raise Odd
        members += len(entry)
        if kind == "str":
            if type(value) is not str:
                raise Odd
        elif kind == "int":
            if type(value) is not int or value > _INT64_MAX:
                raise Odd
        elif kind == "float":
            if type(value) is not float:
                raise Odd
        elif kind == "bool":
            if type(value) is not bool:
                raise Odd
        elif kind == "list":
            if type(value) is not list:
                raise Odd
            members += _members(value)
            if "ordered" in entry:
                value = _LISTS[entry["ordered"]](value)
        elif kind == "map":
            if type(value) is not dict:
                raise Odd
            members += _members(value)
            if "order" in entry:
                value = _MAPS[entry["order"]](value)
        elif kind == "geojson":
            if type(value) is not dict:
                raise Odd
            members += _members(value)
            value = GeoJson(orjson.dumps(value).decode())
        elif kind == "blob":
            value = from_base64(value)
        else:
            raise Odd
        if types and types.get(name, kind) != kind:
            raise Odd
        bins[name] = value
    if len(bins) != len(entries):
        raise Odd
    return members


def _undeclared_bins(bins: dict[str, Any]) -> int:
    """How many members the values have inside. Raises Odd, or what odd input raises."""
    members = 0
    for value in bins.values():
        kind = type(value)
        if kind is str or kind is bool:
            continue
        if kind is int:
            if value > _INT64_MAX:
                raise Odd
        elif kind is float:
            if abs(value) >= _LARGE:
                raise Odd
        elif value is None:
            raise Odd
        else:
            members += _members(value)
    return members


def _declared_bins(bins: dict[str, Any], types: Mapping[str, BinType]) -> int:
    """As `_undeclared_bins`; and values become what the flow declares. Raises Odd, or what odd input raises."""
    members = _undeclared_bins(bins)
    for name, value in bins.items():
        kind, declared = type(value), types.get(name)
        if declared is None or _JSON_KINDS[kind] == declared:
            continue
        if declared == "blob" and kind is str:
            bins[name] = from_base64(value)
        elif declared == "geojson" and kind is dict:
            bins[name] = GeoJson(orjson.dumps(value).decode())
        else:
            raise Odd
    return members


def quick_geojson(text: str) -> GeoJson:
    """GeoJSON in the one form of the normal form. Raises Odd, or what odd input raises."""
    value = orjson.loads(text)
    raw = text.encode()
    if type(value) is not dict or raw.count(b'":') != _members(value) or _spaced(raw):
        raise Odd
    return GeoJson(orjson.dumps(value).decode())


def _members(value: Any, depth: int = 1) -> int:
    """How many members the objects inside a list or object have. Raises Odd for numbers that orjson may have changed."""
    if depth > DEEPEST:
        raise Odd
    if type(value) is dict:
        members = len(value)
        value = value.values()
    else:
        members = 0
    for item in value:
        kind = type(item)
        if kind in _SCALARS:
            continue
        if kind is int:
            if item > _INT64_MAX:
                raise Odd
        elif kind is float:
            if abs(item) >= _LARGE:
                raise Odd
        else:
            members += _members(item, depth + 1)
    return members


__all__ = ["DEEPEST", "Odd", "Ordinary", "QuickRead", "quick_flat_json", "quick_geojson", "quick_typed_json"]
