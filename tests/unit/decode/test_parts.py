"""Messages that hold several, or stand inside another: each is read as if it had come alone, and fails alone."""

import json
from typing import Any

import pytest

from schemas.xdr import DecodeOptions, RecordType
from schemas.xdr.normal_form import Read
from tests.support.decode import plain, read_all_ways
from tests.support.events import write
from tests.support.xdr_encode import flat, typed

ONE, TWO = typed(write(1, 0, 1, {"a": 1 << 60})), typed(write(2, 0, 2, {"b": 1.5}))


def codes(readings: list[Read]) -> list[str | None]:
    return [reading.error and reading.error[0] for reading in readings]


def test_an_array_is_its_elements_each_read_as_if_alone() -> None:
    readings, events = read_all_ways([b"[" + ONE + b" ,\n" + TWO + b"] ", ONE], DecodeOptions("json"))
    (alone, _), _ = read_all_ways([ONE, TWO], DecodeOptions("json"))
    assert [plain(reading) for reading in readings[:1]] == [plain(alone)]
    assert [(event.offset, event.element) for event in events.events] == [(0, 0), (0, 1), (1, 0)]
    assert events.rows == [0, 0, 1]


def test_an_element_that_cannot_be_read_is_dead_alone() -> None:
    odd = ONE.replace(b'"write"', b'"wrote"')
    readings, events = read_all_ways([b"[" + b",".join([ONE, odd, b"7", b"[]", TWO]) + b"]"], DecodeOptions("json"))
    assert codes(readings) == [None, "D104", "D102", "D102", None]
    assert [(found.row, found.element) for found in events.rejections] == [(0, 1), (0, 2), (0, 3)]


def test_elements_of_unwanted_records_are_unselected_one_by_one() -> None:
    other = ONE.replace(b'"source"', b'"shed"')
    assert other != ONE
    _, events = read_all_ways([b"[" + ONE + b"," + other + b"]", other], DecodeOptions("json", records=(RecordType("source"),)))
    assert (len(events.events), events.unselected, events.rejections) == (1, 2, [])


@pytest.mark.parametrize(
    "value", [b"[]", b"[ ", b"[1,]", b"[" + ONE, b"[" + ONE + TWO + b"]", b"[" + ONE + b"]x", b"[\xff]", b"[" * 100_000]
)
def test_a_broken_or_empty_array_is_one_dead_letter(value: bytes) -> None:
    readings, events = read_all_ways([value], DecodeOptions("json"))
    assert codes(readings) == ["D102"] and len(events.rejections) == 1


def wrapped(*messages: bytes, member: str = "payload") -> bytes:
    inner: Any = messages[0].decode() if len(messages) == 1 else "[" + ",".join(one.decode() for one in messages) + "]"
    return json.dumps({"at": 7, member: inner}).encode()


@pytest.mark.parametrize(("form", "encode"), [("json", typed), ("flat-json", flat)])
def test_a_wrapped_message_is_read_when_the_flow_says_so(form: str, encode: Any) -> None:
    message = encode(write(1, 0, 1, {"a": 1 << 60}))
    options = DecodeOptions(form, wrapped_in="payload")
    (alone,), _ = read_all_ways([message], DecodeOptions(form))
    readings, events = read_all_ways([wrapped(message), b"[" + wrapped(message) + b"," + wrapped(message) + b"]"], options)
    assert [plain(reading) for reading in readings] == [plain(alone)] * 3
    assert [event.element for event in events.events] == [0, 0, 1]
    assert codes(read_all_ways([wrapped(message)], DecodeOptions(form))[0]) == ["D103"]
    assert codes(read_all_ways([message], options)[0]) == ["D103"]


def test_a_wrapper_may_hold_an_array() -> None:
    readings, _ = read_all_ways([wrapped(ONE, TWO)], DecodeOptions("json", wrapped_in="payload"))
    assert codes(readings) == [None, None]


@pytest.mark.parametrize("value", [b'{"payload":7}', b'{"payload":"{"}', b'{"payload":"","payload":""}', b'{"other":""}', b"x"])
def test_a_wrapper_without_a_message_is_a_dead_letter(value: bytes) -> None:
    readings, _ = read_all_ways([value], DecodeOptions("json", wrapped_in="payload"))
    assert codes(readings)[0] in ("D102", "D103")
