"""The gate every micro-batch passes: closed for a graceful stop, it lets nobody in and cuts nobody who is inside.

`StreamingQuery.stop` cancels jobs in the middle of a write. So a lane is stopped only while no batch is inside, and a batch that
Spark begins meanwhile raises StopRequested before it has touched anything: its offsets are planned, not committed, and the next
start runs it. Returning instead of raising would commit the batch unwritten.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class StopRequested(Exception):
    """Raised by a micro-batch that was not let in. Ends its query; counts as success."""


class Gate:
    """One lane's gate."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._closed = False
        self._inside = False

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Be inside for one micro-batch. Raises StopRequested when the gate is closed."""
        with self._lock:
            if self._closed:
                raise StopRequested
            self._inside = True
        try:
            yield
        finally:
            with self._lock:
                self._inside = False

    def close(self) -> None:
        """Let nobody in any more."""
        with self._lock:
            self._closed = True

    @property
    def closed(self) -> bool:
        """Whether a stop was asked for."""
        with self._lock:
            return self._closed

    @property
    def idle(self) -> bool:
        """Whether no batch is inside."""
        with self._lock:
            return not self._inside


__all__ = ["Gate", "StopRequested"]
