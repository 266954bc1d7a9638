"""One partition of a micro-batch for a record sink, on an executor: messages in, one summary row and the dead letters out.

Runs in Spark's Python workers through `mapInArrow`. A sink's errors do not fail the task: they travel to the driver as a row that
holds the pickled error, so the driver raises the very same object, nothing is read out of a traceback, and Spark's own task retry
does not multiply the sink's. The other partitions finish what they do.
"""

import io
import json
import pickle
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

import pyarrow as pa

from checkpoints.lease_check import LeaseCheck
from pipelines.decoding import HEADERS, MESSAGE, collector_paused, headers_of, reader_of
from pipelines.failpoints import Failpoints, Victims, armed_file
from pipelines.worker_errors import packed, raise_worst
from schemas.errors import MillraceError, Terminal
from schemas.events import ChangeEvent
from schemas.lateness import NOTHING_LATE, Lateness, added, lateness_of
from schemas.reasons import MAY_PASS
from schemas.xdr.arrow import Rejection
from sinks.contract import APPLIED, Deadline, Disposition, Fence, Outcome, RecordSink
from sinks.pressure import UNSLOWED, Allowance, Pace, Paced, Seen

SUMMARY, DEAD, ERROR = "summary", "dead", "error"
COUNTS = (
    "messages",
    "rows",
    "unselected",
    "applied",
    "superseded",
    "duplicate",
    "dead",
    "undecoded",
    "past_horizon",
    "unversioned",
)
_COUNTED_AS = {
    Disposition.APPLIED: "applied",
    Disposition.SUPERSEDED: "superseded",
    Disposition.DUPLICATE: "duplicate",
    Disposition.REJECTED: "dead",
}

REPORT = pa.schema([pa.field("kind", pa.string()), pa.field("content", pa.binary())])
REPORT_DDL = "kind STRING, content BINARY"
"""One row per partition (SUMMARY: counts as JSON), per window with dead letters (DEAD: LETTERS as an Arrow stream), per error.

Two columns, and not one per count and letter field: Spark makes the code of a projection over all columns in every task, and
that was a third of the JVM's time in micro-batches of some hundred events.
"""

LETTERS = pa.schema(
    [
        pa.field("rejected", pa.bool_()),
        pa.field("code", pa.string()),
        pa.field("detail", pa.string()),
        pa.field("topic", pa.string()),
        pa.field("partition", pa.int32()),
        pa.field("offset", pa.int64()),
        pa.field("element", pa.int32()),
        pa.field("kafka_timestamp", pa.timestamp("us", tz="UTC")),
        pa.field("key", pa.binary()),
        pa.field("value", pa.binary()),
        pa.field("headers", HEADERS),
        pa.field("namespace", pa.string()),
        pa.field("digest", pa.binary()),
    ]
)
"""One row per dead letter: `rejected`, so this output's own; else not decoded, and every output's."""


class Report(NamedTuple):
    """What the workers of a batch say: counts over all partitions, newest last-update time, lateness, dead letters if any."""

    counts: dict[str, int]
    max_lut_ms: int | None
    lateness: Lateness
    letters: pa.Table | None


def read_report(rows: pa.Table) -> Report:
    """The rows of REPORT of all partitions as one report. Raises the gravest error that a worker sends."""
    said: dict[str, list[bytes]] = {SUMMARY: [], DEAD: [], ERROR: []}
    for kind, content in zip(rows.column("kind").to_pylist(), rows.column("content").to_pylist(), strict=True):
        said[kind].append(content)
    raise_worst(said[ERROR])
    summaries = [json.loads(content) for content in said[SUMMARY]]
    luts = [summary["max_lut_ms"] for summary in summaries if summary["max_lut_ms"] is not None]
    letters = [pa.ipc.open_stream(content).read_all() for content in said[DEAD]]
    return Report(
        {name: sum(summary[name] for summary in summaries) for name in COUNTS},
        max(luts, default=None),
        added(summary["lateness"] for summary in summaries),
        pa.concat_tables(letters) if letters else None,
    )


def seen_by_writers(rows: pa.Table) -> list[Seen]:
    """What the sinks of all partitions saw of their cluster; also of partitions that ended with an error."""
    said = zip(rows.column("kind").to_pylist(), rows.column("content").to_pylist(), strict=True)
    found = [json.loads(content)["seen"] for kind, content in said if kind == SUMMARY]
    return [Seen(*seen) for seen in found if seen is not None]


