"""`avro`: bare Avro binary. A write is a map of bins or a record whose fields are bins, a delete the metadata alone.

What a schema cannot express makes the record unserialisable: a bin it has no field for, a value of another type, nesting deeper
than it goes. (xdr-kafka reference 1.4)
"""

from typing import Any

from deploy.local.xdr.avro_schemas import Schemas, Written, schemas_of
from deploy.local.xdr.avro_values import AvroValues, user_key
from deploy.local.xdr.avro_writer import Branch, write_value
from deploy.local.xdr.change import Change, Message, Unserialisable
from deploy.local.xdr.formats.durable import durable_member
from deploy.local.xdr.settings import XdrSettings
from schemas.xdr.avro_schema import AvroType


class PlainAvro:
    """Encodes plain Avro. Raises ConfigError E143 for schema files that cannot be used."""

    def __init__(self, settings: XdrSettings) -> None:
        self.schemas: Schemas = schemas_of(settings)
        self._values = AvroValues(stringify_map_keys=settings.stringify_map_keys)
        self._metadata_key = settings.metadata_key
        self._durable_flag = settings.durable_flag

    def encode(self, change: Change) -> Message:
        """The Kafka record for `change`. Raises Unserialisable."""
        key: dict[str, Any] = {
            "namespace": change.namespace,
            "set": change.set_name,
            "userKey": user_key(change.key),
            "digest": change.digest,
        }
        bins = {name: None if particle is None else self._values.value(particle) for name, particle in change.bins.items()}
        if self._metadata_key in bins:
            raise Unserialisable("a bin has the name of the metadata key")
        metadata = {**key, "msg": change.op, "gen": change.gen, "lut": change.lut_ms}
        if change.op == "delete":
            metadata |= durable_member(change, self._durable_flag)
            value = self._written(self.schemas.delete, {}, metadata)
        else:
            value = self._written(self.schemas.write, bins, {**metadata, "exp": change.exp_s})
        return Message(self.framed(self.schemas.key, _one(self.schemas.key, key)), value)

    def framed(self, schema: Written, data: bytes) -> bytes:
        """What goes to Kafka of a value written by the schema."""
        return data

    def _written(self, schema: Written, bins: dict[str, Any], metadata: dict[str, Any]) -> bytes:
        if not self._metadata_key:
            return self.framed(schema, _one(schema, bins))
        record = None if schema.type.kind == "record" else _metadata_record(schema.type.inner[0])
        said = metadata if record is None else Branch(record, metadata)
        return self.framed(schema, _one(schema, {**bins, self._metadata_key: said}))


def _metadata_record(values: AvroType) -> AvroType | None:
    """The record for metadata among a map's values: as a map of values it could often be written, too."""
    return next((branch for branch in values.inner if {"digest", "msg"} <= {name for name, _ in branch.fields}), None)


def _one(schema: Written, value: Any) -> bytes:
    out = bytearray()
    write_value(schema.type, value, out)
    return bytes(out)


__all__ = ["PlainAvro"]
