"""One namespace's changes, from listener to message: coalescing, disorder, accounts, and that nothing is ever lost."""

import random
from base64 import b64decode
from typing import Any

import orjson
import pytest

from deploy.local.xdr.disorder import Outgoing
from deploy.local.xdr.lane import Lane
from deploy.local.xdr.settings import XdrSettings
from tests.unit.xdr.node_double import BASE_LUT_MS, Clock, FakeNamespace, digest_of, integer


class Road:
    """A lane over a fake namespace, a clock, and what a broker would hold."""

    def __init__(self, namespace: FakeNamespace | None = None, **options: Any) -> None:
        self.clock = Clock()
        self.namespace = namespace or FakeNamespace()
        settings = XdrSettings.model_validate({"namespace": "payments", "topic": "t", "hot_key_ms": 0, **options})
        self.lane = Lane(settings, self.namespace, clock_ms=self.clock)
        self.namespace.listeners = [self.lane.on_change]
        self.sent: list[dict[str, Any]] = []

    def take(self) -> list[Outgoing]:
        return self.lane.take(1000)

    def ship(self) -> list[dict[str, Any]]:
        """Ship what is due; the broker takes everything."""
        fresh = []
        while out := self.take():
            for outgoing in out:
                fresh.append(orjson.loads(outgoing.message.value))
                self.lane.delivered(outgoing)
        self.sent += fresh
        return fresh

    def last_state(self) -> dict[bytes, tuple[str, int]]:
        """What a consumer ends with that orders by (lut, gen): digest -> (op, gen)."""
        state: dict[bytes, tuple[int, int, str]] = {}
        for message in self.sent:
            digest = b64decode(message["key"][2])
            version = (message["lut"], message["gen"], message["msg"])
            state[digest] = max(state.get(digest, version), version)
        return {digest: (op, gen) for digest, (_, gen, op) in state.items()}


def test_a_burst_is_shipped_once_as_it_is_at_ship_time() -> None:
    road = Road()
    for number in range(1, 6):
        road.namespace.write("a", n=integer(number))
    (message,) = road.ship()
    assert (message["gen"], message["bins"][0]["value"]) == (5, 5)
    assert road.lane.status()["coalesced"] == 4


def test_a_write_and_its_delete_arrive_as_the_delete_and_a_recreation_as_the_write() -> None:
    road = Road()
    road.namespace.write("a")
    road.namespace.remove("a")
    assert [(m["msg"], m["gen"]) for m in road.ship()] == [("delete", 2)]
    road.namespace.write("b")
    road.ship()
    road.namespace.remove("b")
    road.namespace.write("b")
    assert [(m["msg"], m["gen"]) for m in road.ship()] == [("write", 1)]


def test_an_expiry_is_an_event_only_when_asked_for() -> None:
    for asked, expected in ((False, []), (True, ["delete"])):
        road = Road(ship_nsup_deletes=asked)
        road.namespace.write("a", exp_s=5)
        road.ship()
        road.namespace.remove("a", kind="expire")
        assert [m["msg"] for m in road.ship()] == expected
        assert road.lane.empty


def test_an_expiry_before_its_write_was_delivered_is_shipped() -> None:
    road = Road()
    road.namespace.write("a", exp_s=5)
    (in_flight,) = road.take()
    road.namespace.remove("a", kind="expire")
    assert [m["msg"] for m in road.ship()] == ["delete"]
    road.lane.delivered(in_flight)
    assert road.lane.empty


def test_a_record_that_is_gone_at_ship_time_is_counted_and_its_expiry_is_then_shipped() -> None:
    road = Road()
    image = road.namespace.write("a", exp_s=5)
    del road.namespace.records[image.digest]  # expired, but not yet removed
    assert road.ship() == []
    assert road.lane.counters.gone == 1
    road.namespace.records[image.digest] = image
    road.namespace.remove("a", kind="expire")
    assert [m["msg"] for m in road.ship()] == ["delete"]


