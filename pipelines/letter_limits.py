"""Too many dead letters: a person is told, or the flow stops, before a bad deployment becomes a million of them.

Judged when a batch's outputs are written and before its letters are: a batch that stops the flow is not committed and leaves no
letters, so what can be read once the cause is mended is read when the batch is repeated.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import pyarrow as pa

from pipelines.flow.dead_letters import LetterLimits as Limits
from pipelines.outputs import Account
from pipelines.progress import Report
from schemas.error_codes import CATALOGUE
from schemas.errors import Terminal
from schemas.reasons import REASONS

HOUR_S = 3600.0
TOLD_EVERY_S = 60.0
"""A limit that stays passed is told about this often, not in every batch."""


class Commonest(NamedTuple):
    """The reason most of a batch's letters share, how many do, and one of them: its place in Kafka, and its detail."""

    code: str
    letters: int
    place: str
    detail: str

    def __str__(self) -> str:
        title = REASONS[self.code].title if self.code in REASONS else "unknown reason"
        return f"most often {self.code} {title}: {self.letters:,} times, such as {self.place}: {self.detail}"


class LetterLimits:
    """The limits of one lane; called for each of its batches, by one thread."""

    def __init__(self, limits: Limits, lane: str, report: Report, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._lane = lane
        self._report = report
        self._clock = clock
        self._hour: dict[int, tuple[float, int]] = {}
        self._told_at: dict[str, float] = {}

    def require(self, batch_id: int, accounts: Mapping[str, Account], commonest: Callable[[], Commonest | None]) -> None:
        """Raise Terminal E450, or tell, when the batch passes a limit. commonest: asked only then."""
        limits = self._limits
        for output, account in accounts.items():
            events = account.rows - account.unselected
            if events >= limits.share_min_events and account.dead > limits.share * events:
                what = f"{account.dead:,} of {events:,} events in output {output} are dead letters, more than {limits.share:.1%}"
                self._passed("share", limits.share_action, what, batch_id, commonest)
        letters = letters_of(accounts.values())
        if not letters:
            return
        now = self._clock()
        self._hour = {batch: held for batch, held in self._hour.items() if now - held[0] < HOUR_S and batch != batch_id}
        total = letters + sum(held for _, held in self._hour.values())
        if total > limits.per_hour:
            what = f"{total:,} dead letters within an hour, more than {limits.per_hour:,}"
            self._passed("per_hour", limits.per_hour_action, what, batch_id, commonest)
        self._hour[batch_id] = now, letters

    def _passed(self, limit: str, action: str, what: str, batch_id: int, commonest: Callable[[], Commonest | None]) -> None:
        now = self._clock()
        if action == "off" or (action == "warn" and now - self._told_at.get(limit, -TOLD_EVERY_S) < TOLD_EVERY_S):
            return
        found = commonest()
        text = f"{what} (dead_letters.limits.{limit})" + (f"; {found}" if found else "")
        if action == "warn":
            self._told_at[limit] = now
            code = found.code if found else None
            told = f"lane {self._lane}, batch {batch_id}: {text}"
            self._report.event("many_letters", told, lane=self._lane, batch_id=batch_id, limit=limit, reason=code)
            return
        cure = f"{REASONS[found.code].remedy} " if found and found.code in REASONS else ""
        raise Terminal("E450", text, remedy=cure + CATALOGUE["E450"].remedy, lane=self._lane, batch_id=batch_id)


def letters_of(accounts: Iterable[Account]) -> int:
    """The letters a batch makes: one per message nobody could read, and one per event an output refuses."""
    listed = list(accounts)
    return max((account.undecoded for account in listed), default=0) + sum(account.dead - account.undecoded for account in listed)


def commonest_of(rows: Iterable[pa.Table], undecoded: Iterable[Mapping[str, Any]] = ()) -> Commonest | None:
    """The commonest reason among letters (tables with code, detail, topic, partition, offset) and what Spark has counted.

    undecoded: a mapping for each reason with code, letters and those columns of one letter. None when there are no letters.
    """
    counts: Counter[str] = Counter()
    example: dict[str, Mapping[str, Any]] = {}
    for table in rows:
        for row in table.select(["code", "detail", "topic", "partition", "offset"]).to_pylist():
            counts[row["code"]] += 1
            example.setdefault(row["code"], row)
    for row in undecoded:
        counts[row["code"]] += row["letters"]
        example.setdefault(row["code"], row)
    if not counts:
        return None
    ((code, number),) = counts.most_common(1)
    one = example[code]
    return Commonest(code, number, f"{one['topic']}[{one['partition']}]@{one['offset']}", one["detail"] or "")


__all__ = ["Commonest", "LetterLimits", "commonest_of", "letters_of"]
