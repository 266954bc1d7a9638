"""The mirror against a server: values, expiry, refusals one by one, faults, races, and any order of anything."""

import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from itertools import count, pairwise
from pathlib import Path
from typing import Any
from uuid import uuid4

import aerospike
import pytest
from aerospike_helpers.operations import list_operations
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deploy.local.aerospike import start_node
from pipelines.reconcile.compare import same_value
from schemas.bins import GeoJson, KeyOrderedMap, OrderedList
from schemas.errors import ConfigError, MillraceError, Retryable
from schemas.events import ChangeEvent
from sinks.aerospike import AerospikeMirror
from sinks.contract import Deadline, Disposition, Fence, Outcome
from sinks.testing import MemorySink
from tests.support.broken import without_guards, without_tombstones
from tests.support.events import delete, write
from tests.support.fixtures_stack import AerospikeUnderTest
from tests.support.mirror import NEVER_S, mirror_config, reader, ttl_s, visible

pytestmark = pytest.mark.stack
APPLIED, SUPERSEDED, DUPLICATE, REJECTED = Disposition
_batches = count(1)


@pytest.fixture(scope="module")
def mirror(aerospike_node: AerospikeUnderTest) -> Iterator[AerospikeMirror]:
    sink = AerospikeMirror(mirror_config(aerospike_node.address, aerospike_node.namespace))
    yield sink
    sink.close()


@pytest.fixture
def key() -> Callable[[str], str]:
    run = uuid4().hex[:8]
    return lambda name: f"{run}-{name}"


def apply(mirror: AerospikeMirror, *events: ChangeEvent, batch: int | None = None) -> list[Outcome]:
    return list(mirror.write(events, Fence("test-epoch", batch or next(_batches)), Deadline.after_s(20)))


def dispositions(outcomes: Sequence[Outcome]) -> list[Disposition]:
    return [outcome.disposition for outcome in outcomes]


def test_every_kind_of_value_arrives_as_it_was(mirror: AerospikeMirror, key: Callable[[str], str]) -> None:
    bins: dict[str, Any] = {
        "int": 9_007_199_254_740_993, "min": -(1 << 63), "max": (1 << 63) - 1, "float": 5e-324, "zero": -0.0, "inf": float("inf"),
        "str": "zażółć 🦀", "empty": "", "long": "x" * 100_000, "yes": True, "no": False, "blob": bytes(range(256)),
        "noblob": b"",
        "list": [1, None, "a", 2.5, [b"\x00"], {"k": [True]}], "map": {"a": 1, 7: "seven", b"\x01": None}, "none": None,
    }  # fmt: skip
    event = write(key("r"), 1, bins=bins)
    assert dispositions(apply(mirror, event)) == [APPLIED]
    stored = visible(mirror, {event.digest})[event.digest]
    del bins["none"]
    assert stored.keys() == bins.keys()
    assert [name for name in bins if not same_value(stored[name], bins[name])] == []


def test_geojson_and_orders_are_the_servers_own(mirror: AerospikeMirror, key: Callable[[str], str]) -> None:
    bins = {"g": GeoJson('{"type":"Point","coordinates":[1.0,2.0]}'), "l": OrderedList([3, 1]), "m": KeyOrderedMap(b=1, a=2)}
    event = write(key("r"), 1, bins=bins)
    again = write(key("r"), 2, bins=bins)
    for one in (event, again):  # created, then replaced
        assert dispositions(apply(mirror, one)) == [APPLIED]
        stored = visible(mirror, {event.digest})[event.digest]
        assert isinstance(stored["g"], aerospike.GeoJSON)
        at = (mirror.config.namespace, event.set, event.user_key)
        reader(mirror).operate(at, [list_operations.list_append("l", 2)])
        assert reader(mirror).get(at)[2]["l"] == [1, 2, 3], "an ordered list keeps itself sorted"


