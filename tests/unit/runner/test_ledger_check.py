"""`millrace ledger --check` on real Delta tables: what fits passes, and each kind of damage is named with its batch."""

import json
import shutil
import textwrap
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from pipelines.cli.ledger import ledger
from pipelines.ledger_check import check as module
from pipelines.ledger_check import history_rows
from pipelines.ledger_check.check import Proof
from schemas.errors import ConfigError
from sinks.contract import Fence
from tests.support.ledger import LedgerBook


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return LedgerBook(tmp_path_factory.mktemp("whole")).folder


@pytest.fixture
def book(whole: Path, tmp_path: Path) -> LedgerBook:
    """A copy of tables that fit."""
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    return LedgerBook(tmp_path, batches=0)


def first(proof: Proof) -> tuple[str, str, str, int]:
    found = proof.misfits.first
    assert found is not None, "the damage was not seen"
    return found.code, found.lane, found.output, found.batch_id


def test_tables_that_fit_and_their_sums(book: LedgerBook) -> None:
    proof = book.check()
    assert proof.misfits.ordered == [] and proof.notes == []
    parts = {part.output: part for part in proof.parts}
    history = parts["history"]
    assert (history.lane, history.epoch, history.rows, history.judged.first, history.judged.last) == ("bulk", "e-bulk", 68, 0, 3)
    assert {name: history.judged.sums[name] for name in ("messages", "gaps", "unselected", "events_in", "applied", "dead")} == {
        "messages": 76, "gaps": 4, "unselected": 4, "events_in": 72, "applied": 68, "dead": 4,
    }  # fmt: skip
    assert parts["mirror"].rows is None and proof.letters == 4


def test_accounts_that_wait_in_the_journal_count_and_the_checkpoint_may_be_gone(book: LedgerBook) -> None:
    book.batch("bulk", 4)
    proof = book.check()
    assert proof.misfits.count == 0 and proof.parts[-1].judged.last == 4
    alone = book.check(journal=None)
    assert alone.misfits.count == 0, alone.misfits.ordered
    assert any("17 history rows of batch 4 were written after" in note for note in alone.notes), alone.notes


