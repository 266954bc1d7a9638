"""The record sink contract for images of some bins only: one suite over the double in memory and Aerospike itself."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings

from schemas.events import ChangeEvent
from schemas.lateness import NOT_MEASURED
from sinks.aerospike import AerospikeMirror
from sinks.contract import Deadline, Disposition, Fence, RecordSink
from sinks.testing import PartialMemorySink
from tests.support.events import delete, write
from tests.support.fixtures_stack import AerospikeUnderTest
from tests.support.mirror import mirror_config, visible
from tests.support.partial import deliveries, end_state

APPLIED, SUPERSEDED, DUPLICATE, REJECTED = Disposition


class Subject(NamedTuple):
    """A sink under test, and how to see what it shows for some digests."""

    sink: RecordSink
    shows: Callable[[set[bytes]], dict[bytes, dict[str, Any]]]


def _memory() -> Subject:
    sink = PartialMemorySink()
    return Subject(sink, lambda digests: {d: bins for d, bins in sink.visible().items() if d in digests})


@pytest.fixture(params=["memory", pytest.param("aerospike", marks=pytest.mark.stack)])
def subject(request: pytest.FixtureRequest) -> Subject:
    if request.param == "memory":
        return _memory()
    node = request.getfixturevalue("aerospike_node")
    sink = AerospikeMirror(mirror_config(node.address, node.namespace, image="partial"))
    return Subject(sink, lambda digests: visible(sink, digests))


@pytest.fixture
def key() -> Callable[[str], str]:
    run = uuid4().hex[:8]
    return lambda name: f"{run}-{name}"


def put(subject: Subject, events: Sequence[ChangeEvent], batch: int = 1, epoch: str = "epoch-one") -> list[Disposition]:
    outcomes = subject.sink.write(events, Fence(epoch, batch), Deadline.after_s(20))
    assert len(outcomes) == len(events)
    return [outcome.disposition for outcome in outcomes]


def shown(subject: Subject, *events: ChangeEvent) -> list[dict[str, Any]]:
    return list(subject.shows({event.digest for event in events}).values())


def test_a_bin_that_is_not_named_is_left_alone_and_null_removes_one(subject: Subject, key: Callable[[str], str]) -> None:
    first, second = write(key("r"), 1, bins={"a": 1, "b": 1, "c": 1}), write(key("r"), 2, bins={"a": 2, "b": None})
    assert put(subject, [first], 1) == [APPLIED]
    assert put(subject, [second], 2) == [APPLIED]
    assert shown(subject, first) == [{"a": 2, "c": 1}]


def test_a_late_write_gives_what_nobody_wrote_since(subject: Subject, key: Callable[[str], str]) -> None:
    put(subject, [write(key("r"), 5, bins={"a": 5, "gone": None})], 1)
    late = write(key("r"), 3, bins={"a": 3, "b": 3, "gone": 3})
    assert put(subject, [late], 2) == [APPLIED]
    assert put(subject, [write(key("r"), 2, bins={"a": 2, "b": 2, "gone": 2})], 3) == [SUPERSEDED]
    assert shown(subject, late) == [{"a": 5, "b": 3}]


def test_a_delete_takes_what_is_not_newer(subject: Subject, key: Callable[[str], str]) -> None:
    old, new = write(key("r"), 1, bins={"a": 1, "b": 1}), write(key("r"), 5, bins={"a": 5})
    put(subject, [old, new], 1)
    assert put(subject, [delete(key("r"), 3)], 2) == [APPLIED]
    assert shown(subject, new) == [{"a": 5}]
    assert put(subject, [delete(key("r"), 2)], 3) == [SUPERSEDED]
    assert put(subject, [write(key("r"), 3, bins={"b": 3})], 4) == [SUPERSEDED]
    assert put(subject, [write(key("r"), 4, bins={"b": 4})], 5) == [APPLIED]
    assert shown(subject, new) == [{"a": 5, "b": 4}]
    assert put(subject, [delete(key("r"), 5)], 6) == [APPLIED]
    assert put(subject, [delete(key("r"), 5), new], 7) == [DUPLICATE, SUPERSEDED]
    assert shown(subject, new) == []


def test_a_record_that_is_created_again_has_its_new_bins_only(subject: Subject, key: Callable[[str], str]) -> None:
    again = write(key("r"), 3, bins={"b": 3})
    put(subject, [again], 1)
    put(subject, [delete(key("r"), 2)], 2)
    assert put(subject, [write(key("r"), 1, bins={"a": 1})], 3) == [SUPERSEDED]
    assert shown(subject, again) == [{"b": 3}]


def test_a_write_without_bins_says_that_the_record_exists(subject: Subject, key: Callable[[str], str]) -> None:
    touch = write(key("r"), 2, bins={})
    assert put(subject, [touch], 1) == [APPLIED]
    assert put(subject, [touch], 2) == [DUPLICATE]
    assert shown(subject, touch) == [{}]


def test_one_version_in_two_parts_is_both_parts(subject: Subject, key: Callable[[str], str]) -> None:
    """What is shipped again after a restart may carry more bins of the very same version."""
    part, more = write(key("r"), 1, bins={"a": 1}), write(key("r"), 1, bins={"a": 1, "b": 1})
    assert put(subject, [part], 1) == [APPLIED]
    assert put(subject, [more], 2) == [APPLIED]
    assert put(subject, [part, more], 3) == [DUPLICATE, DUPLICATE]
    assert put(subject, [write(key("r"), 1, bins={"a": 2})], 4) == [DUPLICATE], "of two values the first stays"
    assert shown(subject, part) == [{"a": 1, "b": 1}]


def test_without_ordering_data_kafka_order_counts(subject: Subject, key: Callable[[str], str]) -> None:
    legacy: dict[str, Any] = {"gen": None, "lut_ms": None}
    first, second = (write(key("r"), 0, bins={"n": n, f"n{n}": n}, offset=1_000 * n, **legacy) for n in (1, 2))
    put(subject, [second], 1)
    assert put(subject, [first], 2) == [APPLIED]
    assert shown(subject, first) == [{"n": 2, "n1": 1, "n2": 2}]
    versioned = write(key("r"), 1, bins={"n": 3})
    assert put(subject, [versioned], 3) == [APPLIED]
    assert put(subject, [write(key("r"), 0, bins={"n": 4}, offset=9_000, **legacy)], 4) == [SUPERSEDED]
    assert shown(subject, first) == [{"n": 3, "n1": 1, "n2": 2}]


def test_replaying_a_batch_answers_the_same_and_changes_nothing(subject: Subject, key: Callable[[str], str]) -> None:
    put(subject, [write(key("b"), 9, bins={"x": 9}), write(key("d"), 1, bins={"x": 1})], 1)
    events = [
        write(key("a"), 1, bins={"x": 1}), write(key("a"), 3, bins={"y": 3}), write(key("a"), 2, bins={"x": 2}),
        write(key("b"), 8, bins={"x": 8}), delete(key("b"), 7), write(key("c"), 1), write(key("c"), 1),
        write(key("d"), 3, bins={"y": 3}), delete(key("d"), 2),
    ]  # fmt: skip
    first = put(subject, events, 2)
    state = subject.shows({event.digest for event in events})
    assert put(subject, events, 2) == first
    assert subject.shows({event.digest for event in events}) == state
    assert first == [SUPERSEDED, APPLIED, APPLIED, SUPERSEDED, SUPERSEDED, APPLIED, DUPLICATE, APPLIED, APPLIED]


Delivery = tuple[list[ChangeEvent], list[list[ChangeEvent]]]


@settings(max_examples=400, deadline=None)
@given(deliveries(expiring=True))
def test_the_double_ends_as_the_source_did(delivery: Delivery) -> None:
    truth, batches = delivery
    double = _memory()
    for number, batch in enumerate(batches):
        put(double, batch, number)
    assert double.shows({event.digest for event in truth}) == end_state(truth, time.time())


@pytest.fixture(scope="module")
def mirror(aerospike_node: AerospikeUnderTest) -> Iterator[AerospikeMirror]:
    sink = AerospikeMirror(mirror_config(aerospike_node.address, aerospike_node.namespace, image="partial"))
    yield sink
    sink.close()


@pytest.mark.stack
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(deliveries(expiring=True))
def test_the_double_in_memory_gives_the_same_answers(mirror: AerospikeMirror, delivery: Delivery) -> None:
    double = PartialMemorySink()
    for number, batch in enumerate(delivery[1]):
        fence = Fence(uuid4().hex, number)
        real, model = (sink.write(batch, fence, Deadline.after_s(20)) for sink in (mirror, double))
        assert [outcome.disposition for outcome in real] == [outcome.disposition for outcome in model]


def late(subject: Subject, events: Sequence[ChangeEvent], batch: int) -> list[int]:
    return [outcome.late_ms for outcome in subject.sink.write(events, Fence("epoch-one", batch), Deadline.after_s(20))]


def test_an_event_is_late_by_the_newest_version_before_it_also_when_it_brings_a_bin(
    subject: Subject, key: Callable[[str], str]
) -> None:
    put(subject, [write(key("r"), 5_000, bins={"a": 5}), delete(key("s"), 5_000)], 1)
    events = [write(key("r"), 2_000, bins={"a": 2}), write(key("r"), 3_000, bins={"b": 3}), write(key("s"), 1_000, bins={"a": 1})]
    assert late(subject, events, 2) == [3_000, 2_000, 4_000]
    assert late(subject, events, 2) == [3_000, 2_000, 4_000], "and a replay measures the same"
    in_order = [write(key("r"), 6_000, bins={"a": 6}), write(key("r"), 8_000, bins={"a": 8})]
    assert late(subject, in_order, 3) == [NOT_MEASURED, NOT_MEASURED]
    assert late(subject, [*in_order, write(key("r"), 7_000, bins={"a": 7})], 3) == [NOT_MEASURED, NOT_MEASURED, 1_000]
    assert late(subject, [in_order[1]], 4) == [NOT_MEASURED], "a duplicate is not late"
