"""What partial images add up to: the join's laws, what follows from a state, and where its memory ends."""

import random
from collections.abc import Sequence
from functools import reduce
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.events import ChangeEvent
from schemas.version import pack
from sinks.aerospike.merge import (
    NOTHING,
    ORDERED_LIST,
    PLAIN,
    REMEMBERED,
    REMOVED,
    UNKNOWN_EXPIRY,
    Cell,
    State,
    Wrote,
    join,
    state_of,
)
from sinks.aerospike.partial_item import ABSENT, as_bin, record_of, side_of
from sinks.aerospike.rank import BELOW_ALL
from tests.support.events import NOW_MS, delete, write
from tests.support.partial import end_state, history_of_one_record

SECOND = 1_000
BASE_S = (NOW_MS + 999) // 1000


def said(event: ChangeEvent) -> State:
    return state_of(event, {name: REMOVED if value is None else PLAIN for name, value in event.bins.items()})


def joined(events: Sequence[ChangeEvent]) -> State:
    return reduce(join, map(said, events), NOTHING)


@st.composite
def histories(draw: st.DrawFn) -> list[ChangeEvent]:
    return history_of_one_record(draw, "r", expiring=True)


@settings(max_examples=500, deadline=None)
@given(histories(), st.randoms(use_true_random=False))
def test_any_order_any_grouping_any_repetition_is_one_state(history: list[ChangeEvent], rng: random.Random) -> None:
    order = history + rng.choices(history, k=2)
    rng.shuffle(order)
    cut = rng.randrange(len(order) + 1)
    assert join(joined(order[:cut]), joined(order[cut:])) == joined(history)


@settings(max_examples=500, deadline=None)
@given(histories())
def test_the_state_shows_what_the_source_had(history: list[ChangeEvent]) -> None:
    state, now_s = joined(history), NOW_MS / 1000 + 60
    expected = end_state(history, now_s)
    assert state.alive(now_s) == bool(expected)
    if expected:
        (bins,) = expected.values()
        assert state.shown().keys() == bins.keys()
        versions = {e.bins[n]: said(e).cells[n].rank for e in history for n in e.bins if e.bins[n] is not None}
        assert {name: cell.rank for name, cell in state.shown().items()} == {n: versions[v] for n, v in bins.items()}


def test_wrapped_generations_order_bins_and_writes() -> None:
    before, after = write("r", 1, gen=65_535, bins={"a": 1, "b": 1}), write("r", 1, gen=1, bins={"a": 2})
    for order in permutations([before, after]):
        state = joined(order)
        assert state.newest == Wrote(pack(NOW_MS + 1, 1), None)
        assert [state.cells[name].rank & 0xFFFF for name in ("a", "b")] == [1, 65_535]


def test_an_expiry_between_two_writes_hides_what_was_before_until_a_write_turns_up_that_was_in_time() -> None:
    first = write("r", 0, bins={"a": 1}, exp_s=BASE_S + 10)
    again = write("r", 20 * SECOND, bins={"c": 1})
    in_time = write("r", 5 * SECOND, bins={"b": 1})
    for order in permutations([first, again]):
        assert joined(order).shown().keys() == {"c"}
    for longer in permutations([first, again, in_time]):
        assert joined(longer).shown().keys() == {"a", "b", "c"}


@pytest.mark.parametrize(
    ("gen", "shown"), [(1, {"c"}), (7, {"c"}), (8, {"c"}), (9, {"a", "c"}), (100, {"a", "c"}), (40_000, {"c"})]
)
def test_a_generation_that_has_counted_on_tells_that_a_write_was_not_shipped(gen: int, shown: set[str]) -> None:
    """XDR that is behind ships the latest of several writes: an unseen one had kept the record alive."""
    first = write("r", 0, gen=7, bins={"a": 1}, exp_s=BASE_S + 10)
    assert joined([first, write("r", 20 * SECOND, gen=gen, bins={"c": 1})]).shown().keys() == shown


@pytest.mark.parametrize("exp_s", [None, UNKNOWN_EXPIRY])
def test_a_write_without_an_end_is_followed_by_nothing_but_more_of_the_same_life(exp_s: int | None) -> None:
    state = join(State(None, (Wrote(BELOW_ALL, exp_s),), {"a": Cell(BELOW_ALL, PLAIN)}), said(write("r", 5, bins={"b": 1})))
    assert state.shown().keys() == {"a", "b"}


def test_an_expiry_that_falls_off_the_end_of_the_memory_is_a_delete_from_then_on() -> None:
    first = write("r", 0, bins={"a": 1}, exp_s=BASE_S + 1)
    later = [write("r", 10 * SECOND + n, bins={"b": n}) for n in range(REMEMBERED)]
    state = joined([first, *later[:-1]])
    assert state.deleted is None and state.shown().keys() == {"b"} and "a" in state.cells
    state = join(state, said(later[-1]))
    assert state.deleted == pack(NOW_MS, 1) and state.cells.keys() == {"b"}
    assert len(state.writes) == REMEMBERED
    assert join(state, said(first)) == state


def test_a_long_life_forgets_its_first_writes_and_nothing_else() -> None:
    events = [write("r", n, bins={f"b{n}": n}) for n in range(3 * REMEMBERED)]
    state = joined(events)
    assert len(state.writes) == REMEMBERED and state.deleted is None
    assert state.shown().keys() == {f"b{n}" for n in range(3 * REMEMBERED)}


def test_at_one_version_a_delete_stands_above_a_write_and_a_value_above_a_removal() -> None:
    value, removed = write("r", 5, bins={"a": 1}), write("r", 5, bins={"a": None})
    for order in permutations([value, removed]):
        assert joined(order).shown().keys() == {"a"}
    for longer in permutations([value, removed, delete("r", 5)]):
        assert joined(longer) == State(pack(NOW_MS + 5, 1), (), {})


def test_a_state_is_stored_and_read_back() -> None:
    state = State(
        pack(NOW_MS, 1),
        (Wrote(pack(NOW_MS + 1, 1), None), Wrote(pack(NOW_MS + 2, 1), BASE_S)),
        {
            "a": Cell(pack(NOW_MS + 1, 1), PLAIN),
            "l": Cell(pack(NOW_MS + 2, 1), ORDERED_LIST),
            "x": Cell(pack(NOW_MS + 2, 1), REMOVED),
        },
    )
    kept = {"_mr_m": as_bin(state, [7], 0.0), "_mr_n": 5, "_mr_b": "e/1", "a": 1}
    found = record_of(kept, whole=True)
    assert (found.state, found.stamp, found.batch, found.applied, found.values) == (state, 5, "e/1", (7,), {"a": 1})
    assert record_of(kept, whole=False).values is None
    forgetful = record_of({"_mr_m": as_bin(state, [], NOW_MS + 3)}, whole=False).state
    assert forgetful.cells.keys() == {"a", "l"}, "a removed bin is remembered as long as deletes are"


def test_what_a_mirror_of_full_images_left_is_understood() -> None:
    rank = pack(NOW_MS, 3)
    record = record_of({"_mr_v": rank, "_mr_b": "e/1", "a": 1}, whole=True)
    assert record.state == State(None, (Wrote(rank, UNKNOWN_EXPIRY),), {"a": Cell(rank, PLAIN)}) and record.stamp is None
    assert side_of({"_mr_v": rank, "_mr_k": 1}).state.deleted == rank
    assert side_of({"_mr_v": rank, "_mr_k": 0}).state.deleted == rank - 1, "its own version may still arrive again"
    assert ABSENT.state == NOTHING