DAMAGE: dict[str, tuple[Callable[[LedgerBook], None], tuple[str, str, str, int], str]] = {
    "an account is gone": (
        lambda book: book.delete("ledger", "lane = 'bulk' AND batch_id = 2"),
        ("E411", "bulk", "", 2),
        "batch 2 has no account",
    ),
    "the first accounts are gone": (
        lambda book: book.delete("ledger", "lane = 'fast' AND batch_id < 2"),
        ("E411", "fast", "", 0),
        "batches 0 to 1 have no account",
    ),
    "the last account is gone": (
        lambda book: book.delete("ledger", "lane = 'fast' AND batch_id = 3"),
        ("E411", "fast", "", 3),
        "batch 3 has no account",
    ),
    "all accounts are gone": (lambda book: book.delete("ledger", "lane = 'fast'"), ("E411", "fast", "", 0), "0 to 3 have no"),
    "an account has a number beyond all others": (
        lambda book: book.update("ledger", "lane = 'fast' AND batch_id = 2", batch_id="9000000000000000000"),
        ("E411", "fast", "", 4),
        "batches 4 to 8,999,999,999,999,999,999 have no account",
    ),
    "accounts are there twice": (lambda book: book.double("ledger", 1), ("E411", "bulk", "history", 1), "2 accounts of one"),
    "a count is changed": (
        lambda book: book.update("ledger", "lane = 'fast' AND batch_id = 1", applied="16"),
        ("E410", "fast", "mirror", 1),
        "applied 16",
    ),
    "two counts are changed that even out": (
        lambda book: book.update("ledger", "lane = 'fast' AND batch_id = 1", applied="18", dead="0"),
        ("E413", "fast", "mirror", 1),
        "letters of 1 event, the account says 0 dead",
    ),
    "an event is called unselected": (
        lambda book: book.update("ledger", "lane = 'bulk' AND batch_id = 1", applied="16", unselected="2", events_in="17"),
        ("E413", "bulk", "history", 1),
        "holds 17 events, its account says 16 applied",
    ),
    "messages are counted that were not there": (
        lambda book: book.update("ledger", "lane = 'fast' AND batch_id = 2", messages="20", rows_read="20", unselected="2"),
        ("E412", "fast", "mirror", 2),
        "offsets span 20, its account says 20 messages + 1 gaps",
    ),
    "offsets are shifted": (
        lambda book: book.update(
            "ledger",
            "lane = 'fast' AND batch_id = 2",
            start_offsets='\'{"t": {"1": 21, "2": 20}}\'',
            end_offsets='\'{"t": {"1": 31, "2": 30}}\'',
        ),
        ("E412", "fast", "mirror", 2),
        "t[1] at 21, but the batch before ended at 20",
    ),
    "a row of the history is gone": (
        lambda book: book.delete("history", "partition = 1 AND offset = 17"),
        ("E413", "bulk", "history", 1),
        "holds 16 events, its account says 17 applied",
    ),
    "a batch of the history is gone": (
        lambda book: book.delete("history", "batch_id = 3"),
        ("E413", "bulk", "history", 3),
        "holds 0 events, its account says 17",
    ),
    "rows of the history are there twice": (
        lambda book: book.double("history", 2),
        ("E413", "bulk", "history", 2),
        "17 rows of the history stand there twice, such as t[",
    ),
    "a row is gone and another there twice": (
        lambda book: (book.delete("history", "partition = 1 AND offset = 17"), book.add_rows("e-bulk", 1, [(1, 18)]))[0],
        ("E413", "bulk", "history", 1),
        "1 row of the history stand there twice, such as t[1]@18",
    ),
    "rows carry another batch's number": (
        lambda book: book.update("history", "partition = 1 AND offset = 17", batch_id="2"),
        ("E413", "bulk", "history", 1),
        "holds 16 events",
    ),
    "rows are of another batch's offsets": (
        lambda book: book.update("history", "partition = 1 AND offset = 17", offset="27"),
        ("E413", "bulk", "history", 1),
        "rows of t[1]@10 to @27, but the batch read @10 to @19",
    ),
    "rows nobody has accounted for": (
        lambda book: book.add_rows("elsewhere", 0, [(1, 5)] * 3) or book.add_rows("elsewhere", 7, [(1, 5)]),
        ("E411", "bulk", "history", 7),
        "1 history row of a batch that has no account",
    ),
    "a letter is gone": (
        lambda book: book.delete("letters", "batch_id = 2"),
        ("E413", "bulk", "history", 2),
        "letters of 0 events, the account says 1 dead",
    ),
    "a letter is there twice": (
        lambda book: book.double("letters", 2),
        ("E413", "bulk", "history", 2),
        "1 dead letter stand there twice",
    ),
    "a letter too many": (
        lambda book: book.letter(25, 1, Fence("e-fast", 2), lane="fast", output="mirror"),
        ("E413", "fast", "mirror", 2),
        "letters of 2 events, the account says 1 dead",
    ),
}


@pytest.mark.parametrize("damage", list(DAMAGE))
def test_damage_is_named_with_the_first_batch_that_does_not_fit(book: LedgerBook, damage: str) -> None:
    done, expected, words = DAMAGE[damage]
    done(book)
    proof = book.check()
    assert first(proof) == expected, proof.misfits.ordered
    found = proof.misfits.first
    assert found is not None and words in found.what, found


def test_undecoded_messages_have_their_letter_where_the_other_lane_read_them(book: LedgerBook) -> None:
    book.delete("letters", "batch_id = 2")
    assert {(one.lane, one.batch_id) for one in book.check().misfits.ordered} == {("bulk", 2), ("fast", 2)}


def test_letters_the_other_lane_has_not_come_to_are_not_missed_yet(book: LedgerBook) -> None:
    book.batch("fast", 4)
    proof = book.check()
    assert proof.misfits.count == 0 and any("fast: dead letters of 1 batches are not there yet" in note for note in proof.notes)


def test_an_event_with_a_letter_that_a_repeated_batch_could_read_is_none_too_many(book: LedgerBook) -> None:
    book.add_rows("e-bulk", 2, [(2, 23)])
    assert book.check().misfits.count == 0, "the history has it besides its letter, as a mended batch leaves it"
    book.letter(25, 1, Fence("e-fast", 2), lane="fast", output="mirror", code="D110")
    assert book.check().misfits.count == 0, "a schema that was not known yet when the batch was cut"


def test_what_a_running_flow_writes_meanwhile_is_no_damage(book: LedgerBook) -> None:
    book.batch("bulk", 4)
    book.batch("fast", 4)
    for file in (book.folder / "checkpoint").rglob("*.json"):
        file.unlink()
    proof = book.check()
    assert proof.misfits.count == 0 and len(proof.notes) == 2, "outputs of a batch whose account is not there yet"
    book.batch("bulk", 5)
    for file in (book.folder / "checkpoint").rglob("*.json"):
        file.unlink()
    code, lane, _, batch_id = first(book.check())
    assert (code, lane, batch_id) == ("E411", "bulk", 5), "two batches ahead are no accident"


