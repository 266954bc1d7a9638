"""The oracle says no to every single thing that can be wrong; on facts made by hand."""

import json
from base64 import b64encode
from dataclasses import replace
from pathlib import Path

import pytest

from tests.chaos.matrix.oracle import Counted, Entry, Facts, Letter, Row, Sent, Verdict, judge, parse_message
from tests.chaos.matrix.results import BEGIN, END, Results, totals, write_table
from tests.chaos.matrix.run import Outcome

A, B, C = b"a" * 20, b"b" * 20, b"c" * 20


def message(digest: bytes, lut_ms: int, rev: int | None) -> bytes:
    event: dict[str, object] = {"msg": "write" if rev else "delete", "key": ["payments", "s", b64encode(digest).decode(), "k"]}
    event |= {"gen": 1, "lut": lut_ms}
    if rev:
        event |= {"exp": 0, "bins": [{"name": "rev", "type": "int", "value": rev}]}
    return json.dumps(event).encode()


def entry(output: str, batch_id: int, start: int, end: int, dead: int, deletes: int) -> Entry:
    number = end - start
    taken = number - (deletes if output == "counts" else 0)
    return Entry("lane", output, "e", batch_id, number, taken, taken - dead, 0, 0, dead, {0: start}, {0: end})


SENT = tuple(
    parse_message((0, place), value)
    for place, value in enumerate(
        [
            message(A, 10, 1),
            message(A, 20, 2),
            b"bad-1",
            message(B, 5, 3),
            message(B, 9, None),
            message(C, 7, 4),
            message(A, 15, 9),
        ]
    )
)
GOOD = Facts(
    sent=SENT,
    bad=[b"bad-1"],
    history=[Row(*sent[:1], sent.digest, sent.op, sent.gen, sent.lut_ms) for sent in SENT if sent.digest and sent.op],
    letters=[Letter((0, 2), None, b"bad-1")],
    mirror={A: 2, C: 4},
    counts={
        A: Counted(3, 12, [1, 2, 9], {1: 1, 2: 1, 9: 1}),
        B: Counted(1, 3, [3], {3: 1}),
        C: Counted(1, 4, [4], {4: 1}),
    },
    ledger=[entry(output, *batch) for output in ("mirror", "counts", "history") for batch in ((0, 0, 4, 1, 0), (1, 4, 7, 0, 1))],
    source_differs=[],
    mirror_differs=[],
)


def test_what_is_right_passes() -> None:
    assert judge(GOOD) == Verdict()


HISTORY, LETTERS, LEDGER, COUNTS = list(GOOD.history), list(GOOD.letters), list(GOOD.ledger), dict(GOOD.counts)
WRONG: dict[str, tuple[Facts, str]] = {
    "an event not in the history": (replace(GOOD, history=HISTORY[1:]), "lost"),
    "an event twice in the history": (replace(GOOD, history=[*HISTORY, HISTORY[2]]), "doubled"),
    "a row without a message": (replace(GOOD, history=[*HISTORY, HISTORY[0]._replace(position=(1, 0))]), "wrong"),
    "a row of another record": (replace(GOOD, history=[HISTORY[0]._replace(digest=C), *HISTORY[1:]]), "wrong"),
    "a row of another version": (replace(GOOD, history=[HISTORY[0]._replace(lut_ms=11), *HISTORY[1:]]), "wrong"),
    "a row of another operation": (replace(GOOD, history=[HISTORY[0]._replace(op="delete"), *HISTORY[1:]]), "wrong"),
    "a message without a letter": (replace(GOOD, letters=[]), "lost"),
    "a letter twice": (replace(GOOD, letters=LETTERS * 2), "doubled"),
    "a letter with other bytes": (replace(GOOD, letters=[Letter((0, 2), None, b"bad-2")]), "wrong"),
    "a letter for what can be read": (replace(GOOD, letters=[*LETTERS, Letter((0, 1), None, b"")]), "wrong"),
    "a letter of an output": (replace(GOOD, letters=[*LETTERS, Letter((0, 1), "mirror", b"")]), "wrong"),
    "a record not in the mirror": (replace(GOOD, mirror={A: 2}), "lost"),
    "a deleted record in the mirror": (replace(GOOD, mirror={A: 2, B: 3, C: 4}), "wrong"),
    "an older state in the mirror": (replace(GOOD, mirror={A: 9, C: 4}), "wrong"),
    "a record nobody shipped": (replace(GOOD, mirror={A: 2, C: 4, b"d" * 20: 1}), "wrong"),
    "a write that was not counted": (replace(GOOD, counts={**COUNTS, A: Counted(2, 3, [1, 2], {1: 1, 2: 1})}), "lost"),
    "a record that was not counted": (replace(GOOD, counts={A: COUNTS[A], B: COUNTS[B]}), "lost"),
    "a write that was counted twice": (replace(GOOD, counts={**COUNTS, C: Counted(2, 8, [4, 4], {4: 2})}), "doubled"),
    "a wrong sum": (replace(GOOD, counts={**COUNTS, A: COUNTS[A]._replace(sum=13)}), "wrong"),
    "a list in another order": (replace(GOOD, counts={**COUNTS, A: COUNTS[A]._replace(revs=[1, 9, 2])}), "wrong"),
    "a map with another entry": (replace(GOOD, counts={**COUNTS, A: COUNTS[A]._replace(by={1: 2, 2: 1})}), "wrong"),
    "a counter of nobody": (replace(GOOD, counts={**COUNTS, b"d" * 20: COUNTS[C]}), "wrong"),
    "a difference to the source": (replace(GOOD, mirror_differs=["bins"]), "wrong"),
    "an acknowledged write not in the source": (replace(GOOD, source_differs=["missing"]), "wrong"),
    "an acknowledged message not in the topic": (replace(GOOD, bad=[b"bad-1", b"bad-2"]), "lost"),
    "a message nobody sent": (replace(GOOD, bad=[]), "wrong"),
    "a batch without an account": (replace(GOOD, ledger=[*LEDGER[1:]]), "lost"),
    "a batch with two accounts": (replace(GOOD, ledger=[*LEDGER, LEDGER[0]]), "doubled"),
    "no account of an output": (replace(GOOD, ledger=LEDGER[:2]), "wrong"),
    "an account that does not balance": (replace(GOOD, ledger=[LEDGER[0]._replace(applied=9), *LEDGER[1:]]), "wrong"),
    "sums that are not the topic's": (
        replace(GOOD, ledger=[LEDGER[0]._replace(events_in=3, applied=2, messages=3), *LEDGER[1:]]),
        "wrong",
    ),
    "a hole between two batches": (replace(GOOD, ledger=[LEDGER[0], LEDGER[1]._replace(start={0: 5}), *LEDGER[2:]]), "wrong"),
    "two checkpoints": (replace(GOOD, ledger=[LEDGER[0], LEDGER[1]._replace(epoch="other"), *LEDGER[2:]]), "wrong"),
}


