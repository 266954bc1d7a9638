import pickle
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from checkpoints.lease import Lease
from checkpoints.tokens import SYSTEM, Clock
from pipelines import mirror_worker
from pipelines.failpoints import VARIABLE, Victims
from pipelines.mirror_worker import LETTERS, REPORT, MirrorWorker, Report, read_report, seen_by_writers, windows
from pipelines.worker_errors import packed, raise_worst
from schemas.digest import digest_of
from schemas.errors import InDoubt, MillraceError, Retryable, Terminal
from schemas.events import ChangeEvent
from schemas.lateness import NAMES
from schemas.xdr import DecodeOptions, RecordType
from schemas.xdr.reader import Reader
from sinks.contract import APPLIED, Deadline, Disposition, Fence, Outcome
from sinks.pressure import Allowance, Pace
from sinks.testing import Fault, FaultySink, MemorySink
from tests.support.avro_messages import MemorySchemas
from tests.support.typed_json import Change

SCHEMA = pa.schema(
    [
        ("topic", pa.string()), ("partition", pa.int32()), ("offset", pa.int64()),
        ("kafka_timestamp", pa.timestamp("us", tz="UTC")), ("key", pa.binary()), ("value", pa.binary()),
        ("headers", pa.string()),
    ]
)  # fmt: skip
OPTIONS = DecodeOptions(records=(RecordType("ns"),))


def row(offset: int, key: str = "k", lut: int = 1_700_000_000_000, **changes: Any) -> dict[str, Any]:
    """A message; `changes` are those of the Change."""
    _, value = Change(key, lut, 1, **{"bins": {"n": offset}, "namespace": "ns", "set": "s", **changes}).message()
    return message(offset, value)


def message(offset: int, value: bytes) -> dict[str, Any]:
    at = {"topic": "t", "partition": 0, "offset": offset, "kafka_timestamp": None}
    return {**at, "key": b"key", "value": value, "headers": '[{"key":"from","value":"AP8="},{"key":"empty"}]'}


def undecoded(offset: int) -> dict[str, Any]:
    return message(offset, b"not json")


def batches(*rows: dict[str, Any], size: int = 100) -> Iterator[pa.RecordBatch]:
    table = pa.Table.from_pylist(list(rows), schema=SCHEMA)
    return iter(table.to_batches(max_chunksize=size))


SINKS: dict[bytes, Any] = {}


@pytest.fixture(autouse=True)
def _sinks(monkeypatch: pytest.MonkeyPatch) -> None:
    SINKS.clear()
    monkeypatch.setattr(mirror_worker, "_sink", lambda pickled: SINKS[pickled])


def worker(sink: Any, **changes: Any) -> MirrorWorker:
    SINKS[b"sink"] = sink
    usual: dict[str, Any] = {
        "sink": b"sink", "options": pickle.dumps(OPTIONS), "lane": "fast", "fence": Fence("epoch", 7), "budget_s": 5.0,
        "window_rows": 4, "window_bytes": 1 << 20,
        "return_undecoded": True, "victims": Victims(-1), "horizon_ms": 86_400_000,
    }  # fmt: skip
    return MirrorWorker(**{**usual, **changes})


def report(made: Iterator[pa.RecordBatch]) -> Report:
    return read_report(pa.Table.from_batches(list(made), schema=REPORT))


def letters(said: Report) -> list[dict[str, Any]]:
    if said.letters is None:
        return []
    assert said.letters.schema == LETTERS
    return said.letters.to_pylist()


