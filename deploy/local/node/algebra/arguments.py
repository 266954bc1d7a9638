"""Arguments of list and map operations: how many, of which kind, and ranges cut to a container's size."""

from collections.abc import Sequence

from .elements import ListValue, MapValue, Value
from .errors import PARAMETER, ServerError


def integer(args: Sequence[Value], at: int, default: int | None = None) -> int:
    """Give the integer argument at a place; nil or a missing one is the default, if there is one. Raises ServerError(4)."""
    value = args[at] if at < len(args) else None
    if value is None and default is not None:
        return default
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ServerError(PARAMETER, f"argument {at} is not an integer")


def optional_count(args: Sequence[Value], at: int) -> int | None:
    """Give a count argument; None = to the end, which a negative count means as well."""
    if at >= len(args):
        return None
    count = integer(args, at)
    return None if count < 0 else count


def items(args: Sequence[Value], at: int) -> list[Value]:
    """Give the elements of a list argument. Raises ServerError(4) for anything else."""
    value = args[at]
    if isinstance(value, ListValue):
        return value.items
    raise ServerError(PARAMETER, f"argument {at} is not a list")


def pairs(args: Sequence[Value], at: int) -> list[tuple[Value, Value]]:
    """Give the pairs of a map argument. Raises ServerError(4) for anything else."""
    value = args[at]
    if isinstance(value, MapValue):
        return value.pairs
    raise ServerError(PARAMETER, f"argument {at} is not a map")


def cut(start: int, count: int | None, size: int) -> tuple[int, int]:
    """Cut a range to `[begin, end)` inside a container; a negative start counts from the end, before it or past it is empty."""
    return clip(start + size if start < 0 else start, count, size)


def clip(start: int, count: int | None, size: int) -> tuple[int, int]:
    """Cut a range whose start may lie before the first element, without counting from the end."""
    end = size if count is None else min(start + count, size)
    begin = min(max(start, 0), size)
    return begin, max(begin, end)


__all__ = ["clip", "cut", "integer", "items", "optional_count", "pairs"]
