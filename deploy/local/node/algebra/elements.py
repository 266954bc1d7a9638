"""Elements of lists and maps, and the order the server puts them in.

| element            | here                                                        |
| nil, bool, integer | None, bool, int (unsigned above 2^63 - 1 as received)        |
| float              | float                                                       |
| string, blob, geo  | bytes whose first byte is the particle type, as on the wire |
| list, map          | ListValue, MapValue                                         |
| wildcard, infinity | WILDCARD, INFINITY; never stored                            |
| any other ext      | Ext                                                         |

Order: nil < false < true < integer < string < list < map < blob < float < GeoJSON < other ext < infinity.
Source: wire protocol reference, section 3.5.
"""

from typing import Any, Final, NamedTuple, TypeAlias

LIST_ORDERED: Final = 1
MAP_KEY_ORDERED: Final = 1
MAP_KEEP_ORDER: Final = 8
"""Only in results: the client shows the pairs in the order they come."""

_STRING = 3
_GEOJSON = 23


class Ext(NamedTuple):
    """A msgpack extension value that carries no meaning here."""

    kind: int
    data: bytes


class ListValue:
    """A list with its order flags; bit 1 promises that `items` are in value order."""

    __slots__ = ("flags", "items")

    def __init__(self, items: "list[Value]", flags: int = 0) -> None:
        self.items = items
        self.flags = flags

    @property
    def ordered(self) -> bool:
        """Whether the list keeps itself in value order."""
        return bool(self.flags & LIST_ORDERED)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ListValue) and self.flags == other.flags and self.items == other.items

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"ListValue({self.items!r}, flags={self.flags})"


class MapValue:
    """A map with its order flags, as pairs in the order they were received or sorted."""

    __slots__ = ("flags", "pairs")

    def __init__(self, pairs: "list[tuple[Value, Value]]", flags: int = 0) -> None:
        self.pairs = pairs
        self.flags = flags

    @property
    def key_ordered(self) -> bool:
        """Whether the map declares key order; only such maps can be compared in expressions."""
        return bool(self.flags & MAP_KEY_ORDERED)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MapValue) and self.flags == other.flags and self.pairs == other.pairs

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"MapValue({self.pairs!r}, flags={self.flags})"


class _Wildcard:
    """Equal to anything, also as a sort key inside a longer one; neither smaller nor greater."""

    def __eq__(self, other: object) -> bool:
        return True

    def __lt__(self, other: object) -> bool:
        return False

    __gt__ = __lt__
    __le__ = __eq__
    __ge__ = __eq__

    def __hash__(self) -> int:
        raise TypeError("a wildcard has no hash: it equals everything")

    def __repr__(self) -> str:
        return "WILDCARD"


class _Infinity:
    """Greater than every element."""

    def __repr__(self) -> str:
        return "INFINITY"


WILDCARD: Final = _Wildcard()
INFINITY: Final = _Infinity()

Value: TypeAlias = bool | int | float | bytes | ListValue | MapValue | Ext | _Wildcard | _Infinity | None
OrderKey: TypeAlias = Any
"""What `order_key` returns: compares with `<` and `==` against any other order key."""


def order_key(value: Value) -> OrderKey:
    """Give the sort key of an element; keys compare as the server compares elements.

    Integers and floats never compare equal. Maps compare by size, then pair by pair in key order. NaN, which the server leaves
    without a place, comes after every other float, so that the order is total.
    """
    kind = type(value)
    if kind is int:
        return (2, value)
    if kind is bytes:
        tag = value[:1]  # type: ignore[index]
        return (3, value) if tag == b"\x03" else (8, value) if tag == b"\x17" else (6, value)
    if value is None:
        return (0,)
    if kind is bool:
        return (1, value)
    if kind is float:
        return (7, 1, 0.0) if value != value else (7, 0, value)
    if kind is ListValue:
        return (4, tuple([order_key(item) for item in value.items]))  # type: ignore[union-attr]
    if kind is MapValue:
        pairs = [(order_key(key), order_key(item)) for key, item in value.pairs]  # type: ignore[union-attr]
        return (5, len(pairs), tuple(sorted(pairs)))
    if value is WILDCARD:
        return WILDCARD
    if value is INFINITY:
        return (99,)
    if isinstance(value, int):
        return (2, int(value))
    if isinstance(value, Ext):
        return (9, value.kind, value.data)
    raise TypeError(f"not an element: {value!r}")


def text(value: str) -> bytes:
    """Give the element of a string."""
    return b"\x03" + value.encode("utf-8", "surrogateescape")


def holds_wildcard(value: Value) -> bool:
    """Whether a wildcard occurs anywhere in the element."""
    if isinstance(value, ListValue):
        return any(holds_wildcard(item) for item in value.items)
    if isinstance(value, MapValue):
        return any(holds_wildcard(key) or holds_wildcard(item) for key, item in value.pairs)
    return value is WILDCARD


def sort_items(items: list[Value]) -> list[Value]:
    """Give the elements in value order; equal ones keep their places."""
    return sorted(items, key=order_key)


def sort_pairs(pairs: list[tuple[Value, Value]]) -> list[tuple[Value, Value]]:
    """Give the pairs in key order."""
    return sorted(pairs, key=lambda pair: order_key(pair[0]))


__all__ = [
    "Ext",
    "INFINITY",
    "LIST_ORDERED",
    "ListValue",
    "MAP_KEEP_ORDER",
    "MAP_KEY_ORDERED",
    "MapValue",
    "OrderKey",
    "Value",
    "WILDCARD",
    "holds_wildcard",
    "order_key",
    "sort_items",
    "sort_pairs",
    "text",
]
