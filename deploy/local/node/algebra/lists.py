"""List operations on a decoded list. Source: wire protocol reference, sections 8.1, 8.2 and 8.4.

A modify takes the list, or None where there is none yet, and gives (the list afterwards or None, the result). Operations that
create a list where there is none name the place of its order (`ListOp.order_at`); the others leave it missing.
"""

from bisect import insort
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from . import selections
from .arguments import cut, integer, items, optional_count
from .elements import LIST_ORDERED, ListValue, Value, order_key, sort_items
from .errors import ELEMENT_EXISTS, INCOMPATIBLE_TYPE, OP_NOT_APPLICABLE, PARAMETER, ServerError
from .selections import Elements, Selector
from .values import storable, wrap

UNIQUE: Final = 1
BOUNDED: Final = 2
NO_FAIL: Final = 4
PARTIAL: Final = 8

SORT_DESCENDING: Final = 1
SORT_DROP_DUPLICATES: Final = 2


@dataclass(frozen=True, slots=True)
class ListOp:
    """One operation code.

    order_at: the argument that holds the order of a list this operation creates; None = it creates none.
    """

    run: Callable[[ListValue, Sequence[Value]], Value]
    least: int
    most: int
    order_at: int | None = None


class _NoChange(Exception):
    """A write that its flags turn into nothing; the result is the size."""


def _refuse(code: int, flags: int, why: str) -> Exception:
    return _NoChange() if flags & NO_FAIL else ServerError(code, why)


def _place(target: ListValue, index: int) -> int:
    size = len(target.items)
    place = index + size if index < 0 else index
    if not 0 <= place < size:
        raise ServerError(OP_NOT_APPLICABLE, f"no element {index} of {size}")
    return place


def _contains(target: ListValue, value: Value) -> bool:
    key = order_key(value)
    return any(order_key(item) == key for item in target.items)


def _addable(target: ListValue, values: list[Value], flags: int) -> list[Value]:
    """Give the items the flags let in. Raises 24 for one already there, 26 for a repeated one."""
    values = [storable(value) for value in values]
    if not flags & UNIQUE:
        return values
    present = {order_key(item) for item in target.items}
    fresh: dict[object, Value] = {}
    for value in values:
        key = order_key(value)
        if key in present or key in fresh:
            if flags & NO_FAIL and flags & PARTIAL:
                continue
            raise _refuse(ELEMENT_EXISTS if key in present else OP_NOT_APPLICABLE, flags, "not unique")
        fresh[key] = value
    return list(fresh.values())


def _add(target: ListValue, values: list[Value]) -> Value:
    if target.ordered:
        if len(values) == 1:
            insort(target.items, values[0], key=order_key)
        else:
            target.items = sort_items(target.items + values)
    else:
        target.items.extend(values)
    return len(target.items)


def _append(target: ListValue, args: Sequence[Value]) -> Value:
    return _add(target, _addable(target, [args[0]], integer(args, 2, 0)))


def _append_items(target: ListValue, args: Sequence[Value]) -> Value:
    return _add(target, _addable(target, items(args, 0), integer(args, 2, 0)))


def _insert_at(target: ListValue, index: int, values: list[Value], flags: int) -> Value:
    if target.ordered:
        raise ServerError(OP_NOT_APPLICABLE, "an ordered list takes no insert")
    size = len(target.items)
    place = index + size if index < 0 else index
    if place < 0:
        raise ServerError(OP_NOT_APPLICABLE, f"insert before the start, at {index} of {size}")
    if place > size and flags & BOUNDED:
        raise _refuse(OP_NOT_APPLICABLE, flags, f"insert past the end, at {index} of {size}")
    values = _addable(target, values, flags)
    if values:
        target.items.extend([None] * (place - size))
        target.items[place:place] = values
    return len(target.items)


def _insert(target: ListValue, args: Sequence[Value]) -> Value:
    return _insert_at(target, integer(args, 0), [args[1]], integer(args, 2, 0))


def _insert_items(target: ListValue, args: Sequence[Value]) -> Value:
    return _insert_at(target, integer(args, 0), items(args, 1), integer(args, 2, 0))