@pytest.mark.parametrize("what", WRONG)
def test_one_thing_that_is_wrong_is_noticed(what: str) -> None:
    facts, kind = WRONG[what]
    verdict = judge(facts)
    assert getattr(verdict, kind) >= 1, verdict
    assert not verdict.good and verdict.problems


def test_a_record_that_may_have_expired_may_be_gone_but_not_come_back() -> None:
    expiring = [sent._replace(expires=True) if sent.digest == C else sent for sent in SENT]
    assert judge(replace(GOOD, sent=expiring, mirror={A: 2})).good
    assert not judge(replace(GOOD, sent=expiring, mirror={A: 2, C: 5})).good


def outcome(scenario: str, run: int, **more: object) -> Outcome:
    values: dict[str, object] = {"kills": 3, "blows": 3, "replayed": 2, "events": 10, "lost": 0, "doubled": 0, "wrong": 0}
    values |= {"seconds": 1.0, "failed": "", "problems": (), "evidence": ({"point": "x"},), **more}
    return Outcome(scenario=scenario, run=run, seed=run, **values)  # type: ignore[arg-type]


def test_results_survive_a_torn_line_and_become_a_table(tmp_path: Path) -> None:
    results = Results(tmp_path / "run")
    results.begin()
    for one in (outcome("driver", 1), outcome("worker", 1, lost=1), outcome("driver", 2, failed="never fired")):
        results.add(one)
    with (tmp_path / "run" / "results.jsonl").open("a") as file:
        file.write('{"scenario": "dri')
    again = Results(tmp_path / "run")
    assert [(one.scenario, one.run, one.good) for one in again.outcomes()] == [
        ("driver", 1, True),
        ("worker", 1, False),
        ("driver", 2, False),
    ]
    assert [(row.scenario, row.runs, row.kills, row.lost, row.failed) for row in totals(again.outcomes())] == [
        ("driver", 2, 6, 0, 1),
        ("worker", 1, 3, 1, 0),
    ]
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    write_table(again, page=page)
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("\nafter\n") and "old" not in text
    assert "| all | 3 | 9 | 6 | 30 | 1 | 0 | 0 |" in text
    assert "1 runs could not be judged" in text


def test_messages_are_read_as_a_plain_reader_reads_them() -> None:
    assert parse_message((1, 2), message(A, 10, 7)) == Sent((1, 2), message(A, 10, 7), A, "write", 1, 10, False, 7)
    assert parse_message((1, 2), b"no").digest is None and parse_message((1, 2), None).digest is None