@dataclass(frozen=True, slots=True)
class MirrorWorker:
    """The function given to `mapInArrow`; holds everything a worker needs to know about the batch.

    sink:              the pickled RecordSink; a worker process unpickles it once and keeps it from batch to batch.
    options:           pickled DecodeOptions: how the messages are read. The reader is kept likewise.
    budget_s:          one deadline for all the calls of the partition.
    window_rows, window_bytes: events handed to the sink at once; bytes are those of the Kafka values.
    return_undecoded:  whether messages that cannot be decoded come back as dead letters; else another lane keeps them.
    horizon_ms:        how long the sink remembers deletes; events later than that are counted apart.
    lease:             the driver's, asked before every window: a worker may outlive its driver, or be paused with it.
    allowance:         the share of the usual speed that the flow's writers begin this batch with.
    """

    sink: bytes = field(repr=False)
    options: bytes = field(repr=False)
    lane: str
    fence: Fence
    budget_s: float
    window_rows: int
    window_bytes: int
    return_undecoded: bool
    victims: Victims
    horizon_ms: int
    lease: LeaseCheck | None = None
    allowance: Allowance = UNSLOWED

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Write the partition's events; yield the report."""
        work = _Partition(self)
        try:
            with collector_paused():
                for window in windows(batches, self.window_rows, self.window_bytes):
                    work.take(window)
                    yield from work.letters()
        except MillraceError as error:
            yield _row(ERROR, packed(error))
        summary = {**work.counts, "max_lut_ms": work.max_lut_ms, "lateness": work.lateness, "seen": work.seen}
        yield _row(SUMMARY, json.dumps(summary).encode())


