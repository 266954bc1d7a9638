"""How late events are: counted in fixed steps by how much older an event is than the newest version its record had shown before.

Late is an event that finds a newer version of its record already there. Its lateness is the difference of the two last-update
times, in milliseconds, by the source's clocks: it says how far the stream is out of order, and so how long deletes must be
remembered. In a mirror of whole images late events are those counted superseded, without what a newer event of the same batch, in
its place in Kafka, has overtaken.
"""

import json
from bisect import bisect_left
from collections.abc import Iterable, Sequence

from schemas.version import unpack

_STEPS = (
    (0, "0 ms"),
    (10, "10 ms"),
    (100, "100 ms"),
    (1_000, "1 s"),
    (10_000, "10 s"),
    (60_000, "1 min"),
    (600_000, "10 min"),
    (3_600_000, "1 h"),
    (86_400_000, "1 d"),
)
_UP_TO_MS = [ms for ms, _ in _STEPS]
BEYOND = len(_STEPS) + 1
"""Index of the last count: events later than the tombstone horizon."""
NAMES = (*(name for _, name in _STEPS), "the horizon", "more than the horizon")
"""What each count's events are late by at most, but for the last; each event counts once, where it fits first."""
NOTHING_LATE = (0,) * (BEYOND + 1)
NOT_MEASURED = -1
"""Lateness of an event that came in order, or of which the newest version is not known."""

Lateness = tuple[int, ...]
"""One count for each of NAMES."""


def late_by(rank: int, newest: int) -> int:
    """How much older in milliseconds an event of packed version `rank` is than `newest`; NOT_MEASURED without ordering data.

    Never negative otherwise: two versions of one millisecond are 0 apart.
    """
    if rank < 0 or newest < 0:
        return NOT_MEASURED
    return max(0, unpack(newest).lut_ms - unpack(rank).lut_ms)


def lateness_of(late_ms: Iterable[int], horizon_ms: int) -> Lateness:
    """The counts of events that are so late; those that are NOT_MEASURED are in none."""
    counts = list(NOTHING_LATE)
    for late in late_ms:
        if late > horizon_ms:
            counts[BEYOND] += 1
        elif late >= 0:
            counts[bisect_left(_UP_TO_MS, late)] += 1
    return tuple(counts)


def added(parts: Iterable[Sequence[int]]) -> Lateness:
    """All counts together."""
    counts = list(NOTHING_LATE)
    for part in parts:
        for step, number in enumerate(part):
            counts[step] += number
    return tuple(counts)


def latest_step(counts: Sequence[int]) -> str | None:
    """The name of the highest step that counts an event, None when nothing was late."""
    return next((NAMES[step] for step in range(len(counts) - 1, -1, -1) if counts[step]), None)


def as_text(counts: Lateness | None) -> str | None:
    """The counts as the ledger keeps them: a JSON list."""
    return None if counts is None else json.dumps(counts, separators=(",", ":"))


def from_text(text: str | None) -> Lateness | None:
    """What `as_text` made. Raises ValueError on anything else."""
    if text is None:
        return None
    found = json.loads(text)
    if not isinstance(found, list) or len(found) != len(NAMES) or not all(type(count) is int and count >= 0 for count in found):
        raise ValueError(f"{text!r} is not a list of {len(NAMES)} counts")
    return tuple(found)


__all__ = [
    "BEYOND",
    "Lateness",
    "NAMES",
    "NOTHING_LATE",
    "NOT_MEASURED",
    "added",
    "as_text",
    "from_text",
    "late_by",
    "lateness_of",
    "latest_step",
]