class Recorder(MemorySink):
    """Keeps the calls it gets."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[int] = []
        self.deadlines: set[Deadline] = set()

    def write(self, events: Sequence[ChangeEvent], fence: Fence, deadline: Deadline) -> Sequence[Outcome]:
        assert fence == Fence("epoch", 7)
        self.calls.append(len(events))
        self.deadlines.add(deadline)
        return super().write(events, fence, deadline)


def test_every_row_has_one_fate() -> None:
    rows = [row(0, "a"), row(1, "a", 1_700_000_000_500), row(2, "b"), row(3, "b"), undecoded(4), row(5, "c", namespace="other")]
    said = report(worker(Recorder(), window_rows=100)(batches(*rows)))
    counts = said.counts
    assert {name: counts[name] for name in ("rows", "unselected", "applied", "superseded", "duplicate", "dead", "undecoded")} == {
        "rows": 6, "unselected": 1, "applied": 2, "superseded": 1, "duplicate": 1, "dead": 1, "undecoded": 1,
    }  # fmt: skip
    assert said.max_lut_ms == 1_700_000_000_500


def test_late_events_are_counted_by_how_late_they_are() -> None:
    day, newest = 86_400_000, 1_700_000_000_000
    sink = MemorySink()
    report(worker(sink, fence=Fence("before", 0))(batches(*(row(place, name, newest) for place, name in enumerate("abc")))))
    late = [row(3, "a", newest - 5), row(4, "b", newest - 700), row(5, "c", newest - day - 1)]
    rows = [*late, row(6, "d", newest - 900), row(7, "d", newest)]
    said = report(worker(sink, window_rows=2)(batches(*rows)))
    counted = {name: number for name, number in zip(NAMES, said.lateness, strict=True) if number}
    assert counted == {"10 ms": 1, "1 s": 1, "more than the horizon": 1}
    assert said.counts["superseded"] == 3, "d's older event was in its place"


def test_what_cannot_be_decoded_comes_back_whole_or_is_counted_only() -> None:
    said = report(worker(Recorder())(batches(undecoded(4))))
    (letter,) = letters(said)
    assert (letter["code"], letter["rejected"], letter["offset"]) == ("D102", False, 4)
    assert (letter["key"], letter["value"]) == (b"key", b"not json")
    assert letter["headers"] == [{"key": "from", "value": b"\x00\xff"}, {"key": "empty", "value": None}]
    said = report(worker(Recorder(), return_undecoded=False)(batches(undecoded(4))))
    assert letters(said) == [] and said.counts["undecoded"] == 1


@pytest.mark.parametrize(("keeps", "own"), [(True, False), (False, True)], ids=["every output's", "this output's own"])
def test_a_schema_not_known_yet_has_a_letter_in_every_lane(keeps: bool, own: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another lane may read the message a moment later, and then keeps no letter of it: the mirror must not go without."""
    reader = Reader(DecodeOptions("kafka-avro"), MemorySchemas({}))
    monkeypatch.setattr(mirror_worker, "reader_of", lambda options: reader)
    said = report(worker(Recorder(), return_undecoded=keeps)(batches(message(4, b"\0\0\0\0\x07abc"))))
    (letter,) = letters(said)
    assert (letter["code"], letter["rejected"], letter["offset"]) == ("D110", own, 4)
    assert said.counts["dead"] == said.counts["undecoded"] == 1


def test_what_the_sink_refuses_comes_back_with_its_reason_while_its_neighbours_are_applied() -> None:
    sink = FaultySink(MemorySink(), [Disposition.REJECTED])
    said = report(worker(sink)(batches(row(0, "a"), row(1, "b"), row(2, "c"))))
    (letter,) = letters(said)
    assert (letter["code"], letter["rejected"], letter["offset"], letter["digest"]) == ("D205", True, 2, digest_of("s", "c"))
    assert said.counts["applied"] == 2 and said.counts["dead"] == 1 and said.counts["undecoded"] == 0


def test_a_value_that_only_this_output_cannot_hold_is_its_own_dead_letter() -> None:
    good = row(1, "b")["value"]
    bad = good.replace(b'"type": "int", "value": 1', b'"type": "list", "value": [' + b"9" * 30 + b"]")
    assert bad != good
    said = report(worker(Recorder())(batches(row(0, "a"), message(1, bad))))
    (letter,) = letters(said)
    assert letter["rejected"] and letter["offset"] == 1 and letter["digest"] == digest_of("s", "b")
    assert said.counts["dead"] == 1 and said.counts["undecoded"] == 0, "history has it: it was decoded"


def test_windows_are_bounded_and_share_one_deadline() -> None:
    sink = Recorder()
    report(worker(sink, window_rows=4)(batches(*(row(n, f"k{n}") for n in range(11)), size=3)))
    assert sink.calls == [4, 4, 3] and len(sink.deadlines) == 1
    few_bytes = list(windows(batches(*(message(n, b"v" * 100) for n in range(10)), size=10), 1000, 350))
    assert [window.num_rows for window in few_bytes] == [4, 4, 2]


def test_a_record_larger_than_the_window_goes_alone() -> None:
    sizes = [window.num_rows for window in windows(batches(*(message(n, b"x" * 5000) for n in range(3))), 100, 1000)]
    assert sizes == [1, 1, 1]


@pytest.mark.parametrize(("in_doubt", "kind"), [(False, Retryable), (True, InDoubt)])
def test_the_sinks_error_reaches_the_driver_as_the_same_error(in_doubt: bool, kind: type[MillraceError]) -> None:
    with pytest.raises(kind) as raised:
        report(worker(FaultySink(MemorySink(), [Fault(2, in_doubt)]))(batches(row(0, "a"), row(1, "b"), row(2, "c"))))
    error = raised.value
    assert type(error) is kind and error.code == ("E310" if in_doubt else "E210") and error.context["output"] == "memory"


def test_an_answer_missing_is_a_defect_nobody_may_miss() -> None:
    class Broken(MemorySink):
        def write(self, events: Sequence[ChangeEvent], fence: Fence, deadline: Deadline) -> Sequence[Outcome]:
            return [APPLIED]

    with pytest.raises(Terminal, match="1 times for 2 events") as raised:
        report(worker(Broken())(batches(row(0, "a"), row(1, "b"))))
    assert raised.value.code == "E410"


def test_an_empty_partition_says_so() -> None:
    said = report(worker(Recorder())(batches()))
    assert said.counts["rows"] == 0 and said.max_lut_ms is None


