"""Avro binary against fastavro's writer: both ways of reading say what was written, and refuse the same damage."""

import json
import math
import struct
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.xdr.avro_binary import Malformed, read_value
from schemas.xdr.avro_compiled import REFUSED, Unusual, compiled
from schemas.xdr.avro_schema import MAX_DEPTH, BadSchema, read_schema
from tests.support.avro_messages import written
from tests.support.decode import exact

RUNS = settings(deadline=None, max_examples=300, suppress_health_check=list(HealthCheck))
INT32, INT64 = st.integers(-(1 << 31), (1 << 31) - 1), st.integers(-(1 << 63), (1 << 63) - 1)
FLOAT32 = st.floats(width=32)
PRIMITIVES: list[tuple[Any, st.SearchStrategy[Any]]] = [
    ("null", st.none()),
    ("boolean", st.booleans()),
    ("int", INT32),
    ("long", INT64),
    ("float", FLOAT32),
    ("double", st.floats()),
    ("bytes", st.binary(max_size=200)),
    ("string", st.text(max_size=80)),
    ({"type": "long", "logicalType": "timestamp-millis"}, INT64),
]


def _in_order(members: dict[str, Any]) -> dict[str, Any]:
    return dict(sorted(members.items()))


@st.composite
def typed_values(draw: st.DrawFn, depth: int = 3) -> tuple[Any, Any]:
    """A schema and a value of it. Names are numbered, so that no schema defines one twice."""
    count = [0]

    def named(kind: str) -> str:
        count[0] += 1
        return f"{kind}{count[0]}"

    def schema(depth: int) -> tuple[Any, st.SearchStrategy[Any]]:
        kinds = ["primitive", "enum", "fixed"] + (["array", "map", "record", "union"] if depth else [])
        kind = draw(st.sampled_from(kinds))
        if kind == "enum":
            symbols = ["A", "B", "C"][: draw(st.integers(1, 3))]
            return {"type": "enum", "name": named("E"), "symbols": symbols}, st.sampled_from(symbols)
        if kind == "fixed":
            size = draw(st.integers(1, 20))
            return {"type": "fixed", "name": named("F"), "size": size}, st.binary(min_size=size, max_size=size)
        if kind == "record":
            fields = [schema(depth - 1) for _ in range(draw(st.integers(0, 4)))]
            members = [{"name": f"f{place}", "type": inner} for place, (inner, _) in enumerate(fields)]
            made = st.fixed_dictionaries({f"f{place}": inner for place, (_, inner) in enumerate(fields)}).map(_in_order)
            return {"type": "record", "name": named("R"), "fields": members}, made
        if kind in ("array", "map"):
            inner, inside = schema(depth - 1)
            if kind == "map":
                return {"type": "map", "values": inner}, st.dictionaries(st.text(max_size=5), inside, max_size=4)
            try:
                read_schema(json.dumps({"type": "array", "items": inner}))
            except BadSchema:  # items without bytes
                inner, inside = "long", INT64
            return {"type": "array", "items": inner}, st.lists(inside, max_size=4)
        if kind == "union":
            inner, inside = schema(0)
            if inner == "null":
                return ["null"], st.none()
            return draw(st.sampled_from([["null", inner], [inner, "null"]])), st.none() | inside
        return draw(st.sampled_from(PRIMITIVES))

    found, inside = schema(depth)
    return found, draw(inside)


def both(schema: Any, data: bytes) -> Any:
    """The value, exact, as both ways read it, or the class of what they raise."""
    tree = read_schema(json.dumps(schema))
    try:
        careful = exact(read_value(tree, data))
    except Malformed:
        careful = Malformed
    function = compiled(tree)
    assert function is not None
    try:
        value = function(data, 0)
    except REFUSED:
        assert careful is Malformed
    except Unusual:
        pass  # the careful way decides
    else:
        if tree.kind == "record" and isinstance(careful, tuple):  # the function leaves null fields of it out
            left_out = [(name, inner) for name, inner in careful[1] if inner != (type(None), None)]
            assert exact(value) == (dict, left_out)
        else:
            assert exact(value) == careful
    return careful


@RUNS
@given(typed_values())
def test_what_was_written_is_read(case: tuple[Any, Any]) -> None:
    schema, value = case
    assert both(schema, written(schema, value)) == exact(value)


