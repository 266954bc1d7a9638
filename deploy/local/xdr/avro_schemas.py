"""The schemas of a namespace that is shipped in Avro: those of the settings' files, or ones that hold any record.

The connector's own delete and key schemas are not published. Those used here have the documented metadata with its documented
types, nullable where the metadata is not always there. (xdr-kafka reference 1.4, 1.5)
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

from deploy.local.xdr.settings import XdrSettings
from schemas.errors import ConfigError
from schemas.xdr.avro_schema import AvroType, BadSchema, read_schema

DEPTH = 5
"""Lists and maps in each other that the built-in schema holds; Avro cannot say "any depth" without a record at each."""
_SCALARS = ["null", "boolean", "long", "double", "string", "bytes"]
_KEY_FIELDS: list[dict[str, Any]] = [
    {"name": "namespace", "type": "string"},
    {"name": "set", "type": ["null", "string"], "default": None},
    {"name": "userKey", "type": ["null", "long", "double", "bytes", "string"], "default": None},
    {"name": "digest", "type": "bytes"},
]
_METADATA: dict[str, Any] = {
    "type": "record",
    "name": "Metadata",
    "namespace": "millrace.xdr",
    "fields": [
        {"name": "msg", "type": "string"},
        *_KEY_FIELDS,
        {"name": "gen", "type": ["null", "int"], "default": None},
        {"name": "lut", "type": ["null", "long"], "default": None},
        {"name": "exp", "type": ["null", "int"], "default": None},
        {"name": "durable", "type": ["null", "boolean"], "default": None},
    ],
}


class Written(NamedTuple):
    """A schema: its text, as it is registered, and its type. subject: its full name; of a map, which has none, `map`."""

    text: str
    type: AvroType

    @property
    def subject(self) -> str:
        """What record-name strategies call it."""
        return self.type.name or self.type.kind


class Schemas(NamedTuple):
    """The three schemas of a namespace."""

    write: Written
    delete: Written
    key: Written


def write_schema(metadata_key: str) -> dict[str, Any]:
    """A map that holds the bins of any record; with metadata unless `metadata_key` is empty."""
    values: list[Any] = _SCALARS
    for _ in range(DEPTH):
        values = [*_SCALARS, {"type": "array", "items": values}, {"type": "map", "values": values}]
    return {"type": "map", "values": [*values, _METADATA] if metadata_key else values}


def delete_schema(metadata_key: str) -> dict[str, Any]:
    """The metadata alone, or nothing at all."""
    fields = [{"name": metadata_key, "type": _METADATA}] if metadata_key else []
    return {"type": "record", "name": "Delete", "namespace": "millrace.xdr", "fields": fields}


def key_schema() -> dict[str, Any]:
    """The record's key."""
    return {"type": "record", "name": "Key", "namespace": "millrace.xdr", "fields": _KEY_FIELDS}


def schemas_of(settings: XdrSettings) -> Schemas:
    """Raises ConfigError E143 for a file that cannot be read or is no schema."""
    key = settings.metadata_key
    return Schemas(
        _written("schema_file", settings.schema_file, write_schema(key)),
        _written("delete_schema_file", settings.delete_schema_file, delete_schema(key)),
        _written("key_schema_file", settings.key_schema_file, key_schema()),
    )


def _written(option: str, file: str | None, built_in: dict[str, Any]) -> Written:
    try:
        text = json.dumps(built_in) if file is None else Path(file).read_text(encoding="utf-8-sig")
        return Written(text, read_schema(text))
    except OSError as error:
        why = f"cannot be read: {error.strerror}"
    except UnicodeDecodeError:
        why = "is not UTF-8 text"
    except BadSchema as problem:
        why = f"cannot be used: {problem}"
    raise ConfigError("E143", f"--xdr: {option}: file {file} {why}", option="xdr")


__all__ = ["DEPTH", "Schemas", "Written", "delete_schema", "key_schema", "schemas_of", "write_schema"]
