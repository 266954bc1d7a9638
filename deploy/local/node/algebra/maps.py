"""Map operations on a decoded map, kept in key order here. Source: wire protocol reference, sections 8.1, 8.3 and 8.4.

A modify takes the map, or None where there is none yet, and gives (the map afterwards or None, the result).
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from . import selections
from .arguments import integer, pairs
from .elements import INFINITY, WILDCARD, MapValue, OrderKey, Value, order_key, sort_pairs
from .errors import ELEMENT_EXISTS, ELEMENT_NOT_FOUND, PARAMETER, ServerError
from .lists import added
from .selections import Elements, Selector
from .values import storable

CREATE_ONLY: Final = 1
UPDATE_ONLY: Final = 2
NO_FAIL: Final = 4
PARTIAL: Final = 8

KEY_AND_VALUE_ORDERED: Final = 3
_ORDER_BITS: Final = 3


class SortedMap:
    """A map while it is worked on: pairs in key order and their sort keys alongside."""

    __slots__ = ("flags", "order", "pairs")

    def __init__(self, source: MapValue) -> None:
        self.flags = source.flags
        self.pairs = sort_pairs(source.pairs)
        self.order: list[OrderKey] = [order_key(key) for key, _ in self.pairs]

    def find(self, key: Value) -> tuple[int, bool]:
        """Give the place of a key, or where it would go, and whether it is there."""
        wanted = order_key(key)
        place = bisect_left(self.order, wanted)
        return place, place < len(self.order) and bool(self.order[place] == wanted)

    def put(self, key: Value, value: Value) -> None:
        """Add a pair or replace the value of its key."""
        place, present = self.find(key)
        if present:
            self.pairs[place] = (self.pairs[place][0], value)
        else:
            self.pairs.insert(place, (key, value))
            self.order.insert(place, order_key(key))

    def elements(self) -> Elements:
        """Show the map to a selection."""
        return Elements([value for _, value in self.pairs], [key for key, _ in self.pairs])

    def without(self, places: set[int]) -> MapValue:
        """Give the map less the pairs at some places."""
        return MapValue([pair for at, pair in enumerate(self.pairs) if at not in places], self.flags)

    def frozen(self) -> MapValue:
        """Give the map as it is now."""
        return MapValue(self.pairs, self.flags)


@dataclass(frozen=True, slots=True)
class MapOp:
    """One operation code; `order_at` is the argument with the order of a map it creates, None = it creates none."""

    run: Callable[[SortedMap, Sequence[Value]], Value]
    least: int
    most: int
    order_at: int | None = None


def _key(value: Value) -> Value:
    if value is WILDCARD or value is INFINITY:
        raise ServerError(PARAMETER, "a wildcard or infinity is no map key")
    return storable(value)


def _obstacle(target: SortedMap, key: Value, flags: int) -> int:
    """Give the result code that stands against putting a key, or 0."""
    present = target.find(key)[1]
    if flags & CREATE_ONLY and present:
        return ELEMENT_EXISTS
    if flags & UPDATE_ONLY and not present:
        return ELEMENT_NOT_FOUND
    return 0


def _put_pairs(target: SortedMap, items: list[tuple[Value, Value]], flags: int) -> Value:
    """Put pairs: all or none, unless no-fail and partial are both set.

    The server takes everything into an empty map when update-only comes with both; so does this.
    """
    partial = flags & NO_FAIL and flags & PARTIAL
    if partial and flags & UPDATE_ONLY and not target.pairs:
        flags &= ~UPDATE_ONLY
    admitted = []
    for key, value in items:
        key = _key(key)
        code = _obstacle(target, key, flags)
        if not code:
            admitted.append((key, storable(value)))
        elif not partial:
            if flags & NO_FAIL:
                return len(target.pairs)
            raise ServerError(code, "map write flags")
    for key, value in admitted:
        target.put(key, value)
    return len(target.pairs)


def _put(target: SortedMap, args: Sequence[Value]) -> Value:
    # A single put has no quirk: partial only means something for several pairs.
    return _put_pairs(target, [(args[0], args[1])], integer(args, 3, 0) & ~PARTIAL)


def _put_items(target: SortedMap, args: Sequence[Value]) -> Value:
    return _put_pairs(target, pairs(args, 0), integer(args, 2, 0))


def _add(target: SortedMap, args: Sequence[Value]) -> Value:
    return _put_pairs(target, [(args[0], args[1])], CREATE_ONLY)


def _add_items(target: SortedMap, args: Sequence[Value]) -> Value:
    return _put_pairs(target, pairs(args, 0), CREATE_ONLY)


def _replace(target: SortedMap, args: Sequence[Value]) -> Value:
    return _put_pairs(target, [(args[0], args[1])], UPDATE_ONLY)


def _replace_items(target: SortedMap, args: Sequence[Value]) -> Value:
    return _put_pairs(target, pairs(args, 0), UPDATE_ONLY)


def _increment(target: SortedMap, args: Sequence[Value]) -> Value:
    return _count(target, args, 1)


def _decrement(target: SortedMap, args: Sequence[Value]) -> Value:
    return _count(target, args, -1)


def _count(target: SortedMap, args: Sequence[Value], sign: int) -> Value:
    key = _key(args[0])
    delta = args[1] if len(args) > 1 else None
    delta = 1 if delta is None else delta
    if isinstance(delta, bool) or not isinstance(delta, int | float):
        raise ServerError(PARAMETER, "increment by something that is not a number")
    place, present = target.find(key)
    start: Value = target.pairs[place][1] if present else 0.0 if isinstance(delta, float) else 0
    value = added(start, sign * delta)
    target.put(key, value)
    return value


def _set_order(target: SortedMap, args: Sequence[Value]) -> Value:
    target.flags = integer(args, 0) & _ORDER_BITS
    return None


def _clear(target: SortedMap, args: Sequence[Value]) -> Value:
    target.pairs, target.order = [], []
    return None


def _size(target: SortedMap, args: Sequence[Value]) -> Value:
    return len(target.pairs)


READS: dict[int, MapOp] = {96: MapOp(_size, 0, 0)}
MODIFIES: dict[int, MapOp] = {
    64: MapOp(_set_order, 1, 2, order_at=0),
    65: MapOp(_add, 2, 3, order_at=2),
    66: MapOp(_add_items, 1, 2, order_at=1),
    67: MapOp(_put, 2, 4, order_at=2),
    68: MapOp(_put_items, 1, 3, order_at=1),
    69: MapOp(_replace, 2, 2),
    70: MapOp(_replace_items, 1, 1),
    73: MapOp(_increment, 1, 3, order_at=2),
    74: MapOp(_decrement, 1, 3, order_at=2),
    75: MapOp(_clear, 0, 0),
}
SELECT: dict[int, Selector] = {
    97: selections.BY_KEY,
    98: selections.BY_INDEX,
    99: selections.BY_FIRST_VALUE,
    100: selections.BY_RANK,
    102: selections.BY_VALUE,
    103: selections.BY_KEY_INTERVAL,
    104: selections.BY_INDEX_RANGE,
    105: selections.BY_VALUE_INTERVAL,
    106: selections.BY_RANK_RANGE,
    107: selections.BY_KEY_LIST,
    108: selections.BY_VALUE_LIST,
    109: selections.BY_RELATIVE_INDEX,
    110: selections.BY_RELATIVE_RANK,
}
REMOVE: dict[int, Selector] = {
    76: selections.BY_KEY,
    77: selections.BY_INDEX,
    78: selections.BY_FIRST_VALUE,
    79: selections.BY_RANK,
    81: selections.BY_KEY_LIST,
    82: selections.BY_VALUE,
    83: selections.BY_VALUE_LIST,
    84: selections.BY_KEY_INTERVAL,
    85: selections.BY_INDEX_RANGE,
    86: selections.BY_VALUE_INTERVAL,
    87: selections.BY_RANK_RANGE,
    88: selections.BY_RELATIVE_INDEX,
    89: selections.BY_RELATIVE_RANK,
}
_REPLACES: Final = frozenset((69, 70))


def creates(code: int) -> bool:
    """Whether an operation makes a map where there is none."""
    return code in MODIFIES and MODIFIES[code].order_at is not None


def read(code: int, args: Sequence[Value], target: MapValue) -> Value:
    """Answer a read; the map is left as it is. Raises ServerError."""
    if code in SELECT:
        return selections.run(SELECT[code], SortedMap(target).elements(), args)[1]
    return _checked(READS, code, args).run(SortedMap(target), args)


def modify(code: int, args: Sequence[Value], target: MapValue | None, order: int = 0) -> tuple[MapValue | None, Value]:
    """Give the changed or new map and the result. Raises ServerError.

    order: flags of a map created here when the operation itself names none.
    """
    if code in REMOVE:
        if target is None:
            return None, None
        work = SortedMap(target)
        places, answer = selections.run(REMOVE[code], work.elements(), args)
        return work.without(set(places)), answer
    operation = _checked(MODIFIES, code, args)
    if target is None:
        if code in _REPLACES:
            raise ServerError(ELEMENT_NOT_FOUND, "no map to replace in")
        if operation.order_at is None:
            return None, None
        target = MapValue([], integer(args, operation.order_at, 0) & _ORDER_BITS or order)
    work = SortedMap(target)
    answer = operation.run(work, args)
    return work.frozen(), answer


def _checked(table: dict[int, MapOp], code: int, args: Sequence[Value]) -> MapOp:
    operation = table.get(code)
    if operation is None or not operation.least <= len(args) <= operation.most:
        raise ServerError(PARAMETER, f"map operation {code} with {len(args)} arguments")
    return operation


__all__ = [
    "CREATE_ONLY",
    "KEY_AND_VALUE_ORDERED",
    "MapOp",
    "NO_FAIL",
    "PARTIAL",
    "SortedMap",
    "UPDATE_ONLY",
    "creates",
    "modify",
    "read",
]
