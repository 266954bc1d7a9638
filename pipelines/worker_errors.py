"""Errors of Python workers on their way to the driver: as rows, so that the driver raises the very same object.

A task that failed would be retried by Spark, would log a traceback per attempt, and would leave the driver to read text. Where a
worker's rows are a table's and not the driver's, there is no other way: then the text of the failure carries the error inside.
"""

import json
import pickle
import re
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from schemas.errors import ConfigError, InDoubt, MillraceError, Retryable, Terminal

_FAMILIES = (ConfigError, Retryable, InDoubt, Terminal)
_INSIDE = re.compile(r"<millrace-error:([A-Za-z0-9+/=]+)>")


def packed(error: MillraceError) -> bytes:
    """The error as a value for a row."""
    return pickle.dumps(error)


def raise_worst(errors: Iterable[bytes]) -> None:
    """Raise the gravest of the workers' errors: Terminal before InDoubt before Retryable. None: return."""
    found: list[MillraceError] = [pickle.loads(error) for error in errors]  # written by our own workers
    if found:
        gravest_first = (Terminal, ConfigError, InDoubt, Retryable)
        raise min(found, key=lambda error: next(rank for rank, kind in enumerate(gravest_first) if isinstance(error, kind)))


@contextmanager
def failing_with_words() -> Iterator[None]:
    """In a worker: a Millrace error fails the task with a text that `error_in` finds it in."""
    try:
        yield
    except MillraceError as error:
        context = {name: str(value) for name, value in error.context.items()}
        inside = json.dumps([error.code, error.message, error.remedy, context]).encode()
        raise RuntimeError(f"{error} <millrace-error:{b64encode(inside).decode()}>") from error


@contextmanager
def workers_errors_raised() -> Iterator[None]:
    """On the driver: when Spark fails because a worker raised a Millrace error, raise that error."""
    try:
        yield
    except MillraceError:
        raise
    except Exception as failure:
        error = error_in(failure)
        if error is None:
            raise
        raise error from failure


def error_in(failure: Exception) -> MillraceError | None:
    """The Millrace error whose words Spark repeats, None when there is none."""
    found = _INSIDE.search(str(failure))
    if found is None:
        return None
    code, message, remedy, context = json.loads(b64decode(found[1]))
    family = next(kind for kind in _FAMILIES if code.startswith(kind.family))
    return family(code, message, remedy=remedy, **context)


__all__ = ["error_in", "failing_with_words", "packed", "raise_worst", "workers_errors_raised"]
