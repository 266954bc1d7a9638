"""Batches: rows in order, repeats, each row its own answer, the message that ends it (wire protocol reference, 5)."""

import struct
from pathlib import Path

import pytest

from deploy.local.node.dispatch import parse
from deploy.local.node.hooks import Fault
from tests.support.node_wire import INCR, READ, WRITE, Local, batch_row, body, digest_of, field, messages, op, repeat_row

A_BELOW_2 = bytes.fromhex("93059351 02a16102".replace(" ", ""))
"""a < 2"""


@pytest.fixture
def node(tmp_path: Path) -> Local:
    return Local(tmp_path, "test", "few,batch-max-requests=3")


def test_rows_answer_with_their_numbers_and_a_last_message(node: Local) -> None:
    *rows, last = node.batch([batch_row(70 + i, digest_of(i), [op(WRITE, "a", i), op(WRITE, "b", i)]) for i in range(5)])
    assert [(row.row, row.code, row.generation) for row in rows] == [(70 + i, 0, 1) for i in range(5)]
    assert [(done, kind, name) for done, kind, name, _ in rows[0].ops] == [(WRITE, 0, "a"), (WRITE, 0, "b")]
    assert (last.last, last.code) == (True, 0)
    assert node.get(3).bins == {"a": 3, "b": 3}


def test_the_same_key_runs_in_row_order(node: Local) -> None:
    key = digest_of(1)
    ops = [[op(WRITE, "a", 5)], [op(INCR, "a", 2), op(READ, "a")], [op(WRITE, "a", 1)]]
    rows = node.batch([batch_row(i, key, one, info1=1) for i, one in enumerate(ops)])
    assert [row.generation for row in rows] == [1, 2, 3, 0]
    assert rows[1].ops[1][3][-1] == 7
    assert node.get(1).bins == {"a": 1}


@pytest.mark.parametrize("tail", [1, 3])
def test_repeated_rows_do_what_the_row_before_does(node: Local, tail: int) -> None:
    rows = [batch_row(0, digest_of(0), [op(INCR, "n", 2), op(READ, "n")], info1=1)]
    rows += [repeat_row(1 + i, digest_of(1 + i)) for i in range(tail)]
    answers = node.batch(rows)
    assert [(one.row, one.code) for one in answers[:-1]] == [(i, 0) for i in range(1 + tail)]
    assert all(node.get(i).bins == {"n": 2} for i in range(1 + tail))
    mixed = node.batch([*rows, batch_row(9, digest_of(9), [op(WRITE, "z", 1)]), repeat_row(10, digest_of(10))])
    assert [one.code for one in mixed] == [0] * (tail + 4)
    assert node.get(10).bins == {"z": 1}


def test_a_repeat_of_nothing_or_of_a_row_with_a_key_is_refused_before_anything_runs(node: Local) -> None:
    assert [(one.code, one.last) for one in node.batch([repeat_row(0, digest_of(0))])] == [(4, True)]
    keyed = batch_row(0, digest_of(0), [op(WRITE, "a", 1)], extra=[field(2, b"\x03k")])
    assert [one.code for one in node.batch([keyed, repeat_row(1, digest_of(1))])] == [4]
    assert node.get(0).code == 2


def test_rows_carry_their_own_errors(node: Local) -> None:
    node.put(1, {"s": "text", "a": 9})
    rows = node.batch(
        [
            batch_row(0, digest_of(1), [op(INCR, "s", 1)]),
            batch_row(1, digest_of(1), [op(WRITE, "a", 1)], info2=0x85, gen=7),
            batch_row(2, digest_of(1), [op(WRITE, "a", 1)], extra=[field(43, A_BELOW_2)]),
            batch_row(3, digest_of(2), info2=0x83),
            batch_row(4, digest_of(2), info1=3, info2=0),
            batch_row(5, digest_of(3), [op(WRITE, "b" * 16, 1)]),
            batch_row(6, digest_of(3), [op(WRITE, "a", 1)]),
            batch_row(7, digest_of(1), [op(WRITE, "a", 1)], extra=[field(43, b"\x91\x05")]),
        ]
    )
    assert [(row.row, row.code) for row in rows[:-1]] == [(0, 12), (1, 3), (2, 27), (3, 2), (4, 2), (5, 21), (6, 0), (7, 4)]
    assert rows[-1].code == 0


