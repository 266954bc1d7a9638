"""What a message in Avro says, once its bytes are values: metadata told from bins, types of bins, identity from the Kafka key.

A writer schema of values is a record whose fields are bins, or a map of bins. Metadata is the member with the flow's name for
it, a record or map with `digest` and `msg`. A schema without it sends no metadata: then identity comes from the Kafka key, the
kind of event from the schema, and there is no version.

Types are Avro's own: int and long are int, float and double float, string and enum str, bytes and fixed blob, array list, map and
record map. A declaration settles what Avro cannot say, GeoJSON (a string) and HLL (bytes). Null in a map is a deleted bin. In a
record it means that the bin is not in the message, as a record has no other way to leave one out; so with `image: partial` a
record cannot say that a bin was deleted.
Facts: xdr-kafka message reference, 1.1, 1.4, 1.5, 1.8 and cases 8, 14, 15, 18, 21-27.
"""

from collections.abc import Mapping
from typing import Any

from schemas.base64_text import to_base64
from schemas.bins import NULL_TYPE, BinType
from schemas.events import DELETE, WRITE
from schemas.nested import nested_text
from schemas.xdr.avro_schema import AvroType, BadSchema, read_schema
from schemas.xdr.bin_values import Misfit, bin_text
from schemas.xdr.json_text import double_text, read_object
from schemas.xdr.metadata import Metadata
from schemas.xdr.normal_form import Bin, Read
from schemas.xdr.options import DecodeOptions
from schemas.xdr.problem import Undecodable
from schemas.xdr.record_types import Declared, RecordTypes

Message = tuple[Mapping[str, Any] | None, dict[str, Any]]
"""Metadata, if the message has any, and bins by name."""
_PROOF = frozenset(("digest", "msg"))
"""Members that metadata always has."""
_MEMBERS = ("namespace", "set", "digest", "msg", "gen", "lut", "exp", "durable")


class ValueSchema:
    """A writer schema of values. Raises BadSchema for one that change events cannot be read by.

    type: the schema. sends_metadata: whether its messages carry metadata; None: each message of a map shows it.
    has_bins: whether a message can carry bins.
    """

    def __init__(self, text: str, metadata_key: str) -> None:
        self.type = read_schema(text)
        if self.type.kind not in ("record", "map"):
            raise BadSchema(f"a schema of values is a record or a map, not {self.type.kind}")
        self._key = metadata_key
        self._is_record = self.type.kind == "record"
        self.sends_metadata: bool | None
        if self._is_record:
            self.sends_metadata = self._in_record(dict(self.type.fields))
        else:
            values = _branches(self.type.inner[0])
            may = any(branch.kind == "map" for branch in values)
            self.sends_metadata = True if any(map(_may_be_metadata, values)) else None if may else False
        self.has_bins = not self._is_record or len(self.type.fields) > bool(self.sends_metadata)

    def apart(self, value: dict[str, Any]) -> Message:
        """A decoded value as metadata and bins. Raises Undecodable D103."""
        if self.sends_metadata is False or (self.sends_metadata is None and self._key not in value):
            return None, _there(value) if self._is_record else value
        bins = {name: member for name, member in value.items() if name != self._key}
        metadata = value.get(self._key)
        if not isinstance(metadata, dict) or any(metadata.get(name) is None for name in _PROOF):
            raise Undecodable("D103", f"no member named {self._key} that is an object with digest and msg")
        return metadata, _there(bins) if self._is_record else bins

    def _in_record(self, fields: Mapping[str, AvroType]) -> bool:
        known = fields.get(self._key)
        if known is not None:
            if not any(branch.kind == "map" or _may_be_metadata(branch) for branch in _branches(known)):
                raise BadSchema(f"its field {self._key} should be the metadata, but is no record with digest and msg")
            return True
        others = [name for name, kind in fields.items() if any(map(_may_be_metadata, _branches(kind)))]
        if others:
            raise BadSchema(f"its field {others[0]} looks like metadata, but the flow calls it {self._key}")
        return False


def _there(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _branches(kind: AvroType) -> tuple[AvroType, ...]:
    return kind.inner if kind.kind == "union" else (kind,)


def _may_be_metadata(kind: AvroType) -> bool:
    return kind.kind == "record" and {name for name, _ in kind.fields} >= _PROOF


class AvroEvents:
    """Makes the normal form of messages that are values already."""

    def __init__(self, options: DecodeOptions) -> None:
        key = options.metadata_key
        self._no_bins = options.image == "none"
        self._types = RecordTypes(options.records)
        self._places = {name: f"{key}.{name}" for name in _MEMBERS} | {"user_key": f"{key}.userKey"}

    def read(self, message: Message, metadata: Metadata) -> Read:
        """The message as `metadata` and bins. A message without metadata has left identity and kind there before.

        Raises Undecodable D103 to D108.
        """
        given, bins = message
        if given is not None:
            metadata.fill({**given, "user_key": given.get("userKey")}, self._places)
        if metadata.op != WRITE:
            return Read(metadata, None)
        if self._no_bins:
            return Read(metadata, [])
        assert metadata.namespace is not None  # else the metadata would have been a problem
        declared = self._types.bins(metadata.namespace, metadata.set)
        return Read(metadata, [_bin(name, value, declared) for name, value in bins.items()])


_KEY_PLACES = {name: f"key.{name}" for name in _MEMBERS} | {"user_key": "key.userKey"}


def identify(metadata: Metadata, key: Any, op: str) -> None:
    """Identity and kind of a message without metadata, from its decoded Kafka key. Raises Undecodable D105."""
    metadata.op = op
    if not isinstance(key, dict):
        raise Undecodable("D105", "the message has no metadata, and its Kafka key is no record with namespace and digest")
    metadata.identify({**key, "user_key": key.get("userKey")}, _KEY_PLACES)


def op_of(schema: ValueSchema) -> str:
    """The kind of event that messages of a schema without metadata are."""
    return WRITE if schema.has_bins else DELETE


_KINDS = {
    int: BinType.INT,
    float: BinType.FLOAT,
    str: BinType.STR,
    bool: BinType.BOOL,
    bytes: BinType.BLOB,
    list: BinType.LIST,
    dict: BinType.MAP,
}


def _bin(name: str, value: Any, declared: Declared) -> Bin:
    if value is None:
        return name, NULL_TYPE, None
    kind, wanted = _KINDS[type(value)], declared.get(name)
    if wanted is not None and wanted != kind:
        if (kind, wanted) == (BinType.BLOB, BinType.HLL):
            kind = wanted
        elif (kind, wanted) == (BinType.STR, BinType.GEOJSON):
            try:
                return name, str(wanted), bin_text(wanted, read_object(value.encode()))
            except (Undecodable, Misfit, RecursionError) as problem:
                why = problem.detail if isinstance(problem, Undecodable) else str(problem)
                declared.contradicted(f"{name} is declared geojson, but is no JSON object: {why}")
        else:
            declared.contradicted(f"{name} is {kind}, but the flow declares {wanted}")
    return name, str(kind), _text(value)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return double_text(value)
    return to_base64(value) if isinstance(value, bytes) else nested_text(value)


__all__ = ["AvroEvents", "Message", "ValueSchema", "identify", "op_of"]
