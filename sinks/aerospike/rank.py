"""Rank of an event among the events of its record, as one stored integer.

With ordering data it is the packed version. Without (servers before 5.0) Kafka's order counts: the offset, and the place in a
message that holds several, moved below every packed version, so that any versioned event outranks every unversioned one. Offsets
of different partitions do not compare; one record's messages share a partition as long as their Kafka keys do.
"""

from schemas.events import ChangeEvent
from schemas.version import pack, packed_is_older

_BELOW_ALL_VERSIONS = -(1 << 62)
BELOW_ALL = _BELOW_ALL_VERSIONS - 1
"""Rank of what is in a record that no event has written: older than every event."""
_ELEMENT_BITS = 20
"""A message of 8 MiB holds fewer elements; and 42 bits are left for offsets."""


def rank_of(event: ChangeEvent) -> int:
    """The event's rank: `schemas.version.pack` of its version, or a negative number in Kafka's order."""
    if event.lut_ms is None:
        return _BELOW_ALL_VERSIONS + (event.offset << _ELEMENT_BITS) + event.element
    return pack(event.lut_ms, event.gen or 0)


def is_older_rank(a: int, b: int) -> bool:
    """Whether rank `a` is strictly older than rank `b`, wrapped generations included."""
    if a < 0 or b < 0:
        return a < b
    return packed_is_older(a, b)


__all__ = ["BELOW_ALL", "is_older_rank", "rank_of"]
