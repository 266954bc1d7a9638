"""Which elements an operation means, and in what form it answers about them; the same for lists and maps.

A container is seen as elements in container order: a list's own order, a map's key order. Index is the place in that order,
rank the place in value order (equal values by index). Source: wire protocol reference, sections 8.1 and 8.4.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, IntEnum
from functools import cached_property
from typing import Final

from . import arguments
from .elements import INFINITY, MAP_KEEP_ORDER, MAP_KEY_ORDERED, ListValue, MapValue, OrderKey, Value, holds_wildcard, order_key
from .errors import OP_NOT_APPLICABLE, PARAMETER, ServerError

INVERTED: Final = 0x10000
"""Added to a return type: everything that was not selected."""


class Return(IntEnum):
    """What an operation tells about the elements it selected."""

    NONE = 0
    INDEX = 1
    REVERSE_INDEX = 2
    RANK = 3
    REVERSE_RANK = 4
    COUNT = 5
    KEY = 6
    VALUE = 7
    KEY_VALUE = 8
    INDEX_RANGE = 9
    REVERSE_INDEX_RANGE = 10
    RANK_RANGE = 11
    REVERSE_RANK_RANGE = 12
    EXISTS = 13
    UNORDERED_MAP = 16
    ORDERED_MAP = 17


class By(Enum):
    """What a selection goes by; decides which return types fit and which numbers come as ascending runs."""

    INDEX = "index"
    RANK = "rank"
    KEY = "key"
    KEYS = "key list"
    VALUE = "value"
    VALUES = "value list"


class Elements:
    """A container's elements as selections see them: values, and keys for a map."""

    def __init__(self, values: Sequence[Value], keys: Sequence[Value] | None = None) -> None:
        self.values = values
        self.keys = keys
        self.size = len(values)

    @cached_property
    def value_keys(self) -> list[OrderKey]:
        """Sort keys of the values, in container order."""
        return [order_key(value) for value in self.values]

    @cached_property
    def key_keys(self) -> list[OrderKey]:
        """Sort keys of the map's keys: ascending."""
        return [order_key(key) for key in self.keys or ()]

    @cached_property
    def by_rank(self) -> list[int]:
        """Places of the elements in value order."""
        return sorted(range(self.size), key=self.value_keys.__getitem__)

    @cached_property
    def rank_of(self) -> list[int]:
        """Rank of each element, in container order."""
        ranks = [0] * self.size
        for rank, position in enumerate(self.by_rank):
            ranks[position] = rank
        return ranks

    def below(self, value: Value) -> int:
        """Count the elements that are smaller than a value."""
        key = order_key(value)
        return sum(1 for own in self.value_keys if own < key)


@dataclass(slots=True)
class Selected:
    """Places of the selected elements, in the order an answer lists them.

    start: the index or rank an interval begins at, also when it is empty.
    """

    by: By
    positions: list[int]
    single: bool = False
    start: int = 0


def _one_place(args: Sequence[Value], size: int) -> int:
    place = arguments.integer(args, 0)
    place = place + size if place < 0 else place
    if not 0 <= place < size:
        raise ServerError(OP_NOT_APPLICABLE, f"no element {place} of {size}")
    return place


def _by_index(elements: Elements, args: Sequence[Value]) -> Selected:
    place = _one_place(args, elements.size)
    return Selected(By.INDEX, [place], single=True, start=place)


def _by_rank(elements: Elements, args: Sequence[Value]) -> Selected:
    rank = _one_place(args, elements.size)
    return Selected(By.RANK, [elements.by_rank[rank]], single=True, start=rank)


def _by_key(elements: Elements, args: Sequence[Value]) -> Selected:
    wanted = order_key(args[0])
    if holds_wildcard(args[0]):
        found = next((place for place, key in enumerate(elements.key_keys) if key == wanted), None)
        return Selected(By.KEY, [] if found is None else [found], single=True, start=found or 0)
    place = bisect_left(elements.key_keys, wanted)
    present = place < elements.size and elements.key_keys[place] == wanted
    return Selected(By.KEY, [place] if present else [], single=True, start=place)


def _by_first_value(elements: Elements, args: Sequence[Value]) -> Selected:
    wanted = order_key(args[0])
    found = next((place for place, key in enumerate(elements.value_keys) if key == wanted), None)
    start = elements.below(args[0])
    return Selected(By.VALUE, [] if found is None else [found], single=True, start=start)


def _by_value(elements: Elements, args: Sequence[Value]) -> Selected:
    wanted = order_key(args[0])
    return Selected(
        By.VALUE, [place for place, key in enumerate(elements.value_keys) if key == wanted], start=elements.below(args[0])
    )