def test_the_user_key_is_stored_in_the_type_its_digest_proves(mirror: AerospikeMirror, key: Callable[[str], str]) -> None:
    set_name = key("keys")
    text, number, blob = (write(k, 1, set=set_name) for k in (key("text"), 42, b"\x00\x01"))
    blob = blob._replace(user_key="AAE=")
    unknown = write(key("unknown"), 1, set=set_name)._replace(user_key=None)
    apply(mirror, text, number, blob, unknown)
    rows = reader(mirror).query(mirror.config.namespace, set_name).results()
    assert sorted((row[0][2] for row in rows), key=repr) == sorted([text.user_key, 42, bytearray(b"\x00\x01"), None], key=repr)


def test_expiry_follows_the_source(mirror: AerospikeMirror, key: Callable[[str], str]) -> None:
    now = int(time.time())
    soon, never = write(key("soon"), 1, exp_s=now + 1_000), write(key("never"), 1)
    apply(mirror, soon, never)
    assert 990 <= ttl_s(mirror, soon.digest) <= 1_001
    assert ttl_s(mirror, never.digest) == NEVER_S
    apply(mirror, write(key("soon"), 2), write(key("never"), 2, exp_s=now + 500))
    assert ttl_s(mirror, soon.digest) == NEVER_S
    assert 490 <= ttl_s(mirror, never.digest) <= 501


def test_a_write_that_expired_on_the_way_leaves_no_record_and_no_way_back(
    mirror: AerospikeMirror, key: Callable[[str], str]
) -> None:
    first, expired, late = write(key("r"), 1), write(key("r"), 3, exp_s=int(time.time()) - 5), write(key("r"), 2)
    apply(mirror, first)
    assert dispositions(apply(mirror, expired)) == [APPLIED]
    assert visible(mirror, {first.digest}) == {}
    assert dispositions(apply(mirror, late)) == [SUPERSEDED]
    assert dispositions(apply(mirror, expired)) == [DUPLICATE]
    assert visible(mirror, {first.digest}) == {}


def test_an_expired_record_stays_gone_when_an_older_version_arrives(mirror: AerospikeMirror, key: Callable[[str], str]) -> None:
    short, late = write(key("r"), 3, exp_s=int(time.time()) + 2), write(key("r"), 2)
    apply(mirror, short)
    assert len(visible(mirror, {short.digest})) == 1
    give_up = time.monotonic() + 20
    while visible(mirror, {short.digest}):
        assert time.monotonic() < give_up, "the record never expired"
        threading.Event().wait(0.1)
    assert dispositions(apply(mirror, late)) == [SUPERSEDED]
    assert visible(mirror, {short.digest}) == {}


def test_what_cannot_be_stored_is_refused_alone(mirror: AerospikeMirror, key: Callable[[str], str]) -> None:
    now = int(time.time())
    bad = {
        "D201": write(key("name"), 1, bins={"b" * 16: 1}),
        "D202": write(key("nul"), 1, bins={"s": "a\0b"}),
        "D203": write(key("ttl"), 1, exp_s=now + 11 * 366 * 86_400),
        "D204": write(key("big"), 1, bins={"b": b"x" * (9 << 20)}),
        "D206": write(key("key"), 1, user_key="another"),
        "D207": write(key("set"), 1, set="s" * 64),
        "D208": write(key("private"), 1, bins={"_mr_v": 1}),
    }
    good = [write(key(f"good{n}"), 1) for n in range(120)]
    events = [*good[:60], *bad.values(), *good[60:]]
    outcomes = dict(zip([event.digest for event in events], apply(mirror, *events), strict=True))
    assert {code: outcomes[event.digest].code for code, event in bad.items()} == {code: code for code in bad}
    assert {outcomes[event.digest].disposition for event in good} == {APPLIED}
    assert set(visible(mirror, {event.digest for event in events})) == {event.digest for event in good}


def test_a_user_key_that_contradicts_its_digest_never_reaches_the_keys_own_record(
    mirror: AerospikeMirror, key: Callable[[str], str]
) -> None:
    trusting = AerospikeMirror(replace(mirror.config, user_keys="trust"))
    wrong, good = write(key("r"), 1, user_key=key("other"), set=key("s")), write(key("good"), 1, set=key("s"))
    assert dispositions(apply(trusting, wrong, good)) == [APPLIED, APPLIED]
    others = write(key("other"), 1, set=key("s"))
    assert set(visible(mirror, {wrong.digest, good.digest, others.digest})) == {wrong.digest, good.digest}
    rows = reader(mirror).query(mirror.config.namespace, good.set).results()
    assert {row[0][2] for row in rows} == {good.user_key, None}, "a key that fits its digest is stored"


