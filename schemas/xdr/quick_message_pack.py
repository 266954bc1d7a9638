"""The quick way through MessagePack: what nearly all messages are, read by ormsgpack; all else is left to the thorough reader.

The rule that keeps it right is that of `schemas.xdr.ordinary`: it answers only when the thorough reader would say the very same.
ormsgpack passes over bytes that follow, keeps one of two equal keys of a map, and takes an array for a key. So what it read is
written again: the same bytes come out only when nothing was left out, since the first thing left out changes the head of what
holds it. A message that is not in the shortest form is not the same again, and one with extensions is not even read: both take
the longer way.
"""

from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any

from ormsgpack import OPT_NON_STR_KEYS, packb, unpackb

from schemas.bins import BinType, Hll, KeyOrderedMap, KeyValueOrderedMap, OrderedList
from schemas.digest import DIGEST_BYTES
from schemas.events import DELETE, WRITE
from schemas.version import GENERATIONS, MAX_LUT_MS
from schemas.xdr.message_pack import DURABLE, PARTICLES
from schemas.xdr.metadata import LAST_EXP_S, OLDEST_LUT_MS
from schemas.xdr.options import DecodeOptions
from schemas.xdr.ordinary import DEEPEST, Odd, Ordinary, QuickRead, made, quick_geojson
from schemas.xdr.packed import BLOBS, GEOJSON, HLL, INT64_MAX
from schemas.xdr.record_types import RecordTypes

_WRITE, _DELETE = b"\x93\x01\x01", b"\x93\x01\x02"
_PLAIN: dict[int, type] = {1: int, 2: float, 3: str, 17: bool, **dict.fromkeys(BLOBS, bytes)}
"""Particle types of which the value is the bin's, and the type it must have."""
_LISTS: dict[int, Callable[[list[Any]], list[Any]]] = {0: lambda value: value, 1: OrderedList}
_MAPS: dict[int, Callable[[dict[Any, Any]], dict[Any, Any]]] = {0: lambda value: value, 1: KeyOrderedMap, 3: KeyValueOrderedMap}
_MAP, _LIST = 19, 20
_SCALARS = frozenset((str, bool, bytes, type(None)))
_KEYS = frozenset((str, int, bytes))


def quick_message_pack(options: DecodeOptions) -> QuickRead:
    """The quick way through the format `message-pack`."""
    no_bins, records = options.image == "none", RecordTypes(options.records)

    def read(value: bytes) -> Ordinary | None:
        try:
            message = unpackb(value, option=OPT_NON_STR_KEYS)
            if packb(message, option=OPT_NON_STR_KEYS) != value:
                return None
            payload = message[2]
            if value.startswith(_WRITE):
                key, gen, exp, lut, entries = payload
                if type(exp) is not int or not -1 <= exp <= LAST_EXP_S:
                    return None
            elif value.startswith(_DELETE):
                key, flags, gen, lut = payload
                if type(flags) is not int:
                    return None
            else:
                return None
            namespace, set_name, digest, user_key = key
            if type(payload) is not list or type(key) is not list:
                return None
            if type(namespace) is not str or not namespace or (set_name is not None and type(set_name) is not str):
                return None
            if type(digest) is not bytes or len(digest) != DIGEST_BYTES:
                return None
            if type(user_key) is not str and not _is_key(user_key):
                return None
            if (
                type(gen) is not int
                or type(lut) is not int
                or not (0 <= gen < GENERATIONS and OLDEST_LUT_MS <= lut <= MAX_LUT_MS)
            ):
                return None
            set_name = set_name or None
            if value.startswith(_DELETE):
                return made((namespace, set_name, digest, user_key, DELETE, gen, lut, None, {}, bool(flags & DURABLE)))
            types = records.bins(namespace, set_name) if records.any_bins and not no_bins else None
            bins = _bins(entries, types)
            if no_bins:
                bins = {}
            return made((namespace, set_name, digest, user_key, WRITE, gen, lut, exp if exp > 0 else None, bins, None))
        except (Odd, ValueError, TypeError, KeyError, IndexError, RecursionError):
            return None  # the thorough reader says what is the matter, if anything is

    return read


def _is_key(value: Any) -> bool:
    """Whether it is a user key, or none."""
    kind = type(value)
    return value is None or kind is bytes or kind is float or (kind is int and value <= INT64_MAX)


def _bins(entries: Any, types: Mapping[str, BinType] | None) -> dict[str, Any]:
    """The bins by name. Raises Odd, or what odd input raises."""
    if type(entries) is not list:
        raise Odd
    bins: dict[str, Any] = {}
    for entry in entries:
        name, particle, flags, value = entry
        if type(entry) is not list or type(name) is not str or type(particle) is not int or type(flags) is not int:
            raise Odd
        wanted, given = _PLAIN.get(particle), type(value)
        if wanted is None:
            value = _other(particle, flags, value)
        elif given is not wanted or (given is int and value > INT64_MAX):
            raise Odd
        if types:
            kind = PARTICLES[particle]
            if types.get(name, kind) != kind:
                raise Odd
        bins[name] = value
    if len(bins) != len(entries):
        raise Odd
    return bins


def _other(particle: int, flags: int, value: Any) -> Any:
    """A bin's value that is not taken as it is. Raises Odd, or what odd input raises."""
    kind = type(value)
    if particle == _MAP and kind is dict:
        _look_inside(value, 1)
        return _MAPS[flags](value)
    if particle == _LIST and kind is list:
        _look_inside(value, 1)
        return _LISTS[flags](value)
    if particle == GEOJSON and kind is str:
        return quick_geojson(value)
    if particle == HLL and kind is bytes:
        return Hll(value)
    raise Odd


def _look_inside(value: Any, depth: int) -> None:
    """Raise Odd for what a list or map holds at any depth that the thorough reader refuses, or that is no JSON number."""
    if type(value) is dict:
        for key in value:
            if type(key) not in _KEYS or (type(key) is int and key > INT64_MAX):
                raise Odd
        value = value.values()
    if depth > DEEPEST:
        raise Odd
    for item in value:
        kind = type(item)
        if kind in _SCALARS:
            continue
        if kind is int:
            if item > INT64_MAX:
                raise Odd
        elif kind is float:
            if not isfinite(item):
                raise Odd
        else:
            _look_inside(item, depth + 1)


__all__ = ["quick_message_pack"]
