"""Filters and expression operations."""

from collections.abc import Callable
from enum import Enum
from typing import Final

from .errors import ServerError
from .view import Particle, RecordView


class Outcome(Enum):
    """Answers that are not values."""

    UNKNOWN = "unknown"
    KEEP = "keep"


UNKNOWN: Final = Outcome.UNKNOWN
"""The expression has no value for this record."""
KEEP: Final = Outcome.KEEP
"""The operation leaves the bin as it is."""


def compile_filter(payload: bytes) -> Callable[[RecordView], bool | None]:
    """Build a filter: True passes, False and None (unknown) do not. Raises ServerError(4) when it cannot be built."""
    raise ServerError(16)


def evaluate(payload: bytes, view: RecordView) -> Particle | None | Outcome:
    """Compute an expression over a record: its value, None for nil, or UNKNOWN."""
    raise ServerError(16)


def expression_op(
    write: bool, payload: bytes, view: RecordView, existing: Particle | None
) -> tuple[Particle | None | Outcome, Particle | None]:
    """Run an EXP_READ or EXP_MODIFY, value msgpack [expression, flags]: (new bin: a particle, None = delete, KEEP; the result)."""
    raise ServerError(16)
