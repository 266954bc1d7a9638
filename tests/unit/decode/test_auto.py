"""The format `auto`: mixed topics, each message by its own bytes, and every one as its own format would read it."""

import json
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.events import WRITE, ChangeEvent
from schemas.xdr import DecodeOptions
from schemas.xdr.options import AvroSchemas
from tests.support.avro_messages import DELETE_SCHEMA, WRITE_MAP, MemorySchemas, as_map, framed
from tests.support.decode import golden, plain, read_all_ways
from tests.support.events import write
from tests.support.message_pack import message_pack
from tests.support.xdr_encode import flat, typed
from tests.support.xdr_strategies import FINITE, FLAT_BINS, INT64, TEXT, TYPED_BINS, events

AUTO = DecodeOptions("auto")
PLAIN_BINS = st.dictionaries(st.sampled_from("abc"), INT64 | TEXT | FINITE | st.booleans(), max_size=3)
RUNS = settings(deadline=None, max_examples=50, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("name", ["json", "flat-json"])
def test_golden_messages_read_as_in_their_own_format(name: str) -> None:
    options, cases = golden(name)
    messages = [case.message for case in cases]
    own, _ = read_all_ways(messages, options)
    found, _ = read_all_ways(messages, AUTO)
    for one, two, case in zip(own, found, cases, strict=True):
        if one.error is None:
            assert plain(one) == plain(two), case.name
        else:
            assert two.error is not None, case.name


@RUNS
@given(
    messages=st.lists(
        st.one_of(events(TYPED_BINS).map(lambda e: ("json", typed(e))), events(FLAT_BINS).map(lambda e: ("flat-json", flat(e)))),
        min_size=1,
        max_size=6,
    )
)
def test_a_mixed_topic(messages: list[tuple[str, bytes]]) -> None:
    found, _ = read_all_ways([value for _, value in messages], AUTO)
    own = [read_all_ways([value], DecodeOptions(name))[0][0] for name, value in messages]
    assert list(map(plain, found)) == list(map(plain, own))


def test_an_array_may_mix_formats() -> None:
    one, two = write(1, 0), write(2, 0)
    readings, events = read_all_ways([b" [" + typed(one) + b"," + flat(two) + b"]"], AUTO)
    assert [reading.metadata.digest for reading in readings] == [one.digest, two.digest]
    assert [event.element for event in events.events] == [0, 1]


def test_flat_bins_named_like_typed_metadata_are_bins_as_long_as_it_is_clear() -> None:
    clear = flat(write(1, 0, bins={"msg": "write", "key": "k", "gen": 1}))
    unclear = flat(write(1, 0, bins={"msg": "write", "key": ["shop", None, "A" * 28, None]}))
    readings, _ = read_all_ways([clear, unclear], AUTO)
    assert {name for name, _, _ in readings[0].bins or ()} == {"msg", "key", "gen"}
    assert readings[1].error is not None and "which is it?" in readings[1].error[1]


ALL = DecodeOptions("auto", avro=AvroSchemas(json.dumps(WRITE_MAP), json.dumps(DELETE_SCHEMA)))
ENCODED: dict[str, Callable[[ChangeEvent], bytes]] = {
    "json": typed,
    "flat-json": flat,
    "message-pack": message_pack,
    "avro": as_map,
    "kafka-avro": lambda event: framed(1 if event.op == WRITE else 2, as_map(event)),
}


@RUNS
@given(messages=st.lists(st.tuples(st.sampled_from(list(ENCODED)), events(PLAIN_BINS)), min_size=1, max_size=6))
def test_a_topic_of_all_formats(messages: list[tuple[str, ChangeEvent]]) -> None:
    schemas = MemorySchemas({1: WRITE_MAP, 2: DELETE_SCHEMA})
    values = [ENCODED[name](event) for name, event in messages]
    found, _ = read_all_ways(values, ALL, schemas=schemas)
    own = [
        read_all_ways([value], replace(ALL, format=name), schemas=schemas)[0][0]
        for (name, _), value in zip(messages, values, strict=True)
    ]
    assert {reading.error[0] for reading in own if reading.error is not None} <= {"D113"}, "only a user key may contradict"
    assert [reading.error for reading in found] == [reading.error for reading in own]
    assert list(map(plain, found)) == list(map(plain, own))


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (b"\x00\x00\x00\x00\x07abc", "names no registry"),
        (b"\xff\xfe", "begins with 0xff"),
        (b'{"a":1}', "neither typed JSON"),
        (b"", "empty"),
        (b"[", "broken JSON array"),
    ],
)
def test_what_is_in_no_format_says_why(value: bytes, words: str) -> None:
    readings, _ = read_all_ways([value], AUTO)
    assert readings[0].error is not None and words in readings[0].error[1]