def test_truncation_is_no_event_but_does_not_swallow_an_earlier_delete() -> None:
    road = Road()
    road.namespace.write("a")
    road.namespace.write("b")
    road.ship()
    road.namespace.remove("b")
    road.namespace.write("b")
    road.namespace.truncate()
    assert [(m["msg"], m["key"][3]) for m in road.ship()] == [("delete", "b")]
    assert road.lane.empty


def test_what_cannot_be_expressed_is_skipped_and_counted_with_its_reason() -> None:
    road = Road()
    road.namespace.write("a", text=(3, b"\xff"))
    road.namespace.write("b")
    assert [m["key"][3] for m in road.ship()] == ["b"]
    assert road.lane.counters.skipped == 1
    assert dict(road.lane.counters.reasons) == {"string is not UTF-8": 1}
    assert road.lane.empty


def test_a_held_back_message_keeps_its_old_image_and_comes_after_the_delete() -> None:
    road = Road(reorder=1.0, reorder_window_ms=100, seed=7)
    road.namespace.write("a", n=integer(1))
    assert road.ship() == []
    # Only writes are held back from here on: the delete passes.
    road.lane._disorder._reorder = 0.0
    road.clock.ms += 0.5
    road.namespace.remove("a")
    assert [m["msg"] for m in road.ship()] == ["delete"]
    road.clock.ms += 100
    (late,) = road.ship()
    assert (late["msg"], late["gen"], late["bins"][0]["value"]) == ("write", 1, 1)
    assert (road.lane.counters.reordered, road.lane.counters.overtaken) == (1, 1)
    assert road.lane.empty


def test_a_repetition_is_the_old_version_again() -> None:
    road = Road(duplicates=1.0, reorder_window_ms=100)
    road.namespace.write("a", n=integer(1))
    first = road.ship()
    road.lane._disorder._duplicates = 0.0
    road.namespace.write("a", n=integer(2))
    second = road.ship()
    road.clock.ms += 100
    third = road.ship()
    assert [m["gen"] for m in first + second + third] == [1, 2, 1]
    assert third[0] == first[0]
    assert road.lane.counters.duplicates == 1


def test_flush_releases_what_waits_and_says_when_it_has_arrived() -> None:
    road = Road(reorder=0.5, duplicates=0.5, reorder_window_ms=600_000, hot_key_ms=5000, delay_ms=5000)
    for number in range(200):
        road.namespace.write(f"r{number}")
    road.clock.ms += 5000
    road.ship()
    for number in range(100):
        road.namespace.write(f"r{number}")
    assert road.ship() == []
    mark = road.lane.flush()
    assert mark.left > 100
    road.namespace.write("written since")
    road.ship()
    assert mark.left == 0
    assert road.lane.status()["held"] == 0
    assert road.last_state()[digest_of("r5")] == ("write", 2)
    assert not road.lane.empty


def test_flush_is_done_only_when_delivered() -> None:
    road = Road()
    road.namespace.write("a")
    (in_flight,) = road.take()
    mark = road.lane.flush()
    assert mark.left == 2
    road.lane.delivered(in_flight)
    assert mark.left == 0


def test_nothing_leaves_a_paused_lane() -> None:
    road = Road()
    road.lane.paused = True
    road.namespace.write("a")
    road.namespace.write("a")
    assert road.ship() == []
    assert road.lane.next_due_ms() is None
    road.lane.paused = False
    assert [m["gen"] for m in road.ship()] == [2]


def test_a_failed_message_is_made_again_from_the_current_record() -> None:
    road = Road()
    road.namespace.write("a")
    (lost,) = road.take()
    road.namespace.write("a")
    road.lane.failed(lost, why="broker away")
    assert [m["gen"] for m in road.ship()] == [2]
    assert road.lane.empty
    road.namespace.remove("a")
    (lost,) = road.take()
    road.lane.failed(lost, why="broker away")
    assert [m["msg"] for m in road.ship()] == ["delete"]
    assert road.lane.counters.failed == 2


def test_an_old_failure_does_not_ship_what_was_delivered_since() -> None:
    road = Road()
    road.namespace.write("a")
    (lost,) = road.take()
    road.namespace.write("a")
    road.ship()
    road.lane.failed(lost, why="broker away")
    assert road.ship() == []
    assert road.lane.empty


