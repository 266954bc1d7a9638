"""Table contracts written as Spark DDL, read without Spark: the Delta schema they mean."""

import json
import re
from typing import Any

from deltalake import Schema

_PRIMITIVES = {
    "STRING": "string",
    "BIGINT": "long",
    "INT": "integer",
    "DOUBLE": "double",
    "BOOLEAN": "boolean",
    "BINARY": "binary",
    "TIMESTAMP": "timestamp",
    "DATE": "date",
}
_TOKEN = re.compile(r"\s*(?:`((?:[^`]|``)+)`|([A-Za-z_0-9]+)|([<>,:]))")


def delta_schema(ddl: str) -> Schema:
    """The Delta schema of a contract of `schemas.tables`. Raises ValueError on what the contracts do not use."""
    tokens = _tokens(ddl)
    fields = _fields(tokens, ":", "")
    if tokens:
        raise ValueError(f"cannot read the DDL at {tokens[0]!r}: {ddl}")
    return Schema.from_json(json.dumps({"type": "struct", "fields": fields}))


def _tokens(ddl: str) -> list[tuple[str, bool]]:
    """(text, quoted) pairs."""
    found: list[tuple[str, bool]] = []
    place = 0
    while ddl[place:].strip():
        match = _TOKEN.match(ddl, place)
        if match is None:
            raise ValueError(f"cannot read the DDL at {ddl[place : place + 20]!r}")
        quoted, word, mark = match.groups()
        found.append((quoted.replace("``", "`"), True) if quoted is not None else (word or mark, False))
        place = match.end()
    return found


def _fields(tokens: list[tuple[str, bool]], colon: str, end: str) -> list[dict[str, Any]]:
    fields = []
    while True:
        if not tokens:
            raise ValueError("the DDL ends where a column is wanted")
        name = tokens.pop(0)[0]
        if tokens and tokens[0] == (colon, False):
            tokens.pop(0)
        fields.append({"name": name, "type": _type(tokens), "nullable": True, "metadata": {}})
        if not tokens or tokens[0] == (end, False):
            return fields
        _expect(tokens, ",")


def _type(tokens: list[tuple[str, bool]]) -> Any:
    if not tokens:
        raise ValueError("the DDL ends where a type is wanted")
    word = tokens.pop(0)[0].upper()
    if word in _PRIMITIVES:
        return _PRIMITIVES[word]
    _expect(tokens, "<")
    kind: dict[str, Any]
    if word == "STRUCT":
        kind = {"type": "struct", "fields": _fields(tokens, ":", ">")}
    elif word == "ARRAY":
        kind = {"type": "array", "elementType": _type(tokens), "containsNull": True}
    elif word == "MAP":
        key = _type(tokens)
        _expect(tokens, ",")
        kind = {"type": "map", "keyType": key, "valueType": _type(tokens), "valueContainsNull": True}
    else:
        raise ValueError(f"type {word} is not used in contracts")
    _expect(tokens, ">")
    return kind


def _expect(tokens: list[tuple[str, bool]], mark: str) -> None:
    if not tokens or tokens.pop(0) != (mark, False):
        raise ValueError(f"{mark!r} is missing in the DDL")


__all__ = ["delta_schema"]
