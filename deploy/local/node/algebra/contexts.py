"""Paths into nested lists and maps. Source: wire protocol reference, section 8.5.

A step is a type and a value. Type: base 0 index, 1 rank, 2 key, 3 value; plus 0x10 for a list or 0x20 for a map; plus, to
build what is missing, 0x40 (unordered), 0x80 (list: pad with nil, map: key-ordered) or 0xc0 (list: ordered, map: key- and
value-ordered).
The order bits are those of the container made at that step's element; a container made above the first step is unordered.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from . import selections
from .elements import ListValue, MapValue, Value, sort_items, sort_pairs
from .errors import OP_NOT_APPLICABLE, PARAMETER, ServerError
from .maps import SortedMap
from .selections import Elements, Selector
from .values import storable

_LIST: Final = 0x10
_MAP: Final = 0x20
_CREATE: Final = 0xC0
_PAD: Final = 0x80
_INDEX: Final = 0
_KEY: Final = 2
_SELECTORS: dict[int, Selector] = {
    _INDEX: selections.BY_INDEX,
    1: selections.BY_RANK,
    _KEY: selections.BY_KEY,
    3: selections.BY_FIRST_VALUE,
}

Change = Callable[[Value, bool, int], tuple[Value, bool, Value]]
"""(element, whether it exists, create bits) -> (element afterwards, whether it exists then, result)."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a path."""

    base: int
    in_map: bool
    create: int
    value: Value


def parse(raw: Value) -> list[Step]:
    """Read a path from its wire list. Raises ServerError(4) when it is none."""
    if not isinstance(raw, ListValue) or not raw.items or len(raw.items) % 2:
        raise ServerError(PARAMETER, "a context is a list of types and values")
    steps = []
    for kind, value in zip(raw.items[::2], raw.items[1::2], strict=True):
        if not isinstance(kind, int) or isinstance(kind, bool):
            raise ServerError(PARAMETER, f"context type {kind!r}")
        base, container = kind & 0x0F, kind & 0x30
        if kind & ~0xFF or base not in _SELECTORS or container not in (_LIST, _MAP) or (base == _KEY and container != _MAP):
            raise ServerError(PARAMETER, f"context type {kind:#x}")
        if base < _KEY and (not isinstance(value, int) or isinstance(value, bool)):
            raise ServerError(PARAMETER, f"context value {value!r} is no index or rank")
        steps.append(Step(base, container == _MAP, kind & _CREATE, value))
    return steps


def order_flags(create: int, for_map: bool) -> int:
    """Give the order flags of a container built at a step with these create bits."""
    if for_map:
        return {0x80: 1, 0xC0: 3}.get(create, 0)
    return int(create == 0xC0)


def _place(container: Value, step: Step) -> int | None:
    """Give the place of a step's element, in container order. Raises 26 when the container is of another kind."""
    if isinstance(container, MapValue) and step.in_map:
        elements = Elements([value for _, value in container.pairs], [key for key, _ in container.pairs])
    elif isinstance(container, ListValue) and not step.in_map:
        elements = Elements(container.items)
    else:
        raise ServerError(OP_NOT_APPLICABLE, "a context step into another kind of value")
    try:
        positions = _SELECTORS[step.base].select(elements, [step.value]).positions
    except ServerError as error:
        if error.code == OP_NOT_APPLICABLE:
            return None
        raise
    return positions[0] if positions else None


def _in_key_order(container: Value) -> Value:
    return MapValue(sort_pairs(container.pairs), container.flags) if isinstance(container, MapValue) else container


def find(container: Value, path: Sequence[Step]) -> Value:
    """Give the element at the end of a path. Raises ServerError(26) when a step finds nothing."""
    for step in path:
        container = _in_key_order(container)
        place = _place(container, step)
        if place is None:
            raise ServerError(OP_NOT_APPLICABLE, "a context step finds nothing")
        container = container.pairs[place][1] if isinstance(container, MapValue) else container.items[place]  # type: ignore[union-attr]
    return container


def change(container: Value, exists: bool, path: Sequence[Step], leaf: Change, bits: int = 0) -> tuple[Value, bool, Value]:
    """Change the element at the end of a path: (container afterwards, whether it exists then, result).

    bits: create bits of the step that led here. Missing levels are built where the path says so and the leaf leaves something.
    """
    if not path:
        return leaf(container, exists, bits)
    step = path[0]
    if not exists:
        if not step.create:
            raise ServerError(OP_NOT_APPLICABLE, "a context step finds nothing")
        flags = order_flags(bits, step.in_map)
        container = MapValue([], flags) if step.in_map else ListValue([], flags)
    container = _in_key_order(container)
    place = _place(container, step)
    if place is None:
        return _create(container, exists, path, leaf)
    if isinstance(container, MapValue):
        key, child = container.pairs[place]
        child, _, result = change(child, True, path[1:], leaf, step.create)
        container.pairs[place] = (key, child)
    elif isinstance(container, ListValue):
        child, _, result = change(container.items[place], True, path[1:], leaf, step.create)
        container.items[place] = child
        if container.ordered:
            container.items = sort_items(container.items)
    else:
        raise ServerError(OP_NOT_APPLICABLE, "a context step into another kind of value")
    return container, True, result


def _create(container: Value, exists: bool, path: Sequence[Step], leaf: Change) -> tuple[Value, bool, Value]:
    step = path[0]
    if isinstance(container, MapValue) and step.base == _KEY and step.create:
        child, made, result = change(None, False, path[1:], leaf, step.create)
        if not made:
            return container, exists, result
        work = SortedMap(container)
        work.put(storable(step.value), child)
        return work.frozen(), True, result
    if isinstance(container, ListValue) and step.base == _INDEX and step.create and isinstance(step.value, int):
        size = len(container.items)
        padded = step.value > size and step.create & _PAD
        if step.value >= size and (step.value == size or padded) and not (container.ordered and padded):
            child, made, result = change(None, False, path[1:], leaf, step.create)
            if not made:
                return container, exists, result
            items = [*container.items, *[None] * (step.value - size), child]
            return ListValue(sort_items(items) if container.ordered else items, container.flags), True, result
    raise ServerError(OP_NOT_APPLICABLE, "a context step finds nothing")


__all__ = ["Change", "Step", "change", "find", "order_flags", "parse"]
