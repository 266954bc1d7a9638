"""How fast a writer may send: cut by what a cluster refuses, grown by what it takes, with a budget for sending again.

One rule for every writer, so that writers in many processes need nothing but the share they begin with:

    cut      a call of which a part was refused or stayed unanswered takes half that part off the share
    grow     while records are taken the share grows by the same step every second, from nothing to all in RECOVERY_S
    calls    come as often as in usual times at most, and carry `share` of the records
    probes   after a call of which nothing was taken: one call at a time, after a pause that doubles, with jitter
    again    a refused record is sent again for each record that was taken, up to a second's usual work; without that, one call
             of the smallest size per pause

Nothing is limited while the share is 1. Sources: RFC 5681 (additive increase, multiplicative decrease), RFC 8257 (a cut in
proportion to what was marked), Finagle's retry budgets, and the full record of the choice in docs/decisions.
"""

import math
import random
import time
from collections.abc import Callable
from typing import NamedTuple, Protocol, runtime_checkable

RECOVERY_S = 10.0
"""From the smallest share to the whole, when everything is taken."""
SMALLEST_SHARE = 0.01
NOT_MEASURED_PER_S = 10_000.0
"""Records a second of a writer that nobody has measured yet. Too much costs some more cuts, too little slows for nothing."""
LONGEST_STEP_S = 1.0
"""So much time between two answers counts as growing time at most: silence is no sign of health."""


class Allowance(NamedTuple):
    """What a writer begins a batch with. share: of `usual_per_s`, records a second of one writer; None while not known."""

    share: float = 1.0
    usual_per_s: float | None = None


UNSLOWED = Allowance()


class Seen(NamedTuple):
    """What a writer saw in one batch. Records are those of calls: one event may need several.

    share:    at the end. smallest: the smallest on the way.
    taken:    answered by the cluster with more than "not now". refused: not now, or no answer. again: sent more than once.
    waited_s: time held back with no call under way. busy_s: time spent writing, waits included.
    """

    share: float = 1.0
    smallest: float = 1.0
    taken: int = 0
    refused: int = 0
    again: int = 0
    waited_s: float = 0.0
    busy_s: float = 0.0


class Pace:
    """One writer's pace. Not thread-safe: asked and told by the loop that sends the calls.

    call_records: records of a full call. calls_at_once: full calls under way at once.
    first_pause_s, longest_pause_s: between probes. clock: monotonic, in seconds. jitter: a number from 0 to 1.
    """

    def __init__(
        self,
        call_records: int,
        calls_at_once: int,
        first_pause_s: float,
        longest_pause_s: float,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._call_records = call_records
        self._first_pause_s = first_pause_s
        self._longest_pause_s = longest_pause_s
        self._clock = clock
        self._jitter = jitter
        self._credit = float(call_records * calls_at_once)
        self.begin(UNSLOWED)

    def begin(self, allowance: Allowance) -> None:
        """A batch begins: go on at the flow's share; what was seen starts at nothing."""
        # At least a full call a second: a rate measured on a handful of records would make pauses of minutes.
        self.usual_per_s = max(self._call_records, allowance.usual_per_s or NOT_MEASURED_PER_S)
        self.share = max(SMALLEST_SHARE, min(1.0, allowance.share))
        self._smallest = self.share
        self._taken = self._refused = self._again = 0
        self._waited_s = self._busy_s = 0.0
        now = self._clock()
        self._grown_at = self._cut_at = self._free_at = self._again_at = now
        self._barren = 0  # calls in a row of which nothing was taken

    @property
    def slowed(self) -> bool:
        """Whether anything is held back."""
        return self.share < 1.0 or self._barren > 0

    @property
    def call_records(self) -> int:
        """Records the next call may carry."""
        return self._call_records if self.share >= 1.0 else max(1, math.ceil(self._call_records * self.share))

    def wait_s(self, under_way: int) -> float:
        """Seconds until the next call may be sent, with so many calls under way: 0 for now, infinite for after an answer."""
        if not self.slowed:
            return 0.0
        if self._barren and under_way:
            return math.inf
        return max(0.0, self._free_at - self._clock())

    def sent(self, records: int) -> float:
        """A call was sent. Answers when, which `answered` wants to know."""
        now = self._clock()
        if self.share < 1.0:
            self._free_at = max(now, self._free_at) + records / (self.share * self.usual_per_s)
        return now

    def answered(self, sent_at: float, taken: int, refused: int) -> None:
        """A call's answer, by records."""
        now = self._clock()
        self._taken += taken
        self._refused += refused
        if taken:
            self._barren = 0
            self._credit = min(self.usual_per_s, self._credit + taken)
            grown = min(now - self._grown_at, LONGEST_STEP_S) / RECOVERY_S * taken / (taken + refused)
            self.share = min(1.0, self.share + grown)
        if refused and sent_at >= self._cut_at:  # calls sent before the last cut could not know of it
            self.share = max(SMALLEST_SHARE, self.share * (1 - refused / (taken + refused) / 2))
            self._smallest = min(self._smallest, self.share)
            self._cut_at = now
            if not taken:
                self._barren += 1
                self._free_at = max(self._free_at, now + self.pause_s())
        self._grown_at = now

    def pause_s(self) -> float:
        """A pause before trying again: doubles with every call in vain, and is shortened at random by up to half."""
        full = min(self._longest_pause_s, self._first_pause_s * 2.0 ** min(self._barren, 30))
        return full * (1 - 0.5 * self._jitter())

    def again(self, records: int) -> int:
        """How many of `records` that were refused may be sent again now; they are taken from the budget."""
        allowed = min(records, int(self._credit))
        self._credit -= allowed
        now = self._clock()
        if not allowed and self._again_at <= now:
            allowed = min(records, self.call_records)  # what a probe carries, one per pause
            self._again_at = now + self._longest_pause_s * (1 - 0.5 * self._jitter())
        self._again += allowed
        return allowed

    def waited(self, seconds: float) -> None:
        """The writer was held back so long with no call under way."""
        self._waited_s += seconds

    def worked(self, seconds: float) -> None:
        """The writer was writing so long."""
        self._busy_s += seconds

    @property
    def seen(self) -> Seen:
        """What there was since the batch began."""
        smallest = min(self._smallest, self.share)
        return Seen(self.share, smallest, self._taken, self._refused, self._again, self._waited_s, self._busy_s)


@runtime_checkable
class Paced(Protocol):
    """A sink that keeps a pace of its own in each worker process, and can be told where to begin."""

    @property
    def pace(self) -> Pace:
        """This process's pace."""


__all__ = ["Allowance", "LONGEST_STEP_S", "Pace", "Paced", "RECOVERY_S", "SMALLEST_SHARE", "Seen", "UNSLOWED"]
