"""Flat JSON, the connector's format `flat-json`: bins are top-level members without types, metadata an object under a set name.

Types come from the flow's declaration, else from the JSON value: string -> str, integer -> int, other number -> float, true and
false -> bool, array -> list, object -> map, null -> null. What JSON cannot say (blob or text, GeoJSON or map, 3 or 3.0 written
alike) only a declaration can.
Facts: xdr-kafka message reference, 1.3 and cases 2, 5, 7, 9, 13, 18.
"""

from typing import Any

from schemas.bins import NULL_TYPE, BinType
from schemas.events import WRITE
from schemas.xdr.bin_values import Misfit, bin_text
from schemas.xdr.json_text import Number, Object, read_object
from schemas.xdr.metadata import Metadata
from schemas.xdr.normal_form import Bin, Read
from schemas.xdr.options import DecodeOptions
from schemas.xdr.problem import Undecodable
from schemas.xdr.record_types import Declared, RecordTypes

_ONCE = ("namespace", "set", "digest", "userKey", "msg", "gen", "lut", "exp", "durable")
_NOT_FINITE = ("NaN", "Infinity", "-Infinity")


class FlatJson:
    """Reads messages of the format `flat-json`, whatever they hold."""

    def __init__(self, options: DecodeOptions) -> None:
        self._key = options.metadata_key
        self._no_bins = options.image == "none"
        self._types = RecordTypes(options.records)
        members = ("namespace", "set", "digest", "msg", "gen", "lut", "exp", "durable")
        self._places = {name: f"{self._key}.{name}" for name in members} | {"user_key": f"{self._key}.userKey"}

    def read(self, value: bytes | None, key: bytes | None = None) -> Read:
        """The message in the normal form; what cannot be read is its `error`, never an exception. `key` says nothing more."""
        metadata = Metadata()
        try:
            message = read_object(value)
            given = self._metadata(message)
            metadata.fill({**given, "user_key": given.get("userKey")}, self._places)
            return Read(metadata, self._bins(message, metadata) if metadata.op == WRITE else None)
        except Undecodable as problem:
            return Read(metadata, None, (problem.code, problem.detail))

    def _metadata(self, message: Object) -> Object:
        found = message.get(self._key)
        if found is None:
            raise Undecodable("D103", f"no member named {self._key}")
        if self._key in message.twice:
            raise Undecodable("D103", f"two members named {self._key}: which is the metadata?")
        # An object with digest and msg is the metadata; a bin that happens to have its name is not.
        if not isinstance(found, Object) or found.get("digest") is None or found.get("msg") is None:
            raise Undecodable("D103", f"{self._key} is no object with digest and msg")
        found.require_once(*_ONCE)
        return found

    def _bins(self, message: Object, metadata: Metadata) -> list[Bin]:
        if self._no_bins:
            return []
        assert metadata.namespace is not None  # else the metadata would have been a problem
        declared = self._types.bins(metadata.namespace, metadata.set)
        return [_bin(name, value, declared) for name, value in message.items() if name != self._key]


def _bin(name: str, value: Any, declared: Declared) -> Bin:
    if value is None:
        return name, NULL_TYPE, None
    kind, wanted = _kind_of(value), declared.get(name)
    if wanted is not None and wanted != kind:
        if _may_be(wanted, kind, value):
            try:
                return name, str(wanted), bin_text(wanted, value)
            except Misfit as why:
                declared.contradicted(f"{name} of type {wanted} {why}")
        else:
            declared.contradicted(f"{name} is {kind}, but the flow declares {wanted}")
    try:
        return name, str(kind), bin_text(kind, value)
    except Misfit as why:
        raise Undecodable("D108", f"{name} of type {kind} {why}") from None


def _kind_of(value: Any) -> BinType:
    if isinstance(value, Number):
        return BinType.INT if value.is_integer else BinType.FLOAT
    if isinstance(value, str):
        return BinType.STR
    if isinstance(value, bool):
        return BinType.BOOL
    return BinType.LIST if isinstance(value, list) else BinType.MAP


def _may_be(declared: BinType, kind: BinType, value: Any) -> bool:
    """Whether a bin declared so may look so in JSON."""
    if kind is BinType.STR:
        return declared in (BinType.BLOB, BinType.HLL) or (declared is BinType.FLOAT and value in _NOT_FINITE)
    return (kind, declared) in ((BinType.INT, BinType.FLOAT), (BinType.MAP, BinType.GEOJSON))


__all__ = ["FlatJson"]