def test_a_refused_newest_version_leaves_the_one_before_it(mirror: AerospikeMirror, key: Callable[[str], str]) -> None:
    oldest, older, too_big = write(key("r"), 1), write(key("r"), 2), write(key("r"), 3, bins={"b": b"x" * (9 << 20)})
    assert dispositions(apply(mirror, oldest, older, too_big)) == [SUPERSEDED, APPLIED, REJECTED]
    assert visible(mirror, {older.digest}) == {older.digest: older.bins}


def test_a_record_somebody_else_wrote_is_taken_over(mirror: AerospikeMirror, key: Callable[[str], str]) -> None:
    event, gone = write(key("a"), 1), delete(key("b"), 1)
    for one in (event, gone):
        reader(mirror).put((mirror.config.namespace, one.set, one.user_key), {"foreign": 1})
    assert dispositions(apply(mirror, event, gone)) == [APPLIED, APPLIED]
    assert visible(mirror, {event.digest, gone.digest}) == {event.digest: event.bins}


def test_one_call_holds_more_records_than_one_request(mirror: AerospikeMirror, key: Callable[[str], str]) -> None:
    events = [write(key(str(n)), n, bins={"n": n}) for n in range(500)]
    random.Random(5).shuffle(events)
    assert set(dispositions(apply(mirror, *events))) == {APPLIED}
    assert len(visible(mirror, {event.digest for event in events})) == 500


# ------------------------------------------------------------------------------------------------ any order, any repetition


def history_of_one_record(draw: Callable[[Any], Any], name: str) -> list[ChangeEvent]:
    """Versions of one record as a source would write them: times never decrease, generations wrap, deletes restart them."""
    lut, gen, events = draw(st.integers(0, 3)), draw(st.sampled_from([1, 7, 65_534])), []
    for step in range(draw(st.integers(1, 5))):
        if draw(st.integers(0, 3)) == 0 and events:
            lut += draw(st.integers(0, 1))
            events.append(delete(name, lut, gen=gen))
            lut, gen = lut + 1, 1
        else:
            expired = draw(st.integers(0, 5)) == 0
            events.append(write(name, lut, gen=gen, bins={"step": step}, exp_s=1_000_000_000 if expired else None))
            lut, gen = lut + draw(st.integers(0, 1)), gen % 65_535 + 1
    return events


@st.composite
def deliveries(draw: Callable[[Any], Any]) -> tuple[list[ChangeEvent], list[list[ChangeEvent]]]:
    """Some records' histories, and a delivery of them: any order, repeats, cut into batches anywhere."""
    run = uuid4().hex
    truth = [event for n in range(draw(st.integers(1, 3))) for event in history_of_one_record(draw, f"{run}-{n}")]
    repeats = draw(st.lists(st.sampled_from(truth), max_size=4))
    order = draw(st.permutations([*truth, *repeats]))
    cuts = sorted(draw(st.lists(st.integers(0, len(order)), max_size=4)))
    edges = [0, *cuts, len(order)]
    return truth, [list(order[a:b]) for a, b in pairwise(edges)]


def end_state(truth: list[ChangeEvent]) -> dict[bytes, dict[str, Any]]:
    """What a reader must see: of each record its last event, unless that deletes it or has expired."""
    last = {event.digest: event for event in truth}
    return {d: e.bins for d, e in last.items() if e.op == "write" and (e.exp_s is None or e.exp_s > time.time())}


def deliver(mirror: AerospikeMirror, truth: list[ChangeEvent], batches: list[list[ChangeEvent]]) -> dict[bytes, dict[str, Any]]:
    for batch in batches:
        apply(mirror, *batch)
    return visible(mirror, {event.digest for event in truth})


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(deliveries())
def test_any_order_any_repetition_same_final_state(
    mirror: AerospikeMirror, delivery: tuple[list[ChangeEvent], list[list[ChangeEvent]]]
) -> None:
    truth, batches = delivery
    assert deliver(mirror, truth, batches) == end_state(truth)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(deliveries())
