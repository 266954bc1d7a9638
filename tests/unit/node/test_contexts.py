"""Paths into nested lists and maps. Source of the answers: wire protocol reference, section 8.5."""

from typing import Any

import pytest

from deploy.local.node.algebra import collections
from tests.support.algebra import VALUE, KeyOrdered, Ordered, bin_of, code_of, modify, read, value_of

LIST_INDEX, LIST_RANK, LIST_VALUE = 0x10, 0x11, 0x13
MAP_INDEX, MAP_RANK, MAP_KEY, MAP_VALUE = 0x20, 0x21, 0x22, 0x23
CREATE, CREATE_80, CREATE_C0 = 0x40, 0x80, 0xC0


def at(path: list[Any], *operation: Any) -> tuple[Any, ...]:
    """An operation at the end of a path."""
    return 255, path, list(operation)


def plain_sorted(value: Any) -> Any:
    """A value as the node keeps it: maps in key order."""
    if isinstance(value, dict):
        return {key: plain_sorted(value[key]) for key in sorted(value)}
    return [plain_sorted(item) for item in value] if isinstance(value, list) else value


def test_the_wire_example_of_the_reference() -> None:
    payload = bytes.fromhex("93ccff94 22a20378 22a20379 920104")
    after, size = collections.modify(payload, bin_of({"x": {"y": [1, 2, 3]}}))
    assert value_of(after) == {"x": {"y": [1, 2, 3, 4]}} and value_of(size) == 4


@pytest.mark.parametrize(
    ("value", "path", "found"),
    [
        ([[1], [2, 3]], [LIST_INDEX, 1], [2, 3]),
        ([[1], [2, 3]], [LIST_INDEX, -2], [1]),
        ([[5], [2, 3]], [LIST_RANK, 0], [2, 3]),
        ([[5], [2, 3]], [LIST_RANK, -1], [5]),
        ([[5], [2, 3]], [LIST_VALUE, [2, 3]], [2, 3]),
        ({"b": [1], "a": [2]}, [MAP_INDEX, 0], [2]),
        ({"b": [1], "a": [2]}, [MAP_RANK, 0], [1]),
        ({"b": [1], "a": [2]}, [MAP_KEY, "b"], [1]),
        ({"b": [1], "a": [2]}, [MAP_VALUE, [1]], [1]),
        ({"b": [0, {"c": [7]}]}, [MAP_KEY, "b", LIST_INDEX, 1, MAP_KEY, "c"], [7]),
    ],
)
def test_every_kind_of_step_reads_and_changes_the_same_element(value: Any, path: list[Any], found: list[int]) -> None:
    assert read(value, *at(path, 18, 0)) == found
    before = repr(plain_sorted(value))
    after, size = modify(value, *at(path, 1, 99))
    assert size == len(found) + 1
    assert repr(after) == before.replace(repr(found), repr([*found, 99]))


@pytest.mark.parametrize(
    ("value", "path", "code"),
    [
        ({"a": [1]}, [MAP_KEY, "z"], 26),  # not found
        ([[1]], [LIST_INDEX, 5], 26),
        ([[1]], [LIST_VALUE, [9]], 26),
        ({"a": 5}, [MAP_KEY, "a", MAP_KEY, "b"], 26),  # into a scalar
        ({"a": [1]}, [LIST_INDEX, 0], 26),  # a list step into a map
        ([[1]], [MAP_KEY, "a"], 26),
        ({"a": {"b": 1}}, [MAP_KEY, "a"], 12),  # the end is of the wrong kind
        ({"a": 5}, [MAP_KEY, "a"], 12),
        (5, [MAP_KEY, "a"], 4),  # a scalar bin
        ("s", [LIST_INDEX, 0], 4),
    ],
)
def test_paths_that_lead_nowhere(value: Any, path: list[Any], code: int) -> None:
    assert code_of(modify, value, *at(path, 1, 9)) == code
    assert code_of(read, value, *at(path, 16)) == code


