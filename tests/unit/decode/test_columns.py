"""Bins that get columns of their own: what fits is there and nowhere else, and what is left stays in `bins`."""

from typing import Any

import pytest

from schemas.bins import BinType, GeoJson, Hll
from schemas.events import WRITE
from schemas.xdr.columns import DECODED, apart_of, ordinary_columns
from schemas.xdr.ordinary import Ordinary

APART = apart_of({"a": BinType.INT, "f": BinType.FLOAT, "s": BinType.STR, "b": BinType.BLOB, "l": BinType.LIST})


def columns_of(*images: dict[str, Any]) -> tuple[dict[str, list[Any]], list[list[tuple[str, str, str | None]]]]:
    """The own columns by name, and what is left of each row."""
    events = [Ordinary("n", None, bytes(20), None, WRITE, 1, 1, None, image) for image in images]
    found = ordinary_columns(events, [0] * len(events), APART)
    left = found[DECODED.get_field_index("bins")].to_pylist()
    own = {name: column.to_pylist() for (name, _), column in zip(APART, found[len(DECODED) :], strict=True)}
    return own, [[(entry["name"], entry["type"], entry["value"]) for entry in row] for row in left]


def test_lists_and_maps_have_no_column_of_their_own() -> None:
    assert [name for name, _ in APART] == ["a", "f", "s", "b"]


def test_values_of_their_type_are_taken_and_nothing_is_left() -> None:
    own, left = columns_of({"a": 1, "s": "x"}, {"f": 0.5, "b": b"\0"}, {})
    assert own == {"a": [1, None, None], "f": [None, 0.5, None], "s": ["x", None, None], "b": [None, b"\0", None]}
    assert left == [[], [], []]


def test_a_bin_of_two_types_stays_where_it_was_and_so_does_what_nobody_asked_for() -> None:
    own, left = columns_of({"a": 1, "f": 0.5}, {"a": "1", "other": 2}, {"l": [1]})
    assert own == {"a": [None] * 3, "f": [0.5, None, None], "s": [None] * 3, "b": [None] * 3}
    assert left == [[("a", "int", "1")], [("a", "str", "1"), ("other", "int", "2")], [("l", "list", "[1]")]]


def test_a_null_that_is_said_stays_said() -> None:
    own, left = columns_of({"a": 1}, {"a": None})
    assert own["a"] == [1, None] and left == [[], [("a", "null", None)]]


@pytest.mark.parametrize(
    ("name", "value", "kind"), [("a", True, "bool"), ("f", 1, "int"), ("b", Hll(b"x"), "hll"), ("s", GeoJson("{}"), "geojson")]
)
def test_types_that_look_alike_are_told_apart(name: str, value: Any, kind: str) -> None:
    own, left = columns_of({name: value})
    assert own[name] == [None] and [entry[:2] for entry in left[0]] == [(name, kind)]
