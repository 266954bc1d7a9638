"""Plain Avro, the connector's format `avro`: bare Avro binary, the writer schemas of writes, deletes and keys told by the flow.

Nothing in a message says which schema it was written with. It is the one by which all its bytes make sense and whose kind of
event the metadata names. When both fit, a guess could make a write of a delete, so the message is a dead letter; when none does,
too.
Where deletes have no schema of their own, they are written with that of writes, and the metadata alone tells them apart.
Facts: xdr-kafka message reference, 1.4 and 1.8.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from schemas.errors import ConfigError
from schemas.events import DELETE, WRITE
from schemas.xdr.avro_binary import Malformed, read_value
from schemas.xdr.avro_compiled import REFUSED, Unusual, compiled
from schemas.xdr.avro_event import AvroEvents, Message, ValueSchema, identify
from schemas.xdr.avro_ordinary import ODD, ordinary_of
from schemas.xdr.avro_schema import BadSchema, read_schema
from schemas.xdr.metadata import Metadata
from schemas.xdr.normal_form import Read
from schemas.xdr.options import AvroSchemas, DecodeOptions
from schemas.xdr.ordinary import Ordinary, QuickRead
from schemas.xdr.problem import Undecodable


class _Written(NamedTuple):
    """A schema that values are written with. op: the kind of event they are; None: writes and deletes alike."""

    op: str | None
    schema: ValueSchema

    @property
    def name(self) -> str:
        """For people."""
        return f"the {self.op or WRITE} schema"


def _schemas(options: DecodeOptions) -> list[_Written]:
    given = options.avro
    if given is None:
        raise ConfigError("E101", "format avro needs the connector's schemas, and none are given")
    try:
        write = ValueSchema(given.write, options.metadata_key)
        if given.delete is None or given.delete == given.write:
            return [_Written(None, write)]
        return [_Written(WRITE, write), _Written(DELETE, ValueSchema(given.delete, options.metadata_key))]
    except BadSchema as problem:
        raise ConfigError("E101", f"an Avro schema cannot be used: {problem}") from None


def problem_of(schemas: AvroSchemas, metadata_key: str) -> tuple[str, str] | None:
    """Which of `write`, `delete`, `key` cannot be used, and why, in words that follow its name; None when all can."""
    name = "write"
    try:
        write = ValueSchema(schemas.write, metadata_key)
        name = "delete"
        delete = write if schemas.delete is None else ValueSchema(schemas.delete, metadata_key)
        name = "key"
        if schemas.key is not None:
            key = read_schema(schemas.key)
            if key.kind != "record" or not {"namespace", "digest"} <= {member for member, _ in key.fields}:
                raise BadSchema("it is no record with namespace and digest")
        if False in (write.sends_metadata, delete.sends_metadata):
            lacking = "write" if write.sends_metadata is False else "delete"
            none = f"it has no metadata named {metadata_key}"
            if schemas.key is None:
                name = lacking
                raise BadSchema(f"{none}; then a key schema is needed, which says whose event it is")
            if schemas.delete is None:
                name = "write"
                raise BadSchema(f"{none}; then a delete schema is needed, to tell deletes from writes")
    except BadSchema as problem:
        return name, str(problem)
    return None


class Avro:
    """Reads messages of the format `avro`, whatever they hold. Raises ConfigError E101 for schemas that cannot be used."""

    def __init__(self, options: DecodeOptions) -> None:
        self._schemas = _schemas(options)
        key = options.avro.key if options.avro else None
        self._key = None if key is None else read_schema(key)
        self._events = AvroEvents(options)

    def read(self, value: bytes | None, key: bytes | None = None) -> Read:
        """The message in the normal form; what cannot be read is its `error`, never an exception.

        key: asked only for the identity of a message without metadata.
        """
        metadata = Metadata()
        try:
            if value is None:
                raise Undecodable("D101", "the value is null: a tombstone, which the connector never writes")
            op, message = self._told_apart(value)
            if message[0] is None:
                identify(metadata, self._key_of(key), op or WRITE)
            return self._events.read(message, metadata)
        except Undecodable as problem:
            return Read(metadata, None, (problem.code, problem.detail))

    def _told_apart(self, value: bytes) -> tuple[str | None, Message]:
        """The message by the schema it was written with. Raises Undecodable."""
        whole: list[tuple[_Written, Message]] = []
        misfits: list[str] = []
        lacking: Undecodable | None = None
        for written in self._schemas:
            try:
                whole.append((written, written.schema.apart(read_value(written.schema.type, value))))
            except Malformed as why:
                misfits.append(f"by {written.name}: {why}")
            except Undecodable as problem:
                lacking = lacking or problem
        agreed = [one for one in whole if _agree(*one)]
        if len(agreed) == 1:
            return agreed[0][0].op, agreed[0][1]
        if agreed:
            raise Undecodable("D112", "its bytes are a whole message of the write schema and of the delete schema")
        for written, message in whole:
            if _said(message[0]) in (WRITE, DELETE):
                raise Undecodable("D109", f"its bytes are a whole message of {written.name}, but its msg is {_said(message[0])}")
            return written.op, message  # with an unknown kind, which is said in other words
        raise lacking or Undecodable("D109", "; ".join(misfits))

    def _key_of(self, key: bytes | None) -> Any:
        if key is None or self._key is None:
            raise Undecodable("D105", "the message has no metadata, and no Kafka key to say whose event it is")
        try:
            return read_value(self._key, key)
        except Malformed as why:
            raise Undecodable("D109", f"the Kafka key by the key schema: {why}") from None


def _agree(written: _Written, message: Message) -> bool:
    metadata = message[0]
    return metadata is None or written.op is None or _said(metadata) == written.op


def _said(metadata: Mapping[str, Any] | None) -> str:
    msg = (metadata or {}).get("msg")
    return msg.lower() if isinstance(msg, str) else ""


def quick_avro(options: DecodeOptions) -> QuickRead:
    """The quick way through the format `avro`. Raises ConfigError E101 for schemas that cannot be used."""
    make, key = ordinary_of(options), options.metadata_key
    ways = [(written, compiled(written.schema.type)) for written in _schemas(options)]
    if any(function is None or written.schema.sends_metadata is False for written, function in ways):
        return lambda value: None
    functions = [(written.op, function) for written, function in ways if function is not None]

    def read(value: bytes) -> Ordinary | None:
        found: Ordinary | None = None
        for op, function in functions:
            try:
                bins = function(value, 0)
            except REFUSED:
                continue  # so does the thorough reader
            except Unusual:
                return None
            try:
                metadata = bins.pop(key)
                if op is not None and metadata["msg"] != op:
                    if _said(metadata) == op:
                        return None
                    continue
                if found is not None:
                    return None
                found = make(metadata, bins)
            except ODD:
                return None
            if found is None:
                return None
        return found

    return read


__all__ = ["Avro", "problem_of", "quick_avro"]
