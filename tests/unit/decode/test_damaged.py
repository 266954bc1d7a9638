"""Whatever bytes arrive: no exception, one fate for each message, and the quick way never says what the thorough way does not."""

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.bins import BinType
from schemas.xdr import DecodeOptions, RecordType
from tests.support.decode import golden, read_all_ways
from tests.support.events import write
from tests.support.xdr_encode import flat, typed
from tests.support.xdr_strategies import DECLARED_TYPES, FLAT_BINS, TYPED_BINS, events

ODD_TOKENS = st.sampled_from(
    [
        *(
            b"-0",
            b"1e2",
            b"0.10",
            b"1E400",
            b"NaN",
            b"-Infinity",
            b"18446744073709551615",
            b"9" * 25,
            b"9" * 25 + b".5",
            b"01",
            b"+1",
        ),
        *(
            b'"a" :1,',
            b'"msg":"delete",',
            b'"gen":1,',
            b'"a":{"a":1,"a":2},',
            b'"\\ud800"',
            b'"\\u0061"',
            b'"\xed\xa0\x80"',
            b"\xff",
        ),
        *(b" ", b"\n", b",", b":", b'":', b"{", b"}", b"[", b"]", b"null", b"true", b'""', b"[]", b"{}", b'\\":'),
    ]
)


@st.composite
def damaged(draw: st.DrawFn, messages: st.SearchStrategy[bytes]) -> bytes:
    """A message with up to four places changed: bytes removed, replaced, repeated, or something odd put in."""
    message = draw(messages)
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(message)))
        end = min(len(message), start + draw(st.sampled_from([0, 0, 1, 2, 5, 20])))
        new = draw(st.one_of(ODD_TOKENS, st.just(b""), st.just(message[start:end] * 2), st.binary(max_size=2)))
        message = message[:start] + new + message[end:]
    return message


TYPED = events(TYPED_BINS).map(typed)
FLAT = events(FLAT_BINS).map(flat)
RUNS = settings(deadline=None, max_examples=300, suppress_health_check=list(HealthCheck))


@RUNS
@given(values=st.lists(damaged(TYPED), min_size=1, max_size=4))
def test_damaged_typed_json(values: list[bytes]) -> None:
    read_all_ways(values, DecodeOptions("json"))


@RUNS
@given(values=st.lists(damaged(TYPED), min_size=1, max_size=4))
def test_damaged_typed_json_of_declared_and_of_unwanted_records(values: list[bytes]) -> None:
    read_all_ways(values, DecodeOptions("json", records=(RecordType("shop", None, {"a": BinType.INT, "b": BinType.HLL}),)))


@RUNS
@given(values=st.lists(damaged(FLAT), min_size=1, max_size=4))
def test_damaged_flat_json(values: list[bytes]) -> None:
    read_all_ways(values, DecodeOptions("flat-json"))
    read_all_ways(
        values,
        DecodeOptions(
            "flat-json", records=(RecordType("shop", ("", "s"), DECLARED_TYPES), RecordType("ü", None, DECLARED_TYPES))
        ),
    )


def cut_short(message: bytes) -> list[bytes]:
    return [message[:end] for end in range(len(message))]


def one_byte_changed(message: bytes) -> list[bytes]:
    return [
        message[:place] + bytes([message[place] ^ bit]) + message[place + 1 :]
        for place in range(len(message))
        for bit in (0x01, 0x20, 0x80)
    ]


@pytest.mark.parametrize("damage", [cut_short, one_byte_changed])
@pytest.mark.parametrize("name", ["json", "flat-json"])
def test_every_place_of_a_whole_message(name: str, damage: Callable[[bytes], list[bytes]]) -> None:
    options, cases = golden(name)
    message = cases[0].message
    assert message is not None
    values: list[bytes | None] = [*damage(message)]
    readings, events = read_all_ways(values, options)
    assert len(events.rejections) > len(values) // 4, "the damage does not show"
    if damage is cut_short:
        assert all(reading.error is not None for reading in readings)


@pytest.mark.parametrize("space", [" ", "  ", "\n", "\t", "\r", "\r\n ", "\n "], ids=repr)
def test_space_before_a_colon_hides_no_doubled_member(space: str) -> None:
    """Members are counted by `":`; one more member and one colon less of that kind would be the right number again."""
    whole = typed(write("k", 1, bins={"m": {"a": 7}}))
    hidden = whole.replace(b'{"a":7}', b'{"a"%s:1,"a":7}' % space.encode())
    assert whole != hidden
    readings, _ = read_all_ways([whole, hidden], DecodeOptions(format="json"))
    assert readings[0].error is None
    assert readings[1].error is not None and "twice" in readings[1].error[1]


@pytest.mark.parametrize("opening", ["[", '{"a":', '{"$a":'], ids=["array", "object", "name like a tag"])
@pytest.mark.parametrize("levels", [60, 64, 65, 84, 85, 120, 190, 200, 254, 255, 300, 500, 900, 1_000, 100_000])
@pytest.mark.parametrize("form", ["json", "flat-json"])
def test_nesting_is_read_or_refused_but_never_a_crash(form: str, levels: int, opening: str) -> None:
    encode = typed if form == "json" else flat
    whole = encode(write("k", 1, bins={"m": [7] if opening == "[" else {"a": 7}}))
    closing = "]" if opening == "[" else "}"
    value = whole.replace(b"[7]" if opening == "[" else b'{"a":7}', (opening * levels + "1" + closing * levels).encode())
    (reading,), _ = read_all_ways([value], DecodeOptions(form))
    if levels <= 64:
        assert reading.error is None
    elif levels > 200:
        assert reading.error is not None and reading.error[0] == "D102" and "nested too deep" in reading.error[1]
    else:
        assert reading.error is None or "nested too deep" in reading.error[1]
