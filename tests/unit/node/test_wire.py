"""Frames and messages as they should and should not come."""

import struct
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deploy.local.node.dispatch import parse
from deploy.local.node.wire import BadRequest, field_bytes, frame, name_bytes, op_bytes, parse_fields, parse_ops, text
from tests.support.node_wire import INCR, READ, WRITE, Local, batch_row, body, digest_of, field, messages, op, repeat_row


def test_a_frame_is_version_type_and_a_48_bit_length() -> None:
    assert frame(3, b"abc") == b"\x02\x03\x00\x00\x00\x00\x00\x03abc"
    assert frame(1, b"x" * 70_000)[:8] == b"\x02\x01\x00\x00\x00\x01\x11\x70"


def test_ops_and_fields_are_laid_out_as_the_reference_says() -> None:
    assert op_bytes(2, "ab", (1, bytes(7) + b"\x05")).hex(" ") == "00 00 00 0e 02 01 00 02 61 62 00 00 00 00 00 00 00 05"
    assert op_bytes(1, "é", None).hex(" ") == "00 00 00 06 01 00 00 02 c3 a9"
    assert field_bytes(0, b"test").hex(" ") == "00 00 00 05 00 74 65 73 74"
    assert parse_ops(op(WRITE, "a", 1) + op(READ, "b"), 0, 2)[0] == [(2, 1, "a", bytes(7) + b"\x01"), (1, 0, "b", b"")]
    assert parse_fields(field(0, b"test") + field(1, b"s"), 0, 2) == ({0: b"test", 1: b"s"}, 15)


@given(st.binary(max_size=15))
def test_names_that_are_no_utf8_survive(raw: bytes) -> None:
    assert name_bytes(text(raw)) == raw


@pytest.mark.parametrize("length", [0, 4, 1 << 31])
def test_a_field_that_does_not_fit_is_a_bad_request(length: int) -> None:
    with pytest.raises(BadRequest):
        parse_fields(struct.pack(">IB", length, 0) + b"ab", 0, 1)


@pytest.mark.parametrize("length", [0, 3, 12, 1 << 31])
def test_an_op_that_does_not_fit_is_a_bad_request(length: int) -> None:
    with pytest.raises(BadRequest):
        parse_ops(struct.pack(">IBBBB", length, 2, 1, 0, 2) + b"ab" + bytes(4), 0, 1)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    node = Local(tmp_path_factory.mktemp("node"))
    node.put(1, {"a": 1, "s": "x"})
    yield node
    for namespace in node.namespaces.values():
        namespace.close()


def _samples() -> list[bytes]:
    one = [field(0, b"test"), field(1, b"s"), field(4, digest_of(1))]
    guard = field(43, bytes.fromhex("9305935102a16102"))
    rows = [
        batch_row(0, digest_of(1), [op(WRITE, "a", 1)]),
        repeat_row(1, digest_of(2)),
        batch_row(2, digest_of(1), info1=3, info2=0),
    ]
    return [
        body(one, info1=3),
        body([*one, guard], [op(WRITE, "a", 2), op(INCR, "b", 1), op(READ, "s")], info1=1, info2=0x81, ttl=50),
        body(one, info2=3),
        body([field(41, struct.pack(">IB", 3, 0x0D) + b"".join(rows)), guard], info1=8),
        body([*one[:2], field(7, bytes(8)), field(11, b"\x07\x00\x08\x00"), field(12, digest_of(9)), guard], info1=1, info3=4),
        body([*one[:2], field(7, bytes(8)), guard], [op(WRITE, "z", 1)], info2=1),
        body(
            [*one[:2], field(11, bytes(2)), field(22, b"\x01\x01a\x01" + (b"\x00\x00\x00\x08" + bytes(8)) * 2)], info1=1, info3=4
        ),
    ]


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(_samples()), st.data())
def test_a_damaged_request_is_answered_or_refused_and_never_breaks_the_node(
    node: Local, sample: bytes, data: st.DataObject
) -> None:
    damaged = bytearray(sample)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    content = bytes(damaged[: data.draw(st.integers(0, len(damaged)))]) if data.draw(st.booleans()) else bytes(damaged)
    try:
        given_message = parse(content)
        node.dispatcher.describe(given_message)
        reply = node.dispatcher.run(given_message)
        whole = reply if isinstance(reply, bytes) else b"".join(reply)
    except BadRequest:
        return
    finally:
        node.dispatcher.flush()
    assert messages(whole)
