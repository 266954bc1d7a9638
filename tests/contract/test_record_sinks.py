"""One suite over every record sink: the double in memory, the one that fails by script, and Aerospike itself."""

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple
from uuid import uuid4

import pytest

from schemas.errors import InDoubt, Retryable
from schemas.events import ChangeEvent
from schemas.lateness import NOT_MEASURED
from sinks.aerospike import AerospikeMirror
from sinks.contract import Deadline, Disposition, Fence, Outcome, RecordSink
from sinks.testing import Fault, FaultySink, MemorySink
from tests.support.events import delete, write
from tests.support.mirror import mirror_config, visible

APPLIED, SUPERSEDED, DUPLICATE, REJECTED = Disposition


class Subject(NamedTuple):
    """A sink under test, and how to see what it shows for some digests."""

    sink: RecordSink
    shows: Callable[[set[bytes]], dict[bytes, dict[str, Any]]]


def _memory() -> Subject:
    sink = MemorySink()
    return Subject(sink, lambda digests: {d: b for d, b in sink.visible().items() if d in digests})


def _faulty() -> Subject:
    inner = MemorySink()
    script = [Fault(applied=1), Fault(applied=2, in_doubt=True)]
    sink = FaultySink(inner, script)
    return Subject(sink, lambda digests: {d: b for d, b in inner.visible().items() if d in digests})


@pytest.fixture(params=["memory", "faulty", pytest.param("aerospike", marks=pytest.mark.stack)])
def subject(request: pytest.FixtureRequest) -> Subject:
    if request.param == "memory":
        return _memory()
    if request.param == "faulty":
        return _faulty()
    node = request.getfixturevalue("aerospike_node")
    sink = AerospikeMirror(mirror_config(node.address, node.namespace))
    return Subject(sink, lambda digests: visible(sink, digests))


@pytest.fixture
def key() -> Callable[[str], str]:
    run = uuid4().hex[:8]
    return lambda name: f"{run}-{name}"


def put(subject: Subject, events: Sequence[ChangeEvent], batch: int = 1, epoch: str = "epoch-one") -> list[Disposition]:
    return [outcome.disposition for outcome in answers(subject, events, batch, epoch)]


def late(subject: Subject, events: Sequence[ChangeEvent], batch: int = 1) -> list[int]:
    return [outcome.late_ms for outcome in answers(subject, events, batch, "epoch-one")]


def answers(subject: Subject, events: Sequence[ChangeEvent], batch: int, epoch: str) -> Sequence[Outcome]:
    """Write as the micro-batch does: the whole call again after anything that may be repeated."""
    for _ in range(5):
        try:
            outcomes = subject.sink.write(events, Fence(epoch, batch), Deadline.after_s(20))
        except (Retryable, InDoubt):
            continue
        assert len(outcomes) == len(events)
        return outcomes
    raise AssertionError("the sink never recovered")


def shown(subject: Subject, *events: ChangeEvent) -> list[dict[str, Any]]:
    return list(subject.shows({event.digest for event in events}).values())


def test_a_write_is_shown(subject: Subject, key: Callable[[str], str]) -> None:
    event = write(key("a"), 1, bins={"n": 1, "s": "x"})
    assert put(subject, [event]) == [APPLIED]
    assert shown(subject, event) == [{"n": 1, "s": "x"}]


def test_a_newer_write_replaces_every_bin(subject: Subject, key: Callable[[str], str]) -> None:
    old, new = write(key("a"), 1, bins={"n": 1, "gone": True}), write(key("a"), 2, bins={"n": 2})
    put(subject, [old], batch=1)
    assert put(subject, [new], batch=2) == [APPLIED]
    assert shown(subject, new) == [{"n": 2}]


def test_an_older_write_is_superseded(subject: Subject, key: Callable[[str], str]) -> None:
    old, new = write(key("a"), 1), write(key("a"), 2)
    put(subject, [new], batch=1)
    assert put(subject, [old], batch=2) == [SUPERSEDED]
    assert shown(subject, new) == [new.bins]


def test_generation_decides_within_one_millisecond_and_wraps(subject: Subject, key: Callable[[str], str]) -> None:
    before, after = write(key("a"), 1, gen=65_535), write(key("a"), 1, gen=1)
    put(subject, [after], batch=1)
    assert put(subject, [before], batch=2) == [SUPERSEDED]
    assert shown(subject, after) == [after.bins]


def test_the_same_event_again_is_a_duplicate(subject: Subject, key: Callable[[str], str]) -> None:
    event = write(key("a"), 1)
    put(subject, [event], batch=1)
    assert put(subject, [event], batch=2) == [DUPLICATE]
    assert put(subject, [event], batch=1, epoch="epoch-two") == [DUPLICATE]


def test_replaying_a_batch_answers_the_same_and_changes_nothing(subject: Subject, key: Callable[[str], str]) -> None:
    events = [
        write(key("a"), 1), write(key("a"), 3), write(key("a"), 2), write(key("b"), 1), delete(key("b"), 2),
        delete(key("c"), 5), write(key("c"), 4), write(key("d"), 1), write(key("d"), 1),
    ]  # fmt: skip
    put(subject, [write(key("e"), 9)], batch=1)
    events.append(write(key("e"), 8))
    first = put(subject, events, batch=2)
    state = subject.shows({event.digest for event in events})
    assert put(subject, events, batch=2) == first
    assert subject.shows({event.digest for event in events}) == state
    assert first == [
        SUPERSEDED, APPLIED, SUPERSEDED, SUPERSEDED, APPLIED, APPLIED, SUPERSEDED, APPLIED, DUPLICATE, SUPERSEDED,
    ]  # fmt: skip


