"""Lists and maps as text: what JSON cannot say comes back as it was, and no map is taken for something else."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.bins import GeoJson, Hll
from schemas.nested import Other, escaped, nested_text, untagged
from tests.support.decode import exact
from tests.support.xdr_strategies import INT64, TEXT

KEYS = st.one_of(INT64, TEXT, st.binary(max_size=4), st.sampled_from(["$blob", "$map", "$", "a"]))
LEAVES = st.one_of(
    *(st.none(), st.booleans(), INT64, st.floats(), TEXT, st.binary(max_size=4), st.binary(max_size=4).map(Hll)),
    *(st.just(GeoJson('{"type":"Point","coordinates":[8.5,47.0]}')), st.just(Other(16, b"\x00"))),
)
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=8)
PLAIN = st.recursive(
    st.none() | st.booleans() | INT64 | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3) | st.sampled_from(["$map", "$x"]), inner),
    max_leaves=8,
)


@given(value=VALUES)
def test_every_value_comes_back_as_it_was(value: Any) -> None:
    assert exact(untagged(json.loads(nested_text(value)))) == exact(value)


@given(value=PLAIN)
def test_what_json_said_reads_the_same_escaped_or_written_from_python(value: Any) -> None:
    assert json.dumps(escaped(value), ensure_ascii=False, separators=(",", ":")) == nested_text(value)
    assert untagged(escaped(value)) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ([b"\x00\xff"], '[{"$blob":"AP8="}]'),
        ({7: "seven", "a": [math.nan]}, '{"$map":[[7,"seven"],["a",[{"$float":"NaN"}]]]}'),
        ({"$blob": "AP8="}, '{"$map":[["$blob","AP8="]]}'),
        ({"a": 1, "b": [None, True]}, '{"a":1,"b":[null,true]}'),
    ],
    ids=["blob", "number as key", "a name like a tag", "plain"],
)
def test_the_texts(value: Any, text: str) -> None:
    assert nested_text(value) == text


@pytest.mark.parametrize(
    "text",
    ['{"$blob":"AP8=","a":1}', '{"$new":1}', '{"$float":"1"}', '{"$map":[[[1],2]]}', '{"$blob":"AP8"}', '{"$other":[16]}'],
)
def test_a_tag_that_is_none_is_refused(text: str) -> None:
    with pytest.raises((ValueError, TypeError)):
        untagged(json.loads(text))