def _set(target: ListValue, args: Sequence[Value]) -> Value:
    index, flags = integer(args, 0), integer(args, 2, 0)
    if target.ordered:
        raise ServerError(OP_NOT_APPLICABLE, "an ordered list takes no set")
    size = len(target.items)
    place = index + size if index < 0 else index
    if place >= size:
        _insert_at(target, place, [args[1]], flags)
        return None
    if place < 0:
        raise ServerError(OP_NOT_APPLICABLE, f"set before the start, at {index} of {size}")
    rest = ListValue(target.items[:place] + target.items[place + 1 :])
    target.items[place : place + 1] = _addable(rest, [args[1]], flags)
    return None


def _remove_between(target: ListValue, begin: int, end: int) -> list[Value]:
    removed = target.items[begin:end]
    del target.items[begin:end]
    return removed


def _pop(target: ListValue, args: Sequence[Value]) -> Value:
    return target.items.pop(_place(target, integer(args, 0)))


def _remove(target: ListValue, args: Sequence[Value]) -> Value:
    del target.items[_place(target, integer(args, 0))]
    return 1


def _pop_range(target: ListValue, args: Sequence[Value]) -> Value:
    return ListValue(_remove_between(target, *cut(integer(args, 0), optional_count(args, 1), len(target.items))))


def _remove_range(target: ListValue, args: Sequence[Value]) -> Value:
    return len(_remove_between(target, *cut(integer(args, 0), optional_count(args, 1), len(target.items))))


def _trim(target: ListValue, args: Sequence[Value]) -> Value:
    before = len(target.items)
    begin, end = cut(integer(args, 0), optional_count(args, 1), before)
    target.items = target.items[begin:end]
    return before - len(target.items)


def _clear(target: ListValue, args: Sequence[Value]) -> Value:
    target.items = []
    return None


def added(number: Value, delta: Value) -> int | float:
    """Add a delta to a number as increments do: an integer stays one. Raises ServerError(4) for anything but numbers."""
    delta = 1 if delta is None else delta
    if isinstance(number, bool) or isinstance(delta, bool) or not isinstance(delta, int | float):
        raise ServerError(PARAMETER, "increment of, or by, something that is not a number")
    if isinstance(number, int):
        return wrap(number + int(delta))
    if isinstance(number, float):
        return number + delta
    raise ServerError(PARAMETER, "increment of something that is not a number")


def _increment(target: ListValue, args: Sequence[Value]) -> Value:
    index, flags = integer(args, 0), integer(args, 3, 0)
    delta = args[1] if len(args) > 1 else None
    size = len(target.items)
    place = index + size if index < 0 else index
    if place >= size:
        fresh = 1 if delta is None else delta
        if isinstance(fresh, bool) or not isinstance(fresh, int | float):
            raise ServerError(PARAMETER, "increment by something that is not a number")
        if target.ordered and not size and place == 0:
            _add(target, [fresh])
        else:
            _insert_at(target, place, [fresh], flags)
        return fresh
    if place < 0:
        raise ServerError(OP_NOT_APPLICABLE, f"no element {index} of {size}")
    value = added(target.items[place], delta)
    if flags & UNIQUE and _contains(ListValue(target.items[:place] + target.items[place + 1 :]), value):
        raise _refuse(ELEMENT_EXISTS, flags, "not unique")
    target.items[place] = value
    if target.ordered:
        target.items.sort(key=order_key)
    return value


def _set_order(target: ListValue, args: Sequence[Value]) -> Value:
    order = integer(args, 0) & LIST_ORDERED
    target.flags = order
    if order:
        target.items = sort_items(target.items)
    return None


def _sort(target: ListValue, args: Sequence[Value]) -> Value:
    flags = integer(args, 0, 0)
    ordered = sort_items(target.items)
    if flags & SORT_DROP_DUPLICATES:
        keys = [order_key(item) for item in ordered]
        ordered = [item for at, item in enumerate(ordered) if not at or keys[at] != keys[at - 1]]
    if flags & SORT_DESCENDING and not target.ordered:
        ordered.reverse()
    target.items = ordered
    return None


