"""Typed JSON, the connector's format `json`: `{"msg", "key": [namespace, set, digest, user key], "gen", "exp", "lut", "bins"}`.

The type a bin names rules. So `{"type": "int", "value": "5"}` is 5 and `{"type": "str", "value": 5}` the text 5; the connector
writes neither. A type we do not know travels as it came.
Facts: xdr-kafka message reference, 1.2 and cases 1-3, 11-17, 19, 37.
"""

import re
from collections.abc import Mapping
from typing import Any

from schemas.bins import BIN_TYPES, LIST_ORDERED, NULL_TYPE, BinType
from schemas.events import WRITE
from schemas.xdr.bin_values import Misfit, bin_text, text_of
from schemas.xdr.json_text import Number, Object, read_object
from schemas.xdr.metadata import Metadata
from schemas.xdr.normal_form import Bin, Read, last_of_each_name
from schemas.xdr.options import DecodeOptions
from schemas.xdr.problem import Undecodable
from schemas.xdr.record_types import Declared, RecordTypes

_PLACES = {
    "namespace": "key[0]",
    "set": "key[1]",
    "digest": "key[2]",
    "user_key": "key[3]",
    **{name: name for name in ("msg", "gen", "lut", "exp", "durable")},
}
_ONCE = ("msg", "key", "gen", "lut", "exp", "durable", "bins")
_TYPE_NAME = re.compile(r"[a-z][a-z0-9_-]*").fullmatch
_MAP_ORDERS = ("key", "key-value")


class TypedJson:
    """Reads messages of the format `json`, whatever they hold."""

    def __init__(self, options: DecodeOptions) -> None:
        self._no_bins = options.image == "none"
        self._types = RecordTypes(options.records)

    def read(self, value: bytes | None, key: bytes | None = None) -> Read:
        """The message in the normal form; what cannot be read is its `error`, never an exception. `key` says nothing more."""
        metadata = Metadata()
        try:
            message = read_object(value)
            message.require_once(*_ONCE)
            metadata.fill(_members(message), _PLACES)
            return Read(metadata, self._bins(message, metadata) if metadata.op == WRITE else None)
        except Undecodable as problem:
            return Read(metadata, None, (problem.code, problem.detail))

    def _bins(self, message: Object, metadata: Metadata) -> list[Bin]:
        bins = message.get("bins")
        if bins is None or self._no_bins:
            return []
        if not isinstance(bins, list):
            raise Undecodable("D107", "bins is not an array")
        if not all(entry is None or isinstance(entry, dict) for entry in bins):
            raise Undecodable("D107", "bins holds something that is not an object")
        assert metadata.namespace is not None  # else the metadata would have been a problem
        declared = self._types.bins(metadata.namespace, metadata.set)
        return last_of_each_name([_bin(place, entry or {}, declared) for place, entry in enumerate(bins)])


def _members(message: Object) -> Mapping[str, Any]:
    key = message.get("key")
    if key is None:
        raise Undecodable("D103", "key is missing")
    if not isinstance(key, list):
        raise Undecodable("D105", "key is not an array of 4 parts")
    if len(key) != 4:
        raise Undecodable("D105", f"key has {len(key)} parts, not 4")
    return {**message, **dict(zip(("namespace", "set", "digest", "user_key"), key, strict=True))}


def _bin(place: int, entry: Mapping[str, Any], declared: Declared) -> Bin:
    name = entry.get("name")
    at = f"bins[{place}] (name {name if isinstance(name, str) else 'missing'})"
    if not isinstance(name, str) or isinstance(name, Number):
        raise Undecodable("D107", f"{at}: name is missing")
    if isinstance(entry, Object) and entry.twice:
        raise Undecodable("D107", f"{at}: two members named {min(entry.twice)[:40]}: which counts?")
    if "value" not in entry:
        raise Undecodable("D107", f"{at}: value is missing, or cannot be read")
    value = entry["value"]
    if value is None:
        return name, NULL_TYPE, None
    given = entry.get("type")
    kind = given.lower() if isinstance(given, str) else ""
    if not isinstance(given, str) or kind == NULL_TYPE or not _TYPE_NAME(kind):
        raise Undecodable("D107", f"{at}: type is none that has a value")
    full = _with_order(kind, entry, at)
    flow = declared.get(name)
    if flow is not None and flow != kind:
        if (flow, kind) == (BinType.HLL, BinType.BLOB):  # in JSON an HLL looks like a blob: the declaration knows better
            full = BinType.HLL
        else:
            declared.contradicted(f"{at}: type is {kind}, but the flow declares {flow}")
    if kind not in BIN_TYPES:
        return name, given, text_of(value)
    try:
        return name, str(full), bin_text(kind, value)
    except Misfit as why:
        raise Undecodable("D108", f"{at}: value of type {kind} {why}") from None


def _with_order(kind: str, entry: Mapping[str, Any], at: str) -> str:
    """The type with the order a list or map carries."""
    if kind == BinType.LIST:
        ordered = text_of(entry.get("ordered")).lower()
        if ordered not in ("null", "false", "true"):
            raise Undecodable("D107", f"{at}: ordered is neither true nor false")
        return LIST_ORDERED if ordered == "true" else kind
    if kind == BinType.MAP and entry.get("order") is not None:
        order = text_of(entry["order"]).lower()
        if order not in _MAP_ORDERS:
            raise Undecodable("D107", f"{at}: order is neither key nor key-value")
        return f"{kind}:{order}"
    return kind


__all__ = ["TypedJson"]