@RUNS
@given(typed_values(), st.data())
def test_damage_is_read_alike_both_ways(case: tuple[Any, Any], data: st.DataObject) -> None:
    schema, value = case
    whole = written(schema, value)
    start = data.draw(st.integers(0, len(whole)))
    end = min(len(whole), start + data.draw(st.sampled_from([0, 1, 2, 8])))
    both(schema, whole[:start] + data.draw(st.binary(max_size=3)) + whole[end:])


BLOCKS = {"type": "array", "items": "long"}
MAP = {"type": "map", "values": "long"}
WIDE = ["null", *({"type": "fixed", "name": f"F{size}", "size": size} for size in range(1, 70))]
RECORD = {"type": "record", "name": "R", "fields": [{"name": "a", "type": ["null", "long"]}, {"name": "b", "type": "string"}]}
ENUM = {"type": "enum", "name": "E", "symbols": ["A", "B"]}


@pytest.mark.parametrize(
    ("schema", "data", "why"),
    [
        ("long", b"", "ends inside a number"),
        ("long", b"\x80", "ends inside a number"),
        ("long", b"\x02\x00", "1 bytes are left over after byte 1"),
        ("long", b"\x80" * 10 + b"\x01", "more than 64 bits"),
        ("long", b"\xff" * 9 + b"\x02", "more than 64 bits"),
        ("int", b"\x80\x80\x80\x80\x10", "more than 32 bits"),
        ("boolean", b"\x02", "a boolean that is 2"),
        ("double", b"\x00" * 7, "8 bytes are wanted, 7 are left"),
        ("float", b"\x00" * 3, "4 bytes are wanted"),
        ("bytes", b"\x03", "bytes of -2 bytes"),
        ("bytes", b"\x10ab", "8 bytes are wanted, 2 are left"),
        ("bytes", b"\xff" * 8 + b"\x7f", "bytes of -"),
        ("string", b"\xfe" + b"\xff" * 8 + b"\x01", "bytes are wanted"),
        ("string", b"\x02\xff", "not UTF-8"),
        ("string", b"\x06\xed\xa0\x80", "not UTF-8"),
        (ENUM, b"\x04", "symbol 2 of enum E, which has 2"),
        (ENUM, b"\x01", "symbol -1 of enum E"),
        (RECORD, b"\x01\x02\x02x", "a: branch -1 of a union of 2"),
        (RECORD, b"\x04\x02\x02x", "a: branch 2 of a union of 2"),
        (RECORD, b"\x00\x04x", "b: 2 bytes are wanted"),
        (WIDE, b"\x8c\x01", "branch 70 of a union of 70"),
        (BLOCKS, b"\x02\x02", "ends inside a number"),
        (BLOCKS, b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01\x02", "items in 1 bytes"),
        (BLOCKS, b"\x03\x06\x02\x04\x00", "a block that says it ends at byte 5"),
        (BLOCKS, b"\x03\x01\x02\x04\x00", "a block of -1 bytes"),
        (MAP, b"\x04\x02a\x02\x02a\x04\x00", "the key 'a' twice"),
        (MAP, b"\x02\x02a\x02\x02\x02a\x04\x00", "the key 'a' twice"),
        ({"type": "array", "items": {"type": "fixed", "name": "F", "size": 9}}, b"\x80\x80\x80\x80\x10" + b"x" * 9, "items in 9"),
    ],
)
def test_bytes_that_are_no_value_say_where(schema: Any, data: bytes, why: str) -> None:
    with pytest.raises(Malformed, match=why):
        read_value(read_schema(json.dumps(schema)), data)
    assert both(schema, data) is Malformed


@pytest.mark.parametrize(
    ("schema", "data", "value"),
    [
        ("long", b"\x82\x00", 1),  # more bytes than it needs
        (RECORD, b"\x80\x00\x02x", {"a": None, "b": "x"}),
        (RECORD, b"\x82\x80\x00\x01\x02x", {"a": -1, "b": "x"}),
        (BLOCKS, b"\x03\x04\x02\x04\x02\x06\x00", [1, 2, 3]),  # one block with its size, one without
        (MAP, b"\x01\x06\x02a\x02\x02\x02b\x04\x00", {"a": 1, "b": 2}),
        (WIDE, b"\x84\x00xx", b"xx"),
        (WIDE, b"\x8a\x01" + b"x" * 69, b"x" * 69),
        ("double", struct.pack("<d", -0.0), -0.0),
    ],
)
def test_what_a_writer_may_write_in_another_way(schema: Any, data: bytes, value: Any) -> None:
    assert both(schema, data) == exact(value)


def test_a_signalling_nan_stays_a_nan() -> None:
    assert math.isnan(read_value(read_schema('"double"'), b"\x01\x00\x00\x00\x00\x00\xf0\x7f"))


NODE = {"type": "record", "name": "Node", "fields": [{"name": "next", "type": ["null", "Node"]}]}


def test_a_type_that_contains_itself_goes_as_deep_as_is_safe() -> None:
    tree = read_schema(json.dumps(NODE))
    assert compiled(tree) is None
    value = read_value(tree, b"\x02" * (MAX_DEPTH - 1) + b"\x00")
    depth = 0
    while value is not None:
        value, depth = value["next"], depth + 1
    assert depth == MAX_DEPTH
    with pytest.raises(Malformed, match="nested deeper than"):
        read_value(tree, b"\x02" * 1_000_000 + b"\x00")


def deep(levels: int) -> Any:
    kind: Any = "long"
    for _ in range(levels):
        kind = {"type": "map", "values": kind}
    return kind


def many(levels: int, innermost: Any = "null") -> Any:
    """Few names for very many types: each record has twice the one before it."""
    kind: Any = {"type": "record", "name": "R0", "fields": [{"name": "a", "type": innermost}]}
    for level in range(1, levels):
        fields = [{"name": "a", "type": kind}, {"name": "b", "type": f"R{level - 1}"}]
        kind = {"type": "record", "name": f"R{level}", "fields": fields}
    return kind


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "not JSON"),
        ("7", "no Avro schema"),
        ('{"__fastavro_parsed":true,"type":"record"}', "no Avro schema"),
        ('{"type":"map","values":"Gone"}', "no type is named 'Gone'"),
        ('{"type":"array","items":"null"}', "an array of null, whose items take no bytes"),
        (
            '{"type":"array","items":{"type":"record","name":"E","fields":[{"name":"n","type":"null"}]}}',
            "an array of E, whose items",
        ),
        ('{"type":"array","items":{"type":"fixed","name":"F","size":0}}', "an array of F, whose items"),
        ('{"type":"fixed","name":"F","size":-1}', "fixed F has no size"),
        ('{"type":"record","name":"R","fields":[{"name":"a","type":"int"},{"name":"a","type":"int"}]}', "two fields of one name"),
        ("[]", "a union without branches"),
        ('["null",["long"]]', "a union directly inside a union"),
        (json.dumps(deep(MAX_DEPTH)), "nested deeper than"),
        (json.dumps(many(40)), "more than 20000 types"),
        (json.dumps(many(40, ["null", "R39"])), "more than 20000 types"),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_schemas_that_cannot_be_used(text: str, why: str) -> None:
    with pytest.raises(BadSchema, match=why):
        read_schema(text)


def test_a_wrong_default_is_for_other_readers() -> None:
    read_schema('{"type":"record","name":"R","fields":[{"name":"a","type":["long","null"],"default":null}]}')
    read_schema('{"type":"record","name":"R","fields":[{"name":"a","type":"long","default":"x"}]}')


def test_a_schema_cannot_pass_for_one_that_is_parsed_already() -> None:
    forged = {"type": "record", "name": "R", "namespace": "n", "fields": [], "__fastavro_parsed": True, "__named_schemas": {}}
    assert read_schema(json.dumps(forged)).name == "n.R"


def test_schemas_do_not_know_each_others_names() -> None:
    first, second = ({"type": "record", "name": "shop.R", "fields": [{"name": "a", "type": kind}]} for kind in ("long", "string"))
    assert both(first, b"\x02") == exact({"a": 1})
    assert both(second, b"\x02x") == exact({"a": "x"})
    with pytest.raises(BadSchema, match=r"no type is named 'shop\.R'"):
        read_schema('"shop.R"')