def _size(target: ListValue, args: Sequence[Value]) -> Value:
    return len(target.items)


def _get(target: ListValue, args: Sequence[Value]) -> Value:
    return target.items[_place(target, integer(args, 0))]


def _get_range(target: ListValue, args: Sequence[Value]) -> Value:
    begin, end = cut(integer(args, 0), optional_count(args, 1), len(target.items))
    return ListValue(target.items[begin:end])


SET: Final = 9
SORT: Final = 13

READS: dict[int, ListOp] = {
    16: ListOp(_size, 0, 0),
    17: ListOp(_get, 1, 1),
    18: ListOp(_get_range, 1, 2),
}
MODIFIES: dict[int, ListOp] = {
    0: ListOp(_set_order, 1, 2, order_at=0),
    1: ListOp(_append, 1, 3, order_at=1),
    2: ListOp(_append_items, 1, 3, order_at=1),
    3: ListOp(_insert, 2, 3, order_at=3),
    4: ListOp(_insert_items, 2, 3, order_at=3),
    5: ListOp(_pop, 1, 1),
    6: ListOp(_pop_range, 1, 2),
    7: ListOp(_remove, 1, 1),
    8: ListOp(_remove_range, 1, 2),
    SET: ListOp(_set, 2, 3, order_at=3),
    10: ListOp(_trim, 2, 2),
    11: ListOp(_clear, 0, 0),
    12: ListOp(_increment, 1, 4, order_at=2),
    SORT: ListOp(_sort, 0, 1),
}
SELECT: dict[int, Selector] = {
    19: selections.BY_INDEX,
    20: selections.BY_FIRST_VALUE,
    21: selections.BY_RANK,
    22: selections.BY_VALUE,
    23: selections.BY_VALUE_LIST,
    24: selections.BY_INDEX_RANGE,
    25: selections.BY_VALUE_INTERVAL,
    26: selections.BY_RANK_RANGE,
    27: selections.BY_RELATIVE_RANK,
}
REMOVE: dict[int, Selector] = {code + 13: selector for code, selector in SELECT.items()}


def read(code: int, args: Sequence[Value], target: ListValue) -> Value:
    """Answer a read; the list is left as it is. Raises ServerError."""
    if code in SELECT:
        return selections.run(SELECT[code], Elements(target.items), args)[1]
    return _checked(READS, code, args).run(target, args)


def modify(code: int, args: Sequence[Value], target: ListValue | None, order: int = 0) -> tuple[ListValue | None, Value]:
    """Change a list, in place, or make one: (the list afterwards, the result). Raises ServerError.

    order: flags of a list created here when the operation itself names none.
    """
    if code in REMOVE:
        if target is None:
            return None, None
        places, answer = selections.run(REMOVE[code], Elements(target.items), args)
        gone = set(places)
        return ListValue([item for at, item in enumerate(target.items) if at not in gone], target.flags), answer
    operation = _checked(MODIFIES, code, args)
    if target is None:
        if code == SORT:
            raise ServerError(INCOMPATIBLE_TYPE, "nothing to sort")
        if operation.order_at is None:
            return None, None
        target = ListValue([], integer(args, operation.order_at, 0) & LIST_ORDERED or order)
    try:
        return target, operation.run(target, args)
    except _NoChange:
        return target, None if code == SET else len(target.items)


def creates(code: int) -> bool:
    """Whether an operation makes a list where there is none."""
    return code in MODIFIES and MODIFIES[code].order_at is not None


def _checked(table: dict[int, ListOp], code: int, args: Sequence[Value]) -> ListOp:
    operation = table.get(code)
    if operation is None or not operation.least <= len(args) <= operation.most:
        raise ServerError(PARAMETER, f"list operation {code} with {len(args)} arguments")
    return operation


__all__ = ["BOUNDED", "ListOp", "NO_FAIL", "PARTIAL", "UNIQUE", "added", "creates", "modify", "read"]
