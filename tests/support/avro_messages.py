"""Messages in Avro for tests, written with fastavro, apart from every reader of ours; and a registry in memory."""

import io
import json
from collections.abc import Mapping
from functools import cache
from typing import Any

import fastavro

from schemas.bins import GeoJson, Hll
from schemas.events import WRITE, ChangeEvent
from schemas.xdr.schema_source import UnknownSchema

METADATA: dict[str, Any] = {
    "type": "record",
    "name": "Metadata",
    "fields": [
        {"name": "msg", "type": "string"},
        {"name": "namespace", "type": "string"},
        {"name": "set", "type": ["null", "string"], "default": None},
        {"name": "userKey", "type": ["null", "long", "double", "bytes", "string"], "default": None},
        {"name": "digest", "type": "bytes"},
        {"name": "gen", "type": ["null", "int"], "default": None},
        {"name": "lut", "type": ["null", "long"], "default": None},
        {"name": "exp", "type": ["null", "long"], "default": None},
        {"name": "durable", "type": ["null", "boolean"], "default": None},
    ],
}
KEY: dict[str, Any] = {
    "type": "record",
    "name": "Key",
    "namespace": "shop",
    "fields": [
        {"name": "namespace", "type": "string"},
        {"name": "set", "type": ["null", "string"], "default": None},
        {"name": "userKey", "type": ["null", "long", "double", "bytes", "string"], "default": None},
        {"name": "digest", "type": {"type": "fixed", "name": "Digest", "size": 20}},
    ],
}
SCALAR = ["null", "boolean", "long", "double", "string", "bytes"]


def values(depth: int) -> list[Any]:
    """A union of everything a bin may be, lists and maps nested `depth` deep."""
    if depth == 0:
        return SCALAR
    inner = values(depth - 1)
    return [*SCALAR, {"type": "array", "items": inner}, {"type": "map", "values": inner}]


def record(name: str, bins: Mapping[str, Any], metadata: str | None = "metadata") -> dict[str, Any]:
    """A writer schema of values whose fields are bins, all of them nullable."""
    fields: list[dict[str, Any]] = [{"name": bin, "type": kind, "default": None} for bin, kind in bins.items()]
    if metadata is not None:
        fields.append({"name": metadata, "type": METADATA})
    return {"type": "record", "name": name, "namespace": "shop", "fields": fields}


WRITE_MAP: dict[str, Any] = {"type": "map", "values": [*values(2), METADATA]}
DELETE_SCHEMA = record("Delete", {})


@cache
def _parsed(text: str) -> Any:
    return fastavro.parse_schema(json.loads(text), named_schemas={})


def written(schema: Any, value: Any) -> bytes:
    """A value in Avro binary."""
    out = io.BytesIO()
    fastavro.schemaless_writer(out, _parsed(json.dumps(schema)), value)
    return out.getvalue()


def framed(schema_id: int, data: bytes) -> bytes:
    """Confluent's framing."""
    return b"\0" + schema_id.to_bytes(4, "big") + data


def plain(value: Any) -> Any:
    """A bin's value as fastavro takes it."""
    if isinstance(value, GeoJson):
        return str(value)
    return bytes(value) if isinstance(value, Hll) else value


def metadata(event: ChangeEvent) -> dict[str, Any]:
    """An event's metadata as the connector's members."""
    said = {"msg": event.op, "namespace": event.namespace, "set": event.set, "userKey": event.user_key, "digest": event.digest}
    said |= {"gen": event.gen, "lut": event.lut_ms, "durable": None}
    return said | {"exp": (event.exp_s or 0) if event.op == WRITE else None}


def as_map(event: ChangeEvent) -> bytes:
    """A write by WRITE_MAP, a delete by DELETE_SCHEMA."""
    if event.op != WRITE:
        return written(DELETE_SCHEMA, {"metadata": metadata(event)})
    return written(
        WRITE_MAP, {**{name: plain(value) for name, value in event.bins.items()}, "metadata": ("Metadata", metadata(event))}
    )


class MemorySchemas:
    """A SchemaSource of texts by id, which counts the questions. down: raised instead of an answer."""

    def __init__(self, schemas: Mapping[int, Any]) -> None:
        self.texts = {
            schema_id: schema if isinstance(schema, str) else json.dumps(schema) for schema_id, schema in schemas.items()
        }
        self.asked: list[int] = []
        self.down: Exception | None = None

    def schema(self, schema_id: int) -> str:
        self.asked.append(schema_id)
        if self.down is not None:
            raise self.down
        try:
            return self.texts[schema_id]
        except KeyError:
            raise UnknownSchema(f"the registry has no schema {schema_id}") from None


__all__ = [
    "DELETE_SCHEMA",
    "KEY",
    "METADATA",
    "MemorySchemas",
    "WRITE_MAP",
    "as_map",
    "framed",
    "metadata",
    "plain",
    "record",
    "values",
    "written",
]
