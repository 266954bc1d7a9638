"""Partial images against a server: any order and any repetition end as the source did, and a replay answers the same."""

import itertools
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from itertools import count
from typing import Any
from uuid import uuid4

import pytest
from aerospike_helpers.operations import list_operations
from hypothesis import HealthCheck, given, settings

from pipelines.reconcile.compare import same_value
from schemas.bins import GeoJson, Hll, KeyOrderedMap, OrderedList
from schemas.digest import digest_of
from schemas.events import ChangeEvent
from sinks.aerospike import AerospikeMirror
from sinks.aerospike.rank import rank_of
from sinks.contract import Deadline, Disposition, Fence, Outcome
from tests.support.broken import bins_by_record_version, forgetting_removed_bins, without_side_records
from tests.support.events import delete, write
from tests.support.fixtures_stack import AerospikeUnderTest
from tests.support.mirror import mirror_config, reader, ttl_s, visible
from tests.support.partial import deliveries, end_state

pytestmark = pytest.mark.stack
APPLIED, SUPERSEDED, DUPLICATE, REJECTED = Disposition
_batches = count(1)
_relaxed = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

Delivery = tuple[list[ChangeEvent], list[list[ChangeEvent]]]


@pytest.fixture(scope="module")
def mirror(aerospike_node: AerospikeUnderTest) -> Iterator[AerospikeMirror]:
    sink = AerospikeMirror(mirror_config(aerospike_node.address, aerospike_node.namespace, image="partial"))
    yield sink
    sink.close()


@pytest.fixture
def key() -> Callable[[str], str]:
    run = uuid4().hex[:8]
    return lambda name: f"{run}-{name}"


def apply(mirror: AerospikeMirror, *events: ChangeEvent, fence: Fence | None = None) -> list[Outcome]:
    return list(mirror.write(events, fence or Fence("test-epoch", next(_batches)), Deadline.after_s(20)))


def dispositions(outcomes: Sequence[Outcome]) -> list[Disposition]:
    return [outcome.disposition for outcome in outcomes]


def deliver(mirror: AerospikeMirror, delivery: Delivery) -> dict[bytes, dict[str, Any]]:
    truth, batches = delivery
    for batch in batches:
        apply(mirror, *batch)
    return visible(mirror, {event.digest for event in truth})


# ------------------------------------------------------------------------------------------------ any order, any repetition


@settings(_relaxed, max_examples=200)
@given(deliveries())
def test_any_order_any_repetition_same_final_state(mirror: AerospikeMirror, delivery: Delivery) -> None:
    assert deliver(mirror, delivery) == end_state(delivery[0], time.time())


@settings(_relaxed, max_examples=200)
@given(deliveries(expiring=True))
def test_so_it_does_when_records_expire_and_come_back(mirror: AerospikeMirror, delivery: Delivery) -> None:
    assert deliver(mirror, delivery) == end_state(delivery[0], time.time())


@settings(_relaxed, max_examples=100)
@given(deliveries(expiring=True))
def test_a_batch_that_is_replayed_answers_the_same(mirror: AerospikeMirror, delivery: Delivery) -> None:
    for batch in delivery[1]:
        fence = Fence(uuid4().hex, next(_batches))
        first = apply(mirror, *batch, fence=fence)
        assert apply(mirror, *batch, fence=fence) == first


@settings(_relaxed, max_examples=60)
@given(deliveries(expiring=True))
def test_a_batch_that_was_cut_off_answers_as_if_it_had_run_once(mirror: AerospikeMirror, delivery: Delivery) -> None:
    """The same events under two names: one batch runs through, of the other the first attempt reaches only some records."""
    twins = [[_twin(event) for event in batch] for batch in delivery[1]]
    for batch, twin in zip(delivery[1], twins, strict=True):
        fence = Fence(uuid4().hex, next(_batches))
        reached = {event.digest for event in twin[::2]}
        apply(mirror, *[event for event in twin if event.digest in reached], fence=fence)
        assert apply(mirror, *twin, fence=fence) == apply(mirror, *batch, fence=fence)