def test_the_double_in_memory_gives_the_same_answers(
    mirror: AerospikeMirror, delivery: tuple[list[ChangeEvent], list[list[ChangeEvent]]]
) -> None:
    _, batches = delivery
    double = MemorySink()
    for number, batch in enumerate(batches):
        fence = Fence(uuid4().hex, number)
        real, model = (sink.write(batch, fence, Deadline.after_s(20)) for sink in (mirror, double))
        assert dispositions(real) == dispositions(model)


@pytest.mark.parametrize("broken", [without_guards, without_tombstones])
def test_a_broken_defence_is_noticed(
    mirror: AerospikeMirror, key: Callable[[str], str], broken: Callable[[], AbstractContextManager[None]]
) -> None:
    """The property must be able to fail: without guards an old write wins, without tombstones a deleted record comes back."""
    last = write if broken is without_guards else delete
    truth, again = ([write(key(name), 1), last(key(name), 2)] for name in ("r", "s"))
    with broken():
        assert deliver(mirror, truth, [[truth[1]], [truth[0]]]) != end_state(truth)
    assert deliver(mirror, again, [[again[1]], [again[0]]]) == end_state(again)


def test_writers_that_race_end_in_one_state(mirror: AerospikeMirror, key: Callable[[str], str]) -> None:
    """Several drivers on one topic, as after a zombie: every thread delivers everything, each in an order of its own."""
    truth = []
    for n in range(40):
        truth += [write(key(f"r{n}"), 1), write(key(f"r{n}"), 2), delete(key(f"r{n}"), 3)]
        truth += [write(key(f"r{n}"), 4)] if n % 2 else []
    failures: list[BaseException] = []

    def run(seed: int) -> None:
        order = truth * 2
        random.Random(seed).shuffle(order)
        try:
            for start in range(0, len(order), 30):
                fence = Fence(f"racer-{seed}", start)
                mirror.write(order[start : start + 30], fence, Deadline.after_s(30))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert visible(mirror, {event.digest for event in truth}) == end_state(truth)


# ------------------------------------------------------------------------------------------------ faults and set-up


@pytest.fixture
def fault(aerospike_node: AerospikeUnderTest, mirror: AerospikeMirror) -> Iterator[Callable[[str], None]]:
    """Faults of the embedded node, cleared afterwards; skipped against a real server, which has none to order."""
    if aerospike_node.node is None:
        pytest.skip("faults on demand need the embedded node")

    def order(command: str) -> None:
        (answer,) = reader(mirror).info_all(f"millrace-fault:{command}").values()
        assert "ERROR" not in answer[1], answer

    yield order
    order("clear")


def fired(mirror: AerospikeMirror) -> str:
    (answer,) = reader(mirror).info_all("millrace-fault:stats").values()
    return str(answer[1])


@pytest.mark.parametrize(
    "command",
    [
        "name=timeout-after-effect;times=1;namespace={ns}",
        "name=overload;times=2;namespace={ns}",
        "name=hot-key;times=2;namespace={ns}",
        "name=quota;times=1;namespace={ns}",
        "name=reset;times=1;namespace={ns}",
        "name=partial-batch;times=2;share=0.5;code=18;namespace={ns}",
    ],
    ids=lambda command: command.split(";")[0].removeprefix("name="),
)
def test_a_passing_fault_leaves_no_trace(
    mirror: AerospikeMirror, fault: Callable[[str], None], key: Callable[[str], str], command: str
) -> None:
    events = [write(key(str(n)), n) for n in range(120)] + [delete(key("gone"), 1)]
    fault(command.format(ns=mirror.config.namespace))
    assert set(dispositions(apply(mirror, *events))) == {APPLIED}
    assert "fired=0" not in fired(mirror).split("name=" + command.split(";")[0].removeprefix("name="))[-1][:60]
    assert len(visible(mirror, {event.digest for event in events})) == 120


