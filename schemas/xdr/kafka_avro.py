"""Avro in Confluent's framing, the connector's format `kafka-avro`: a zero byte, the writer schema's id in four bytes, the Avro.

Writes and deletes have different schemas, and any message may have another one than the message before it, so a schema is found
by its id for each message; it is asked for once, read once, and kept as long as the process lives.
Facts: xdr-kafka message reference, 1.5 and 1.8; Confluent's description of the wire format.
"""

from typing import Any, NamedTuple, TypeVar

from schemas.errors import ConfigError
from schemas.xdr.avro_binary import Malformed, read_value
from schemas.xdr.avro_compiled import REFUSED, Compiled, Unusual, compiled
from schemas.xdr.avro_event import AvroEvents, ValueSchema, identify, op_of
from schemas.xdr.avro_ordinary import ODD, ordinary_of
from schemas.xdr.avro_schema import AvroType, BadSchema, read_schema
from schemas.xdr.metadata import Metadata
from schemas.xdr.normal_form import Read
from schemas.xdr.options import DecodeOptions
from schemas.xdr.ordinary import Ordinary, QuickRead
from schemas.xdr.problem import Undecodable
from schemas.xdr.schema_source import SchemaSource, UnknownSchema

FRAME_BYTES = 5
_KEPT = 10_000
T = TypeVar("T")


class _Known(NamedTuple):
    """A schema ready to read by, or why it cannot be. quick: None when its messages are not for the quick way."""

    schema: ValueSchema | None
    quick: Compiled | None
    problem: str


class WriterSchemas:
    """The writer schemas that messages have named, by id, each read once."""

    def __init__(self, source: SchemaSource, metadata_key: str) -> None:
        self._source = source
        self._metadata_key = metadata_key
        self._values: dict[int, _Known] = {}
        self._keys: dict[int, AvroType | str] = {}

    def quick(self, schema_id: int) -> Compiled | None:
        """The function for a schema whose messages are for the quick way. Raises what the source raises when nobody answers."""
        known = self._values.get(schema_id)
        if known is None:
            try:
                self.value(schema_id)
            except Undecodable:
                return None
            known = self._values.get(schema_id)
        return None if known is None else known.quick

    def value(self, schema_id: int) -> ValueSchema:
        """The schema of values with this id. Raises Undecodable D110 and D111, and what the source raises when nobody answers."""
        known = self._values.get(schema_id)
        if known is None:
            known = _kept(self._values, schema_id, self._read(self._text(schema_id)))
        if known.schema is None:
            raise Undecodable("D111", f"schema {schema_id}: {known.problem}")
        return known.schema

    def key(self, schema_id: int) -> AvroType:
        """The schema of keys with this id. Raises as `value`."""
        known = self._keys.get(schema_id)
        if known is None:
            try:
                known = read_schema(self._text(schema_id))
            except BadSchema as problem:
                known = str(problem)
            _kept(self._keys, schema_id, known)
        if isinstance(known, str):
            raise Undecodable("D111", f"schema {schema_id} of the Kafka key: {known}")
        return known

    def _text(self, schema_id: int) -> str:
        try:
            return self._source.schema(schema_id)
        except UnknownSchema as unknown:
            raise Undecodable("D110", f"schema {schema_id}: {unknown}") from None

    def _read(self, text: str) -> _Known:
        try:
            schema = ValueSchema(text, self._metadata_key)
        except BadSchema as problem:
            return _Known(None, None, str(problem))
        return _Known(schema, None if schema.sends_metadata is False else compiled(schema.type), "")


def _kept(into: dict[int, T], schema_id: int, known: T) -> T:
    if len(into) < _KEPT:
        into[schema_id] = known
    return known


def framed(data: bytes, what: str) -> int:
    """The schema id of a framed message. Raises Undecodable D109."""
    if len(data) < FRAME_BYTES:
        raise Undecodable("D109", f"{what} has {len(data)} bytes, too few for a zero byte and a schema id")
    if data[0] != 0:
        raise Undecodable("D109", f"{what} begins with {data[0]:#04x}, not with a zero byte and a schema id")
    return int.from_bytes(data[1:FRAME_BYTES], "big")


class KafkaAvro:
    """Reads messages of the format `kafka-avro`, whatever they hold."""

    def __init__(self, options: DecodeOptions, schemas: WriterSchemas) -> None:
        self._schemas = schemas
        self._events = AvroEvents(options)

    def read(self, value: bytes | None, key: bytes | None = None) -> Read:
        """The message in the normal form; what cannot be read is its `error`.

        key: asked only for the identity of a message without metadata.
        Raises what the source of schemas raises when nobody answers: then nothing is known about the message.
        """
        metadata = Metadata()
        try:
            if value is None:
                raise Undecodable("D101", "the value is null: a tombstone, which the connector never writes")
            schema_id = framed(value, "the value")
            schema = self._schemas.value(schema_id)
            try:
                message = schema.apart(read_value(schema.type, value, FRAME_BYTES))
            except Malformed as why:
                raise Undecodable("D109", f"by schema {schema_id}: {why}") from None
            if message[0] is None:
                identify(metadata, self._key_of(key), op_of(schema))
            return self._events.read(message, metadata)
        except Undecodable as problem:
            return Read(metadata, None, (problem.code, problem.detail))

    def _key_of(self, key: bytes | None) -> Any:
        if key is None:
            raise Undecodable("D105", "the message has no metadata, and no Kafka key to say whose event it is")
        schema_id = framed(key, "the message has no metadata, and its Kafka key")
        schema = self._schemas.key(schema_id)
        try:
            return read_value(schema, key, FRAME_BYTES)
        except Malformed as why:
            raise Undecodable("D109", f"the Kafka key by schema {schema_id}: {why}") from None


def quick_kafka_avro(options: DecodeOptions, schemas: WriterSchemas) -> QuickRead:
    """The quick way through the format `kafka-avro`. Raises what the source of schemas raises when nobody answers."""
    make, key, quick = ordinary_of(options), options.metadata_key, schemas.quick

    def read(value: bytes) -> Ordinary | None:
        if len(value) < FRAME_BYTES or value[0]:
            return None
        function = quick(int.from_bytes(value[1:FRAME_BYTES], "big"))
        if function is None:
            return None
        try:
            bins = function(value, FRAME_BYTES)
            return make(bins.pop(key), bins)
        except (*REFUSED, Unusual, *ODD):
            return None

    return read


def kafka_avro(options: DecodeOptions, source: SchemaSource | None) -> tuple[KafkaAvro, QuickRead]:
    """Both ways, with the schemas they share. Raises ConfigError E101 without a source of schemas."""
    if source is None:
        raise ConfigError("E101", "format kafka-avro needs a schema registry, and none is given")
    schemas = WriterSchemas(source, options.metadata_key)
    return KafkaAvro(options, schemas), quick_kafka_avro(options, schemas)


__all__ = ["FRAME_BYTES", "KafkaAvro", "WriterSchemas", "framed", "kafka_avro", "quick_kafka_avro"]
