"""The place where a message fails, found by what the reason says, for every kind of message."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.dead_letters.marks import marked
from schemas.bins import BinType
from schemas.xdr import DecodeOptions, RecordType
from schemas.xdr.reader import Reader
from tests.support.typed_json import Change

TYPED = Change("k", 1_700_000_000_000, 1, {"first": 1, "amount": 2}).message()[1]
STRICT = DecodeOptions(records=(RecordType("payments", bins={"amount": BinType.STR}),))


def detail_of(value: bytes, options: DecodeOptions = STRICT) -> str:
    (read,) = Reader(options).read(value)
    assert read.error is not None
    return read.error[1]


def pointed_at(value: bytes, detail: str) -> str:
    """What stands over the caret."""
    shown = marked(value, detail)
    assert shown.at is not None, detail
    line, caret = shown.lines
    return line[caret.index("^") :]


def test_a_bin_of_another_type_than_declared() -> None:
    assert pointed_at(TYPED, detail_of(TYPED)).startswith('"amount"')


def test_the_character_where_json_breaks() -> None:
    broken = TYPED.replace(b'"gen": 1', b'"gen": ,')
    assert pointed_at(broken, detail_of(broken)).startswith(",")


def test_a_message_cut_short_is_pointed_at_where_it_ends() -> None:
    cut = TYPED[:-7]
    shown = marked(cut, detail_of(cut))
    assert shown.at is not None and f"of {len(cut)}" in shown.lines[1]


def test_a_member_of_the_metadata() -> None:
    assert pointed_at(TYPED.replace(b'"gen": 1', b'"gen": 99999'), "gen is 99999, outside 0 to 65535").startswith('"gen"')


def test_flat_json_is_pointed_at_by_the_bin() -> None:
    flat = b'{"metadata": {"namespace": "payments", "digest": "x", "msg": "write"}, "amount": [1]}'
    assert pointed_at(flat, "amount is list, but the flow declares str").startswith('"amount"')
    assert pointed_at(flat, "metadata.digest is not 20 bytes in Base64, 28 characters").startswith('"digest"')


def test_a_byte_that_is_no_utf_8_is_in_brackets() -> None:
    value = b'{"a": "' + b"x" * 200 + b'\xff"}'
    shown = marked(value, detail_of(value))
    assert shown.at == 207 and "[ff]" in "\n".join(shown.lines) and shown.lines[0].startswith("... ")


def test_binary_without_a_place_is_shown_from_its_beginning() -> None:
    shown = marked(bytes(range(256)), "what is it")
    assert shown.lines[0].startswith("00000000 ") and shown.lines[-1].startswith("... ")


@pytest.mark.parametrize(("value", "line"), [(None, "(null)"), (b"", "(no bytes)")])
def test_nothing_is_shown_as_nothing(value: bytes | None, line: str) -> None:
    assert marked(value, "").lines == [line]


def test_a_long_message_is_cut_around_the_place() -> None:
    value = b'{"pad": "' + b"x" * 5000 + b'", "amount": 1}'
    assert pointed_at(value, "bin 'amount' is not an integer").startswith('"amount"')
    assert all(len(line) < 160 for line in marked(value, "nowhere to be found").lines)


@given(st.binary(max_size=300), st.text(max_size=60) | st.sampled_from(["at character 999999", "byte 12345 is 0xff", "bin '' x"]))
def test_nothing_breaks_it(value: bytes, detail: str) -> None:
    assert marked(value, detail).lines