def _among(keys: list[OrderKey], wanted: list[Value]) -> list[int]:
    sure = {order_key(value) for value in wanted if not holds_wildcard(value)}
    loose = [order_key(value) for value in wanted if holds_wildcard(value)]
    return [place for place, key in enumerate(keys) if key in sure or any(key == pattern for pattern in loose)]


def _by_key_list(elements: Elements, args: Sequence[Value]) -> Selected:
    return Selected(By.KEYS, _among(elements.key_keys, arguments.items(args, 0)))


def _by_value_list(elements: Elements, args: Sequence[Value]) -> Selected:
    return Selected(By.VALUES, _among(elements.value_keys, arguments.items(args, 0)))


def _interval(keys: list[OrderKey], args: Sequence[Value]) -> list[int]:
    begin = order_key(args[0])
    if len(args) < 2 or args[1] is INFINITY:
        return [place for place, key in enumerate(keys) if key >= begin]
    end = order_key(args[1])
    return [place for place, key in enumerate(keys) if begin <= key < end]


def _by_key_interval(elements: Elements, args: Sequence[Value]) -> Selected:
    return Selected(By.KEY, _interval(elements.key_keys, args), start=bisect_left(elements.key_keys, order_key(args[0])))


def _by_value_interval(elements: Elements, args: Sequence[Value]) -> Selected:
    return Selected(By.VALUE, _interval(elements.value_keys, args), start=elements.below(args[0]))


def _by_index_range(elements: Elements, args: Sequence[Value]) -> Selected:
    begin, end = arguments.cut(arguments.integer(args, 0), arguments.optional_count(args, 1), elements.size)
    return Selected(By.INDEX, list(range(begin, end)), start=begin)


def _by_rank_range(elements: Elements, args: Sequence[Value]) -> Selected:
    begin, end = arguments.cut(arguments.integer(args, 0), arguments.optional_count(args, 1), elements.size)
    return Selected(By.RANK, elements.by_rank[begin:end], start=begin)


def _by_relative_index(elements: Elements, args: Sequence[Value]) -> Selected:
    at = bisect_left(elements.key_keys, order_key(args[0]))
    begin, end = arguments.clip(at + arguments.integer(args, 1), arguments.optional_count(args, 2), elements.size)
    return Selected(By.INDEX, list(range(begin, end)), start=begin)


def _by_relative_rank(elements: Elements, args: Sequence[Value]) -> Selected:
    at = elements.below(args[0])
    begin, end = arguments.clip(at + arguments.integer(args, 1), arguments.optional_count(args, 2), elements.size)
    return Selected(By.RANK, elements.by_rank[begin:end], start=begin)


@dataclass(frozen=True, slots=True)
class Selector:
    """One way to select; takes between `least` and `most` arguments after the return type."""

    select: Callable[[Elements, Sequence[Value]], Selected]
    least: int
    most: int
    single: bool = False


BY_KEY: Final = Selector(_by_key, 1, 1, single=True)
BY_INDEX: Final = Selector(_by_index, 1, 1, single=True)
BY_RANK: Final = Selector(_by_rank, 1, 1, single=True)
BY_FIRST_VALUE: Final = Selector(_by_first_value, 1, 1, single=True)
BY_VALUE: Final = Selector(_by_value, 1, 1)
BY_KEY_LIST: Final = Selector(_by_key_list, 1, 1)
BY_VALUE_LIST: Final = Selector(_by_value_list, 1, 1)
BY_KEY_INTERVAL: Final = Selector(_by_key_interval, 1, 2)
BY_VALUE_INTERVAL: Final = Selector(_by_value_interval, 1, 2)
BY_INDEX_RANGE: Final = Selector(_by_index_range, 1, 2)
BY_RANK_RANGE: Final = Selector(_by_rank_range, 1, 2)
BY_RELATIVE_INDEX: Final = Selector(_by_relative_index, 2, 3)
BY_RELATIVE_RANK: Final = Selector(_by_relative_rank, 2, 3)

_KEY_TYPES = frozenset((Return.KEY, Return.KEY_VALUE, Return.UNORDERED_MAP, Return.ORDERED_MAP))
_INDEX_RANGES = frozenset((Return.INDEX_RANGE, Return.REVERSE_INDEX_RANGE))
_RANK_RANGES = frozenset((Return.RANK_RANGE, Return.REVERSE_RANK_RANGE))
_RANKS = frozenset((Return.RANK, Return.REVERSE_RANK))
_MISFITS: dict[By, frozenset[Return]] = {
    By.INDEX: _RANK_RANGES,
    By.KEY: _RANK_RANGES,
    By.KEYS: _RANK_RANGES | _INDEX_RANGES | _RANKS,
    By.RANK: _INDEX_RANGES,
    By.VALUE: _INDEX_RANGES,
    By.VALUES: _INDEX_RANGES | _RANK_RANGES,
}