def _twin(event: ChangeEvent) -> ChangeEvent:
    name = f"{event.user_key!s}-twin"
    return event._replace(user_key=name, digest=digest_of(event.set, name))


@pytest.mark.parametrize("broken", [bins_by_record_version, forgetting_removed_bins, without_side_records])
def test_a_broken_merge_is_noticed(
    mirror: AerospikeMirror, key: Callable[[str], str], broken: Callable[[], AbstractContextManager[None]]
) -> None:
    """The property must be able to fail: each of these defences taken away, an order of arrival ends wrong."""
    for run, defended in enumerate((nullcontext, broken)):
        name = key(str(run))
        truth = {
            bins_by_record_version: [write(name, 1, bins={"a": 1}), write(name, 2, bins={"b": 2})],
            forgetting_removed_bins: [write(name, 1, bins={"a": 1}), write(name, 2, bins={"a": None, "b": 2})],
            without_side_records: [write(name, 1, bins={"a": 1}), delete(name, 2)],
        }[broken]
        with defended():
            ended = deliver(mirror, (truth, [[truth[1]], [truth[0]]]))
        assert (ended == end_state(truth, time.time())) is (defended is nullcontext)


def test_writers_that_race_end_in_one_state(mirror: AerospikeMirror, key: Callable[[str], str]) -> None:
    """Several drivers on one topic, as after a zombie: every thread delivers everything, each in an order of its own."""
    truth: list[ChangeEvent] = []
    for n in range(30):
        name = key(f"r{n}")
        truth += [write(name, 1, bins={"a": 1, "b": 1}), write(name, 2, bins={"b": 2}), delete(name, 3)]
        truth += [write(name, 4, bins={"a": 4}), write(name, 5, bins={"c": 5})] if n % 2 else []
        truth += [delete(name, 6), write(name, 7, bins={"a": None, "d": 7})] if n % 3 else []
    failures: list[BaseException] = []

    def run(seed: int) -> None:
        order = truth * 2
        random.Random(seed).shuffle(order)
        try:
            for start in range(0, len(order), 30):
                mirror.write(order[start : start + 30], Fence(f"racer-{seed}", start), Deadline.after_s(60))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert visible(mirror, {event.digest for event in truth}) == end_state(truth, time.time())


# ------------------------------------------------------------------------------------------------ one thing at a time


def test_a_late_older_write_brings_the_bins_nobody_has_written_since(mirror: AerospikeMirror, key: Callable[[str], str]) -> None:
    newer, older = write(key("r"), 5, bins={"a": 5}), write(key("r"), 4, bins={"a": 4, "b": 4})
    assert dispositions(apply(mirror, newer)) == [APPLIED]
    assert dispositions(apply(mirror, older)) == [APPLIED]
    assert visible(mirror, {newer.digest}) == {newer.digest: {"a": 5, "b": 4}}
    assert dispositions(apply(mirror, older, newer)) == [DUPLICATE, DUPLICATE]
    assert dispositions(apply(mirror, write(key("r"), 3, bins={"a": 3}))) == [SUPERSEDED]
    assert stored_version(mirror, newer.digest) == rank_of(newer), "the record's version stays the newest write's"