def test_an_old_failure_does_not_settle_the_delete_that_is_on_its_way() -> None:
    road = Road()
    road.namespace.write("a")
    (write,) = road.take()
    road.namespace.remove("a")
    (delete,) = road.take()
    road.lane.failed(write, why="broker away")
    assert road.ship() == []
    road.lane.failed(delete, why="broker away")
    assert [m["msg"] for m in road.ship()] == ["delete"]


def test_a_message_kafka_never_takes_is_skipped() -> None:
    road = Road()
    road.namespace.write("a")
    (huge,) = road.take()
    road.lane.failed(huge, why="too large", permanent=True)
    assert road.lane.empty
    assert dict(road.lane.counters.reasons) == {"too large": 1}


def test_only_changed_bins_since_the_last_shipment() -> None:
    road = Road(bin_policy="only-changed")
    road.namespace.write("a", x=integer(1), y=integer(2), z=integer(3))
    assert [b["name"] for b in road.ship()[0]["bins"]] == ["x", "y", "z"]
    road.namespace.write("a", x=integer(5), y=integer(2), z=integer(3))
    road.namespace.write("a", x=integer(5), y=integer(2))
    assert [(b["name"], b["value"]) for b in road.ship()[0]["bins"]] == [("x", 5), ("z", None)]
    road.namespace.write("a", x=integer(5), y=integer(2))
    assert road.ship()[0]["bins"] == []
    road.namespace.remove("a")
    road.ship()
    road.namespace.write("a", x=integer(5))
    assert [b["name"] for b in road.ship()[0]["bins"]] == ["x"]


def test_bins_of_a_message_that_kafka_refused_are_shipped_with_the_next() -> None:
    road = Road(bin_policy="only-changed")
    road.namespace.write("a", x=integer(1), y=integer(2), z=integer(3))
    road.ship()
    road.namespace.write("a", x=integer(5), y=integer(2))
    (refused,) = road.take()
    road.lane.failed(refused, why="broker away")
    assert [(b["name"], b["value"]) for b in road.ship()[0]["bins"]] == [("x", 5), ("z", None)]
    road.namespace.write("a", x=integer(5), y=integer(6))
    assert [(b["name"], b["value"]) for b in road.ship()[0]["bins"]] == [("y", 6)]


def test_all_bins_of_a_record_that_is_created_anew_have_changed() -> None:
    road = Road(bin_policy="only-changed")
    for name in ("a", "b"):
        road.namespace.write(name, x=integer(1), y=integer(2))
    road.ship()
    road.namespace.remove("a")
    road.namespace.write("a", x=integer(1))
    assert [(b["name"], b["value"]) for b in road.ship()[0]["bins"]] == [("x", 1), ("y", None)], (
        "and no message told of the delete"
    )
    road.namespace.remove("b", kind="expire")
    road.ship()
    road.namespace.write("b", x=integer(1))
    assert [(b["name"], b["value"]) for b in road.ship()[0]["bins"]] == [("x", 1), ("y", None)], "nor of the expiry"
    road.namespace.remove("b")
    (refused,) = road.take()
    road.lane.failed(refused, why="broker away")
    road.namespace.write("b", z=integer(1))
    assert [(b["name"], b["value"]) for b in road.ship()[0]["bins"]] == [("z", 1), ("x", None)], "nor of this delete"


def test_a_record_that_expired_unnoticed_and_is_created_anew_is_shipped_whole() -> None:
    road = Road(bin_policy="only-changed")
    first = road.namespace.write("a", x=integer(1), y=integer(2))
    road.namespace.records[first.digest] = first._replace(exp_s=1)
    road.ship()
    again = road.namespace.write("a", x=integer(1))
    road.namespace.records[first.digest] = again._replace(generation=1)
    assert [(b["name"], b["value"]) for b in road.ship()[0]["bins"]] == [("x", 1), ("y", None)]


def test_no_bins_ships_metadata_only() -> None:
    road = Road(bin_policy="no-bins")
    road.namespace.write("a", x=integer(1))
    assert road.ship()[0]["bins"] == []


