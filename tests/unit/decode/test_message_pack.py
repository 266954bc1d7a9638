"""MessagePack that is damaged, odd or huge: one fate for each, and the quick way never says what the thorough one does not."""

import struct
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.bins import BinType, GeoJson, Hll, KeyOrderedMap, OrderedList
from schemas.nested import Other
from schemas.xdr import DecodeOptions, RecordType
from schemas.xdr.json_text import MAX_DEPTH
from schemas.xdr.normal_form import Read
from schemas.xdr.reader import Reader
from tests.support.decode import golden, read_all_ways
from tests.support.events import delete, write
from tests.support.message_pack import key_of, message_pack, pack
from tests.support.xdr_strategies import NATIVE_BINS, NATIVE_KEYS, events

OPTIONS = DecodeOptions("message-pack")
WHOLE = write(
    "k",
    1,
    bins={
        "n": 300,
        "f": 0.5,
        "s": "läuft",
        "b": True,
        "raw": b"\x00\xff",
        "hll": Hll(b"\x01\x02"),
        "list": OrderedList(["x", 1, None, {"k": [2]}]),
        "map": KeyOrderedMap({7: "seven", b"\x01": [b"\x02"], "w": 1.25}),
        "pos": GeoJson('{"type":"Point","coordinates":[8.5,47.25]}'),
        "odd": [Hll(b"\x01"), GeoJson('{"a":1}'), Other(16, b"\x01\x02\x03")],
    },
    exp_s=1_767_225_600,
)
ODD_BYTES = st.sampled_from(
    [
        *(b"\xc1", b"\xc0", b"\xc3", b"\x00", b"\x7f", b"\xff", b"\xa1\xff", b"\xa2\xed\xa0", b"\xcf" + b"\xff" * 8, b"\x94"),
        *(
            b"\xca\x7f\xc0\x00\x00",
            b"\xcb\x7f\xf8" + bytes(6),
            b"\xd4\x17{",
            b"\xc7\x02\x17{}",
            b"\xd5\x12\x00\x01",
            b"\xd4\x10\x01",
        ),
        *(b"\x81\x01\x02", b"\x82\x01\x02\x01\x03", b"\x82\x01\x02\xc3\x03", b"\x81\x90\x01", b"\x81\xcb" + bytes(8) + b"\x01"),
        *(
            b"\xdd\xff\xff\xff\xff",
            b"\xdf\xff\xff\xff\xff",
            b"\xc6\xff\xff\xff\xff",
            b"\xdb\x7f\xff\xff\xff",
            b"\xc9\xff\xff\xff\xff",
        ),
        *(b"\x91" * 300, b"\x81\xa1a" * 300, b"\xa2{}", b"\xd3" + b"\x7f" * 8),
    ]
)
RUNS = settings(deadline=None, max_examples=300, suppress_health_check=list(HealthCheck))


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A message with up to four places changed: bytes removed, replaced, repeated, flipped, or something odd put in."""
    message = message_pack(draw(events(NATIVE_BINS, NATIVE_KEYS)), draw(st.booleans()))
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(message)))
        end = min(len(message), start + draw(st.sampled_from([0, 1, 1, 2, 5, 20])))
        new = draw(st.one_of(ODD_BYTES, st.just(b""), st.just(message[start:end] * 2), st.binary(min_size=1, max_size=2)))
        message = message[:start] + new + message[end:]
    return message


@RUNS
@given(values=st.lists(damaged(), min_size=1, max_size=4))
def test_damaged_messages(values: list[bytes]) -> None:
    read_all_ways(values, OPTIONS)


@RUNS
@given(values=st.lists(damaged(), min_size=1, max_size=4))
def test_damaged_messages_of_declared_and_of_unwanted_records(values: list[bytes]) -> None:
    declared = RecordType("shop", None, {"a": BinType.INT, "b": BinType.HLL, "gen": BinType.MAP})
    read_all_ways(values, DecodeOptions("message-pack", records=(declared,)))
    read_all_ways(values, DecodeOptions("message-pack", image="none"))


def cut_short(message: bytes) -> list[bytes]:
    return [message[:end] for end in range(len(message))]


def one_byte_changed(message: bytes) -> list[bytes]:
    return [
        message[:place] + bytes([message[place] ^ bit]) + message[place + 1 :]
        for place in range(len(message))
        for bit in (0x01, 0x10, 0x20, 0x80)
    ]


def one_byte_more(message: bytes) -> list[bytes]:
    return [message[:place] + more + message[place:] for place in range(len(message) + 1) for more in (b"\xc0", b"\x01")]


@pytest.mark.parametrize("damage", [cut_short, one_byte_changed, one_byte_more])
@pytest.mark.parametrize("wide", [False, True])
def test_every_place_of_a_whole_message(damage: Callable[[bytes], list[bytes]], wide: bool) -> None:
    values = damage(message_pack(WHOLE, wide))
    readings, events = read_all_ways(values, OPTIONS)
    assert len(events.rejections) > len(values) // 4, "the damage does not show"
    if damage is cut_short:
        assert all(reading.error is not None and reading.error[0] == "D102" for reading in readings)
    if damage is one_byte_more:
        assert all(reading.error is not None for reading in readings), "a byte that nobody accounts for"


def read_one(value: bytes | None, options: DecodeOptions = OPTIONS) -> Read:
    (reading,), _ = read_all_ways([value], options)
    return reading


def with_bins(*entries: Any, wide: bool = False) -> bytes:
    return pack([1, 1, [key_of(WHOLE), 4, 0, WHOLE.lut_ms, list(entries)]], wide)


def test_the_quick_way_is_taken_for_all_but_odd_messages() -> None:
    quick = Reader(OPTIONS).quick
    ordinary = {name: value for name, value in WHOLE.bins.items() if name != "odd"}
    assert quick(message_pack(WHOLE._replace(bins=ordinary))) is not None
    assert quick(message_pack(delete("k", 1))) is not None
    for event in (WHOLE, WHOLE._replace(bins={"nan": [float("nan")]}), WHOLE._replace(bins={"gone": None})):
        assert quick(message_pack(event)) is None


EQUAL_KEYS = (
    (b"\x01", b"\x01"),
    (b"\x01", b"\xcc\x01"),
    (b"\xa1a", b"\xd9\x01a"),
    (b"\x01", b"\xc3"),
    (b"\xc4\x01a", b"\xd4\x04a"),
)


@pytest.mark.parametrize(("one", "other"), EQUAL_KEYS)
@pytest.mark.parametrize("head", [b"\x82", b"\xde\x00\x02", b"\xdf\x00\x00\x00\x02"], ids=lambda head: head.hex())
@pytest.mark.parametrize("nested", [False, True])
def test_a_map_key_that_stands_there_twice_is_never_passed_over(one: bytes, other: bytes, head: bytes, nested: bool) -> None:
    value = head + one + b"\x05" + other + b"\x05"
    entry = with_bins(["m", 20, 0, [None]]) if nested else with_bins(["m", 19, 0, None])
    assert entry.endswith(b"\xc0")
    reading = read_one(entry[:-1] + value)
    assert reading.error is not None and reading.error[0] == "D108" and "holds one key twice" in reading.error[1]


@pytest.mark.parametrize(
    ("entry", "code", "words"),
    [
        (["a", 1, 0, "5"], "D108", "value of type int is a str"),
        (["a", 1, 0, 1.0], "D108", "value of type int is a float"),
        (["a", 1, 0, True], "D108", "value of type int is a boolean"),
        (["a", 1, 0, 1 << 63], "D108", "needs more than 64 bits"),
        (["a", 2, 0, 1], "D108", "value of type float is an integer"),
        (["a", 3, 0, b"x"], "D108", "value of type str is a bin"),
        (["a", 3, 0, GeoJson("{}")], "D108", "value of type str is an extension"),
        (["a", 4, 0, "x"], "D108", "value of type blob is a str"),
        (["a", 4, 0, Hll(b"x")], "D108", "value of type blob is an extension"),
        (["a", 17, 0, 1], "D108", "value of type bool is an integer"),
        (["a", 18, 0, "x"], "D108", "value of type hll is a str"),
        (["a", 19, 0, []], "D108", "value of type map is an array"),
        (["a", 20, 0, {}], "D108", "value of type list is a map"),
        (["a", 20, 0, [{"k": 1 << 63}]], "D108", "value of type list holds an integer that needs more than 64 bits"),
        (["a", 23, 0, "[8.5,47.4]"], "D108", "GeoJSON that is no JSON object"),
        (["a", 23, 0, '{"a":1,"a":2}'], "D108", "GeoJSON that holds one member twice"),
        (["a", 23, 0, '{"a":NaN}'], "D108", "GeoJSON that holds NaN"),
        (["a", 23, 0, {"type": "Point"}], "D108", "value of type geojson is a map"),
        (["a", 20, 0, [GeoJson("{")]], "D108", "value of type list holds GeoJSON that is no JSON object"),
        (["a", 16, 0, [1 << 63]], "D108", "value of type particle-16 holds an integer"),
        (["a", 19, 2, {}], "D107", "bins[0] (name a): flags 2 are no order of a map"),
        (["a", 20, 3, []], "D107", "flags 3 are no order of a list"),
        (["a", 20, None, []], "D107", "flags are not an integer"),
        (["a", 0, 0, 1], "D107", "type is none that has a value"),
        (["a", 256, 0, 1], "D107", "not the number of a particle type"),
        (["a", -1, 0, 1], "D107", "not the number of a particle type"),
        (["a", True, 0, 1], "D107", "not the number of a particle type"),
        (["a", 1.0, 0, 1], "D107", "not the number of a particle type"),
        ([5, 1, 0, 1], "D107", "bins[0] (name missing): name is missing, or not text"),
        ([None, 1, 0, 1], "D107", "name is missing"),
        (["a", 1, 0], "D107", "bins[0] is an array of 3, not [name, type, flags, value]"),
        (["a", 1, 0, 1, 1], "D107", "bins[0] is an array of 5"),
        ("abcd", "D107", "bins[0] is no array"),
        ({"a": 1, 1: 1, 0: 1, 3: 1}, "D107", "bins[0] is no array"),
    ],
    ids=str,
)
@pytest.mark.parametrize("wide", [False, True])
def test_a_bin_that_is_none(entry: Any, code: str, words: str, wide: bool) -> None:
    reading = read_one(with_bins(entry, wide=wide))
    assert reading.error is not None and reading.error[0] == code and words in reading.error[1], reading.error
    assert reading.metadata.digest == WHOLE.digest, "a dead letter names its record"


def test_text_that_is_not_utf_8_is_the_fault_of_its_bin_alone() -> None:
    for value in (b"\xa1\xff", b"\xa3\xed\xa0\x80", b"\x91\xa1\xc3", b"\x81\xa1\xff\x01"):
        kind = 20 if value[0] == 0x91 else 19 if value[0] == 0x81 else 3
        reading = read_one(with_bins(["a", kind, 0, None])[:-1] + value)
        assert reading.error is not None and reading.error[0] == "D108" and "not UTF-8: byte 0" in reading.error[1]
        assert reading.metadata.digest == WHOLE.digest


def head(version: Any, kind: Any, payload: Any) -> bytes:
    return pack([version, kind, payload])


KEY = key_of(WHOLE)
LUT = WHOLE.lut_ms


@pytest.mark.parametrize(
    ("value", "code", "words"),
    [
        (None, "D101", "null"),
        (b"", "D102", "cut short"),
        (b"\xc1", "D102", "the message is not an array"),
        (pack("text"), "D102", "the message is not an array"),
        (pack({1: 1}), "D102", "the message is not an array"),
        (b'{"msg":"write"}', "D102", "the message is not an array"),
        (pack([1, 1]), "D102", "an array of 2 elements, not [version, type, payload]"),
        (head(2, 1, [KEY, 4, 0, LUT, []]), "D102", "of version 2, not 1"),
        (head(True, 1, [KEY, 4, 0, LUT, []]), "D102", "of version True"),
        (head(1.0, 1, [KEY, 4, 0, LUT, []]), "D102", "of version 1.0"),
        (head(1, 3, [KEY, 4, 0, LUT, []]), "D104", "of type 3, neither 1 (write) nor 2 (delete)"),
        (head(1, True, [KEY, 4, 0, LUT, []]), "D104", "of type True"),
        (head(1, None, [KEY, 4, 0, LUT, []]), "D104", "of type None"),
        (head(1, 1, None), "D103", "the payload is not an array"),
        (head(1, 1, {"a": 1}), "D103", "the payload is not an array"),
        (head(1, 1, [KEY, 4, 0, LUT]), "D103", "the payload of a write has 4 elements, not 5"),
        (head(1, 2, [KEY]), "D103", "the payload of a delete has 1 elements"),
        (head(1, 2, [KEY, None]), "D103", "the flags of a delete are not an integer"),
        (head(1, 1, ["k", 4, 0, LUT, []]), "D105", "key is not an array of 4 parts"),
        (head(1, 1, [KEY[:3], 4, 0, LUT, []]), "D105", "key has 3 parts, not 4"),
        (head(1, 1, [[None, *KEY[1:]], 4, 0, LUT, []]), "D105", "key[0]"),
        (head(1, 1, [["", *KEY[1:]], 4, 0, LUT, []]), "D105", "key[0]"),
        (head(1, 1, [[b"shop", *KEY[1:]], 4, 0, LUT, []]), "D105", "key[0]"),
        (head(1, 1, [[GeoJson("{}"), *KEY[1:]], 4, 0, LUT, []]), "D105", "key[0]"),
        (head(1, 1, [["shop", 5, *KEY[2:]], 4, 0, LUT, []]), "D105", "key[1]"),
        (head(1, 1, [["shop", None, bytes(19), None], 4, 0, LUT, []]), "D105", "key[2] is not 20 bytes"),
        (head(1, 1, [["shop", None, "A" * 27 + "=", None], 4, 0, LUT, []]), "D105", "key[2] is not 20 bytes"),
        (head(1, 1, [["shop", None, Hll(bytes(20)), None], 4, 0, LUT, []]), "D105", "key[2] is not 20 bytes"),
        (head(1, 1, [[*KEY[:3], True], 4, 0, LUT, []]), "D105", "key[3]"),
        (head(1, 1, [[*KEY[:3], [1]], 4, 0, LUT, []]), "D105", "key[3]"),
        (head(1, 1, [[*KEY[:3], 1 << 63], 4, 0, LUT, []]), "D105", "key[3]"),
        (head(1, 1, [KEY, 4.0, 0, LUT, []]), "D106", "gen is not an integer"),
        (head(1, 1, [KEY, 65536, 0, LUT, []]), "D106", "gen is 65536"),
        (head(1, 1, [KEY, None, 0, LUT, []]), "D106", "gen is missing beside a last-update time"),
        (head(1, 1, [KEY, 4, 0, LUT // 1000, []]), "D106", "seconds, not milliseconds"),
        (head(1, 1, [KEY, 4, 0, 1 << 63, []]), "D106", "lut is not a 64-bit integer"),
        (head(1, 1, [KEY, 4, 10**11, LUT, []]), "D106", "exp is 100000000000"),
        (head(1, 1, [KEY, 4, "0", LUT, []]), "D106", "exp is not a 64-bit integer"),
        (head(1, 2, [KEY, 0, 70_000, LUT]), "D106", "gen is 70000"),
        (head(1, 2, [KEY, 0, 4, LUT // 1000]), "D106", "seconds, not milliseconds"),
        (head(1, 1, [KEY, 4, 0, LUT, None]), "D107", "bins is not an array"),
        (head(1, 1, [KEY, 4, 0, LUT, {}]), "D107", "bins is not an array"),
        (head(1, 1, [KEY, 4, 0, LUT, []]) + b"\x00", "D102", "1 more bytes after the message"),
        (head(1, 2, [KEY, 0, 4, LUT]) * 2, "D102", "more bytes after the message"),
    ],
    ids=lambda value: value.hex()[:12] if isinstance(value, bytes) else str(value),
)
def test_a_message_that_is_none(value: bytes | None, code: str, words: str) -> None:
    reading = read_one(value)
    assert reading.error is not None and reading.error[0] == code and words in reading.error[1], reading.error


@pytest.mark.parametrize(
    ("more", "version"),
    [
        ([], (None, None)),
        ([5, LUT], (5, LUT)),
        ([None, None], (None, None)),
        ([5, 0], (None, None)),
        ([5], (None, None)),
        ([5, LUT, 0], (None, None)),
        (["5", LUT], (None, None)),
        ([{}, [1]], (None, None)),
    ],
    ids=str,
)
@pytest.mark.parametrize("flags", [0, 1, 2, 3])
def test_a_delete_has_a_version_when_two_integers_follow_its_flags(more: list[Any], version: object, flags: int) -> None:
    said = read_one(head(1, 2, [KEY, flags, *more])).metadata
    assert (said.op, said.digest, said.durable) == ("delete", WHOLE.digest, flags in (1, 3))
    assert (said.gen, said.lut_ms) == version


DECLARED = DecodeOptions("message-pack", records=(RecordType("source", None, {"a": BinType.HLL, "b": BinType.STR}),))


def test_a_declaration_knows_an_hll_from_a_blob_and_contradicts_anything_else() -> None:
    assert read_one(with_bins(["a", 4, 0, b"\x01"], ["b", 3, 0, "x"]), DECLARED).bins == [("a", "hll", "AQ=="), ("b", "str", "x")]
    assert read_one(with_bins(["a", 18, 0, b"\x01"]), DECLARED).bins == [("a", "hll", "AQ==")]
    assert read_one(with_bins(["a", 1, 0, None], ["b", 1, 0, None]), DECLARED).bins == [("a", "null", None), ("b", "null", None)]
    reading = read_one(with_bins(["b", 1, 0, 5]), DECLARED)
    assert reading.error == ("D108", "bins[0] (name b): type is int, but the flow declares str")


def test_bins_are_not_read_where_none_are_shipped() -> None:
    options = DecodeOptions("message-pack", image="none")
    assert read_one(with_bins(["a", 1, 0, "no integer"], ["b", 3, 0, "x"]), options).bins == []
    assert read_one(with_bins(["b", 3, 0, "x"]), options).bins == []
    assert Reader(options).quick(with_bins(["b", 3, 0, "x"])) is not None
    assert read_one(with_bins(["a", 3, 0, "x"])[:-1], options).error is not None


def deep(levels: int, opening: bytes, kind: int) -> bytes:
    return with_bins(["a", kind, 0, None])[:-1] + opening * levels + b"\x01"


@pytest.mark.parametrize(
    ("opening", "kind"), [(b"\x91", 20), (b"\x81\xa1a", 19), (b"\x81\x07", 19)], ids=["list", "map", "odd keys"]
)
@pytest.mark.parametrize("levels", [64, 65, 80, 84, 85, 100, MAX_DEPTH, MAX_DEPTH + 1, 254, 255, 500, 1_000, 1_100, 100_000])
def test_nesting_is_read_or_refused_but_never_a_crash(levels: int, opening: bytes, kind: int) -> None:
    reading = read_one(deep(levels, opening, kind))
    if levels <= 64 or (levels <= MAX_DEPTH and opening != b"\x81\x07"):
        assert reading.error is None
    elif levels > MAX_DEPTH:
        assert reading.error is not None and reading.error[0] == "D102" and "nested too deep" in reading.error[1]
    else:
        assert reading.error is None or (reading.error[0] == "D108" and "nested too deep" in reading.error[1])


@pytest.mark.parametrize("text", ['{"a":' * 600 + "1" + "}" * 600, '{"a":' + "[" * 100_000])
def test_geojson_may_be_too_deep_as_well(text: str) -> None:
    for entry in (["a", 23, 0, text], ["a", 20, 0, [GeoJson(text)]]):
        reading = read_one(with_bins(entry))
        assert reading.error is not None and reading.error[0] == "D108"


@pytest.mark.parametrize("wide", [False, True])
def test_a_value_of_8_mib_costs_a_few_times_its_size(wide: bool) -> None:
    blob = bytes(range(256)) * (1 << 15)
    message = message_pack(WHOLE._replace(bins={"blob": blob, "n": 1}), wide)
    reader = Reader(OPTIONS)
    reader.read(message_pack(WHOLE, wide))
    tracemalloc.start()
    try:
        found = reader.read(message)[0]
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found.error is None and peak_bytes < 5 * len(blob)
    assert read_one(message).error is None


@pytest.mark.parametrize("marker", [b"\xdd", b"\xdf", b"\xc6", b"\xdb", b"\xc9"], ids=lambda marker: marker.hex())
def test_a_length_that_promises_gigabytes_takes_none(marker: bytes) -> None:
    kind = {b"\xdd": 20, b"\xdf": 19, b"\xc6": 4, b"\xdb": 3, b"\xc9": 16}[marker]
    value = with_bins(["a", kind, 0, None])[:-1] + marker + struct.pack(">I", 0xFFFF_FFFF) + b"\x01" * 100
    tracemalloc.start()
    try:
        reading = read_one(value)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert reading.error is not None and reading.error[0] == "D102" and "cut short" in reading.error[1]
    assert peak_bytes < 1 << 20


def test_the_example_of_the_reference_is_a_golden_case() -> None:
    _, cases = golden("message-pack")
    assert cases[0].message is not None and cases[0].message.hex().startswith("9301019594a473686f70a66f7264657273c4144c5f4e0eb3")
