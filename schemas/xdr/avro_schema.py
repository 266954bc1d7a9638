"""An Avro writer schema as a tree to read by: names resolved, and nothing in it that would let a few bytes run for ever.

fastavro says whether the text is a schema, each time with names of its own: two schemas may give one name to different types.
Refused besides, because a reader could not keep its promises: arrays of items that take no bytes (a message of ten bytes could
hold 2**60 of them), and types nested deeper, or more of them, than a reader goes through. Logical types are not interpreted: a
timestamp is its number, a decimal its bytes.
Source: Avro specification 1.11, "Schema Declaration" and "Binary Encoding".
"""

import json
from typing import Any, NamedTuple

from fastavro.schema import SchemaParseException, UnknownType, parse_schema

MAX_DEPTH = 64
"""How deep types, and the values of a type that contains itself, may be nested."""
MAX_TYPES = 20_000
"""How many types a schema may have, a named type counted wherever it is used."""
PRIMITIVES = ("null", "boolean", "int", "long", "float", "double", "bytes", "string")


class BadSchema(ValueError):
    """The text is no schema, or none that messages are read by; says why."""


class AvroType:
    """One type of a schema.

    kind:     a primitive's name, or fixed, enum, array, map, record, union.
    name:     full name of a record, enum or fixed.
    size:     bytes of a fixed. symbols: of an enum.
    fields:   of a record, in the order they are written.
    inner:    branches of a union; the one type of an array's items or a map's values.
    recursive: a type inside contains itself, so that a message and not the schema says how deep it goes.
    """

    __slots__ = ("fields", "inner", "kind", "name", "recursive", "size", "symbols")

    def __init__(self, kind: str, name: str = "", size: int = 0, symbols: tuple[str, ...] = ()) -> None:
        self.kind = kind
        self.name = name
        self.size = size
        self.symbols = symbols
        self.fields: tuple[tuple[str, AvroType], ...] = ()
        self.inner: tuple[AvroType, ...] = ()
        self.recursive = False

    @property
    def parts(self) -> tuple["AvroType", ...]:
        """The types directly inside."""
        return self.inner or tuple(kind for _, kind in self.fields)

    def __repr__(self) -> str:
        return f"AvroType({self.kind}{' ' + self.name if self.name else ''})"


def read_schema(text: str) -> AvroType:
    """The schema that `text` is. Raises BadSchema."""
    try:
        given = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadSchema(f"not JSON: {str(error)[:100]}") from None
    if isinstance(given, dict):
        # With these members fastavro would take the text for one it has parsed itself, and believe everything in it.
        given = {name: value for name, value in given.items() if not name.startswith("__")}
    try:
        # Defaults are for other readers; a wrong one changes nothing in what is written.
        parsed = parse_schema(given, {}, _write_hint=False, _ignore_default_error=True)
        found = _Builder().type(parsed)
        _Check().shape(found)
    except BadSchema:
        raise
    except RecursionError:
        raise BadSchema("nested too deep") from None
    except UnknownType as unknown:
        raise BadSchema(f"no type is named {unknown.name!r:.60}") from None
    except (SchemaParseException, ValueError, TypeError, KeyError, AttributeError) as error:
        raise BadSchema(f"no Avro schema: {_words(error)}") from None
    return found


def _words(error: Exception) -> str:
    text = str(error).splitlines()[0] if str(error) else ""
    return f"{text[:100]}" if isinstance(error, SchemaParseException) and text else f"{type(error).__name__} {text[:80]}".strip()


class _Builder:
    def __init__(self) -> None:
        self._named: dict[str, AvroType] = {}

    def type(self, given: Any) -> AvroType:
        if isinstance(given, str):
            return AvroType(given) if given in PRIMITIVES else self._named[given]
        if isinstance(given, list):
            union = AvroType("union")
            union.inner = tuple(map(self.type, given))
            if not union.inner:
                raise BadSchema("a union without branches")
            if any(branch.kind == "union" for branch in union.inner):
                raise BadSchema("a union directly inside a union")
            return union
        kind = given["type"]
        if isinstance(kind, (dict, list)):
            return self.type(kind)
        if kind == "record" or kind == "error":
            record = self._keep(AvroType("record", given["name"]))
            record.fields = tuple((field["name"], self.type(field["type"])) for field in given["fields"])
            if len({name for name, _ in record.fields}) < len(record.fields):
                raise BadSchema(f"record {record.name} has two fields of one name")
            return record
        if kind == "enum":
            return self._keep(AvroType("enum", given["name"], symbols=tuple(given["symbols"])))
        if kind == "fixed":
            size = given["size"]
            if type(size) is not int or size < 0:
                raise BadSchema(f"fixed {given['name']} has no size")
            return self._keep(AvroType("fixed", given["name"], size=size))
        if kind in ("array", "map"):
            container = AvroType(kind)
            container.inner = (self.type(given["items" if kind == "array" else "values"]),)
            return container
        return self.type(kind)

    def _keep(self, named: AvroType) -> AvroType:
        self._named[named.name] = named
        return named


class _Check:
    """Goes through a schema once, each type one time: a few names can stand for more types than there is time for."""

    def __init__(self) -> None:
        self._known: dict[AvroType, _Shape] = {}
        self._above: list[AvroType] = []

    def shape(self, kind: AvroType) -> "_Shape":
        """Raises BadSchema for what would let a message run away."""
        if kind in self._known:
            return self._known[kind]
        if kind in self._above:
            return _Shape(1, 1, 1, True, frozenset((kind,)))
        if len(self._above) >= MAX_DEPTH:
            raise BadSchema(f"nested deeper than {MAX_DEPTH} types")
        self._above.append(kind)
        parts: list[_Shape] = []
        types = 1
        for part in kind.parts:
            parts.append(self.shape(part))
            types += parts[-1].types
            if types > MAX_TYPES:  # looked at after each, so that no more than these are ever gone through
                raise BadSchema(f"more than {MAX_TYPES} types")
        self._above.pop()
        if kind.kind == "array" and parts[0].smallest == 0:
            raise BadSchema(f"an array of {kind.inner[0].name or kind.inner[0].kind}, whose items take no bytes")
        found = _Shape(
            depth=1 + max((part.depth for part in parts), default=0),
            types=types,
            smallest=_smallest(kind, [part.smallest for part in parts]),
            recursive=any(part.recursive for part in parts),
            meets=frozenset().union(*(part.meets for part in parts)) - {kind},
        )
        kind.recursive = found.recursive
        if found.depth > MAX_DEPTH:
            raise BadSchema(f"nested deeper than {MAX_DEPTH} types")
        if not found.meets:  # else it depends on where it was met
            self._known[kind] = found
        return found


class _Shape(NamedTuple):
    """depth: types one inside the other. types: how many in all. smallest: bytes of the shortest value, 1 for any number but 0.

    recursive: a type inside contains itself. meets: the types around it that it contains again.
    """

    depth: int
    types: int
    smallest: int
    recursive: bool
    meets: frozenset[AvroType]


def _smallest(kind: AvroType, parts: list[int]) -> int:
    if kind.kind == "record":
        return max(parts, default=0)
    return 0 if kind.kind == "null" or (kind.kind == "fixed" and kind.size == 0) else 1


__all__ = ["AvroType", "BadSchema", "MAX_DEPTH", "PRIMITIVES", "read_schema"]