def test_every_kind_of_value_is_as_it_was_after_a_time_aside(mirror: AerospikeMirror, key: Callable[[str], str]) -> None:
    """An expired record's bins wait in the side record; a late write that had kept the record alive brings them back."""
    now = int(time.time())
    bins: dict[str, Any] = {
        "int": -(1 << 63), "float": -0.0, "str": "zażółć", "yes": True, "blob": b"\0\xff", "list": [1, None, {"k": [True]}],
        "geo": GeoJson('{"type":"Point","coordinates":[1.0,2.0]}'), "sorted": OrderedList([3, 1]),
        "keyed": KeyOrderedMap(b=1, a=2), "map": {7: "seven", b"\x01": None}, "hll": Hll(b"\x00" * 64),
    }  # fmt: skip
    first = write(key("r"), 1, bins={name: value for name, value in bins.items() if name != "int"}, exp_s=now - 30)
    last = write(key("r"), 2, bins={"int": bins["int"]}, exp_s=now + 1_000)
    assert dispositions(apply(mirror, first)) == [APPLIED]
    assert visible(mirror, {first.digest}) == {}
    assert dispositions(apply(mirror, last)) == [APPLIED]
    stored = visible(mirror, {first.digest})[first.digest]
    assert stored.keys() == bins.keys()
    assert [name for name in bins if name != "sorted" and not same_value(stored[name], bins[name])] == []
    assert 990 <= ttl_s(mirror, first.digest) <= 1_001
    at = (mirror.config.namespace, first.set, first.user_key)
    reader(mirror).operate(at, [list_operations.list_append("sorted", 2)])
    assert reader(mirror).get(at)[2]["sorted"] == [1, 2, 3], "an ordered list keeps itself sorted"


def test_a_record_that_begins_to_expire_takes_its_bins_along(mirror: AerospikeMirror, key: Callable[[str], str]) -> None:
    now = int(time.time())
    for events in itertools.permutations(
        [write("r", 1, bins={"a": 1}), write("r", 2, bins={"b": 2}, exp_s=now - 5), write("r", 3, bins={"c": 3})]
    ):
        name = key(uuid4().hex[:4])
        ours = [event._replace(user_key=name, digest=digest_of(event.set, name)) for event in events]
        for event in ours:
            apply(mirror, event)
        assert visible(mirror, {ours[0].digest}) == {ours[0].digest: {"a": 1, "b": 2, "c": 3}}


def test_a_live_record_disappears_when_its_time_has_come_and_leaves_its_bins_aside(
    mirror: AerospikeMirror, key: Callable[[str], str]
) -> None:
    short = write(key("r"), 1, bins={"a": 1}, exp_s=int(time.time()) + 2)
    apply(mirror, short)
    assert len(visible(mirror, {short.digest})) == 1
    give_up = time.monotonic() + 20
    while visible(mirror, {short.digest}):
        assert time.monotonic() < give_up, "the record never expired"
        threading.Event().wait(0.1)
    kept_alive = write(key("r"), 2, bins={"b": 2})
    assert dispositions(apply(mirror, kept_alive)) == [APPLIED]
    assert visible(mirror, {short.digest}) == {short.digest: {"a": 1, "b": 2}}


def test_bins_that_were_there_before_are_kept_and_older_than_any_event(
    mirror: AerospikeMirror, key: Callable[[str], str]
) -> None:
    """A copy that was seeded from a backup: changed bins only tell the rest."""
    for number, event in enumerate((write(key("r0"), 5, bins={"b": 5}), delete(key("r1"), 5))):
        at = (mirror.config.namespace, event.set, event.user_key)
        reader(mirror).put(at, {"a": "seeded", "b": "seeded"})
        assert dispositions(apply(mirror, event)) == [APPLIED]
        expected = {event.digest: {"a": "seeded", "b": 5}} if number == 0 else {}
        assert visible(mirror, {event.digest}) == expected


def test_a_mirror_of_full_images_may_go_on_with_partial_ones_and_back(mirror: AerospikeMirror, key: Callable[[str], str]) -> None:
    full = AerospikeMirror(replace(mirror.config, image="full"))
    events = [write(key("r"), n, bins={"a": n, "b": n}) for n in (2, 6)] + [write(key("gone"), 1), delete(key("gone"), 5)]
    apply(full, events[0], *events[2:])
    partial = [write(key("r"), 1, bins={"a": 1, "c": 1}), write(key("r"), 3, bins={"a": 3}), write(key("gone"), 4)]
    assert dispositions(apply(mirror, *partial)) == [APPLIED, APPLIED, SUPERSEDED]
    assert visible(mirror, {event.digest for event in events}) == {events[0].digest: {"a": 3, "b": 2, "c": 1}}
    apply(mirror, delete(key("gone"), 8))
    assert dispositions(apply(full, events[1], write(key("gone"), 7))) == [APPLIED, SUPERSEDED]
    assert visible(mirror, {event.digest for event in events}) == {events[0].digest: events[1].bins}


