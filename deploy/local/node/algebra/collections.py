"""List and map operations on a bin."""

from .errors import ServerError
from .view import Particle


def read(payload: bytes, existing: Particle | None) -> Particle | None:
    """Answer a CDT_READ; None means a reply without a value."""
    raise ServerError(16)


def modify(payload: bytes, existing: Particle | None) -> tuple[Particle | None, Particle | None]:
    """Answer a CDT_MODIFY: (the bin afterwards, the result or None)."""
    raise ServerError(16)
