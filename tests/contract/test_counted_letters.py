"""Replays of dead letters into counters: each event once, however often its letter waits, and wherever a replay is cut."""

from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pytest

from pipelines.counters_output import Counting
from pipelines.dead_letters.counters import CountersTarget
from pipelines.dead_letters.targets import Taken, Target
from schemas.errors import Retryable
from schemas.letters import Fate, LetterState
from sinks.aerospike import AerospikeCounters
from sinks.aerospike.count_plan import CountedBin, CountPlan, KeyRule
from sinks.aerospike.counted_places import CountedPlaces
from sinks.aerospike.counter_marks import CounterMark
from sinks.aerospike.record_changes import Target as Record
from sinks.contract import Fence
from tests.support.counters import counters_config, shown
from tests.support.letters import OFF, Tables, array
from tests.support.typed_json import Change

pytestmark = pytest.mark.stack
NOW = 1_700_000_000_000


class Shop:
    """One target record of a test's own, and the replays' way to it; each `target` is what a command of its own would build."""

    def __init__(self, node: Any) -> None:
        self.key = uuid4().hex[:8]
        self._config = counters_config(node.address, node.namespace, writer=f"f/{self.key}#letters")
        self.stream = self.mark("", adopt=True)

    def mark(self, suffix: str, adopt: bool) -> CounterMark:
        config = self._config
        return CounterMark(config.client, config.namespace, config.mark_set, f"f/{self.key}{suffix}", "shops", adopt=adopt)

    def target(self) -> CountersTarget:
        plan = CountPlan("shops", KeyRule("constant", self.key), (CountedBin("n", "count"), CountedBin("sum", "sum", of="a")))
        counting = Counting(AerospikeCounters(self._config), self.mark("#letters", adopt=True), plan)
        return CountersTarget(counting, self.stream, 60.0, OFF)

    def shown(self) -> dict[str, Any] | None:
        return shown(AerospikeCounters(self._config), Record("shops", self.key))


@pytest.fixture
def shop(aerospike_node: Any) -> Shop:
    return Shop(aerospike_node)


@pytest.fixture
def tables(tmp_path: Path, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Tables:
    made = Tables(tmp_path)
    usual = made.targets
    monkeypatch.setattr(made, "targets", lambda: usual() | {"shop": shop.target()})
    return made


def message(number: int, amount: int | str = 1) -> bytes:
    return Change(f"k{number}", NOW + number, 1, {"a": amount}).message()[1]


class Refusing:
    """A mirror that refuses everything: the letter goes on waiting, whatever the others took."""

    versioned = True

    def prepare(self) -> None: ...

    def take(self, events: pa.RecordBatch, fence: Fence) -> list[Taken]:
        return [Taken(Fate.DEAD, "D205", "not today")] * events.num_rows


def refusing(targets: dict[str, Target]) -> dict[str, Target]:
    return targets | {"mirror": Refusing()}


def test_a_letter_that_goes_on_waiting_counts_once(tables: Tables, shop: Shop) -> None:
    for offset in range(3):
        tables.letter(offset, message(offset))
    for expected in (Fate.APPLIED, Fate.DUPLICATE):
        done = tables.replay(wrap=refusing)
        assert done.states == {LetterState.WAITING: 3} and done.fates["shop"] == {expected: 3}
        assert shop.shown() == {"n": 3, "sum": 3}
    done = tables.replay()
    assert done.states == {LetterState.REPLAYED: 3} and shop.shown() == {"n": 3, "sum": 3}


def test_the_other_events_of_a_message_count_once(tables: Tables, shop: Shop) -> None:
    tables.letter(0, array(message(1, 5), message(2, "much"), message(3, 7)))
    for _ in range(2):
        assert tables.replay().states == {LetterState.WAITING: 1}
        assert shop.shown() == {"n": 2, "sum": 12}


def test_a_part_cut_after_it_was_counted_is_done_again_and_counts_once(
    tables: Tables, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    for offset in range(4):
        tables.letter(offset, message(offset), output="shop")
    whole = CountedPlaces.remember

    def cut(self: CountedPlaces, places: Any, fence: Fence) -> None:
        whole(self, places[:2], fence)
        raise Retryable("E210", "cut by the test")

    monkeypatch.setattr(CountedPlaces, "remember", cut)
    with pytest.raises(Retryable, match="cut by the test"):
        tables.replay()
    assert shop.shown() == {"n": 4, "sum": 4}
    monkeypatch.setattr(CountedPlaces, "remember", whole)
    tables.letter(9, message(9), output="shop")
    done = tables.replay()
    assert done.states == {LetterState.REPLAYED: 5} and done.fates["shop"] == {Fate.APPLIED: 5}
    assert shop.shown() == {"n": 5, "sum": 5}
    assert [row.applied for row in tables.accounts() if row.output == "shop"] == [4, 1]


def test_a_checkpoint_that_counts_anew_lets_its_letters_count_anew(tables: Tables, shop: Shop) -> None:
    shop.stream.begin(Fence("one", 0))
    tables.letter(0, message(0), output="shop")
    tables.replay()
    assert shop.shown() == {"n": 1, "sum": 1}
    shop.stream.begin(Fence("two", 0))
    tables.letter(0, message(0), output="shop", epoch="two")
    assert tables.replay().fates["shop"] == {Fate.APPLIED: 1}
    assert shop.shown() == {"n": 2, "sum": 2}
