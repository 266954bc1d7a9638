"""List operations: answers of a real server, and everything else against a plain Python list."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.local.node.algebra.elements import INFINITY, WILDCARD
from tests.support.algebra import (
    COUNT,
    EXISTS,
    INDEX,
    INDEX_RANGE,
    INVERTED,
    KEY,
    KEY_VALUE,
    NONE,
    RANK,
    RANK_RANGE,
    REVERSE_INDEX,
    REVERSE_INDEX_RANGE,
    REVERSE_RANK,
    REVERSE_RANK_RANGE,
    VALUE,
    Ordered,
    code_of,
    modify,
    read,
)

SMALL = st.lists(st.integers(-4, 4), max_size=8)
PLACE = st.integers(-10, 10)


def test_a_session_as_a_real_server_answered_it() -> None:
    steps: list[tuple[tuple[Any, ...], Any, Any]] = [
        ((1, 3), [3], 1),
        ((2, [1, 2]), [3, 1, 2], 3),
        ((3, 0, 9), [9, 3, 1, 2], 4),
        ((35, COUNT, 9), [3, 1, 2], 1),
        ((12, 0, 7), [10, 1, 2], 10),
        ((13,), [1, 2, 10], None),
        ((10, 0, 2), [1, 2], 1),
        ((9, 0, "x"), ["x", 2], None),
        ((5, 1), ["x"], 2),
    ]
    value: Any = None
    for operation, after, answer in steps:
        value, result = modify(value, *operation)
        assert (value, result) == (after, answer), operation
    assert code_of(read, value, 17, 99) == 26


def test_a_missing_bin_is_created_or_left_missing() -> None:
    assert modify(None, 1, "a") == (["a"], 1)
    assert modify(None, 2, ["a", "b"], 1) == (Ordered(["a", "b"]), 2)
    assert modify(None, 3, 2, "a") == ([None, None, "a"], 3)
    assert modify(None, 9, 1, "a") == ([None, "a"], None)
    assert modify(None, 12, 0, 5) == ([5], 5)
    assert type(modify(None, 0, 1)[0]) is Ordered
    for nothing in ((5, 0), (6, 0), (7, 0), (8, 0), (10, 0, 1), (11,), (32, COUNT, 0), (35, COUNT, 1)):
        assert modify(None, *nothing) == (None, None)
    assert code_of(modify, None, 13) == 12
    assert read(None, 16) is None


def test_the_wrong_kind_of_bin_answers_12() -> None:
    for value in (5, "text", {"a": 1}):
        assert code_of(modify, value, 1, 1) == 12
        assert code_of(read, value, 16) == 12


@pytest.mark.parametrize(
    "operation", [(14,), (28, 1), (200,), (1,), (1, 1, 0, 0, 0), (19, VALUE), (19, 99, 0), (19, VALUE, "a"), (5, None), ("a",)]
)
def test_malformed_operations_answer_4(operation: tuple[Any, ...]) -> None:
    assert code_of(modify if operation[0] in (1, 5, 14, 200, "a") else read, [1, 2], *operation) == 4


def test_reads_and_modifies_are_not_taken_for_each_other() -> None:
    assert code_of(read, [1], 1, 2) == 4
    assert code_of(modify, [1], 16) == 4


def test_path_expressions_are_an_unsupported_feature() -> None:
    assert code_of(read, [1], 254, [], 0) == 16


# ---------------------------------------------------------------- write flags and order
def test_unique() -> None:
    assert code_of(modify, [1, 2], 1, 2, 0, 1) == 24
    assert modify([1, 2], 1, 2, 0, 5) == ([1, 2], 2)
    assert modify([1, 2], 1, 3, 0, 1) == ([1, 2, 3], 3)
    assert code_of(modify, [1], 2, [7, 7], 0, 1) == 26
    assert code_of(modify, [1], 2, [7, 1], 0, 1) == 24
    assert modify([1], 2, [7, 7], 0, 5) == ([1], 1)
    assert modify([1], 2, [7, 1, 7, 8], 0, 13) == ([1, 7, 8], 3)
    assert code_of(modify, [1, 2], 9, 0, 2, 1) == 24
    assert modify([1, 2], 9, 0, 1, 1) == ([1, 2], None)
    assert code_of(modify, [1, 2], 12, 0, 1, 0, 1) == 24


def test_bounded() -> None:
    assert modify([1], 3, 3, 9) == ([1, None, None, 9], 4)
    assert code_of(modify, [1], 3, 3, 9, 2) == 26
    assert modify([1], 3, 3, 9, 6) == ([1], 1)
    assert modify([1], 3, 1, 9, 2) == ([1, 9], 2)
    assert code_of(modify, [1], 9, 3, 9, 2) == 26
    assert code_of(modify, [1], 3, -2, 9) == 26
    assert code_of(modify, [1], 9, -2, 9) == 26


def test_an_ordered_list_stays_in_order() -> None:
    value: Any = None
    for item, size in ((5, 1), (1, 2), (5, 2), (3, 3)):
        value, answer = modify(value, 1, item, 1, 5)
        assert answer == size
    assert value == [1, 3, 5] and type(value) is Ordered
    assert code_of(modify, value, 3, 0, 9) == 26
    assert code_of(modify, value, 9, 0, 9) == 26
    assert modify(value, 12, 0, 9) == (Ordered([3, 5, 10]), 10)
    assert modify(value, 2, [4, 0]) == (Ordered([0, 1, 3, 4, 5]), 5)
    assert type(modify([3, 1], 0, 1)[0]) is Ordered and modify([3, 1], 0, 1)[0] == [1, 3]
    assert type(modify(Ordered([1, 3]), 0, 0)[0]) is list


def test_the_order_argument_counts_only_on_creation() -> None:
    assert type(modify([3], 1, 1, 1)[0]) is list
    assert type(modify(None, 1, 1, 1)[0]) is Ordered


def test_sort() -> None:
    assert modify([2, "a", 1, None, 2], 13)[0] == [None, 1, 2, 2, "a"]
    assert modify([2, 1, 3, 2], 13, 1)[0] == [3, 2, 2, 1]
    assert modify([2, 1, 3, 2], 13, 2)[0] == [1, 2, 3]
    assert modify([2, 1, 3, 2], 13, 3)[0] == [3, 2, 1]


def test_increment() -> None:
    assert modify([1], 12, 0) == ([2], 2)
    assert modify([1], 12, 0, None) == ([2], 2)
    assert modify([1], 12, 0, 2.9) == ([3], 3)
    assert modify([1.5], 12, 0, 2) == ([3.5], 3.5)
    assert modify([2**63 - 1], 12, -1, 1) == ([-(2**63)], -(2**63))
    assert modify([1], 12, 2, 4) == ([1, None, 4], 4)
    assert code_of(modify, ["a"], 12, 0, 1) == 4
    assert code_of(modify, [1], 12, 0, "a") == 4
    assert code_of(modify, [1], 12, -2, 1) == 26


def test_wildcard_and_infinity_are_never_stored() -> None:
    for value in (WILDCARD, INFINITY, [WILDCARD]):
        assert code_of(modify, [1], 1, value) == 4


# ---------------------------------------------------------------- selections
def test_return_types_of_an_index_range() -> None:
    items = ["d", "a", "c", "b"]

    def select(kind: int) -> Any:
        return read(items, 24, kind, 1, 2)

    assert select(VALUE) == ["a", "c"]
    assert select(INDEX) == [1, 2]
    assert select(REVERSE_INDEX) == [1, 2]
    assert select(RANK) == [0, 2]
    assert select(REVERSE_RANK) == [3, 1]
    assert select(COUNT) == 2
    assert select(NONE) is None
    assert select(EXISTS) is True
    assert select(INDEX_RANGE) == [1, 2]
    assert read(items, 24, REVERSE_INDEX_RANGE, 0, 1) == [3, 1]
    for misfit in (KEY, KEY_VALUE, 16, 17, RANK_RANGE, REVERSE_RANK_RANGE):
        assert code_of(select, misfit) == 26
    assert code_of(select, 14) == 4


def test_return_types_of_a_rank_range() -> None:
    items = [30, 10, 40, 20]
    assert read(items, 26, RANK, 1, 2) == [1, 2]
    assert read(items, 26, REVERSE_RANK, 0, 1) == [3]
    assert sorted(read(items, 26, VALUE, -2, 2)) == [30, 40]
    assert sorted(read(items, 26, INDEX, -2, 2)) == [0, 2]
    assert read(items, 26, RANK_RANGE, 1, 2) == [1, 2]
    assert read(items, 26, REVERSE_RANK_RANGE, 0, 3) == [1, 3]
    assert code_of(read, items, 26, INDEX_RANGE, 1, 2) == 26


def test_single_selections() -> None:
    items = [5, 1, 5]
    assert read(items, 19, VALUE, -1) == 5
    assert read(items, 19, REVERSE_INDEX, 0) == 2
    assert read(items, 21, VALUE, 0) == 1
    assert read(items, 21, INDEX, 0) == 1
    assert read(items, 20, INDEX, 5) == 0
    assert read(items, 20, COUNT, 5) == 1
    assert read(items, 22, COUNT, 5) == 2
    assert read(items, 20, RANK, 9) == -1
    assert read(items, 20, INDEX, 9) == -1
    assert read(items, 20, VALUE, 9) is None
    assert read(items, 20, COUNT, 9) == 0
    assert read(items, 20, EXISTS, 9) is False
    for code in (19, 21):
        assert code_of(read, items, code, VALUE, 3) == 26
        assert code_of(read, items, code, VALUE, -4) == 26
        assert code_of(read, items, code, VALUE | INVERTED, 0) == 26
    assert code_of(modify, items, 32, VALUE, 3) == 26


def test_value_intervals() -> None:
    items = [9, 3, 1, 2]
    assert read(items, 25, VALUE, 2, 9) == [3, 2]
    assert read(items, 25, VALUE, 2) == [9, 3, 2]
    assert read(items, 25, VALUE, 2, INFINITY) == [9, 3, 2]
    assert read(items, 25, VALUE, None, 3) == [1, 2]
    assert read(items, 25, RANK, 2, 9) == [1, 2]
    assert read(items, 25, REVERSE_RANK, 2, 9) == [1, 2]
    assert read(items, 25, INDEX, 2, 9) == [1, 3]
    assert read(items, 25, RANK_RANGE, 2, 9) == [1, 2]
    assert read(items, 25, RANK_RANGE, 4, 5) == [3, 0]


def test_a_wildcard_finds_lists_by_their_head() -> None:
    items = [[1, "a"], [2, "b"], [1, "c"], [1], [1, 2, 3]]
    assert read(items, 22, VALUE, [1, WILDCARD]) == [[1, "a"], [1, "c"]]
    assert read(items, 20, INDEX, [1, WILDCARD]) == 0
    assert modify(items, 36, COUNT, [[1, WILDCARD], [1]]) == ([[2, "b"], [1, 2, 3]], 3)


def test_relative_ranks() -> None:
    items = [0, 4, 5, 9, 11, 15]
    for (value, rank, count), expected in {
        (5, 0, None): [5, 9, 11, 15],
        (5, 1, None): [9, 11, 15],
        (5, -1, None): [4, 5, 9, 11, 15],
        (3, 0, None): [4, 5, 9, 11, 15],
        (3, 3, None): [11, 15],
        (3, -3, None): [0, 4, 5, 9, 11, 15],
        (5, 0, 2): [5, 9],
        (5, -1, 1): [4],
        (3, -3, 2): [],
    }.items():
        args = (value, rank) if count is None else (value, rank, count)
        assert read(Ordered(items), 27, VALUE, *args) == expected, args


def test_exists_inverted_means_nothing_was_selected() -> None:
    assert read([1, 2], 22, EXISTS | INVERTED, 1) is False
    assert read([1, 2], 22, EXISTS | INVERTED, 3) is True


# ---------------------------------------------------------------- against a Python list
def model_range(size: int, start: int, count: int | None) -> range:
    """Places a range means, worked out one by one."""
    begin = start + size if start < 0 else start
    return range(size)[max(begin, 0) : None if count is None else max(begin + count, 0)]


@given(SMALL, PLACE, st.none() | st.integers(0, 12))
def test_ranges_by_index_against_the_model(items: list[int], start: int, count: int | None) -> None:
    args = (start,) if count is None else (start, count)
    places = model_range(len(items), start, count)
    inside = [items[place] for place in places]
    outside = [item for place, item in enumerate(items) if place not in places]
    assert read(items, 18, *args) == inside
    assert read(items, 24, VALUE, *args) == inside
    assert read(items, 24, VALUE | INVERTED, *args) == outside
    assert read(items, 24, INDEX, *args) == list(places)
    assert read(items, 24, REVERSE_INDEX, *args) == sorted(len(items) - 1 - place for place in places)
    assert modify(items, 6, *args) == (outside, inside)
    assert modify(items, 8, *args) == (outside, len(inside))
    assert modify(items, 37, VALUE, *args) == (outside, inside)
    assert modify(items, 37, VALUE | INVERTED, *args) == (inside, outside)
    if count is not None:
        assert modify(items, 10, *args) == (inside, len(outside))


@given(SMALL, PLACE, st.none() | st.integers(0, 12))
def test_ranges_by_rank_against_the_model(items: list[int], start: int, count: int | None) -> None:
    args = (start,) if count is None else (start, count)
    ranks = model_range(len(items), start, count)
    chosen = [sorted(items)[rank] for rank in ranks]
    assert sorted(read(items, 26, VALUE, *args)) == chosen
    assert read(items, 26, RANK, *args) == list(ranks)
    after, removed = modify(items, 39, VALUE, *args)
    assert sorted(after + removed) == sorted(items) and sorted(removed) == chosen


@given(SMALL, st.integers(-5, 5), st.integers(-5, 5))
def test_selections_by_value_against_the_model(items: list[int], low: int, high: int) -> None:
    inside = [item for item in items if low <= item < high]
    outside = [item for item in items if not low <= item < high]
    assert read(items, 25, VALUE, low, high) == inside
    assert modify(items, 38, COUNT, low, high) == (outside, len(inside))
    assert modify(items, 38, VALUE | INVERTED, low, high) == (inside, outside)
    either = [item for item in items if item in (low, high)]
    assert read(items, 23, VALUE, [low, high]) == either
    assert read(items, 23, COUNT | INVERTED, [low, high]) == len(items) - len(either)
    assert modify(items, 35, INDEX, low)[1] == [place for place, item in enumerate(items) if item == low]
    assert read(items, 20, EXISTS, low) is (low in items)


@given(SMALL, PLACE, st.integers(-9, 9))
def test_inserts_against_the_model(items: list[int], place: int, value: int) -> None:
    at = place + len(items) if place < 0 else place
    if at < 0:
        assert code_of(modify, items, 3, place, value) == 26
        return
    padded: list[int | None] = [*items, *[None] * (at - len(items))]
    expected = [*padded[:at], value, *padded[at:]]
    assert modify(items, 3, place, value) == (expected, len(expected))
    assert modify(items, 4, place, [value, value])[0] == [*padded[:at], value, value, *padded[at:]]


@given(SMALL, SMALL)
def test_appends_against_the_model(items: list[int], more: list[int]) -> None:
    assert modify(items, 2, more) == (items + more, len(items + more))
    assert modify(Ordered(sorted(items)), 2, more) == (sorted(items + more), len(items + more))
    unique = list(dict.fromkeys(items))
    assert modify(unique, 2, more, 0, 13)[0] == list(dict.fromkeys(unique + more))
