"""The promise every record sink makes: one answer per event, safe under repetition and reordering."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from time import monotonic
from typing import NamedTuple, Protocol

from schemas.events import ChangeEvent
from schemas.lateness import NOT_MEASURED


class Disposition(StrEnum):
    """What became of one event."""

    APPLIED = "applied"  # the destination shows this event, by this batch
    SUPERSEDED = "superseded"  # it already showed a newer one, or a later event of the same call won
    DUPLICATE = "duplicate"  # it already showed this very version, by another batch or event
    REJECTED = "rejected"  # can never succeed as written: a dead letter


class Outcome(NamedTuple):
    """One event's answer. `code` is a reason of `schemas.reasons`, set for REJECTED only; `detail` is for people.

    late_ms: how much older the event is than the newest version its record showed before it came (`schemas.lateness`).
    """

    disposition: Disposition
    code: str = ""
    detail: str = ""
    past_horizon: bool = False
    late_ms: int = NOT_MEASURED


APPLIED = Outcome(Disposition.APPLIED)
SUPERSEDED = Outcome(Disposition.SUPERSEDED)
DUPLICATE = Outcome(Disposition.DUPLICATE)


def superseded(late_ms: int) -> Outcome:
    """SUPERSEDED, and how late the event was."""
    return SUPERSEDED if late_ms == NOT_MEASURED else Outcome(Disposition.SUPERSEDED, late_ms=late_ms)


class Fence(NamedTuple):
    """Which batch writes: the checkpoint's identity and the batch id. Kept in each record it applied."""

    epoch: str
    batch_id: int


@dataclass(frozen=True, slots=True)
class Deadline:
    """One budget shared by every attempt and back-off inside a call. Times on the monotonic clock, in seconds."""

    at: float

    @classmethod
    def after_s(cls, seconds: float) -> "Deadline":
        """A deadline that many seconds from now."""
        return cls(monotonic() + seconds)

    def left_s(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self.at - monotonic())

    @property
    def passed(self) -> bool:
        """Whether nothing is left."""
        return self.left_s() <= 0.0


class RecordSink(Protocol):
    """A destination keyed by record. Built on the driver, pickled, used on executors.

    Holds configuration only; connections are made on first use in each worker process and shared there.
    """

    @property
    def name(self) -> str:
        """The output's name in the flow."""

    def check(self) -> None:
        """Do once, without data, what `write` will do. Raises ConfigError or Retryable."""

    def write(self, events: Sequence[ChangeEvent], fence: Fence, deadline: Deadline) -> Sequence[Outcome]:
        """Apply `events`; answer with exactly one Outcome per event, same order.

        events:   one record may appear more than once, in any order; the newest version wins.
        Raises:   Retryable or InDoubt when the deadline passed first: some events may be applied, the caller repeats the
                  whole call; Terminal when repeating cannot help.
        Replay:   writing the same events again under the same fence gives the same outcomes and changes nothing.
        """

    def close(self) -> None:
        """Release this process's connections. May never be called after a crash; safe to call twice."""


__all__ = [
    "APPLIED",
    "DUPLICATE",
    "Deadline",
    "Disposition",
    "Fence",
    "Outcome",
    "RecordSink",
    "SUPERSEDED",
    "superseded",
]
