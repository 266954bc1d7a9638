"""What the node ships in MessagePack: golden bytes, and every particle read back as what the node holds."""

import math
import struct
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deploy.local.node.algebra import msgpack
from deploy.local.node.algebra.elements import Ext, ListValue, MapValue
from deploy.local.node.changes import Particle
from deploy.local.xdr.change import Unserialisable, write_of
from schemas.bins import GeoJson, Hll, KeyOrderedMap, KeyValueOrderedMap, OrderedList
from schemas.digest import digest_of
from schemas.nested import Other
from schemas.xdr import DecodeOptions
from schemas.xdr.keys import read_key
from tests.support.decode import exact, read_all_ways
from tests.support.message_pack import bin_entry, pack
from tests.unit.xdr.node_double import double, integer, string
from tests.unit.xdr.test_formats import DIGEST, EVERY_TYPE, EXP_S, LUT_MS, POINT, gone, image, shipped

OPTIONS = DecodeOptions("message-pack")
KEY_HEX = "94a473686f70a66f7264657273c4144c5f4e0eb33dae4918ee8e654cd923b7dbfb90f6a6412d31303031"


def sent(change: Any, **options: object) -> tuple[bytes, bytes]:
    return shipped(change, format="message-pack", **options)


def test_the_example_of_the_reference_byte_for_byte() -> None:
    bins: dict[str, Particle] = {"qty": integer(3), "tags": (20, bytes.fromhex("92a20378a20379"))}
    key, value = sent(write_of(image(bins, key=string("A-1001"))))
    assert key.hex() == KEY_HEX
    assert value.hex() == "930101" + "95" + KEY_HEX + "04ce6955b900cf0000019adc5be07b9294a371747901000394a474616773140092a178a179"
    durable = sent(gone(durable=True), delete_versions=False)[1]
    assert durable.hex() == "9301029294a473686f70a66f7264657273c4144c5f4e0eb33dae4918ee8e654cd923b7dbfb90f6c001"


def test_a_write_with_every_type() -> None:
    _, value = sent(write_of(image(EVERY_TYPE, key=string("A-1001"))))
    bins = [
        ["qty", 1, 0, 3],
        ["price", 2, 0, 19.5],
        ["note", 3, 0, "läuft"],
        ["paid", 17, 0, True],
        ["sig", 4, 0, b"\x00\xff\x10"],
        ["hll", 18, 0, b"\1\2"],
        ["tags", 20, 0, ["x", 1, None, {"k": [2]}]],
        ["attr", 19, 1, {7: "seven", "w": 1.25}],
        ["pos", 23, 0, POINT.decode()],
    ]
    assert value == pack([1, 1, [["shop", "orders", DIGEST, "A-1001"], 4, EXP_S, LUT_MS, bins]])


def test_deletes_carry_a_version_and_say_when_they_are_durable() -> None:
    lut = LUT_MS + 60_884
    for durable, flag, flags in (
        *((False, "when-durable", 0), (True, "when-durable", 1), (False, "always", 0), (True, "never", 0)),
    ):
        value = sent(gone(durable=durable), durable_flag=flag)[1]
        assert value == pack([1, 2, [["shop", "orders", DIGEST, None], flags, 5, lut]])
        (read,), _ = read_all_ways([value], OPTIONS)
        assert (read.metadata.durable, read.metadata.gen, read.metadata.lut_ms) == (bool(flags), 5, lut)


def test_a_deleted_bin_is_nil() -> None:
    value = sent(write_of(image({}), {"old": None, "new": integer(1)}))[1]
    (read,), _ = read_all_ways([value], OPTIONS)
    assert read.bins == [("old", "null", None), ("new", "int", "1")]


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        (integer(-(2**63)), -(2**63), ("int", "-9223372036854775808")),
        (string("77"), "77", ("str", "77")),
        ((4, b"\0\xff"), b"\0\xff", ("blob", "AP8=")),
        ((2, struct.pack(">d", -0.5)), -0.5, ("float", "-0.5")),
        (None, None, None),
    ],
    ids=str,
)
def test_user_keys_keep_their_type_in_value_and_kafka_key(key: Particle | None, value: Any, said: Any) -> None:
    digest = DIGEST if value is None else digest_of("orders", value)
    key_bytes, message = sent(write_of(image({}, key=key)._replace(digest=digest)))
    assert key_bytes == pack(["shop", "orders", digest, value])
    (read,), _ = read_all_ways([message], OPTIONS)
    assert read.metadata.user_key == read_key(key_bytes).user_key == said


def test_unknown_particle_types_are_shipped_as_their_bytes() -> None:
    value = sent(write_of(image({"v": (16, b"\0\1\2")})))[1]
    (read,), _ = read_all_ways([value], OPTIONS)
    assert read.bins == [("v", "particle-16", "AAEC")]


