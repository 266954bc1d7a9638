"""The one limit that all writers of a flow to one cluster share: handed out with each batch, learned from what they saw.

Inside a batch each writer keeps its own pace (`sinks.pressure`); from batch to batch they are brought together here, so that
writers in many processes on many hosts slow down as one without talking to each other.
"""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from sinks.contract import Fence
from sinks.pressure import LONGEST_STEP_S, RECOVERY_S, Allowance, Seen

WORTH_MEASURING = 1_000
"""Records, of one undisturbed batch or of several, below which their rate says little about the cluster."""
_NEWEST_WEIGHT = 0.2
MOST_TIMES = 16
"""A batch that is only slow gets up to so many times its time."""


@dataclass(frozen=True, slots=True)
class Pressure:
    """What one output's writers saw of the cluster in a batch, for people. Records are those of calls.

    share:       what the next batch begins with, of the usual speed. smallest: the smallest any writer came to.
    limit_per_s: records a second over all writers that `share` stands for; None when nothing is limited.
    refused:     records the cluster did not take for now. again: records sent again. waited_s: the longest wait of one writer.
    """

    share: float = 1.0
    smallest: float = 1.0
    limit_per_s: int | None = None
    refused: int = 0
    again: int = 0
    waited_s: float = 0.0

    @property
    def felt(self) -> bool:
        """Whether there is anything to tell."""
        return self.refused > 0 or self.smallest < 1.0 or self.share < 1.0

    def and_then(self, later: "Pressure") -> "Pressure":
        """Two successive batches as one."""
        return Pressure(
            later.share,
            min(self.smallest, later.smallest),
            later.limit_per_s,
            self.refused + later.refused,
            self.again + later.again,
            self.waited_s + later.waited_s,
        )

    def words(self) -> str:
        """As the progress line says it."""
        smallest, now = round(100 * self.smallest), round(100 * self.share)
        slowed = f"slowed to {smallest} %" + (f", now {now} %" if now != smallest else "")
        if self.limit_per_s is not None:
            slowed += f" or {self.limit_per_s:,} records/s"
        return f"{slowed}: {self.refused:,} refused, {self.again:,} sent again, {self.waited_s:.1f} s waiting"

    def as_dict(self) -> dict[str, float | int | None]:
        """As plain data."""
        return {
            "share": round(self.share, 4),
            "smallest_share": round(self.smallest, 4),
            "limit_per_s": self.limit_per_s,
            "refused": self.refused,
            "sent_again": self.again,
            "waited_s": round(self.waited_s, 3),
        }


class SharedPressure:
    """The share that all outputs of a flow to one cluster begin their batches with. Thread-safe: lanes run side by side."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._share = 1.0
        self._usual_per_s: dict[str, float] = {}  # by output, of one writer
        self._measuring: dict[str, tuple[int, float]] = {}  # by output: records and seconds not enough for a rate yet
        self._learned_at = clock()

    def allowance(self, output: str) -> Allowance:
        """What the writers of `output` begin a batch with."""
        with self._lock:
            return Allowance(self._share, self._usual_per_s.get(output))

    def learn(self, output: str, writers: Sequence[Seen]) -> Pressure:
        """Take in what the writers of a batch saw. Those that sent nothing say nothing."""
        writers = [seen for seen in writers if seen.taken + seen.refused]
        with self._lock:
            if not writers:
                return Pressure(share=self._share, smallest=self._share)
            taken, refused = sum(seen.taken for seen in writers), sum(seen.refused for seen in writers)
            smallest = min(seen.smallest for seen in writers)
            if not refused and smallest >= 1.0:
                self._measure(output, taken, sum(seen.busy_s for seen in writers))
            now = self._clock()
            share = sum(seen.share * (seen.taken + seen.refused) for seen in writers) / (taken + refused)
            if not refused:  # between small batches no writer is there to grow
                share = max(share, min(1.0, self._share + min(now - self._learned_at, LONGEST_STEP_S) / RECOVERY_S))
            self._share, self._learned_at = share, now
            usual = self._usual_per_s.get(output)
            limit = None if share >= 1.0 or usual is None else round(share * usual * len(writers))
        waited_s = max(seen.waited_s for seen in writers)
        return Pressure(share, smallest, limit, refused, sum(seen.again for seen in writers), waited_s)

    def _measure(self, output: str, taken: int, busy_s: float) -> None:
        earlier, earlier_s = self._measuring.pop(output, (0, 0.0))
        taken, busy_s = taken + earlier, busy_s + earlier_s
        if taken < WORTH_MEASURING or busy_s <= 0:
            self._measuring[output] = taken, busy_s
            return
        before, now = self._usual_per_s.get(output), taken / busy_s
        self._usual_per_s[output] = now if before is None else before + _NEWEST_WEIGHT * (now - before)


class Patience:
    """Time for one batch: more at each repetition of a batch that was only slow, so that it ends one day.

    A repeated batch sends everything once more and learns for each record that is there that it is there. A cluster that takes
    less than a batch in a batch's time would otherwise see the same batch for ever.
    """

    def __init__(self) -> None:
        self._batch: Fence | None = None
        self._times = 1
        self._was_slow = False

    def budget_s(self, fence: Fence, usual_s: float) -> float:
        """Seconds for this attempt of the batch."""
        if fence != self._batch:
            self._batch, self._times = fence, 1
        elif self._was_slow:
            self._times = min(MOST_TIMES, 2 * self._times)
        self._was_slow = False
        return usual_s * self._times

    def attempted(self, writers: Iterable[Seen]) -> None:
        """What the attempt saw: slow, when records were taken, and refused or held back as well."""
        self._was_slow = any(seen.taken and (seen.refused or seen.smallest < 1.0) for seen in writers)


__all__ = ["MOST_TIMES", "Patience", "Pressure", "SharedPressure", "WORTH_MEASURING"]