def windows(batches: Iterator[pa.RecordBatch], rows: int, size_bytes: int) -> Iterator[pa.Table]:
    """The partition's batches regrouped: each table holds at most `rows` rows, and about `size_bytes` of values."""
    held: list[pa.RecordBatch] = []
    held_rows = held_bytes = 0
    for batch in batches:
        start = 0
        while start < batch.num_rows:
            per_row = max(1, batch.column("value").nbytes // max(1, batch.num_rows))
            room = min(rows - held_rows, max(1, (size_bytes - held_bytes) // per_row))
            piece = batch.slice(start, room)
            held.append(piece)
            held_rows += piece.num_rows
            held_bytes += piece.num_rows * per_row
            start += piece.num_rows
            if held_rows >= rows or held_bytes >= size_bytes:
                yield pa.Table.from_batches(held)
                held, held_rows, held_bytes = [], 0, 0
    if held:
        yield pa.Table.from_batches(held)


@lru_cache(maxsize=8)
def _sink(pickled: bytes) -> RecordSink:
    """This process's sink for a configuration: connections outlive the batch. They end with the process."""
    return pickle.loads(pickled)  # type: ignore[no-any-return]  # written by our own driver


@dataclass(slots=True)
class _Partition:
    """The account of one partition as it grows."""

    worker: MirrorWorker
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTS, 0))
    max_lut_ms: int | None = None
    lateness: Lateness = NOTHING_LATE
    _deadline: Deadline | None = None
    _letters: list[dict[str, Any]] = field(default_factory=list)
    _pace: Pace | None = None
    _points: Failpoints = field(init=False)

    def __post_init__(self) -> None:
        self._points = Failpoints(armed_file(), self.worker.victims)

    def take(self, window: pa.Table) -> None:
        """Read, count and write one window."""
        read = reader_of(self.worker.options).events(window)
        self.counts["messages"] += window.num_rows
        self.counts["rows"] += read.total
        self.counts["unselected"] += read.unselected
        luts = [event.lut_ms for event in read.events if event.lut_ms is not None]
        self.counts["unversioned"] += len(read.events) - len(luts)
        if luts:
            self.max_lut_ms = max(*luts, self.max_lut_ms or 0)
        for found in read.rejections:
            self.counts["dead"] += 1
            self.counts["undecoded"] += not found.decoded
            own = own_letter(found, self.worker.return_undecoded)
            if own is not None:
                whose = (found.namespace, found.digest)
                why = (found.code, found.detail)
                self._letters.append(letter_row(window, (found.row, found.element), why, whose, rejected=own))
        self._points.hit(f"{self.worker.lane}:decode", batch_id=self.worker.fence.batch_id, of=len(read.events))
        outcomes = self._write(read.events)
        others = [outcome for outcome in outcomes if outcome is not APPLIED]  # nearly all are this very object
        counts = Counter(outcome.disposition for outcome in others)
        counts[Disposition.APPLIED] += len(outcomes) - len(others)
        for disposition, number in counts.items():
            self.counts[_COUNTED_AS[disposition]] += number
        self.counts["past_horizon"] += sum(outcome.past_horizon for outcome in others)
        if others:
            late = lateness_of([outcome.late_ms for outcome in others], self.worker.horizon_ms)
            self.lateness = added((self.lateness, late))
        if counts[Disposition.REJECTED]:
            for row, event, outcome in zip(read.rows, read.events, outcomes, strict=True):
                if outcome.disposition is Disposition.REJECTED:
                    whose = (event.namespace, event.digest)
                    why = (outcome.code, outcome.detail)
                    self._letters.append(letter_row(window, (row, event.element), why, whose, rejected=True))

    def letters(self) -> Iterator[pa.RecordBatch]:
        """The dead letters since the last call."""
        if self._letters:
            yield _row(DEAD, letters_stream(self._letters))
            self._letters = []

    def _write(self, events: Sequence[ChangeEvent]) -> Sequence[Outcome]:
        if not events:
            return []
        if self._deadline is None:
            self._deadline = Deadline.after_s(self.worker.budget_s)
            self._begin_pace()
        sink, fence = _sink(self.worker.sink), self.worker.fence
        self._require_lease()
        self._maybe_strike(sink, events, fence, self._deadline)
        outcomes = sink.write(events, fence, self._deadline)
        if len(outcomes) != len(events):
            raise Terminal("E410", f"the sink answered {len(outcomes)} times for {len(events)} events", output=sink.name)
        return outcomes

    def _begin_pace(self) -> None:
        sink = _sink(self.worker.sink)
        if isinstance(sink, Paced):
            sink.pace.begin(self.worker.allowance)
            self._pace = sink.pace

    @property
    def seen(self) -> Seen | None:
        """What the sink saw of its cluster; None when nothing was written, or the sink keeps no pace."""
        return None if self._pace is None else self._pace.seen

    def _maybe_strike(self, sink: RecordSink, events: Sequence[ChangeEvent], fence: Fence, deadline: Deadline) -> None:
        """For drills: die with the first events of a call written and the rest not."""
        for name in ("mid_sink", f"mid_{sink.name}"):
            point = f"{self.worker.lane}:{name}"
            armed = self._points.armed(point)
            if armed is not None and len(events) > armed.events:
                sink.write(events[: armed.events], fence, deadline)
                self._points.hit(point, batch_id=fence.batch_id, written=armed.events, of=len(events))
                self._require_lease()

    def _require_lease(self) -> None:
        if self.worker.lease is not None:
            self.worker.lease.require_held()


def own_letter(found: Rejection, kept_here: bool) -> bool | None:
    """Whose letter a message or event is that was rejected on reading: this output's own (True), every output's (False), or that
    of another lane, which keeps it (None).

    What was read, but cannot be held here, is this output's own: history has it, the mirror has not. So is what the lane that
    keeps undecoded messages may be able to read when its turn comes. kept_here: whether this lane is that one.
    """
    if found.decoded or kept_here or found.code in MAY_PASS:
        return found.decoded or not kept_here
    return None


def letters_stream(rows: Sequence[dict[str, Any]]) -> bytes:
    """Rows of LETTERS as an Arrow stream: the content of a DEAD row."""
    stream = io.BytesIO()
    with pa.ipc.new_stream(stream, LETTERS) as out:
        out.write(pa.RecordBatch.from_pylist(list(rows), schema=LETTERS))
    return stream.getvalue()


def letter_row(
    window: pa.Table,
    place: tuple[int, int],
    why: tuple[str, str],
    whose: tuple[str | None, bytes | None],
    *,
    rejected: bool,
) -> dict[str, Any]:
    """A row of LETTERS for what stands at `place`: the message's row in the window, and the element in the message.

    why: code and detail; whose: namespace and digest, as far as they are known.
    """
    row, element = place
    message = {name: window.column(name)[row].as_py() for name in MESSAGE}
    message["headers"] = headers_of(message["headers"])
    reason = {"rejected": rejected, "code": why[0], "detail": why[1], "element": element}
    return {**reason, **message, "namespace": whose[0], "digest": whose[1]}


def _row(kind: str, content: bytes) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist([{"kind": kind, "content": content}], schema=REPORT)


__all__ = [
    *("COUNTS", "LETTERS", "MirrorWorker", "REPORT", "REPORT_DDL", "Report", "letter_row", "letters_stream"),
    *("own_letter", "read_report", "seen_by_writers", "windows"),
]