def test_a_delete_removes_and_a_late_older_write_stays_out(subject: Subject, key: Callable[[str], str]) -> None:
    first, gone, late = write(key("a"), 1), delete(key("a"), 3), write(key("a"), 2)
    put(subject, [first], batch=1)
    assert put(subject, [gone], batch=2) == [APPLIED]
    assert shown(subject, gone) == []
    assert put(subject, [late], batch=3) == [SUPERSEDED]
    assert shown(subject, gone) == []


def test_a_delete_before_any_write_is_remembered(subject: Subject, key: Callable[[str], str]) -> None:
    assert put(subject, [delete(key("a"), 5)], batch=1) == [APPLIED]
    assert put(subject, [write(key("a"), 4)], batch=2) == [SUPERSEDED]
    newer = write(key("a"), 6)
    assert put(subject, [newer], batch=3) == [APPLIED]
    assert shown(subject, newer) == [newer.bins]


def test_a_late_delete_does_not_touch_a_newer_record(subject: Subject, key: Callable[[str], str]) -> None:
    newer = write(key("a"), 6)
    put(subject, [newer], batch=1)
    assert put(subject, [delete(key("a"), 5)], batch=2) == [SUPERSEDED]
    assert shown(subject, newer) == [newer.bins]


def test_two_deletes_of_one_version_are_one(subject: Subject, key: Callable[[str], str]) -> None:
    put(subject, [delete(key("a"), 5)], batch=1)
    assert put(subject, [delete(key("a"), 5)], batch=2) == [DUPLICATE]
    assert put(subject, [delete(key("a"), 4)], batch=3) == [SUPERSEDED]


def test_a_delete_outranks_a_write_of_its_own_version(subject: Subject, key: Callable[[str], str]) -> None:
    for order in (0, 1):
        pair = [write(key(f"a{order}"), 5), delete(key(f"a{order}"), 5)]
        for batch, event in enumerate(pair if order else pair[::-1]):
            put(subject, [event], batch=batch)
        assert shown(subject, pair[0]) == []


def test_without_ordering_data_kafka_order_counts(subject: Subject, key: Callable[[str], str]) -> None:
    legacy = {"gen": None, "lut_ms": None}
    first, second = (write(key("a"), 0, bins={"n": n}, offset=100_000 * n, **legacy) for n in (1, 2))
    put(subject, [second], batch=1)
    assert put(subject, [first], batch=2) == [SUPERSEDED]
    versioned = write(key("a"), 1)
    assert put(subject, [versioned], batch=3) == [APPLIED]
    assert put(subject, [write(key("a"), 0, offset=900_000_000, **legacy)], batch=4) == [SUPERSEDED]
    assert shown(subject, versioned) == [versioned.bins]


def test_the_scripted_faults_really_fired() -> None:
    subject = _faulty()
    put(subject, [write("a", 1), write("b", 1), write("c", 1)])
    assert isinstance(subject.sink, FaultySink)
    assert subject.sink.fired == 2


def test_an_event_is_late_by_the_newest_version_before_it(subject: Subject, key: Callable[[str], str]) -> None:
    put(subject, [write(key("a"), 5_000), delete(key("b"), 5_000), write(key("c"), 5_000), write(key("d"), 5_000)], batch=1)
    assert late(subject, [write(key("a"), 2_000)], batch=2) == [3_000]
    assert late(subject, [write(key("b"), 1_000)], batch=3) == [4_000], "later than a delete"
    assert late(subject, [delete(key("c"), 4_990)], batch=4) == [10], "a delete later than a write"
    assert late(subject, [delete(key("b"), 4_000)], batch=5) == [1_000], "a delete later than a delete"
    assert late(subject, [write(key("d"), 5_000, gen=0)], batch=6) == [0], "of one millisecond"
    expires = int(time.time()) + 3_600
    assert late(subject, [write(key("d"), 4_000, exp_s=expires)], batch=7) == [1_000], "one that would have expired"
    in_order = [write(key("a"), 6_000), write(key("a"), 6_000), write(key("e"), 1), delete(key("e"), 2)]
    assert late(subject, in_order, batch=8) == [NOT_MEASURED] * 4


def test_what_a_newer_event_of_its_batch_overtook_is_late_only_behind_it(subject: Subject, key: Callable[[str], str]) -> None:
    put(subject, [write(key("b"), 9_000)], batch=1)
    events = [
        write(key("a"), 1_000), write(key("a"), 3_000), write(key("a"), 2_000), write(key("a"), 4_000),
        write(key("b"), 7_000), write(key("b"), 8_000),
    ]  # fmt: skip
    measured = [NOT_MEASURED, NOT_MEASURED, 1_000, NOT_MEASURED, 2_000, 1_000]
    assert late(subject, events, batch=2) == measured
    assert late(subject, events, batch=2) == measured, "and a replay measures the same"
    assert late(subject, events[:2], batch=3) == [3_000, 1_000], "read again by another batch they are late"
    assert late(subject, [write(key("a"), 0), write(key("a"), 4_000)], batch=4) == [4_000, NOT_MEASURED], (
        "a duplicate is not late"
    )


def test_events_without_ordering_data_are_never_late(subject: Subject, key: Callable[[str], str]) -> None:
    put(subject, [write(key("a"), 5_000)], batch=1)
    assert late(subject, [write(key("a"), 0, lut_ms=None, gen=None)], batch=2) == [NOT_MEASURED]
