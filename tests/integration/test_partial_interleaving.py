"""Writers of one record, their steps mixed in any way, some cut off and replayed: the end is the source's.

Each actor is one call of the mirror; the steps are the mirror's own, sent to a server one by one in an order Hypothesis picks.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, NamedTuple
from uuid import uuid4

import pytest
from aerospike_helpers.batch.records import BatchRecords
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from schemas.events import ChangeEvent
from sinks.aerospike import AerospikeMirror
from sinks.aerospike.batch_call import batch_write
from sinks.aerospike.classify import Answer, answer
from sinks.aerospike.partial_item import PartialItem
from sinks.aerospike.partial_steps import PartialProtocol, PartialStep
from sinks.contract import Outcome
from tests.support.broken import without_looking_again, without_reading_again, without_stamps
from tests.support.fixtures_stack import AerospikeUnderTest
from tests.support.mirror import mirror_config, reader, visible
from tests.support.partial import end_state, history_of_one_record

pytestmark = pytest.mark.stack
_relaxed = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


class Scenario(NamedTuple):
    """A record's history, the events of each actor, who moves when, and after how many moves an actor is cut off."""

    truth: list[ChangeEvent]
    actors: list[list[ChangeEvent]]
    moves: list[int]
    cut: dict[int, int]


@st.composite
def scenarios(draw: st.DrawFn) -> Scenario:
    truth = history_of_one_record(draw, uuid4().hex, expiring=draw(st.booleans()))
    actors: list[list[ChangeEvent]] = [[] for _ in range(draw(st.integers(2, 4)))]
    for event in truth:
        for actor in draw(st.lists(st.integers(0, len(actors) - 1), min_size=1, max_size=2, unique=True)):
            actors[actor].append(event)
    moves = draw(st.lists(st.integers(0, len(actors) - 1), min_size=20, max_size=60))
    cut = draw(st.dictionaries(st.integers(0, len(actors) - 1), st.integers(0, 6), max_size=2))
    return Scenario(truth, actors, moves, cut)


class Actor:
    """One call of the mirror for one record, made step by step."""

    def __init__(self, mirror: AerospikeMirror, events: list[ChangeEvent], token: str) -> None:
        self._mirror, self._events, self._token = mirror, events, token
        self.start()

    def start(self) -> None:
        """Begin, or begin again as the replay of the same batch."""
        self._protocol = PartialProtocol(self._mirror.config, self._token, [None] * len(self._events))
        items: list[PartialItem] = self._protocol.items(self._events)
        self._item = items[0] if items else None
        self._next: PartialStep | Outcome | None = self._protocol.first_step(items[0]) if items else None
        self.moves = 0

    def move(self) -> bool:
        """One step; False when there is nothing left to do."""
        step, item = self._next, self._item
        if item is None or not isinstance(step, PartialStep):
            return False
        now_s = time.time()
        batch = BatchRecords([self._protocol.request(step, item, now_s)])
        assert batch_write(reader(self._mirror), batch, self._mirror.config.client.batch_policy()) is None
        (row,) = batch.batch_records
        meaning = answer(row.result)
        assert meaning in (Answer.OK, Answer.NOT_FOUND, Answer.EXISTS, Answer.FILTERED), row.result
        bins: dict[str, Any] | None = row.record[2] if step in self._protocol.reads and row.record else None
        self._next = self._protocol.settle(step, item, meaning, bins, now_s)
        self.moves += 1
        return True


def play(mirror: AerospikeMirror, scenario: Scenario) -> dict[bytes, dict[str, Any]]:
    """Move the actors as the scenario says, replay those that were cut off, and let everybody come to an end."""
    run = uuid4().hex[:6]
    actors = [Actor(mirror, events, f"{run}/{number}") for number, events in enumerate(scenario.actors)]
    for number in scenario.moves:
        if scenario.cut.get(number) != actors[number].moves:
            actors[number].move()
    for number in scenario.cut:
        actors[number].start()
    for _ in range(200):
        if not [actor for actor in actors if actor.move()]:
            return visible(mirror, {event.digest for event in scenario.truth})
    raise AssertionError("the actors never came to an end")


@pytest.fixture(scope="module")
def mirror(aerospike_node: AerospikeUnderTest) -> Iterator[AerospikeMirror]:
    sink = AerospikeMirror(mirror_config(aerospike_node.address, aerospike_node.namespace, image="partial"))
    yield sink
    sink.close()


@settings(_relaxed, max_examples=300)
@given(scenarios())
def test_any_interleaving_ends_as_the_source_did(mirror: AerospikeMirror, scenario: Scenario) -> None:
    assert play(mirror, scenario) == end_state(scenario.truth, time.time())


@pytest.mark.parametrize("broken", [without_stamps, without_looking_again, without_reading_again])
def test_a_step_less_is_noticed(mirror: AerospikeMirror, broken: Callable[[], AbstractContextManager[None]]) -> None:
    """The property must be able to fail: each of these taken away, some interleaving ends wrong."""

    @settings(_relaxed, max_examples=3_000, phases=[Phase.generate], database=None, derandomize=True)
    @given(scenarios())
    def search(scenario: Scenario) -> None:
        with broken():
            assert play(mirror, scenario) == end_state(scenario.truth, time.time())

    with pytest.raises(AssertionError):
        search()
