"""Avro schemas that refer to types of other schemas of a registry, made whole: each type is written out where it is first used.

A reader of messages is given one text, and an Avro schema names every type of its own before it refers to it.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

MAX_DEPTH = 16
"""Schemas that refer to schemas that refer to schemas: no deeper, since a circle would never end."""
_NAMED = frozenset({"record", "error", "enum", "fixed"})
_PRIMITIVE = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})


def inlined(schema: str, referred: Sequence[str]) -> str:
    """The schema text with the types that `referred` (whole schemas themselves) define in place of their names.

    A text that is not JSON comes back as it is: whoever reads it says what is wrong with it.
    """
    definitions: dict[str, Any] = {}
    try:
        for text in referred:
            _collect(json.loads(text), "", definitions)
        return json.dumps(_whole(json.loads(schema), "", definitions, set()), ensure_ascii=False)
    except ValueError:
        return schema


def _full_name(node: Mapping[str, Any], namespace: str) -> str:
    """A named type's whole name: a name with dots is whole; else its own namespace counts, then the one around it."""
    name = str(node.get("name", ""))
    around = str(node.get("namespace", namespace) or "")
    return name if "." in name or not around else f"{around}.{name}"


def _collect(node: Any, namespace: str, found: dict[str, Any]) -> None:
    """Every named type in `node` by its whole name, the namespace it stands in made part of its name."""
    if isinstance(node, list):
        for item in node:
            _collect(item, namespace, found)
    elif isinstance(node, dict):
        if node.get("type") in _NAMED:
            name = _full_name(node, namespace)
            found.setdefault(name, {**{key: value for key, value in node.items() if key != "namespace"}, "name": name})
            namespace = name.rpartition(".")[0]
            for field in node.get("fields") or ():
                _collect(field.get("type"), namespace, found)
        else:
            for part in ("type", "items", "values"):
                _collect(node.get(part), namespace, found)


def _whole(node: Any, namespace: str, definitions: Mapping[str, Any], known: set[str]) -> Any:
    """`node` with every name that is not `known` yet replaced by its definition; grows `known`."""
    if isinstance(node, str):
        if node in _PRIMITIVE:
            return node
        for name in (f"{namespace}.{node}" if namespace and "." not in node else node, node):
            if name in known:
                return name
            if name in definitions:
                return _whole(definitions[name], "", definitions, known)
        return node
    if isinstance(node, list):
        return [_whole(item, namespace, definitions, known) for item in node]
    if not isinstance(node, dict):
        return node
    if node.get("type") in _NAMED:
        name = _full_name(node, namespace)
        if name in known:
            return name
        known.add(name)
        if "fields" not in node:
            return node
        within = name.rpartition(".")[0]
        fields = [{**field, "type": _whole(field.get("type"), within, definitions, known)} for field in node["fields"]]
        return {**node, "fields": fields}
    parts = {part: _whole(node[part], namespace, definitions, known) for part in ("type", "items", "values") if part in node}
    return {**node, **parts}


__all__ = ["MAX_DEPTH", "inlined"]