def test_a_missing_bin() -> None:
    assert code_of(modify, None, *at([MAP_KEY, "a"], 1, 9)) == 26
    assert read(None, *at([MAP_KEY, "a"], 16)) is None
    assert modify(None, *at([MAP_KEY | CREATE, "a"], 1, 9)) == ({"a": [9]}, 1)
    assert modify(None, *at([MAP_KEY | CREATE, "a", MAP_KEY | CREATE, "b"], 67, "c", 1)) == ({"a": {"b": {"c": 1}}}, 1)
    assert modify(None, *at([LIST_INDEX | CREATE, 0], 1, 9)) == ([[9]], 1)


def test_missing_levels_are_built_with_the_order_asked_for() -> None:
    after, _ = modify({}, *at([MAP_KEY | CREATE_80, "a", MAP_KEY | CREATE_C0, "b"], 1, 3))
    assert type(after["a"]) is KeyOrdered and type(after["a"]["b"]) is Ordered
    after, _ = modify({}, *at([MAP_KEY | CREATE, "a"], 67, "k", 1, 1))
    assert type(after["a"]) is KeyOrdered
    after, _ = modify({"a": KeyOrdered({"z": [1]})}, *at([MAP_KEY | CREATE, "a", MAP_KEY | CREATE, "b"], 1, 3))
    assert type(after["a"]) is KeyOrdered and list(after["a"]) == ["b", "z"]


def test_list_places_past_the_end() -> None:
    assert modify([[1]], *at([LIST_INDEX | CREATE, 1], 1, 9)) == ([[1], [9]], 1)
    assert code_of(modify, [[1]], *at([LIST_INDEX | CREATE, 3], 1, 9)) == 26
    assert modify([[1]], *at([LIST_INDEX | CREATE_80, 3], 1, 9)) == ([[1], None, None, [9]], 1)
    assert code_of(modify, [[1]], *at([LIST_INDEX, 1], 1, 9)) == 26
    assert code_of(modify, [[1]], *at([LIST_RANK | CREATE, 1], 1, 9)) == 26


def test_removing_from_what_is_missing_builds_nothing() -> None:
    assert modify({"z": 1}, *at([MAP_KEY | CREATE, "a"], 35, 5, 1)) == ({"z": 1}, None)
    assert modify(None, *at([MAP_KEY | CREATE, "a"], 11)) == (None, None)


def test_ordered_containers_around_the_element_stay_in_order() -> None:
    after, _ = modify(Ordered([[1], [2]]), *at([LIST_INDEX, 0], 9, 0, 5))
    assert type(after) is Ordered and after == [[2], [5]]
    after, _ = modify(KeyOrdered({"a": [1], "b": [2]}), *at([MAP_KEY, "b"], 1, 9))
    assert type(after) is KeyOrdered and after == {"a": [1], "b": [2, 9]}


def test_selections_and_map_operations_work_at_the_end_of_a_path() -> None:
    value = {"t": {"a": 3, "b": 1}}
    assert read(value, *at([MAP_KEY, "t"], 97, VALUE, "a")) == 3
    assert modify(value, *at([MAP_KEY, "t"], 76, VALUE, "a")) == ({"t": {"b": 1}}, 3)
    assert code_of(read, value, *at([MAP_KEY, "t"], 16)) == 12


@pytest.mark.parametrize("path", [[], [MAP_KEY], ["a", 1], [0x12, "a"], [0x30, 1], [0x14, 1], [LIST_INDEX, "a"], [True, 1], 5])
def test_malformed_paths_answer_4(path: Any) -> None:
    assert code_of(read, {"a": [1]}, 255, path, [16]) == 4


def test_a_context_without_an_operation_answers_4() -> None:
    assert code_of(read, {"a": [1]}, 255, [MAP_KEY, "a"]) == 4
    assert code_of(read, {"a": [1]}, 255, [MAP_KEY, "a"], []) == 4
