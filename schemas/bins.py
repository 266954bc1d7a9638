"""Aerospike's bin types, by the names XDR's typed JSON gives them, and how each travels as text.

In the normal form (see `schemas.events`) a bin is (name, type, value): `value` is text.

| type    | value text                                  | Python value handed to the client |
| int     | decimal digits, 64-bit signed               | int                               |
| float   | JSON number, or NaN, Infinity, -Infinity    | float                             |
| str     | the string itself                           | str                               |
| bool    | true or false                               | bool                              |
| blob    | Base64, standard alphabet, padded           | bytes                             |
| hll     | Base64                                      | aerospike.HyperLogLog             |
| list    | JSON array, every value exact (*)           | list                              |
| map     | JSON object, every value exact (*)          | dict                              |
| geojson | JSON object, every value exact              | aerospike.GeoJSON                 |
| null    | (null) the bin was deleted                  | None                              |

(*) What JSON cannot say inside a list or map, such as a blob or a map key that is a number, is written as `schemas.nested` says.

Of one value there is one text, whatever way the message spelled it: no white space, the shortest text that is exactly a double.

Lists and maps may carry an order: the type is then `list:ordered`, `map:key` or `map:key-value` (xdr-kafka: `ordered`, `order`).
"""

from enum import StrEnum
from typing import Any


class BinType(StrEnum):
    """The types a bin may be declared as, and the types decoded bins carry."""

    INT = "int"
    FLOAT = "float"
    STR = "str"
    BOOL = "bool"
    BLOB = "blob"
    HLL = "hll"
    LIST = "list"
    MAP = "map"
    GEOJSON = "geojson"


class GeoJson(str):
    """A GeoJSON value as its JSON text."""

    __slots__ = ()


class Hll(bytes):
    """A HyperLogLog as the server's own bytes."""

    __slots__ = ()


class OrderedList(list[Any]):
    """A list the server keeps sorted by value."""

    __slots__ = ()


class KeyOrderedMap(dict[Any, Any]):
    """A map the server keeps sorted by key."""

    __slots__ = ()


class KeyValueOrderedMap(dict[Any, Any]):
    """A map the server keeps sorted by key and indexed by value."""

    __slots__ = ()


NULL_TYPE = "null"
LIST_ORDERED = "list:ordered"
MAP_KEY_ORDERED = "map:key"
MAP_KEY_VALUE_ORDERED = "map:key-value"

BIN_TYPES: tuple[str, ...] = tuple(BinType)
NORMAL_TYPES: frozenset[str] = frozenset((*BIN_TYPES, NULL_TYPE, LIST_ORDERED, MAP_KEY_ORDERED, MAP_KEY_VALUE_ORDERED))

MAX_BIN_NAME_BYTES = 15
MAX_SET_NAME_BYTES = 63
PRIVATE_BIN_PREFIX = "_mr_"
"""Bins the mirror keeps for itself. Readers may ignore them; comparisons leave them out."""

__all__ = [
    "BIN_TYPES",
    "BinType",
    "GeoJson",
    "Hll",
    "KeyOrderedMap",
    "KeyValueOrderedMap",
    "OrderedList",
    "LIST_ORDERED",
    "MAP_KEY_ORDERED",
    "MAP_KEY_VALUE_ORDERED",
    "MAX_BIN_NAME_BYTES",
    "MAX_SET_NAME_BYTES",
    "NORMAL_TYPES",
    "NULL_TYPE",
    "PRIVATE_BIN_PREFIX",
]
