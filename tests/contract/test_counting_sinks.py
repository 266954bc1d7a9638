"""One suite over what applies operations exactly once: the double in memory and Aerospike itself."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deploy.local.node_info import ask
from schemas.errors import ConfigError, InDoubt, Retryable
from sinks.aerospike import AerospikeCounters
from sinks.aerospike.connection import client_for
from sinks.aerospike.counters import CounterSteps
from sinks.aerospike.fences import FENCE_BIN, WriterFence
from sinks.aerospike.record_changes import (
    Add,
    AddToEntry,
    Append,
    Contribution,
    Put,
    PutEntry,
    RecordChange,
    Target,
    fold,
)
from sinks.contract import Deadline, Disposition, Outcome
from sinks.counters_double import MemoryCounters
from tests.support.counters import WRITER, counters_config, event, shown, stored

APPLIED, SUPERSEDED, DUPLICATE, REJECTED = Disposition


class CountingSink(Protocol):
    """What both subjects are."""

    def write(self, changes: Sequence[RecordChange], fence: WriterFence, deadline: Deadline) -> Sequence[Outcome]: ...


class Subject(NamedTuple):
    """A sink under test, what a reader sees of a record, how others remove one, and how many writes were left in doubt."""

    sink: CountingSink
    shows: Callable[[Target], dict[str, Any] | None]
    remove: Callable[[Target], None]
    lose_answers: Callable[[int], None]


@pytest.fixture(params=["memory", pytest.param("aerospike", marks=pytest.mark.stack)])
def subject(request: pytest.FixtureRequest) -> Iterator[Subject]:
    if request.param == "memory":
        memory = MemoryCounters()
        yield Subject(memory, memory.records.get, memory.remove, lambda times: None)
        return
    node = request.getfixturevalue("aerospike_node")
    sink = AerospikeCounters(counters_config(node.address, node.namespace, timeout_ms=1_000))

    def lose(times: int) -> None:
        if node.node is not None:
            ask(node.address, f"millrace-fault:name=timeout-after-effect;kind=write;times={times}")

    def remove(target: Target) -> None:
        client_for(sink.config.client).remove((node.namespace, target.set, target.user_key))

    yield Subject(sink, lambda target: shown(sink, target), remove, lose)
    if node.node is not None:
        ask(node.address, "millrace-fault:clear")


@pytest.fixture
def key() -> Callable[[str], Target]:
    run = uuid4().hex[:8]
    return lambda name: Target("counted", f"{run}-{name}")


def put(
    subject: Subject, contributions: Sequence[Contribution], batch: int, turn: int = 5, writer: str = WRITER
) -> list[Outcome]:
    """Write one batch as the micro-batch does: the whole call again after anything that may be repeated."""
    changes = list(fold(contributions).values())
    for _ in range(20):
        try:
            return list(subject.sink.write(changes, WriterFence(writer, turn, batch), Deadline.after_s(30)))
        except (Retryable, InDoubt):
            continue
    raise AssertionError("the sink never recovered")


def said(outcomes: Sequence[Outcome]) -> list[Disposition]:
    return [outcome.disposition for outcome in outcomes]


def test_every_operation_is_done(subject: Subject, key: Callable[[str], Target]) -> None:
    a = key("a")
    batches = [
        [
            event(a, 1, Add("n", 2), Add("x", 0.25), Append("l", ("p", 1)), AddToEntry("m", "eur", 3), Put("last", "one")),
            event(a, 2, Add("n", -5), Add("x", 0.5), Append("l", (2,)), AddToEntry("m", 7, 1), PutEntry("pm", "k", [1])),
        ],
        [
            event(
                a, 3, Add("n", 10), AddToEntry("m", "eur", 4), Append("l", ([3],)), Put("last", "two"), PutEntry("pm", b"b", 2.5)
            )
        ],
    ]
    for number, batch in enumerate(batches):
        assert said(put(subject, batch, number)) == [APPLIED]
    assert subject.shows(a) == {
        "n": 7,
        "x": 0.75,
        "l": ["p", 1, 2, [3]],
        "m": {"eur": 7, 7: 1},
        "last": "two",
        "pm": {"k": [1], b"b": 2.5},
    }


def test_a_batch_again_changes_nothing_and_reads_the_same(subject: Subject, key: Callable[[str], Target]) -> None:
    batch = [event(key("a"), 1, Add("n", 1)), event(key("b"), 2, Append("l", ("x",))), event(key("a"), 3, Add("n", 1))]
    first = put(subject, batch, 4)
    assert said(first) == [APPLIED, APPLIED]
    assert put(subject, batch, 4) == first
    assert (subject.shows(key("a")), subject.shows(key("b"))) == ({"n": 2}, {"l": ["x"]})


def test_an_older_batch_is_fenced_off(subject: Subject, key: Callable[[str], Target]) -> None:
    put(subject, [event(key("a"), 1, Add("n", 1))], 3)
    put(subject, [event(key("a"), 2, Add("n", 1))], 9)
    assert said(put(subject, [event(key("a"), 1, Add("n", 1))], 3)) == [SUPERSEDED]
    assert said(put(subject, [event(key("a"), 3, Add("n", 1))], 10_000, turn=4)) == [SUPERSEDED], "an earlier checkpoint's"
    assert subject.shows(key("a")) == {"n": 2}
    assert said(put(subject, [event(key("a"), 3, Add("n", 1))], 0, turn=6)) == [APPLIED], "a later checkpoint's first"
    assert subject.shows(key("a")) == {"n": 3}


def test_writers_do_not_hinder_each_other(subject: Subject, key: Callable[[str], Target]) -> None:
    for writer in ("flow/one", "flow/two", "flow/on", "flow2/one"):
        for _ in range(2):
            assert said(put(subject, [event(key("a"), 1, Add("n", 1))], 7, writer=writer)) == [APPLIED]
    assert subject.shows(key("a")) == {"n": 4}


def test_a_batch_cut_in_the_middle_is_finished_by_its_replay(subject: Subject, key: Callable[[str], Target]) -> None:
    batch = [event(key(str(n % 10)), n, Add("n", 1), Append("l", (n,))) for n in range(40)]
    cut = list(fold(batch).values())[:4]
    subject.sink.write(cut, WriterFence(WRITER, 5, 1), Deadline.after_s(30))
    assert said(put(subject, batch, 1)) == [APPLIED] * 10
    assert [subject.shows(key(str(n))) for n in range(10)] == [{"n": 4, "l": [n, n + 10, n + 20, n + 30]} for n in range(10)]


def test_a_batch_repeated_with_other_events_is_refused(subject: Subject, key: Callable[[str], Target]) -> None:
    put(subject, [event(key("a"), 1, Add("n", 1))], 3)
    with pytest.raises(ConfigError, match="E126"):
        put(subject, [event(key("a"), 1, Add("n", 1)), event(key("a"), 2, Add("n", 1))], 3)
    assert subject.shows(key("a")) == {"n": 1}


def test_a_bounded_list_keeps_its_last_elements_in_kafka_order(subject: Subject, key: Callable[[str], Target]) -> None:
    elements = [(partition, offset, index) for partition in (0, 1) for offset in range(3) for index in range(2)]
    shuffled = sorted(elements, key=lambda place: (place[2], -place[1], place[0]))
    events = [event(key("a"), o, Append("l", (f"{p}{o}{e}",), keep=5), partition=p, element=e) for p, o, e in shuffled]
    put(subject, events, 0)
    expected = [f"{p}{o}{e}" for p, o, e in elements]
    assert subject.shows(key("a")) == {"l": expected[-5:]}
    put(subject, [event(key("a"), 9, Append("l", ("new",), keep=5))], 1)
    assert subject.shows(key("a")) == {"l": [*expected[-4:], "new"]}
    put(subject, [event(key("b"), 9, Append("l", ("only",), keep=5))], 1)
    assert subject.shows(key("b")) == {"l": ["only"]}


def test_what_cannot_be_stored_is_refused_alone_and_changes_nothing(subject: Subject, key: Callable[[str], Target]) -> None:
    put(subject, [event(key("a"), 1, Put("n", "text")), event(key("b"), 1, Add("n", 1))], 0)
    batch = [
        event(key("a"), 2, Add("ok", 1), Add("n", 1)),
        event(key("b"), 3, Add("n", 1)),
        event(key("c"), 4, Add("n", (1 << 63) - 1)),
        event(key("c"), 5, Add("n", 1)),
        event(key("d"), 6, Put("s", "a\0b")),
    ]
    for _ in range(2):
        outcomes = put(subject, batch, 1)
        assert said(outcomes) == [REJECTED, APPLIED, REJECTED, REJECTED]
        assert [outcome.code for outcome in outcomes if outcome.code] == ["D205", "D203", "D202"]
    assert [subject.shows(key(name)) for name in "abcd"] == [{"n": "text"}, {"n": 2}, None, None]


def test_a_record_that_was_removed_begins_anew(subject: Subject, key: Callable[[str], Target]) -> None:
    put(subject, [event(key("a"), 1, Add("n", 5))], 3)
    subject.remove(key("a"))
    assert said(put(subject, [event(key("a"), 2, Add("n", 1))], 4)) == [APPLIED]
    assert subject.shows(key("a")) == {"n": 1}


_CHANGES = st.sampled_from(
    [
        lambda at: Add("n", at),
        lambda at: Add("x", at / 4),
        lambda at: AddToEntry("m", f"k{at % 3}", 1),
        lambda at: AddToEntry("mi", at % 2, -at),
        lambda at: Append("l", (at,)),
        lambda at: Append("b", (at, str(at)), 3),
        lambda at: Put("p", at),
    ]
)
_EVENTS = st.lists(st.tuples(st.integers(0, 3), st.lists(_CHANGES, min_size=1, max_size=3)), min_size=1, max_size=30)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), events=_EVENTS)
def test_any_batches_any_replays_any_zombies_end_in_the_truth(
    subject: Subject, key: Callable[[str], Target], data: st.DataObject, events: list[tuple[int, list[Any]]]
) -> None:
    run = uuid4().hex[:6]
    stream = [
        event(key(f"{run}-{record}"), offset, *{made.bin: made for make in makes if (made := make(offset))}.values())
        for offset, (record, makes) in enumerate(events)
    ]
    cuts = sorted(data.draw(st.sets(st.integers(1, max(1, len(stream) - 1)), max_size=6)))
    batches = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True) if stream[start:end]]
    truth = MemoryCounters(fenced=False)
    for number, batch in enumerate(batches):
        truth.write(list(fold(batch).values()), WriterFence(WRITER, 1, number), Deadline.after_s(1))
        # Attempts that are killed after some records, then one that goes through, some of their answers lost.
        for _ in range(data.draw(st.integers(0, 2))):
            part = data.draw(st.lists(st.sampled_from(list(fold(batch).values())), unique_by=lambda change: change.target))
            subject.sink.write(part, WriterFence(WRITER, 1, number), Deadline.after_s(30))
        if data.draw(st.integers(0, 9)) == 9:
            subject.lose_answers(1)
        shuffled = data.draw(st.permutations(batch))
        assert set(said(put(subject, shuffled, number, turn=1))) == {APPLIED}
        # Workers of batches long gone that go on writing, and the batch itself once more.
        for zombie in data.draw(st.lists(st.integers(0, number), max_size=2)):
            outcomes = put(subject, batches[zombie], zombie, turn=1)
            assert set(said(outcomes)) <= ({APPLIED} if zombie == number else {APPLIED, SUPERSEDED})
    for target, bins in truth.records.items():
        assert subject.shows(target) == bins


@pytest.mark.stack
def test_an_answer_that_is_lost_is_not_done_twice(aerospike_node: Any, key: Callable[[str], Target]) -> None:
    if aerospike_node.node is None:
        pytest.skip("faults are the embedded node's")
    sink = AerospikeCounters(counters_config(aerospike_node.address, aerospike_node.namespace, timeout_ms=500))
    ask(aerospike_node.address, "millrace-fault:name=timeout-after-effect;kind=write;times=2")
    try:
        batch = [event(key(str(n)), n, Add("n", 1)) for n in range(5)]
        outcomes = sink.write(list(fold(batch).values()), WriterFence(WRITER, 5, 1), Deadline.after_s(30))
        fired = ask(aerospike_node.address, "millrace-fault:list")
    finally:
        ask(aerospike_node.address, "millrace-fault:clear")
    assert said(outcomes) == [APPLIED] * 5
    assert "timeout-after-effect" not in fired, "both shots have been fired"
    assert [shown(sink, key(str(n))) for n in range(5)] == [{"n": 1}] * 5


@pytest.mark.stack
def test_without_the_fence_the_same_loss_counts_twice(
    aerospike_node: Any, key: Callable[[str], Target], monkeypatch: pytest.MonkeyPatch
) -> None:
    if aerospike_node.node is None:
        pytest.skip("faults are the embedded node's")
    monkeypatch.setattr(CounterSteps, "call_guard", lambda *_: None)
    sink = AerospikeCounters(counters_config(aerospike_node.address, aerospike_node.namespace, timeout_ms=500))
    ask(aerospike_node.address, "millrace-fault:name=timeout-after-effect;kind=write;times=1")
    sink.write(list(fold([event(key("a"), 1, Add("n", 1))]).values()), WriterFence(WRITER, 5, 1), Deadline.after_s(30))
    assert shown(sink, key("a")) == {"n": 2}


@pytest.mark.stack
def test_what_a_record_keeps_for_itself(aerospike_node: Any, key: Callable[[str], Target]) -> None:
    sink = AerospikeCounters(counters_config(aerospike_node.address, aerospike_node.namespace))
    for batch in range(3):
        for writer in ("flow/one", "flow/two"):
            changes = list(fold([event(key("a"), 1, Add("n", 1)), event(key("a"), 2, Add("n", 1))]).values())
            sink.write(changes, WriterFence(writer, 5, batch), Deadline.after_s(30))
    rank = WriterFence("", 5, 2).rank
    assert (stored(sink, key("a")) or {})[FENCE_BIN] == {"flow/one": [rank, 2], "flow/two": [rank, 2]}


@pytest.mark.stack
def test_records_by_digest_and_their_time_to_live(aerospike_node: Any) -> None:
    sink = AerospikeCounters(counters_config(aerospike_node.address, aerospike_node.namespace, ttl_s=500))
    target = Target("counted", None, uuid4().bytes + b"four")
    sink.write(list(fold([event(target, 1, Add("n", 1))]).values()), WriterFence(WRITER, 5, 1), Deadline.after_s(30))
    _, meta = client_for(sink.config.client).exists((aerospike_node.namespace, "counted", None, bytearray(target.digest or b"")))
    assert shown(sink, target) == {"n": 1} and 490 < meta["ttl"] <= 500