def test_a_new_checkpoint_begins_anew_and_what_lies_between_is_told(book: LedgerBook) -> None:
    start, end = (json.dumps({"t": {"1": at, "2": at}}) for at in (45, 50))
    for batch_id in range(2):
        book.batch("fast", batch_id, "again", committed_at=f"2026-03-02T00:00:0{batch_id}.000+00:00")
    row = book.account("fast", 0, "later", start_offsets=start, end_offsets=end, committed_at="2026-03-03T00:00:00.000+00:00")
    quiet = {"messages": 10, "rows_read": 10, "events_in": 10, "unselected": 0, "applied": 10, "dead": 0, "gaps": 0}
    book.journal.put("fast", [type(row)(**{**row.as_dict(), **quiet})])
    book.ledger.flush_all(book.journal)
    proof = book.check()
    assert proof.misfits.count == 0, proof.misfits.ordered
    assert any("again does not begin where e-fast ended: 80 offsets were read again" in note for note in proof.notes), proof.notes
    assert any("later does not begin where again ended: 50 by neither" in note for note in proof.notes), proof.notes


def test_replays_of_dead_letters_are_held_against_the_history(book: LedgerBook) -> None:
    late = {"messages": 1, "rows_read": 1, "unselected": 0, "events_in": 1, "applied": 1, "dead": 0, "gaps": None}
    offsets = {"start_offsets": "{}", "end_offsets": "{}"}
    for part in range(2):
        row = replace(book.account("bulk", part, "act", **late, **offsets), lane="@replay")
        book.add_rows("act", part, [(2, 10 * part + 3)])
        book.ledger.append([row])
    assert book.check().misfits.count == 0, book.check().misfits.ordered
    book.delete("history", "epoch = 'act' AND batch_id = 1")
    assert first(book.check()) == ("E413", "@replay", "history", 1)
    book.delete("ledger", "epoch = 'act' AND batch_id = 1")
    assert first(book.check()) == ("E411", "@replay", "", 1)


def test_windows_of_any_size_find_the_same(book: LedgerBook, monkeypatch: pytest.MonkeyPatch) -> None:
    book.delete("history", "partition = 1 AND offset = 17")
    whole = book.check()
    monkeypatch.setattr(history_rows, "ROWS_AT_ONCE", 20)
    monkeypatch.setattr(history_rows, "_GATHERED", 2)
    monkeypatch.setattr(module, "BATCHES_AT_ONCE", 1)
    pieces = book.check()
    assert pieces.misfits.ordered == whole.misfits.ordered and pieces.misfits.count == whole.misfits.count == 1
    assert [part.judged.sums for part in pieces.parts] == [part.judged.sums for part in whole.parts]


def ask(book: LedgerBook, *options: str) -> Result:
    path = book.folder / "flow.yaml"
    path.write_text(
        textwrap.dedent(f"""\
        name: f
        source: {{bootstrap_servers: "127.0.0.1:1", topics: t}}
        records: [{{namespace: n}}]
        outputs:
          mirror: {{type: aerospike, hosts: "127.0.0.1:3000", namespace: m}}
          history: {{type: delta_history, path: {book.history.path}}}
        dead_letters: {book.letters.path}
        ledger: {book.ledger.path}
        checkpoint: {book.folder}/checkpoint
        """)
    )
    app = typer.Typer()
    app.command()(ledger)
    return CliRunner().invoke(app, [str(path), *options])


def test_the_command_says_what_fits_and_what_does_not(book: LedgerBook) -> None:
    good = ask(book, "--check")
    assert good.exit_code == 0 and "every batch fits, from the first to the last" in good.output, good.output
    book.delete("history", "partition = 1 AND offset = 17")
    bad = ask(book, "--check")
    assert bad.exit_code == 1
    assert "FLOW f DOES NOT FIT, first in bulk/history batch 1 of checkpoint e-bulk:" in bad.output
    assert "[E413] the history holds 16 events, its account says 17 applied" in bad.output
    answer = json.loads(ask(book, "--check", "--output", "json").output)
    assert answer["fits"] is False and answer["misfit_count"] == 1
    assert (answer["first"]["code"], answer["first"]["batch_id"]) == ("E413", 1)
    assert answer["outputs"][-1]["history_rows"] == 67
    assert isinstance(ask(book, "--check", "--totals").exception, ConfigError)


def test_an_empty_ledger_fits(tmp_path: Path) -> None:
    result = ask(LedgerBook(tmp_path, batches=0), "--check")
    assert result.exit_code == 0 and "the ledger is empty" in result.output, result.output
