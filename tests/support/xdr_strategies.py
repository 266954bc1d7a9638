"""Hypothesis strategies for change events with every bin type, and what their bins must be declared as in flat JSON."""

import string
from typing import Any

from hypothesis import strategies as st

from schemas.bins import BinType, GeoJson, Hll, KeyOrderedMap, KeyValueOrderedMap, OrderedList
from schemas.digest import digest_of
from schemas.events import DELETE, WRITE, ChangeEvent
from schemas.nested import Other
from schemas.version import MAX_LUT_MS

INT64 = st.integers(-(1 << 63), (1 << 63) - 1)
TEXT = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        [
            *("77", "1.5", "-0.0", "true", "null", "NaN", "[1]", "{}", '":"', '"a":"', "a", "\\", "2026-01-02", "1d", "\\ud800"),
            *("$blob", "$"),
        ]
    ),
)
NAMES = st.one_of(
    st.sampled_from(["a", "b", "gen", "msg", "key", "metadat", 'q"', "b\\", "ü.$ "]), st.text(string.ascii_letters, min_size=1)
)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
NESTED = st.recursive(
    st.none() | st.booleans() | INT64 | FINITE | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=8,
)
LISTS, MAPS = st.lists(NESTED, max_size=4), st.dictionaries(TEXT, NESTED, max_size=4)
POINT = GeoJson('{"type":"Point","coordinates":[8.5,47.4]}')
VALUES = st.one_of(
    *(st.none(), st.booleans(), INT64, st.floats(), TEXT, LISTS, MAPS, st.binary(max_size=8), st.binary(max_size=8).map(Hll)),
    *(LISTS.map(OrderedList), MAPS.map(KeyOrderedMap), MAPS.map(KeyValueOrderedMap), st.just(POINT)),
)
FLAT_VALUES = st.one_of(st.none(), st.booleans(), INT64, FINITE, TEXT, LISTS, MAPS)
DECLARED: dict[str, tuple[BinType, Any]] = {
    "d_float": (BinType.FLOAT, st.floats()),
    "d_blob": (BinType.BLOB, st.binary(max_size=8)),
    "d_hll": (BinType.HLL, st.binary(max_size=8).map(Hll)),
    "d_geo": (BinType.GEOJSON, st.just(POINT)),
    "d_str": (BinType.STR, TEXT),
}
DECLARED_TYPES = {name: kind for name, (kind, _) in DECLARED.items()}
DECLARED_BINS = st.fixed_dictionaries({}, optional={name: values for name, (_, values) in DECLARED.items()})
TYPED_BINS = st.dictionaries(NAMES, VALUES, max_size=6)
FLAT_BINS = st.builds(lambda one, two: {**one, **two}, st.dictionaries(NAMES, FLAT_VALUES, max_size=6), DECLARED_BINS)


MAP_KEYS = st.one_of(INT64, TEXT, st.binary(max_size=4), st.none(), st.booleans(), FINITE)
NATIVE_LEAVES = st.one_of(
    *(st.none(), st.booleans(), INT64, st.floats(), TEXT, st.binary(max_size=4), st.binary(max_size=4).map(Hll), st.just(POINT)),
    st.builds(Other, st.sampled_from([-128, -1, 0, 1, 3, 5, 16, 19, 20, 24, 127]), st.binary(max_size=17)),
)
NATIVE = st.recursive(
    NATIVE_LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(MAP_KEYS, inner, max_size=4), max_leaves=8
)
NATIVE_LISTS, NATIVE_MAPS = st.lists(NATIVE, max_size=20), st.dictionaries(MAP_KEYS, NATIVE, max_size=18)
NATIVE_VALUES = st.one_of(
    *(VALUES, NATIVE_LISTS, NATIVE_MAPS, NATIVE_LISTS.map(OrderedList), NATIVE_MAPS.map(KeyOrderedMap)),
    NATIVE_MAPS.map(KeyValueOrderedMap),
)
"""What a bin holds where nested values keep their types."""
NATIVE_BINS = st.dictionaries(NAMES, NATIVE_VALUES, max_size=18)
JSON_KEYS = st.none() | INT64 | TEXT
NATIVE_KEYS = st.one_of(JSON_KEYS, st.binary(max_size=8), FINITE)
"""User keys, in JSON and where they keep their type."""


@st.composite
def events(
    draw: st.DrawFn,
    bins: st.SearchStrategy[dict[str, Any]],
    user_keys: st.SearchStrategy[Any] = JSON_KEYS,
) -> ChangeEvent:
    """An event with such bins and user keys, a delete at times."""
    ordered = draw(st.booleans())
    op = draw(st.sampled_from([WRITE, WRITE, WRITE, DELETE]))
    set_name, user_key = draw(st.none() | st.text(min_size=1, max_size=5)), draw(user_keys)
    return ChangeEvent(
        namespace=draw(st.sampled_from(["shop", "ü"])),
        set=set_name,
        digest=draw(st.binary(min_size=20, max_size=20)) if user_key is None else digest_of(set_name, user_key),
        user_key=user_key,
        op=op,
        gen=draw(st.integers(0, 65535)) if ordered else None,
        lut_ms=draw(st.integers(10**11, MAX_LUT_MS)) if ordered else None,
        exp_s=draw(st.none() | st.integers(1, 10**11 - 1)) if op == WRITE else None,
        bins=draw(bins) if op == WRITE else {},
        topic="xdr",
        partition=3,
        offset=0,
    )
