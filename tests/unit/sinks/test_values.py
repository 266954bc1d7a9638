"""What the client would damage is found before the call, with the place named."""

from typing import Any

import pytest

from schemas.bins import GeoJson, KeyOrderedMap, KeyValueOrderedMap, OrderedList
from schemas.nested import Other
from sinks.aerospike.values import BinOperations, Unfit, bin_operations, set_problem


@pytest.mark.parametrize(
    ("bins", "code", "place"),
    [
        ({"a" * 16: 1}, "D201", "16 bytes"),
        ({"ä" * 8: 1}, "D201", "16 bytes"),
        ({"": 1}, "D201", "0 bytes"),
        ({"a\0b": 1}, "D201", "NUL"),
        ({"\ud800": 1}, "D201", "surrogate"),
        ({"_mr_v": 1}, "D208", "_mr_"),
        ({"s": "a\0b"}, "D202", "'s'"),
        ({"s": "\udcff"}, "D202", "surrogate"),
        ({"n": 1 << 63}, "D203", "'n'"),
        ({"l": [1, ["x", "y\0"]]}, "D202", "'l'[1][1]"),
        ({"l": [-(1 << 63) - 1]}, "D203", "'l'[0]"),
        ({"m": {1.5: 1}}, "D202", "map key of type float"),
        ({"m": {True: 1}}, "D202", "map key of type bool"),
        ({"m": {None: 1}}, "D202", "NoneType"),
        ({"m": {"k": {"deep": {2.0: 1}}}}, "D202", "'deep'"),
        ({"x": object()}, "D205", "object"),
        ({"x": [1, {"k": Other(16, b"\x00")}]}, "D209", "particle type 16"),
    ],
)
def test_what_does_not_fit_is_named(bins: dict[str, Any], code: str, place: str) -> None:
    unfit = bin_operations({"good": 1, **bins})
    assert isinstance(unfit, Unfit)
    assert unfit.code == code
    assert place in unfit.detail


def test_the_detail_never_holds_the_value() -> None:
    unfit = bin_operations({"s": "4111-1111\0"})
    assert isinstance(unfit, Unfit)
    assert "4111" not in unfit.detail


@pytest.mark.parametrize(
    "value",
    [0, -(1 << 63), (1 << 63) - 1, 1.5, "", "zażółć 🦀", True, b"", b"\x00", [None, 1, [{}]], {1: "a", "b": b"c", b"d": None}],
)
def test_what_fits_passes_unchanged(value: Any) -> None:
    fitted = bin_operations({"v": value})
    assert isinstance(fitted, BinOperations)
    assert [op["val"] for op in fitted.writes] == [value]
    assert not fitted.orders


def test_a_deleted_bin_is_not_written() -> None:
    fitted = bin_operations({"a": None, "b": 1})
    assert isinstance(fitted, BinOperations)
    assert [op["bin"] for op in fitted.writes] == ["b"]


def test_declared_orders_are_restored() -> None:
    fitted = bin_operations({"l": OrderedList([1]), "m": KeyOrderedMap(a=1), "kv": KeyValueOrderedMap(a=1), "g": GeoJson("{}")})
    assert isinstance(fitted, BinOperations)
    assert [op["bin"] for op in fitted.orders] == ["l", "kv"]
    assert type(fitted.writes[1]["val"]).__name__ == "KeyOrderedDict"


def test_set_names() -> None:
    assert set_problem(None) is None
    assert set_problem("s" * 63) is None
    for bad in ("s" * 64, "ä" * 32, "a\0", "\ud800"):
        problem = set_problem(bad)
        assert problem is not None
        assert problem.code == "D207"
