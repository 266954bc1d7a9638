"""An output that counts, on the executors: messages folded into one change per record, the changes written, one report.

Everything a batch does to a record must reach the server in one call (`sinks.aerospike.fences`). So there are two steps: Folding
reads a partition's messages and folds them to one row per target record; Applying gets all rows of its records, folds them
together and writes. Between the two Spark brings the rows of one record together; a batch of one partition needs no shuffle.

Rows are those of `pipelines.mirror_worker.REPORT` with the target before them: what a step has to tell the driver passes through.
Folding's errors do fail the task, unlike a mirror's: no record may be written before every message of the batch has been read.
"""

import json
import pickle
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import pyarrow as pa

from checkpoints.lease_check import LeaseCheck
from pipelines.decoding import collector_paused, reader_of
from pipelines.failpoints import Failpoints, Victims, armed_file
from pipelines.mirror_worker import COUNTS, DEAD, ERROR, REPORT, SUMMARY, letter_row, letters_stream, own_letter, windows
from pipelines.worker_errors import failing_with_words, packed
from schemas.errors import MillraceError, Terminal
from schemas.events import ChangeEvent
from schemas.lateness import NOTHING_LATE
from sinks.aerospike.count_plan import CountPlan
from sinks.aerospike.counters import AerospikeCounters
from sinks.aerospike.fences import WriterFence
from sinks.aerospike.record_changes import RecordChange, Target
from sinks.aerospike.values import Unfit
from sinks.contract import Deadline, Disposition, Outcome
from sinks.pressure import UNSLOWED, Allowance, Paced, Seen

CHANGE, REFUSED = "change", "refused"
FOLDED = pa.schema([pa.field("target", pa.binary()), *REPORT])
FOLDED_DDL = "target BINARY, kind STRING, content BINARY"
"""CHANGE: a pickled RecordChange; its target, so that rows of one record meet. Other kinds: for the driver, target null.

REFUSED, of Applying only: pickled (target, code, detail) of a change that can never be written.
"""
_WINDOW_ROWS, _WINDOW_BYTES = 10_000, 32 << 20
_WRITTEN_AT_ONCE = 10_000

Refused = dict[Target, tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Folding:
    """The function given to `mapInArrow` that folds a partition's messages.

    options, plan:    pickled DecodeOptions and CountPlan.
    return_undecoded: whether messages that cannot be decoded come back as dead letters; else another lane keeps them.
    refused:          None; or, when the batch is read again for the letters alone, the targets whose changes were refused.
    """

    options: bytes = field(repr=False)
    plan: bytes = field(repr=False)
    lane: str
    batch_id: int
    return_undecoded: bool
    victims: Victims
    refused: Refused | None = None

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Messages in, rows of FOLDED out: letters, one row per record, and the summary of what was read."""
        work = _Partition(self, pickle.loads(self.plan))  # written by our own driver
        with failing_with_words(), collector_paused():
            for window in windows(batches, _WINDOW_ROWS, _WINDOW_BYTES):
                work.take(window)
                yield from work.letters()
        if self.refused is None:
            changes = iter(work.changes.items())
            while rows := [(repr(t).encode(), CHANGE, pickle.dumps(c)) for t, c in _some(changes)]:
                yield _rows(rows)
        yield _rows([(None, SUMMARY, _summary(work.counts, work.max_lut_ms))])


def _some(changes: Iterator[tuple[Target, RecordChange]]) -> Iterator[tuple[Target, RecordChange]]:
    for _, change in zip(range(_WRITTEN_AT_ONCE), changes, strict=False):
        yield change


@dataclass(slots=True)
class _Partition:
    """One partition's account and changes as they grow."""

    worker: Folding
    plan: CountPlan
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTS, 0))
    max_lut_ms: int | None = None
    changes: dict[Target, RecordChange] = field(default_factory=dict)
    _letters: list[dict[str, Any]] = field(default_factory=list)

    def take(self, window: pa.Table) -> None:
        """Read, count and fold one window."""
        read = reader_of(self.worker.options).events(window)
        Failpoints(armed_file(), self.worker.victims).hit(f"{self.worker.lane}:decode", batch_id=self.worker.batch_id)
        self.counts["messages"] += window.num_rows
        self.counts["rows"] += read.total
        self.counts["unselected"] += read.unselected
        for found in read.rejections:
            self.counts["dead"] += 1
            self.counts["undecoded"] += not found.decoded
            own = own_letter(found, self.worker.return_undecoded)
            if self.worker.refused is None and own is not None:
                why, whose = (found.code, found.detail), (found.namespace, found.digest)
                self._letters.append(letter_row(window, (found.row, found.element), why, whose, rejected=own))
        for row, event in zip(read.rows, read.events, strict=True):
            refusal = self._fold(event)
            if refusal is not None:
                whose = (event.namespace, event.digest)
                self._letters.append(letter_row(window, (row, event.element), refusal, whose, rejected=True))

    def letters(self) -> Iterator[pa.RecordBatch]:
        """The dead letters since the last call."""
        if self._letters:
            yield _rows([(None, DEAD, letters_stream(self._letters))])
            self._letters = []

    def _fold(self, event: ChangeEvent) -> tuple[str, str] | None:
        """Take one event; the reason when it is a dead letter."""
        if not self.plan.takes(event):
            self.counts["unselected"] += 1
            return None
        if event.lut_ms is None:
            self.counts["unversioned"] += 1
        else:
            self.max_lut_ms = max(event.lut_ms, self.max_lut_ms or 0)
        found = self.plan.contribution(event)
        refused = self.worker.refused
        if isinstance(found, Unfit):
            self.counts["dead"] += 1
            return None if refused is not None else (found.code, found.detail)
        if refused is not None:
            return refused.get(found.target) if found.operations else None
        if not found.operations:
            self.counts["applied"] += 1  # it has none of the bins that are counted: nothing is to be done, and that is done
            return None
        change = self.changes.get(found.target)
        if change is None:
            change = self.changes[found.target] = RecordChange(found.target)
        change.add(found.place, found.operations)
        return None