def run(selector: Selector, elements: Elements, args: Sequence[Value]) -> tuple[list[int], Value]:
    """Select elements and answer about them: (their places, the answer); inverted selections are turned round already.

    args: return type, then the selector's own. Raises ServerError(4) for wrong arguments, 26 for a return type that does not fit.
    """
    if not selector.least <= len(args) - 1 <= selector.most:
        raise ServerError(PARAMETER, f"{len(args)} arguments")
    wanted = arguments.integer(args, 0)
    inverted = bool(wanted & INVERTED)
    try:
        kind = Return(wanted & ~INVERTED)
    except ValueError:
        raise ServerError(PARAMETER, f"return type {wanted:#x}") from None
    if (inverted and selector.single) or (elements.keys is None and kind in _KEY_TYPES):
        raise ServerError(OP_NOT_APPLICABLE, f"return type {wanted:#x}")
    selected = selector.select(elements, args[1:])
    if kind in _MISFITS[selected.by]:
        raise ServerError(OP_NOT_APPLICABLE, f"return type {wanted:#x} of a selection by {selected.by.value}")
    if inverted:
        if kind in _INDEX_RANGES or kind in _RANK_RANGES:
            raise ServerError(OP_NOT_APPLICABLE, "a range of what was not selected")
        chosen = set(selected.positions)
        everything = elements.by_rank if selected.by is By.RANK else range(elements.size)
        answered = bool(selected.positions)
        selected.positions = [place for place in everything if place not in chosen]
        if kind is Return.EXISTS:
            return selected.positions, not answered
    return selected.positions, _answer(elements, selected, kind)


def _answer(elements: Elements, selected: Selected, kind: Return) -> Value:
    positions, single = selected.positions, selected.single
    if kind is Return.NONE:
        return None
    if kind is Return.COUNT:
        return len(positions)
    if kind is Return.EXISTS:
        return bool(positions)
    if kind is Return.VALUE:
        return _values(elements.values, positions, single)
    if kind in _INDEX_RANGES or kind in _RANK_RANGES:
        return _range(elements, selected, kind)
    if kind in _KEY_TYPES:
        keys = elements.keys or ()
        if kind is Return.KEY:
            return _values(keys, positions, single)
        flags = {Return.KEY_VALUE: MAP_KEEP_ORDER, Return.ORDERED_MAP: MAP_KEY_ORDERED}.get(kind, 0)
        ordered = positions if kind is Return.KEY_VALUE else sorted(positions)
        return MapValue([(keys[place], elements.values[place]) for place in ordered], flags)
    return _numbers(elements, selected, kind)


def _values(source: Sequence[Value], positions: list[int], single: bool) -> Value:
    if single:
        return source[positions[0]] if positions else None
    return ListValue([source[place] for place in positions])


def _range(elements: Elements, selected: Selected, kind: Return) -> Value:
    count = len(selected.positions)
    start = selected.start
    if kind in (Return.REVERSE_INDEX_RANGE, Return.REVERSE_RANK_RANGE):
        start = elements.size - start - count
    return ListValue([start, count])


def _numbers(elements: Elements, selected: Selected, kind: Return) -> Value:
    """Give indexes or ranks; those of what the selection went by come as an ascending run."""
    if kind in _RANKS:
        numbers = [elements.rank_of[place] for place in selected.positions]
        run_of_own = selected.by in (By.RANK, By.VALUE)
    else:
        numbers = list(selected.positions)
        run_of_own = selected.by in (By.INDEX, By.KEY)
    if kind in (Return.REVERSE_INDEX, Return.REVERSE_RANK):
        numbers = [elements.size - 1 - number for number in numbers]
    if selected.single:
        return numbers[0] if numbers else -1
    if run_of_own:
        numbers.sort()
    return ListValue([*numbers])


__all__ = [
    "BY_FIRST_VALUE",
    "BY_INDEX",
    "BY_INDEX_RANGE",
    "BY_KEY",
    "BY_KEY_INTERVAL",
    "BY_KEY_LIST",
    "BY_RANK",
    "BY_RANK_RANGE",
    "BY_RELATIVE_INDEX",
    "BY_RELATIVE_RANK",
    "BY_VALUE",
    "BY_VALUE_INTERVAL",
    "BY_VALUE_LIST",
    "By",
    "Elements",
    "INVERTED",
    "Return",
    "Selector",
    "run",
]
