"""Folding and applying without Spark: what counts, what becomes a letter, and that nothing is written of a batch half read."""

import pickle
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest

from pipelines import counters_worker
from pipelines.counters_worker import CHANGE, FOLDED, Applying, Folding, FoldingAndApplying, refused_in
from pipelines.failpoints import Victims
from pipelines.mirror_worker import REPORT, Report, read_report
from pipelines.worker_errors import error_in
from schemas.errors import ConfigError, Retryable
from schemas.xdr.options import DecodeOptions, RecordType
from sinks.aerospike.count_plan import CountedBin, CountPlan, KeyRule
from sinks.aerospike.fences import WriterFence
from sinks.aerospike.record_changes import Target
from sinks.counters_double import MemoryCounters
from tests.unit.runner.test_mirror_worker import batches, row, undecoded

PLAN = CountPlan("s", KeyRule("bin", "k"), (CountedBin("n", "count"), CountedBin("sum", "sum", of="a")))
SINKS: dict[bytes, MemoryCounters] = {}


@pytest.fixture
def sink(monkeypatch: pytest.MonkeyPatch) -> MemoryCounters:
    memory = MemoryCounters()
    monkeypatch.setattr(counters_worker, "_sink", lambda _: memory)
    return memory


def folding(plan: CountPlan = PLAN, **changes: Any) -> Folding:
    usual: dict[str, Any] = {"lane": "fast", "batch_id": 7, "return_undecoded": True, "victims": Victims(0)}
    options = DecodeOptions(records=(RecordType("ns"),))
    return Folding(pickle.dumps(options), pickle.dumps(plan), **{**usual, **changes})


def applying(batch: int = 7) -> Applying:
    return Applying(b"sink", "fast", WriterFence("f/o", 1, batch), 5.0, Victims(0))


def report(made: Iterator[pa.RecordBatch]) -> Report:
    table = pa.Table.from_batches(list(made), schema=REPORT)
    return read_report(table.filter(pa.array([kind != "refused" for kind in table.column("kind").to_pylist()], pa.bool_())))


def event(offset: int, **bins: Any) -> dict[str, Any]:
    return row(offset, key=f"r{offset}", bins=bins)


def test_two_partitions_meet_in_one_change_per_record(sink: MemoryCounters) -> None:
    parts = [[event(1, k="x", a=1), event(2, k="y", a=2)], [event(3, k="x", a=10), event(4, k="x"), undecoded(5)]]
    folded = [one for part in parts for one in folding()(batches(*part, size=1))]
    rows = pa.Table.from_batches(folded, schema=FOLDED)
    assert sorted(rows.filter(pa.compute.equal(rows.column("kind"), CHANGE)).column("target").to_pylist()) == sorted(
        [repr(Target("s", name)).encode() for name in ("x", "y", "x")]
    )
    for _ in range(2):
        said = report(applying()(iter(folded)))
        assert said.counts | {"messages": 5, "rows": 5, "applied": 4, "dead": 1, "undecoded": 1} == said.counts
        assert said.letters is not None and said.letters.column("code").to_pylist() == ["D102"]
        assert sink.records == {Target("s", "x"): {"n": 3, "sum": 11}, Target("s", "y"): {"n": 1, "sum": 2}}


def test_what_is_not_counted_and_what_cannot_be(sink: MemoryCounters) -> None:
    plan = CountPlan("s", KeyRule("bin", "k"), (CountedBin("sum", "sum", of="a"),))
    rows = [event(1, k="x", a="1"), event(2, a=1), event(3, k="x"), row(4, bins=None), row(5, namespace="other", bins={"a": 1})]
    said = report(FoldingAndApplying(folding(plan), applying())(batches(*rows)))
    assert said.counts | {"messages": 5, "rows": 5, "unselected": 2, "applied": 1, "dead": 2, "undecoded": 0} == said.counts
    assert said.letters is not None
    assert [(one["offset"], one["code"], one["rejected"]) for one in said.letters.to_pylist()] == [
        (1, "D211", True),
        (2, "D210", True),
    ]
    assert sink.records == {}


def test_a_record_that_is_refused_is_told_with_its_target_and_its_events_are_found_again(sink: MemoryCounters) -> None:
    sink.records[Target("s", "x")] = {"n": "text"}
    rows = [event(1, k="x", a=1), event(2, k="y", a=2), event(3, k="x", a=1), undecoded(4)]
    made = list(FoldingAndApplying(folding(), applying())(batches(*rows)))
    said = report(iter(made))
    assert said.counts | {"applied": 1, "dead": 3} == said.counts
    refused = refused_in(pa.Table.from_batches(made, schema=REPORT))
    assert refused == {Target("s", "x"): ("D205", "Aerospike answered 12")}
    again = pa.Table.from_batches(list(folding(refused=refused)(batches(*rows))), schema=FOLDED).select(["kind", "content"])
    letters = read_report(again).letters
    assert letters is not None and [(one["offset"], one["code"]) for one in letters.to_pylist()] == [(1, "D205"), (3, "D205")]


def test_nothing_is_written_of_a_batch_that_was_not_read_to_its_end(
    sink: MemoryCounters, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = counters_worker.windows
    monkeypatch.setattr(counters_worker, "windows", lambda found, rows, size: whole(found, 1, size))
    reader = counters_worker.reader_of(folding().options)

    class Failing:
        def events(self, window: pa.Table) -> Any:
            if window.column("offset")[0].as_py() == 2:
                raise Retryable("E221", "the registry is away")
            return reader.events(window)

    monkeypatch.setattr(counters_worker, "reader_of", lambda _: Failing())
    with pytest.raises(RuntimeError) as caught:
        list(FoldingAndApplying(folding(), applying())(batches(event(1, k="x", a=1), event(2, k="x", a=1))))
    error = error_in(caught.value)
    assert error is not None and error.code == "E221"
    assert sink.records == {}


def test_a_sinks_error_travels_as_the_object_it_was(sink: MemoryCounters) -> None:
    report(FoldingAndApplying(folding(), applying())(batches(event(1, k="x", a=1))))
    with pytest.raises(ConfigError, match="E126"):
        report(FoldingAndApplying(folding(), applying())(batches(event(1, k="x", a=1), event(2, k="x", a=1))))


def test_an_older_batch_is_counted_superseded(sink: MemoryCounters) -> None:
    for batch, column in ((7, "applied"), (6, "superseded")):
        assert report(FoldingAndApplying(folding(), applying(batch))(batches(event(1, k="x", a=1)))).counts[column] == 1
    assert sink.records == {Target("s", "x"): {"n": 1, "sum": 1}}