def test_without_respond_all_keys_the_last_message_carries_the_first_failure(node: Local) -> None:
    node.put(1, {"s": "text"})
    rows = [batch_row(0, digest_of(5), info2=0x83), batch_row(1, digest_of(1), [op(INCR, "s", 1)])]
    answers = node.batch(rows, flags=0x09)
    assert [one.code for one in answers] == [2, 12, 12]
    assert answers[-1].last


def test_the_batch_filter_counts_for_rows_without_their_own(node: Local) -> None:
    node.put(1, {"a": 5})
    node.put(2, {"a": 1})
    own = [field(43, bytes.fromhex("93059351 02a16109".replace(" ", "")))]
    rows = [
        batch_row(0, digest_of(1), [op(WRITE, "b", 1)]),
        batch_row(1, digest_of(2), [op(WRITE, "b", 1)]),
        batch_row(2, digest_of(1), [op(WRITE, "b", 1)], extra=own),
        batch_row(3, digest_of(3), [op(WRITE, "b", 1)]),
    ]
    assert [one.code for one in node.batch(rows, filter=A_BELOW_2)] == [27, 0, 0, 0, 0]
    assert [(one.code, one.last) for one in node.batch(rows, filter=b"\x91\x05")] == [(4, True)]


def test_an_unknown_namespace_ends_the_batch(node: Local) -> None:
    rows = [
        batch_row(0, digest_of(1), [op(WRITE, "a", 1)]),
        batch_row(1, digest_of(2), [op(WRITE, "a", 1)], namespace="nope"),
        batch_row(2, digest_of(3), [op(WRITE, "a", 1)]),
    ]
    assert [(one.code, one.last) for one in node.batch(rows)] == [(0, False), (4, True)]
    assert node.get(3).code == 2


def test_no_rows_and_too_many_rows(node: Local) -> None:
    assert [one.code for one in node.batch([])] == [4]
    assert [one.code for one in node.send(body([], info1=8))] == [4]
    rows = [batch_row(i, digest_of(i), [op(WRITE, "a", 1)], namespace="few") for i in range(4)]
    assert [(one.code, one.last) for one in node.batch(rows)] == [(151, True)]
    assert [one.code for one in node.batch(rows[:3])] == [0, 0, 0, 0]


def test_a_cut_off_row_runs_nothing(node: Local) -> None:
    rows = b"".join(batch_row(i, digest_of(i), [op(WRITE, "a", 1)]) for i in range(3))
    for cut in range(1, 60):
        content = field(41, struct.pack(">IB", 3, 0x0D) + rows[:-cut])
        assert [one.code for one in node.send(body([content], info1=8))] == [4], cut
    assert node.get(0).code == 2


def test_a_fault_can_fail_some_rows_and_cut_a_batch_off(node: Local) -> None:
    given = [batch_row(i, digest_of(i), [op(WRITE, "a", i)]) for i in range(4)]
    content = parse(body([field(41, struct.pack(">IB", 4, 0x0D) + b"".join(given))], info1=8))
    command = node.dispatcher.describe(content)
    assert (command.kind, command.namespace, command.rows, command.writes) == ("batch", "test", 4, True)
    assert list(command.digests) == [digest_of(i) for i in range(4)]
    reply = node.dispatcher.run(content, Fault(result_code=18, rows=frozenset({1, 3})))
    assert isinstance(reply, bytes)
    assert [one.code for one in messages(reply)] == [0, 18, 0, 18, 0]
    assert [node.get(i).code for i in range(4)] == [0, 2, 0, 2]
    cut = node.dispatcher.run(content, Fault(action="reset_mid_batch", rows_before_reset=2))
    assert isinstance(cut, bytes)
    assert [(one.row, one.code, one.last) for one in messages(cut)] == [(0, 0, False), (1, 0, False)]
    assert [node.get(i).code for i in range(4)] == [0, 0, 0, 2]