def test_what_cannot_be_stored_is_refused_alone_and_the_rest_of_its_record_stays(
    mirror: AerospikeMirror, key: Callable[[str], str]
) -> None:
    events = [write(key("r"), 1, bins={"a": 1}), write(key("r"), 2, bins={"b": b"x" * (9 << 20)}), write(key("s"), 1)]
    events.append(write(key("r"), 3, bins={"b" * 16: 1}))
    outcomes = apply(mirror, *events)
    assert [outcome.code for outcome in outcomes] == ["", "D204", "", "D201"]
    assert dispositions(outcomes) == [APPLIED, REJECTED, APPLIED, REJECTED]
    assert visible(mirror, {event.digest for event in events}) == {events[0].digest: {"a": 1}, events[2].digest: events[2].bins}


@pytest.mark.parametrize("command", ["timeout-after-effect;times=2", "partial-batch;times=3;share=0.5;code=18", "reset;times=2"])
def test_a_passing_fault_leaves_no_trace(
    mirror: AerospikeMirror, aerospike_node: AerospikeUnderTest, key: Callable[[str], str], command: str
) -> None:
    if aerospike_node.node is None:
        pytest.skip("faults on demand need the embedded node")
    events = [write(key(str(n % 60)), n, bins={f"b{n // 60}": n}) for n in range(120)] + [delete(key("0"), 200)]
    reader(mirror).info_all(f"millrace-fault:name={command};namespace={mirror.config.namespace}")
    try:
        assert set(dispositions(apply(mirror, *events))) <= {APPLIED, SUPERSEDED}
        assert "fired=0" not in str(reader(mirror).info_all("millrace-fault:list"))
    finally:
        reader(mirror).info_all("millrace-fault:clear")
    assert visible(mirror, {event.digest for event in events}) == end_state(events, time.time())


# ------------------------------------------------------------------------------------------------ no bins at all


@pytest.fixture(scope="module")
def bare(mirror: AerospikeMirror) -> AerospikeMirror:
    return AerospikeMirror(replace(mirror.config, image="none"))


def test_without_bins_a_write_touches_version_and_expiry_only(bare: AerospikeMirror, key: Callable[[str], str]) -> None:
    now = int(time.time())
    event = write(key("r"), 5, bins={}, exp_s=now + 500)
    at = (bare.config.namespace, event.set, event.user_key)
    reader(bare).put(at, {"a": 1, "b": "two"})
    assert dispositions(apply(bare, event)) == [APPLIED]
    assert visible(bare, {event.digest}) == {event.digest: {"a": 1, "b": "two"}}
    assert 490 <= ttl_s(bare, event.digest) <= 501
    assert dispositions(apply(bare, write(key("r"), 4, bins={}), event)) == [SUPERSEDED, DUPLICATE]
    assert 490 <= ttl_s(bare, event.digest) <= 501
    assert dispositions(apply(bare, delete(key("r"), 6))) == [APPLIED]
    assert visible(bare, {event.digest}) == {}
    assert dispositions(apply(bare, event)) == [SUPERSEDED]
    assert visible(bare, {event.digest}) == {}


def test_without_bins_a_record_that_is_not_there_becomes_one_without_readable_bins(
    bare: AerospikeMirror, key: Callable[[str], str]
) -> None:
    event = write(key("r"), 5, bins={"ignored": 1})
    assert dispositions(apply(bare, event)) == [APPLIED]
    assert visible(bare, {event.digest}) == {event.digest: {}}
    ((stored_key, _, _),) = [
        row for row in reader(bare).query(bare.config.namespace, event.set).results() if bytes(row[0][3]) == event.digest
    ]
    assert stored_key[2] == event.user_key


def stored_version(mirror: AerospikeMirror, digest: bytes) -> int:
    _, _, bins = reader(mirror).select((mirror.config.namespace, None, None, bytearray(digest)), ["_mr_v"])
    return int(bins["_mr_v"])