def test_overload_that_lasts_is_a_retryable_error(
    mirror: AerospikeMirror, fault: Callable[[str], None], key: Callable[[str], str]
) -> None:
    fault(f"name=overload;namespace={mirror.config.namespace}")  # of any kind: the client sends a call of one record as no batch
    with pytest.raises(Retryable) as caught:
        mirror.write([write(key(str(n)), n) for n in range(3)], Fence("e", 1), Deadline.after_s(1))
    assert caught.value.code == "E211"


def counted(mirror: AerospikeMirror, fault: str, what: str) -> int:
    """What the node has counted about a fault since it was started: commands that `matched`, or `fired`."""
    rows = [dict(pair.partition("=")[::2] for pair in row.split(":")) for row in fired(mirror).strip().split(";")]
    return next((int(row[what]) for row in rows if row["name"] == fault), 0)


def test_while_nothing_is_taken_the_node_hears_little_and_afterwards_everything(
    mirror: AerospikeMirror, fault: Callable[[str], None], key: Callable[[str], str]
) -> None:
    """Calls counted by the node: two seconds of overload bring fewer than a third of what the same records take undisturbed."""
    patient = AerospikeMirror(replace(mirror.config, max_backoff_ms=500))
    one, other = ([write(key(f"{name}{n}"), n) for n in range(1_000)] for name in ("calm", "busy"))
    fault(f"name=latency;namespace={mirror.config.namespace};after=2000000000")  # delays nothing, counts everything
    before = counted(mirror, "latency", "matched")
    assert set(dispositions(apply(patient, *one))) == {APPLIED}
    undisturbed = counted(mirror, "latency", "matched") - before
    refused = counted(mirror, "overload", "fired")
    fault(f"name=overload;namespace={mirror.config.namespace};for_s=2")
    assert set(dispositions(apply(patient, *other))) == {APPLIED}
    heard = counted(mirror, "overload", "fired") - refused
    assert 5 < heard < undisturbed / 3, (heard, undisturbed)
    seen = patient.pace.seen
    assert seen.again == seen.refused > 0 and seen.waited_s > 0
    assert visible(mirror, {event.digest for event in other}) == end_state(other)


def test_no_node_is_a_retryable_error() -> None:
    with pytest.raises(Retryable) as caught:
        AerospikeMirror(mirror_config("127.0.0.1:1", "any")).check()
    assert caught.value.code == "E210"


def test_nothing_counts_as_applied_while_the_node_is_away(tmp_path: Path, key: Callable[[str], str]) -> None:
    """Also once the client has noticed: with no node left it answers a batch call without an error and every record with 0."""
    node = start_node(tmp_path, ("mirror",))
    sink = AerospikeMirror(mirror_config(node.address, "mirror"))
    try:
        assert dispositions(apply(sink, write(key("before"), 1))) == [APPLIED]
        node.kill()
        client = reader(sink)
        events = [write(key("away"), 1), delete(key("before"), 2)]
        tries = count(1)
        give_up = time.monotonic() + 60
        noticed = False
        while not noticed:
            noticed = not client.is_connected()  # before the call, so that the last one is made by a client that knows
            with pytest.raises(MillraceError) as caught:
                sink.write(events, Fence("test-epoch", 1_000 + next(tries)), Deadline.after_s(0.3))
            assert caught.value.code in ("E210", "E310"), caught.value
            assert time.monotonic() < give_up, "the client never noticed"
        assert caught.value.code == "E210"
        node = node.restart()
        assert dispositions(apply(sink, *events)) == [APPLIED, APPLIED]
        assert set(visible(sink, {event.digest for event in events})) == {events[0].digest}
    finally:
        sink.close()
        node.stop()


def test_the_check_passes_and_names_what_is_wrong(mirror: AerospikeMirror, aerospike_node: AerospikeUnderTest) -> None:
    mirror.check()
    with pytest.raises(ConfigError, match="no namespace 'nowhere'") as caught:
        AerospikeMirror(replace(mirror.config, namespace="nowhere")).check()
    assert caught.value.code == "E120"