@dataclass(frozen=True, slots=True)
class Applying:
    """The function given to `mapInArrow` that writes the changes of the records whose rows it gets.

    sink: the pickled AerospikeCounters, kept from batch to batch; budget_s: one deadline for all its calls.
    lease: the driver's, asked before every call: a worker may outlive its driver, or be paused with it.
    allowance: the share of the usual speed that the flow's writers begin this batch with.
    """

    sink: bytes = field(repr=False)
    lane: str
    fence: WriterFence
    budget_s: float
    victims: Victims
    lease: LeaseCheck | None = None
    allowance: Allowance = UNSLOWED

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Rows of FOLDED in, rows of REPORT out: what passes through, refused changes, errors, a summary of what was done."""
        changes: dict[Target, RecordChange] = {}
        for batch in batches:
            passing = []
            for kind, content in zip(batch.column("kind").to_pylist(), batch.column("content").to_pylist(), strict=True):
                if kind != CHANGE:
                    passing.append((None, kind, content))
                    continue
                change: RecordChange = pickle.loads(content)
                mine = changes.setdefault(change.target, change)
                if mine is not change:
                    mine.merge(change)
            if passing:
                yield _report(passing)
        counts = dict.fromkeys(COUNTS, 0)
        sink = _sink(self.sink)
        pace = sink.pace if isinstance(sink, Paced) else None
        if pace is not None:
            pace.begin(self.allowance)
        try:
            with collector_paused():
                for change, outcome in self._write(list(changes.values())):
                    counts[_COUNTED_AS[outcome.disposition]] += change.events
                    if outcome.disposition is Disposition.REJECTED:
                        yield _report([(None, REFUSED, pickle.dumps((change.target, outcome.code, outcome.detail)))])
        except MillraceError as error:
            yield _report([(None, ERROR, packed(error))])
        yield _report([(None, SUMMARY, _summary(counts, None, None if pace is None else pace.seen))])

    def _write(self, changes: Sequence[RecordChange]) -> Iterator[tuple[RecordChange, Outcome]]:
        sink, deadline = _sink(self.sink), Deadline.after_s(self.budget_s)
        for start in range(0, len(changes), _WRITTEN_AT_ONCE):
            part = changes[start : start + _WRITTEN_AT_ONCE]
            if self.lease is not None:
                self.lease.require_held()
            self._maybe_strike(sink, part, deadline)
            outcomes = sink.write(part, self.fence, deadline)
            if len(outcomes) != len(part):
                raise Terminal("E410", f"the sink answered {len(outcomes)} times for {len(part)} changes", output=sink.name)
            yield from zip(part, outcomes, strict=True)

    def _maybe_strike(self, sink: AerospikeCounters, changes: Sequence[RecordChange], deadline: Deadline) -> None:
        """For drills: die with records of the first events written and the others not; of a record always all or nothing."""
        points = Failpoints(armed_file(), self.victims)
        for point in (f"{self.lane}:mid_sink", f"{self.lane}:mid_{sink.name}"):
            armed = points.armed(point)
            if armed is None:
                continue
            first: list[RecordChange] = []
            while len(first) < len(changes) and sum(change.events for change in first) < max(1, armed.events):
                first.append(changes[len(first)])
            if len(first) < len(changes):
                sink.write(first, self.fence, deadline)
                written = sum(change.events for change in first)
                points.hit(point, batch_id=self.fence.batch_id, written=written, records=len(first), of=len(changes))


_COUNTED_AS = {
    Disposition.APPLIED: "applied",
    Disposition.SUPERSEDED: "superseded",
    Disposition.DUPLICATE: "duplicate",
    Disposition.REJECTED: "dead",
}


@dataclass(frozen=True, slots=True)
class FoldingAndApplying:
    """Both steps at once, for a batch of one partition: every row of a record is there already."""

    folding: Folding
    applying: Applying

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Messages in, rows of REPORT out."""
        return self.applying(self.folding(batches))


@lru_cache(maxsize=8)
def _sink(pickled: bytes) -> AerospikeCounters:
    """This process's sink for a configuration: connections outlive the batch."""
    return pickle.loads(pickled)  # type: ignore[no-any-return]  # written by our own driver


def _summary(counts: dict[str, int], max_lut_ms: int | None, seen: Seen | None = None) -> bytes:
    """Nothing is ever late for a counter. seen: by who has written."""
    return json.dumps({**counts, "max_lut_ms": max_lut_ms, "lateness": NOTHING_LATE, "seen": seen}).encode()


def _rows(rows: Sequence[tuple[bytes | None, str, bytes]]) -> pa.RecordBatch:
    columns = zip(*rows, strict=True)
    arrays = [pa.array(column, one.type) for column, one in zip(columns, FOLDED, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, FOLDED.names)


def _report(rows: Sequence[tuple[None, str, bytes]]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist([{"kind": kind, "content": content} for _, kind, content in rows], schema=REPORT)


def refused_in(rows: pa.Table) -> Refused:
    """The changes that workers could not write, by target."""
    kinds, contents = rows.column("kind").to_pylist(), rows.column("content").to_pylist()
    said = (pickle.loads(content) for kind, content in zip(kinds, contents, strict=True) if kind == REFUSED)
    return {target: (code, detail) for target, code, detail in said}


__all__ = ["Applying", "CHANGE", "FOLDED", "FOLDED_DDL", "Folding", "FoldingAndApplying", "REFUSED", "Refused", "refused_in"]
