"""The accounts of one lane and checkpoint in their order: no batch missing or twice, offsets joined, sums right. Pure.

A batch begins where the one before ended, in every partition. So when all batches are there and every span of offsets is as
long as messages and gaps together, each offset from the first to the last was read by exactly one batch.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import groupby

import orjson

from pipelines.kafka_offsets import Offsets, count
from pipelines.ledger_check.misfit import Misfit
from schemas.errors import Terminal
from schemas.ledger import LedgerRow

SUMMED = ("messages", "gaps", "rows_read", "unselected", "events_in", "applied", "superseded", "duplicate", "dead")


@dataclass(slots=True)
class Judged:
    """One output's part of a series so far: its batches and the sums over them."""

    first: int
    last: int
    batches: int = 0
    sums: Counter[str] = field(default_factory=Counter)
    absent_since: tuple[int, str] | None = None

    def add(self, row: LedgerRow) -> None:
        """Count one more account."""
        self.batches += 1
        self.last = row.batch_id
        for name in SUMMED:
            self.sums[name] += getattr(row, name) or 0


class Series:
    """Judges the batches of one lane and checkpoint, given in rising order and in as many calls as one likes.

    outputs: what was seen of each. start, end: offsets from the first batch to the last, None before the first that can be read.
    """

    def __init__(self, lane: str, epoch: str) -> None:
        self.lane = lane
        self.epoch = epoch
        self.outputs: dict[str, Judged] = {}
        self.last_at = ""
        self.start: Offsets | None = None
        self.end: Offsets | None = None
        self._next = 0
        self._joins = False

    def judge(self, rows: Iterable[LedgerRow]) -> Iterator[Misfit]:
        """The misfits of the next batches. rows: their accounts, by batch, every row as it stands in the table."""
        for batch_id, group in groupby(rows, key=lambda row: row.batch_id):
            yield from self._batch(batch_id, list(group))

    def finish(self, last: int, outputs: Sequence[str] = ()) -> Iterator[Misfit]:
        """The misfits at the end. last: the highest batch the ledger is known to have had; outputs: those the lane has today."""
        if last >= self._next:
            yield self._missing(self._next, last, self.last_at, f"the ledger's own transaction says that it had batch {last:,}")
        for name, judged in self.outputs.items():
            if judged.absent_since is not None and name in outputs:
                yield self._absent(name, judged.absent_since, self._next - 1)

    def _batch(self, batch_id: int, rows: list[LedgerRow]) -> Iterator[Misfit]:
        at = rows[0].committed_at
        if batch_id > self._next:
            yield self._missing(self._next, batch_id - 1, at, f"the account of batch {batch_id:,} is there")
            self._joins = False
        self._next, self.last_at = batch_id + 1, at
        once = {row.output: row for row in rows}
        for output, number in Counter(row.output for row in rows).items() if len(once) < len(rows) else ():
            if number > 1:
                what = f"{number} accounts of one batch"
                yield self._misfit("E411", rows[0], what, "sums count the batch more than once", output=output)
        yield from self._presence(batch_id, at, once)
        lead = rows[0]
        for row in once.values():
            yield from _unbalanced(row)
            if (row.start_offsets, row.end_offsets, row.messages) != (lead.start_offsets, lead.end_offsets, lead.messages):
                what = f"{row.output} says {_read(row)}, {lead.output} says {_read(lead)}"
                yield self._misfit("E412", row, what, "outputs of one lane share their batches: one of the accounts was changed")
            self.outputs[row.output].add(row)
        yield from self._offsets(lead)

    def _presence(self, batch_id: int, at: str, once: dict[str, LedgerRow]) -> Iterator[Misfit]:
        for name in once:
            judged = self.outputs.setdefault(name, Judged(batch_id, batch_id))
            if judged.absent_since is not None:
                yield self._absent(name, judged.absent_since, batch_id - 1)
                judged.absent_since = None
        for name, judged in self.outputs.items():
            if name not in once and judged.absent_since is None:
                judged.absent_since = batch_id, at

    def _offsets(self, row: LedgerRow) -> Iterator[Misfit]:
        try:
            start, end = offsets_of(row.start_offsets), offsets_of(row.end_offsets)
        except ValueError as error:
            self._joins = False
            yield self._misfit("E412", row, f"offsets cannot be read: {error}", "the account was changed")
            return
        if self._joins and self.end and start != self.end:
            what = _difference(self.end, start)
            yield self._misfit(
                "E412", row, what, "messages in between were read by no batch, or by two; or the account was changed"
            )
        self.start = start if self.start is None else self.start
        self.end, self._joins = end, True
        backwards = [
            f"{topic}[{partition}] from {begin:,} to {end.get(topic, {}).get(partition, -1):,}"
            for topic, numbers in start.items()
            for partition, begin in numbers.items()
            if end.get(topic, {}).get(partition, -1) < begin
        ]
        if backwards:
            yield self._misfit("E412", row, f"offsets go backwards: {', '.join(backwards)}", "the account was changed")
            return
        span = count(end, since=start)
        gaps = span - row.messages if row.gaps is None else row.gaps
        if gaps < 0 or span != row.messages + gaps:
            what = f"its offsets span {span:,}, its account says {row.messages:,} messages + {gaps:,} gaps"
            yield self._misfit("E412", row, what, "messages were not read, or read twice; or the account was changed")

    def _missing(self, first: int, last: int, at: str, because: str) -> Misfit:
        which = f"batch {first:,} has" if first == last else f"batches {first:,} to {last:,} have"
        means = f"{because}: accounts were taken away, or the ledger was begun anew"
        return Misfit("E411", self.lane, "", self.epoch, first, at, f"{which} no account", means)

    def _absent(self, output: str, since: tuple[int, str], last: int) -> Misfit:
        which = f"batch {since[0]:,}" if since[0] == last else f"batches {since[0]:,} to {last:,}"
        means = "other outputs of the lane have accounts of the same batches: this one's were taken away"
        return Misfit("E411", self.lane, output, self.epoch, since[0], since[1], f"no account of {which}", means)

    def _misfit(self, code: str, row: LedgerRow, what: str, means: str, output: str | None = None) -> Misfit:
        name = row.output if output is None else output
        return Misfit(code, self.lane, name, self.epoch, row.batch_id, row.committed_at, what, means)