def test_a_drill_can_strike_inside_the_sink(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "armed").write_text("fast:mid_sink events=2 action=sleep seconds=0\n")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "armed"))
    sink = Recorder()
    report(worker(sink, window_rows=100)(batches(*(row(n, f"k{n}") for n in range(5)))))
    assert sink.calls == [2, 5], "the first two, the blow, and, since it only slept, all of them"
    assert '"written": 2' in (tmp_path / "armed.fired").read_text()


def test_the_gravest_error_of_the_workers_decides() -> None:
    retry, doubt, end = Retryable("E210", "a"), InDoubt("E310", "b"), Terminal("E410", "c")
    raise_worst([])
    for errors, worst in (([retry, doubt], doubt), ([doubt, end, retry], end), ([retry], retry)):
        with pytest.raises(type(worst)) as raised:
            raise_worst(map(packed, errors))
        assert (raised.value.code, str(raised.value)) == (worst.code, str(worst))


class Overtaken(Recorder):
    """While it writes for the first time, the driver's machine is paused for long, and a second driver takes the checkpoint."""

    def __init__(self, checkpoint: Path) -> None:
        super().__init__()
        self.later = Clock(lambda: SYSTEM.wall() + 3_600, SYSTEM.running)
        self.checkpoint = str(checkpoint)
        self.second: Lease | None = None

    def write(self, events: Sequence[ChangeEvent], fence: Fence, deadline: Deadline) -> Sequence[Outcome]:
        if self.second is None:
            self.second = Lease(self.checkpoint, "f", clock=self.later).__enter__()
        return super().write(events, fence, deadline)


def test_a_worker_of_a_driver_that_was_replaced_begins_no_further_window(tmp_path: Path) -> None:
    sink = Overtaken(tmp_path)
    rows = [row(n, f"k{n}") for n in range(11)]
    with Lease(str(tmp_path), "f") as lease, pytest.raises(Terminal, match="E424"):
        report(worker(sink, window_rows=4, lease=lease.check)(batches(*rows, size=4)))
    assert sink.calls == [4] and sink.second is not None and sink.second.token == 2
    report(worker(sink, lease=sink.second.check)(batches(*rows)))
    assert sink.calls == [4, 4, 4, 3], "the second driver's workers write"
    sink.second.__exit__(None, None, None)
    unfenced = Overtaken(tmp_path / "unfenced")
    with Lease(str(tmp_path / "unfenced"), "f"):
        report(worker(unfenced, window_rows=4)(batches(*rows, size=4)))
    assert unfenced.calls == [4, 4, 3], "without the look it would have gone on writing"


def test_a_worker_that_slept_past_its_drivers_end_writes_nothing_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the middle of a window: some events written, asleep, replaced, awake."""
    (tmp_path / "armed").write_text("fast:mid_sink events=2 action=sleep seconds=0\n")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "armed"))
    sink = Overtaken(tmp_path / "ck")
    with Lease(str(tmp_path / "ck"), "f") as lease, pytest.raises(Terminal, match="E424"):
        report(worker(sink, window_rows=100, lease=lease.check)(batches(*(row(n, f"k{n}") for n in range(5)))))
    assert sink.calls == [2] and (tmp_path / "armed.fired").exists()


class PacedSink(Recorder):
    """A sink that keeps a pace, of which some records are refused."""

    def __init__(self, error: MillraceError | None = None) -> None:
        super().__init__()
        self.pace = Pace(100, 2, 0.02, 1.0)
        self.error = error
        self.began_at: list[float] = []

    def write(self, events: Sequence[ChangeEvent], fence: Fence, deadline: Deadline) -> Sequence[Outcome]:
        self.began_at.append(self.pace.share)
        self.pace.answered(self.pace.sent(10), 9, 1)
        if self.error is not None:
            raise self.error
        return super().write(events, fence, deadline)


def test_a_paced_sink_begins_at_the_flows_share_once_a_batch_and_says_what_it_saw() -> None:
    sink = PacedSink()
    rows = pa.Table.from_batches(
        list(worker(sink, allowance=Allowance(0.25, 500.0))(batches(row(0, "a"), row(1, "b"), *[row(n) for n in range(2, 6)]))),
        schema=REPORT,
    )
    assert sink.began_at[0] == 0.25 and len(sink.began_at) == 2 and sink.began_at[1] < 0.25, "told once, not per window"
    (seen,) = seen_by_writers(rows)
    assert (seen.taken, seen.refused) == (18, 2) and seen.share < 0.25
    assert read_report(rows).counts["rows"] == 6


def test_what_was_seen_comes_with_an_error_too() -> None:
    rows = pa.Table.from_batches(list(worker(PacedSink(Retryable("E211", "busy")))(batches(row(0)))), schema=REPORT)
    assert [(seen.taken, seen.refused) for seen in seen_by_writers(rows)] == [(9, 1)]
    with pytest.raises(Retryable, match="E211"):
        read_report(rows)


def test_a_sink_without_a_pace_says_nothing() -> None:
    rows = pa.Table.from_batches(list(worker(Recorder())(batches(row(0)))), schema=REPORT)
    assert seen_by_writers(rows) == []