@pytest.mark.parametrize(
    "particle",
    [
        (20, bytes.fromhex("91a203ff")),
        (20, bytes.fromhex("92a20378")),
        (20, bytes.fromhex("80")),
        (20, bytes.fromhex("91a0")),
        (20, bytes.fromhex("91cfffffffffffffffff")),
        (19, bytes.fromhex("81a203ff01")),
        (20, b"\x91" * 300 + b"\x01"),
        (23, b"\0\0\0\xff"),
    ],
    ids=["text", "cut short", "a map", "no type", "64 bits", "key", "too deep", "geojson"],
)
def test_what_message_pack_cannot_hold_is_unserialisable(particle: Particle) -> None:
    with pytest.raises(Unserialisable):
        sent(write_of(image({"bad": particle})))


# What the node may hold: (element as it is stored, value as it is read).
TEXTS = st.text(max_size=6).map(lambda text: (b"\x03" + text.encode(), text))
SCALARS = st.one_of(
    st.sampled_from([None, True, False]).map(lambda value: (value, value)),
    st.integers(-(1 << 63), (1 << 63) - 1).map(lambda value: (value, value)),
    st.floats().map(lambda value: (value, value)),
    TEXTS,
    st.binary(max_size=17).map(lambda raw: (b"\x04" + raw, raw)),
    st.binary(max_size=17).map(lambda raw: (b"\x12" + raw, Hll(raw))),
    st.binary(max_size=17).map(lambda raw: (b"\x07" + raw, raw)),
    st.binary(max_size=17).map(lambda raw: (b"\x10" + raw, Other(16, raw))),
    st.just((b"\x17" + POINT, GeoJson(POINT.decode()))),
)
KEYS = st.one_of(
    TEXTS,
    st.integers(-(1 << 63), (1 << 63) - 1).map(lambda value: (value, value)),
    st.binary(max_size=4).map(lambda raw: (b"\x04" + raw, raw)),
)


def lists(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    made = st.tuples(st.lists(inner, max_size=18), st.sampled_from([0, 1]))
    return made.map(lambda one: (ListValue([stored for stored, _ in one[0]], one[1]), [value for _, value in one[0]]))


def maps(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    pairs = st.lists(st.tuples(KEYS, inner), max_size=18, unique_by=lambda pair: pair[0][1])
    made = st.tuples(pairs, st.sampled_from([0, 1, 3]))
    return made.map(
        lambda one: (
            MapValue([(key[0], item[0]) for key, item in one[0]], one[1]),
            {key[1]: item[1] for key, item in one[0]},
        )
    )


NESTED = st.recursive(SCALARS, lambda inner: lists(inner) | maps(inner), max_leaves=8)


def collection(made: tuple[Any, Any]) -> tuple[Particle, Any]:
    stored, value = made
    if isinstance(stored, ListValue):
        return (20, msgpack.encode(stored)), OrderedList(value) if stored.flags else value
    return (19, msgpack.encode(stored)), {0: dict, 1: KeyOrderedMap, 3: KeyValueOrderedMap}[stored.flags](value)


PARTICLES = st.one_of(
    st.integers(-(1 << 63), (1 << 63) - 1).map(lambda value: (integer(value), value)),
    st.floats().map(lambda value: (double(value), value)),
    st.text(max_size=9).map(lambda value: (string(value), value)),
    st.booleans().map(lambda value: ((17, bytes([value])), value)),
    st.sampled_from([4, *range(7, 13)]).flatmap(lambda kind: st.binary(max_size=300).map(lambda raw: ((kind, raw), raw))),
    st.binary(max_size=9).map(lambda raw: ((18, raw), Hll(raw))),
    st.integers(0, 3).map(
        lambda cells: ((23, b"\0" + cells.to_bytes(2, "big") + bytes(8 * cells) + POINT), GeoJson(POINT.decode()))
    ),
    lists(NESTED).map(collection),
    maps(NESTED).map(collection),
)


@settings(deadline=None, suppress_health_check=list(HealthCheck))
@given(bins=st.dictionaries(st.text(min_size=1, max_size=5), PARTICLES, max_size=18))
def test_every_particle_is_read_back_as_what_the_node_holds(bins: dict[str, tuple[Particle, Any]]) -> None:
    value = sent(write_of(image({name: particle for name, (particle, _) in bins.items()})))[1]
    _, events = read_all_ways([value], OPTIONS)
    assert events.rejections == []
    (event,) = events.events
    assert [(name, exact(value)) for name, value in event.bins.items()] == [
        (name, exact(want)) for name, (_, want) in bins.items()
    ]


def test_extensions_the_node_knows_nothing_of_are_kept() -> None:
    value = sent(write_of(image({"a": (20, msgpack.encode(ListValue([1, Ext(5, b"\x01\x02\x03")])))})))[1]
    (read,), _ = read_all_ways([value], OPTIONS)
    assert read.bins == [("a", "list", '[1,{"$other":[5,"AQID"]}]')]


def test_the_tests_own_encoder_packs_the_same() -> None:
    """Two encoders that were written apart agree about bins."""
    value = sent(write_of(image({"n": integer(300), "nan": double(math.nan)})))[1]
    bins = [bin_entry("n", 300), bin_entry("nan", math.nan)]
    assert value == pack([1, 1, [["shop", "orders", DIGEST, None], 4, EXP_S, LUT_MS, bins]])