def _unbalanced(row: LedgerRow) -> Iterator[Misfit]:
    try:
        row.require_balance()
    except Terminal as error:
        means = "every event must end as exactly one of these: the account was changed"
        yield Misfit("E410", row.lane, row.output, row.epoch, row.batch_id, row.committed_at, error.message, means)


def judge_replays(rows: Sequence[LedgerRow], last: int) -> Iterator[Misfit]:
    """The misfits of one replay of dead letters. rows: its accounts, by part. last: the highest part the ledger has had.

    A part has accounts of those outputs its letters were for, and no offsets of its own. A part without any is one taken away.
    """
    times = Counter((row.batch_id, row.output) for row in rows)
    following = 0
    for row in rows:
        if row.batch_id > following:
            yield _part_missing(rows[0], following, row.batch_id - 1, row.committed_at)
        following = max(following, row.batch_id + 1)
        if times.pop((row.batch_id, row.output), 0) > 1:
            what = "several accounts of one part"
            yield Misfit(
                "E411", row.lane, row.output, row.epoch, row.batch_id, row.committed_at, what, "sums count it more than once"
            )
        yield from _unbalanced(row)
    if rows and last >= following:
        yield _part_missing(rows[0], following, last, rows[-1].committed_at)


def _part_missing(row: LedgerRow, first: int, last: int, at: str) -> Misfit:
    which = f"part {first:,} has" if first == last else f"parts {first:,} to {last:,} have"
    return Misfit("E411", row.lane, "", row.epoch, first, at, f"{which} no account", "accounts of a replay were taken away")


@lru_cache(maxsize=64)  # a batch begins with the very text the one before ended with, for each output
def offsets_of(text: str) -> Offsets:
    """{topic: {partition: offset}} as the ledger keeps it, not to be changed. Raises ValueError."""
    try:
        return {topic: {int(part): int(at) for part, at in parts.items()} for topic, parts in orjson.loads(text).items()}
    except (AttributeError, TypeError) as error:
        raise ValueError(f"{text!r} are no offsets") from error


def _difference(ended: Offsets, begins: Offsets) -> str:
    """The first partitions in which two positions differ."""
    places = sorted({(topic, part) for offsets in (ended, begins) for topic, parts in offsets.items() for part in parts})
    differing = [
        f"{topic}[{part}] at {_at(begins, topic, part)}, but the batch before ended at {_at(ended, topic, part)}"
        for topic, part in places
        if begins.get(topic, {}).get(part) != ended.get(topic, {}).get(part)
    ]
    more = f" and {len(differing) - 3} partitions more" if len(differing) > 3 else ""
    return "begins " + "; ".join(differing[:3]) + more


def _at(offsets: Offsets, topic: str, partition: int) -> str:
    offset = offsets.get(topic, {}).get(partition)
    return "nothing" if offset is None else f"{offset:,}"


def _read(row: LedgerRow) -> str:
    return f"{row.messages:,} messages of {row.start_offsets} to {row.end_offsets}"


__all__ = ["Judged", "SUMMED", "Series", "judge_replays", "offsets_of"]
