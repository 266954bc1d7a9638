"""Errors of Python workers on their way to the driver: as rows, so that the driver raises the very same object.

A task that failed would be retried by Spark, would log a traceback per attempt, and would leave the driver to read text.
"""

import pickle
from collections.abc import Iterable

from schemas.errors import ConfigError, InDoubt, MillraceError, Retryable, Terminal


def packed(error: MillraceError) -> bytes:
    """The error as a value for a row."""
    return pickle.dumps(error)


def raise_worst(errors: Iterable[bytes]) -> None:
    """Raise the gravest of the workers' errors: Terminal before InDoubt before Retryable. None: return."""
    found: list[MillraceError] = [pickle.loads(error) for error in errors]  # written by our own workers
    if found:
        gravest_first = (Terminal, ConfigError, InDoubt, Retryable)
        raise min(found, key=lambda error: next(rank for rank, kind in enumerate(gravest_first) if isinstance(error, kind)))


__all__ = ["packed", "raise_worst"]
