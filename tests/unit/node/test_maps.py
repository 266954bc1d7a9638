"""Map operations: answers of a real server, and everything else against a plain Python dict."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.local.node.algebra import collections, values
from deploy.local.node.algebra.elements import INFINITY, WILDCARD, MapValue
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
    KeyOrdered,
    Pairs,
    bin_of,
    code_of,
    modify,
    read,
    wire,
)

CREATE_ONLY, UPDATE_ONLY, NO_FAIL, PARTIAL = 1, 2, 4, 8
SMALL = st.dictionaries(st.integers(-5, 5), st.integers(-3, 3), max_size=7)
PLACE = st.integers(-9, 9)


def test_a_session_as_a_real_server_answered_it() -> None:
    value, size = modify(None, 67, "b", 2, 1, 0)
    assert (value, size) == (KeyOrdered(b=2), 1) and type(value) is KeyOrdered
    value, size = modify(value, 68, {"a": 1, "c": 3}, 1, 0)
    assert size == 3
    assert modify(value, 73, "a", 10, 1)[1] == 11
    value = modify(value, 73, "a", 10, 1)[0]
    assert read(value, 97, VALUE, "a") == 11
    assert read(value, 97, VALUE, "zz") is None
    assert read(value, 107, VALUE, ["a", "c", "zz"]) == [11, 3]
    assert read(value, 103, KEY, "a", "c") == ["a", "b"]
    assert read(value, 100, KEY, -1) == "a"
    assert read(value, 105, KEY_VALUE, 2, 4) == Pairs([("b", 2), ("c", 3)])
    assert read(value, 104, KEY, 0, 2) == ["a", "b"]
    value, removed = modify(value, 76, VALUE, "b")
    assert removed == 2
    value, removed = modify(value, 87, KEY, -1, 1)
    assert removed == ["a"]
    assert modify(value, 84, COUNT, "x", "z") == (KeyOrdered(c=3), 0)


def test_keeping_the_newest_three() -> None:
    timeline = KeyOrdered({ts: ts * 2 for ts in (1000, 1005, 1003, 1010, 1001)})
    payload = bytes.fromhex("9455ce00010000fd03")
    after, result = collections.modify(payload, bin_of(timeline))
    assert result is None
    kept = values.element_of(after)
    assert isinstance(kept, MapValue) and kept.pairs == [(1003, 2006), (1005, 2010), (1010, 2020)]
    assert read(timeline, 103, COUNT, 1003, 1010) == 2


def test_write_flags() -> None:
    assert code_of(modify, {"a": 1}, 67, "a", 2, 0, CREATE_ONLY) == 24
    assert code_of(modify, {"a": 1}, 67, "z", 2, 0, UPDATE_ONLY) == 23
    assert modify({"a": 1}, 67, "a", 3, 0, CREATE_ONLY | NO_FAIL) == ({"a": 1}, 1)
    assert modify({"a": 1}, 67, "a", 3, 0, UPDATE_ONLY) == ({"a": 3}, 1)
    assert code_of(modify, {"a": 1}, 68, {"a": 2, "b": 2}, 0, CREATE_ONLY) == 24
    assert modify({"a": 1}, 68, {"a": 2, "b": 2}, 0, CREATE_ONLY | NO_FAIL) == ({"a": 1}, 1)
    assert modify({"a": 1}, 68, {"a": 2, "b": 2}, 0, CREATE_ONLY | NO_FAIL | PARTIAL) == ({"a": 1, "b": 2}, 2)
    assert modify({"a": 1}, 68, {"a": 2, "b": 2}, 0, UPDATE_ONLY | NO_FAIL | PARTIAL) == ({"a": 2}, 1)
    assert modify({}, 68, {"a": 2, "b": 2}, 0, UPDATE_ONLY | NO_FAIL | PARTIAL) == ({"a": 2, "b": 2}, 2)
    assert modify({}, 67, "a", 1, 0, UPDATE_ONLY | NO_FAIL | PARTIAL) == ({}, 0)


def test_older_codes() -> None:
    assert modify({"a": 1}, 65, "b", 2) == ({"a": 1, "b": 2}, 2)
    assert code_of(modify, {"a": 1}, 65, "a", 2) == 24
    assert code_of(modify, {"a": 1}, 66, {"b": 1, "a": 2}) == 24
    assert modify(None, 66, {"b": 1}, 1) == (KeyOrdered(b=1), 1)
    assert modify({"a": 1}, 69, "a", 2) == ({"a": 2}, 1)
    assert code_of(modify, {"a": 1}, 69, "b", 2) == 23
    assert code_of(modify, {"a": 1}, 70, {"a": 2, "b": 2}) == 23
    assert code_of(modify, None, 69, "a", 1) == 23


def test_increments() -> None:
    assert modify({"a": 1}, 73, "a") == ({"a": 2}, 2)
    assert modify({"a": 1}, 74, "a", 5) == ({"a": -4}, -4)
    assert modify({"a": 1}, 73, "b", 2.5) == ({"a": 1, "b": 2.5}, 2.5)
    assert modify(None, 74, "b", 2, 1) == (KeyOrdered(b=-2), -2)
    assert modify({"a": 2**63 - 1}, 73, "a", 1) == ({"a": -(2**63)}, -(2**63))
    assert modify({"a": 1.5}, 73, "a", 1) == ({"a": 2.5}, 2.5)
    assert code_of(modify, {"a": "x"}, 73, "a", 1) == 4
    assert code_of(modify, {"a": 1}, 73, "a", "x") == 4


def test_a_missing_bin_is_created_or_left_missing() -> None:
    assert type(modify(None, 64, 1)[0]) is KeyOrdered
    for nothing in ((75,), (76, COUNT, "a"), (81, COUNT, ["a"]), (85, COUNT, 0)):
        assert modify(None, *nothing) == (None, None)
    assert read(None, 97, VALUE, "a") is None


def test_order_and_clear() -> None:
    ordered, _ = modify({"b": 1, "a": 2}, 64, 1)
    assert type(ordered) is KeyOrdered and list(ordered) == ["a", "b"]
    assert type(modify(ordered, 75)[0]) is KeyOrdered and modify(ordered, 75)[0] == {}
    assert type(modify({"b": 1}, 67, "a", 1, 1)[0]) is dict
    after, _ = collections.modify(wire(64, 3), bin_of({"a": 1}))
    value = values.element_of(after)
    assert isinstance(value, MapValue) and value.flags == 3


def test_the_wrong_kind_of_bin_answers_12() -> None:
    for value in (5, "text", [1]):
        assert code_of(modify, value, 67, "a", 1) == 12
        assert code_of(read, value, 96) == 12


@pytest.mark.parametrize(
    "operation", [(67, "a"), (71,), (90, 0), (68, [1]), (67, WILDCARD, 1), (67, "a", INFINITY), (81, COUNT, 1)]
)
def test_malformed_operations_answer_4(operation: tuple[Any, ...]) -> None:
    assert code_of(modify, {"a": 1}, *operation) == 4


def test_single_selections() -> None:
    value = {"b": 1, "a": 3, "c": 2}
    assert read(value, 97, INDEX, "b") == 1
    assert read(value, 97, REVERSE_INDEX, "a") == 2
    assert read(value, 97, RANK, "a") == 2
    assert read(value, 97, REVERSE_RANK, "a") == 0
    assert read(value, 97, KEY_VALUE, "b") == Pairs([("b", 1)])
    assert read(value, 97, EXISTS, "zz") is False
    assert read(value, 97, COUNT, "a") == 1
    for kind in (INDEX, REVERSE_INDEX, RANK, REVERSE_RANK):
        assert read(value, 97, kind, "zz") == -1
    assert read(value, 98, KEY, 0) == "a"
    assert read(value, 98, VALUE, -1) == 2
    assert read(value, 100, KEY_VALUE, 0) == Pairs([("b", 1)])
    assert read(value, 99, KEY, 3) == "a"
    assert code_of(read, value, 98, VALUE, 3) == 26
    assert code_of(read, value, 100, VALUE, -4) == 26
    assert code_of(read, value, 97, VALUE | INVERTED, "a") == 26


def test_ranges_of_numbers() -> None:
    value = {"a": 3, "b": 1, "c": 2, "d": 4}
    assert read(value, 103, INDEX_RANGE, "b", "d") == [1, 2]
    assert read(value, 103, REVERSE_INDEX_RANGE, "b", "d") == [1, 2]
    assert read(value, 103, INDEX_RANGE, "bb", "c") == [2, 0]
    assert read(value, 105, RANK_RANGE, 2, 4) == [1, 2]
    assert read(value, 106, REVERSE_RANK_RANGE, 0, 1) == [3, 1]
    assert read(value, 103, REVERSE_INDEX, "a", "c") == [2, 3]


@pytest.mark.parametrize(
    ("code", "kind", "args"),
    [
        (103, RANK_RANGE, ("a",)),
        (104, REVERSE_RANK_RANGE, (0,)),
        (105, INDEX_RANGE, (1,)),
        (106, REVERSE_INDEX_RANGE, (0,)),
        (107, RANK, (["a"],)),
        (107, REVERSE_RANK, (["a"],)),
        (107, RANK_RANGE, (["a"],)),
    ],
)
def test_return_types_that_do_not_fit_answer_26(code: int, kind: int, args: tuple[Any, ...]) -> None:
    assert code_of(read, {"a": 1}, code, kind, *args) == 26


def test_maps_as_answers() -> None:
    value = {"c": 1, "a": 2, "b": 3}
    assert type(read(value, 104, 17, 0, 2)) is KeyOrdered and read(value, 104, 17, 0, 2) == {"a": 2, "b": 3}
    assert type(read(value, 104, 16, 0, 2)) is dict
    assert read(value, 104, KEY_VALUE | INVERTED, 0, 2) == Pairs([("c", 1)])
    assert read(value, 104, NONE, 0, 2) is None


def test_relative_selections() -> None:
    value = {0: 17, 4: 2, 5: 15, 9: 10}
    assert read(value, 109, KEY, 5, 0) == [5, 9]
    assert read(value, 109, KEY, 5, 1) == [9]
    assert read(value, 109, KEY, 5, -1) == [4, 5, 9]
    assert read(value, 109, KEY, 3, 2) == [9]
    assert read(value, 109, KEY, 3, -2, 2) == [0]
    assert sorted(read(value, 110, KEY, 11, 1)) == [0]
    assert sorted(read(value, 110, KEY, 11, -1)) == [0, 5, 9]
    assert modify(value, 88, COUNT, 5, 0, 1) == ({0: 17, 4: 2, 9: 10}, 1)
    assert modify(value, 89, COUNT, 11, -1, 1) == ({0: 17, 4: 2, 5: 15}, 1)


def test_a_wildcard_finds_values_and_keys_by_their_head() -> None:
    value = {"a": [1, "x"], "b": [2, "y"], "c": [1, "z"]}
    assert read(value, 102, KEY, [1, WILDCARD]) == ["a", "c"]
    assert read(value, 108, COUNT, [[1, WILDCARD]]) == 2


# ---------------------------------------------------------------- against a Python dict
@given(SMALL, st.integers(-6, 6), st.integers(-6, 6))
def test_selections_against_the_model(value: dict[int, int], low: int, high: int) -> None:
    by_key = sorted(value)
    inside = [key for key in by_key if low <= key < high]
    assert read(value, 103, KEY, low, high) == inside
    assert read(value, 103, VALUE | INVERTED, low, high) == [value[key] for key in by_key if key not in inside]
    assert read(value, 103, INDEX, low, high) == [by_key.index(key) for key in inside]
    assert modify(value, 84, KEY, low, high) == ({key: value[key] for key in by_key if key not in inside}, inside)
    valued = [key for key in by_key if low <= value[key] < high]
    assert read(value, 105, KEY, low, high) == valued
    assert modify(value, 86, COUNT | INVERTED, low, high) == ({key: value[key] for key in valued}, len(value) - len(valued))
    assert read(value, 107, KEY, [low, high, low]) == [key for key in by_key if key in (low, high)]
    assert read(value, 102, KEY, low) == [key for key in by_key if value[key] == low]
    assert modify(value, 82, KEY, low)[1] == [key for key in by_key if value[key] == low]
    assert modify(value, 83, COUNT, [low, high])[1] == sum(item in (low, high) for item in value.values())
    assert read(value, 97, EXISTS, low) is (low in value)
    assert modify(value, 76, VALUE, low) == ({key: value[key] for key in by_key if key != low}, value.get(low))


@given(SMALL, PLACE, st.none() | st.integers(0, 9))
def test_ranges_against_the_model(value: dict[int, int], start: int, count: int | None) -> None:
    args = (start,) if count is None else (start, count)
    begin = start + len(value) if start < 0 else start
    places = range(len(value))[max(begin, 0) : None if count is None else max(begin + count, 0)]
    by_key = sorted(value)
    assert read(value, 104, KEY, *args) == [by_key[place] for place in places]
    assert modify(value, 85, COUNT, *args)[0] == {key: value[key] for at, key in enumerate(by_key) if at not in places}
    ranked = sorted(by_key, key=lambda key: (value[key], key))
    assert read(value, 106, KEY, *args) == [ranked[place] for place in places]
    assert read(value, 106, RANK, *args) == list(places)


@given(SMALL, SMALL, st.sampled_from([0, CREATE_ONLY, UPDATE_ONLY]))
def test_puts_against_the_model(value: dict[int, int], more: dict[int, int], flag: int) -> None:
    admitted = {key: item for key, item in more.items() if not flag or (key in value) == (flag == UPDATE_ONLY)}
    if flag == UPDATE_ONLY and not value:
        admitted = more
    merged = value | admitted
    assert modify(value, 68, more, 0, flag | NO_FAIL | PARTIAL) == (merged, len(merged))
    after, size = modify(value, 68, more, 0, flag | NO_FAIL)
    refused = flag and any((key in value) == (flag == CREATE_ONLY) for key in more)
    assert (after, size) == ((value, len(value)) if refused else (value | more, len(value | more)))