def test_the_position_follows_the_oldest_change_that_is_not_delivered() -> None:
    road = Road()
    assert road.lane.advance() is None
    first = road.namespace.write("a")
    (stuck,) = road.take()
    assert road.lane.advance() is None
    road.namespace.write("b")
    road.ship()
    assert road.lane.advance() is None
    road.lane.delivered(stuck)
    position = road.lane.advance()
    assert position is not None
    assert first.lut_ms <= position <= road.namespace.lut_ms
    road.namespace.write("c")
    road.ship()
    assert road.lane.advance() == road.namespace.lut_ms


def test_a_held_back_change_holds_the_position() -> None:
    road = Road(reorder=1.0, reorder_window_ms=100)
    road.namespace.write("a")
    road.ship()
    assert road.lane.advance() is None
    road.clock.ms += 100
    road.ship()
    assert road.lane.advance() == road.namespace.lut_ms


def test_recovery_ships_current_images_deletes_and_unsettled_expiries() -> None:
    namespace = FakeNamespace()
    namespace.write("old")
    since = namespace.lut_ms + 1
    namespace.write("kept")
    namespace.write("removed")
    namespace.remove("removed")
    namespace.write("expired early")
    namespace.remove("expired early", kind="expire")
    unsettled_from = namespace.lut_ms + 1
    namespace.write("expired late")
    namespace.remove("expired late", kind="expire")
    road = Road(namespace)
    assert road.lane.recover(since, unsettled_from_ms=unsettled_from) == 3
    assert [(m["msg"], m["key"][3]) for m in road.ship()] == [
        ("write", "kept"),
        ("delete", "removed"),
        ("delete", "expired late"),
    ]
    assert road.lane.counters.reshipped == 3


@pytest.mark.parametrize("seed", range(40))
def test_nothing_is_ever_lost(seed: int) -> None:
    """Random writes, deletes, expiries, failures, kills and disorder: a consumer that orders by version ends with the records."""
    dice = random.Random(seed)
    namespace = FakeNamespace()
    options = {
        "duplicates": 0.2,
        "reorder": 0.3,
        "reorder_window_ms": 50,
        "hot_key_ms": dice.choice([0, 10]),
        "ship_nsup_deletes": True,
        "seed": seed,
    }
    road = Road(namespace, **options)
    position, names = BASE_LUT_MS, [f"r{number}" for number in range(12)]
    in_flight: list[Outgoing] = []
    for _ in range(600):
        road.clock.ms += dice.random() * 4
        name = dice.choice(names)
        exists = digest_of(name) in namespace.records
        step = dice.random()
        if step < 0.5:
            namespace.write(name, n=integer(dice.randrange(100)))
        elif step < 0.65 and exists:
            namespace.remove(name, kind=dice.choice(["delete", "expire"]))
        elif step < 0.85:
            in_flight += road.lane.take(dice.randrange(1, 5))
        elif step < 0.97:
            dice.shuffle(in_flight)
            while in_flight and dice.random() < 0.8:
                outgoing = in_flight.pop()
                if dice.random() < 0.2:
                    road.lane.failed(outgoing, why="broker away")
                else:
                    road.sent.append(orjson.loads(outgoing.message.value))
                    road.lane.delivered(outgoing)
            position = road.lane.advance() or position
        elif step < 0.99:
            # A kill: what is queued, held or in flight is gone, the saved position and the node's data are not.
            sent, clock = road.sent, road.clock
            road, in_flight = Road(namespace, **options), []
            road.sent, road.clock.ms = sent, clock.ms
            road.lane.recover(position, unsettled_from_ms=position)
    for outgoing in in_flight:
        road.lane.failed(outgoing, why="broker away")
    road.lane.flush()
    for _ in range(3):
        road.ship()
        road.clock.ms += 60
    road.ship()
    assert road.lane.empty
    expected = {digest: ("write", image.generation) for digest, image in namespace.records.items()}
    seen = road.last_state()
    assert {digest: state for digest, state in seen.items() if state[0] == "write"} == expected
    assert {digest for digest in namespace.deleted if digest in seen} <= {d for d, (op, _) in seen.items() if op == "delete"}
