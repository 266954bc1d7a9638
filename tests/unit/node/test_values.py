"""Elements: their bytes, their order, and what may be stored."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.local.node.algebra import msgpack, values
from deploy.local.node.algebra.elements import (
    INFINITY,
    WILDCARD,
    Ext,
    ListValue,
    MapValue,
    Value,
    holds_wildcard,
    order_key,
    text,
)
from tests.support.algebra import KeyOrdered, Ordered, bin_of, code_of, element

INTEGERS = st.integers(-(2**63), 2**63 - 1) | st.integers(-200, 200)
SCALARS = (
    st.none()
    | st.booleans()
    | INTEGERS
    | st.floats(allow_nan=False)
    | st.text(max_size=40).map(text)
    | st.binary(max_size=300).map(lambda raw: b"\x04" + raw)
    | st.binary(max_size=9).map(lambda raw: b"\x17" + raw)
)


def _containers(inner: st.SearchStrategy[Value]) -> st.SearchStrategy[Value]:
    lists = st.builds(ListValue, st.lists(inner, max_size=20), st.sampled_from([0, 1]))
    maps = st.builds(MapValue, st.lists(st.tuples(inner, inner), max_size=5), st.sampled_from([0, 1, 3, 8]))
    return lists | maps


ELEMENTS: st.SearchStrategy[Value] = st.recursive(SCALARS, _containers, max_leaves=25)


@given(ELEMENTS)
def test_any_element_survives_the_wire(value: Value) -> None:
    raw = msgpack.encode(value)
    assert msgpack.decode(raw) == value
    assert msgpack.encode(msgpack.decode(raw)) == raw


@given(ELEMENTS, ELEMENTS, ELEMENTS)
def test_the_order_is_total(a: Value, b: Value, c: Value) -> None:
    x, y, z = order_key(a), order_key(b), order_key(c)
    assert (x < y) + (y < x) + (x == y) == 1
    if x <= y and y <= z:
        assert x <= z
    assert x < order_key(INFINITY)


@given(st.lists(ELEMENTS, max_size=8))
def test_an_ordered_list_is_stored_in_order_whatever_came(items: list[Value]) -> None:
    raw = msgpack.encode(ListValue([ListValue(list(items), 1)], 0))
    try:
        stored = msgpack.decode(values.validate_collection(20, raw))
    except values.ServerError as error:
        assert error.code == 1  # a map inside repeats a key
        return
    assert isinstance(stored, ListValue) and isinstance(stored.items[0], ListValue)
    keys = [order_key(item) for item in stored.items[0].items]
    assert keys == sorted(keys) and len(keys) == len(items)


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        ("a20361", text("a")),
        ("a20400", b"\x04\x00"),
        ("94c70001010305", ListValue([1, 3, 5], 1)),
        ("82c70001c0a2036303", MapValue([(text("c"), 3)], 1)),
        ("9455ce00010000fd03", ListValue([85, 0x10000, -3, 3])),
        ("d4ff00", WILDCARD),
        ("d4ff01", INFINITY),
        ("cb8000000000000000", -0.0),
        ("90", ListValue([])),
        ("80", MapValue([])),
        ("cfffffffffffffffff", 2**64 - 1),
        ("d38000000000000000", -(2**63)),
    ],
)
def test_bytes_seen_on_the_wire_read_and_write_alike(raw: str, value: Value) -> None:
    decoded = msgpack.decode(bytes.fromhex(raw))
    assert decoded is value or decoded == value
    assert msgpack.encode(decoded).hex() == raw


def test_other_forms_of_the_same_value_are_read() -> None:
    assert msgpack.decode(bytes.fromhex("c4020361")) == text("a")
    assert msgpack.decode(bytes.fromhex("ca3fc00000")) == 1.5
    assert msgpack.decode(bytes.fromhex("dc0002cd000105")) == ListValue([1, 5])
    assert msgpack.decode(bytes.fromhex("d50102ff")) == Ext(1, b"\x02\xff")


@pytest.mark.parametrize("raw", ["", "a2", "93 01 02", "c1", "cf 00", "81 01", "01 01", "dd ffffffff", "c7 05 00 01"])
def test_bytes_that_are_no_value_are_refused(raw: str) -> None:
    with pytest.raises(msgpack.MsgpackError):
        msgpack.decode(bytes.fromhex(raw))


def test_nesting_beyond_the_limit_is_refused_not_a_crash() -> None:
    with pytest.raises(msgpack.MsgpackError, match="nested"):
        msgpack.decode(b"\x91" * 5000 + b"\x90")
    deep = b"\x91" * (msgpack.MAX_DEPTH - 1) + b"\x90"
    assert msgpack.encode(msgpack.decode(deep)) == deep
    assert values.validate_collection(20, deep) == deep


def test_the_order_of_types() -> None:
    ascending: list[Any] = [
        None, False, True, -5, 7, "a", "ab", "b", [], [1], [1, 2], [2], {}, {"b": 1}, {"a": 1, "b": 2}, {"a": 1, "b": 3},
        b"", b"\x00", -math.inf, -1.5, 0.0, 7.0, math.nan,
    ]  # fmt: skip
    keys = [order_key(element(value)) for value in ascending]
    assert all(keys[i] < keys[i + 1] for i in range(len(keys) - 1))
    assert keys[-1] < order_key(b"\x17{}") < order_key(Ext(5, b"")) < order_key(INFINITY)
    assert order_key(7) != order_key(7.0)
    assert order_key(0.0) == order_key(-0.0)
    assert order_key(True) != order_key(1)


def test_maps_compare_alike_whatever_order_their_pairs_came_in() -> None:
    assert order_key(element({"a": 1, "b": 2})) == order_key(element({"b": 2, "a": 1}))


def test_a_wildcard_equals_anything_also_inside() -> None:
    pattern = order_key(element([1, WILDCARD]))
    assert pattern == order_key(element([1, "x"]))
    assert pattern == order_key(element([1, [2]]))
    assert pattern != order_key(element([2, "x"]))
    assert pattern != order_key(element([1]))
    assert holds_wildcard(element({"a": [WILDCARD]})) and not holds_wildcard(element({"a": [1]}))


@pytest.mark.parametrize(
    ("kind", "raw"),
    [
        (20, b"\x80"),  # a map where a list is announced
        (19, b"\x90"),
        (20, b"\x05"),
        (20, b"\x91"),
        (20, b"\x91\x01\x01"),
        (20, b"\x91\xd4\xff\x00"),  # a wildcard
        (19, b"\x81\xa2\x03a\xd4\xff\x01"),  # infinity
        (19, b"\x82\xa2\x03a\x01\xa2\x03a\x02"),  # a repeated key
    ],
)
def test_a_collection_that_cannot_be_stored_answers_1(kind: int, raw: bytes) -> None:
    assert code_of(values.validate_collection, kind, raw) == 1


def test_a_collection_in_order_is_stored_as_it_came() -> None:
    for value in ([3, 1, 2], Ordered([1, 2, 3]), {"b": 1, "a": 2}, KeyOrdered({"a": 2, "b": 1})):
        kind, raw = bin_of(value) or (0, b"")
        assert values.validate_collection(kind, raw) is raw


def test_a_collection_that_breaks_its_own_order_is_put_in_it() -> None:
    kind, raw = bin_of([Ordered([3, 1, 2]), KeyOrdered({"b": 1, "a": 2})]) or (0, b"")
    assert values.validate_collection(kind, raw) == (bin_of([Ordered([1, 2, 3]), KeyOrdered({"a": 2, "b": 1})]) or (0, b""))[1]


@given(INTEGERS | st.floats(allow_nan=False) | st.booleans() | st.text(max_size=20) | st.binary(max_size=20))
def test_scalars_become_bins_and_come_back(value: Any) -> None:
    back = values.element_of(bin_of(value))
    assert back == element(value) and type(back) is type(element(value))


def test_geojson_loses_its_cells_inside_a_list() -> None:
    raw = b"\x00\x00\x02" + bytes(16) + b'{"type":"Point"}'
    assert values.element_of((23, raw)) == b'\x17{"type":"Point"}'
    assert values.particle_of(b"\x17{}") == (23, b"\x00\x00\x00{}")


def test_language_blobs_have_no_place_in_a_list() -> None:
    assert code_of(values.element_of, (7, b"x")) == 12
