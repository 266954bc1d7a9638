"""Each kind of damage to the accounts of a lane is found and named with its batch."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from pipelines.ledger_check.misfit import KEPT, Misfit, Misfits
from pipelines.ledger_check.series import Series, judge_replays, offsets_of
from schemas.ledger import LedgerRow

Rows = list[LedgerRow]


def account(batch_id: int, **changes: Any) -> LedgerRow:
    """Batch n reads offsets 10 n to 10 n + 10 of t[0], and of t[1] 4 offsets of which one holds no message."""
    start, end = ({"t": {"0": 10 * at, "1": 4 * at}} for at in (batch_id, batch_id + 1))
    row = LedgerRow(
        "f", "fast", "mirror", "e", batch_id, f"2026-01-01T00:00:{batch_id:02d}.000+00:00", 13, 13, 1, 12, 8, 2, 1, 1, 0, 0, 0.1,
        None, json.dumps(start), json.dumps(end), 1,
    )  # fmt: skip
    return replace(row, **changes)


def both(batch_id: int, **changes: Any) -> Rows:
    second = account(batch_id, output="second", applied=11, superseded=0, duplicate=0, **changes)
    return [account(batch_id, **changes), second]


def judged(rows: Rows, last: int = -1, outputs: tuple[str, ...] = ("mirror",)) -> list[Misfit]:
    series = Series("fast", "e")
    return [*series.judge(rows), *series.finish(last, outputs)]


def test_accounts_that_fit_and_their_sums() -> None:
    series = Series("fast", "e")
    assert list(series.judge(account(number) for number in range(3))) == []
    assert list(series.judge([account(3)])) == [], "in several calls as in one"
    assert list(series.finish(3)) == []
    mirror = series.outputs["mirror"]
    assert (mirror.first, mirror.last, mirror.batches) == (0, 3, 4)
    assert (mirror.sums["messages"], mirror.sums["gaps"], mirror.sums["events_in"], mirror.sums["dead"]) == (52, 4, 48, 4)


def removed(rows: Rows) -> Rows:
    return rows[:2] + rows[3:]


def first_removed(rows: Rows) -> Rows:
    return rows[2:]


def doubled(rows: Rows) -> Rows:
    return [*rows[:3], rows[2], *rows[3:]]


def changed(**changes: Any) -> Callable[[Rows], Rows]:
    return lambda rows: [replace(row, **changes) if row.batch_id == 2 else row for row in rows]


OFFSETS = {"start_offsets": '{"t": {"0": 21, "1": 8}}'}


@pytest.mark.parametrize(
    ("damage", "code", "batch_id", "words"),
    [
        (removed, "E411", 2, "batch 2 has no account"),
        (first_removed, "E411", 0, "batches 0 to 1 have no account"),
        (doubled, "E411", 2, "2 accounts of one batch"),
        (changed(applied=9), "E410", 2, "applied 9"),
        (changed(applied=9, events_in=13), "E410", 2, "events in 13"),
        (changed(events_in=13, rows_read=14, applied=9, unselected=1, messages=14), "E412", 2, "14 messages + 1 gaps"),
        (changed(gaps=0), "E412", 2, "span 14, its account says 13 messages + 0 gaps"),
        (changed(start_offsets='{"t": {"0": 21, "1": 8}}', gaps=0), "E412", 2, "t[0] at 21, but the batch before ended at 20"),
        (changed(end_offsets='{"t": {"0": 31, "1": 12}}', gaps=2), "E412", 3, "t[0] at 30, but the batch before ended at 31"),
        (changed(end_offsets='{"t": {"0": 30, "1": 7}}'), "E412", 2, "offsets go backwards: t[1] from 8 to 7"),
        (changed(end_offsets='{"t": {"0": 30}}'), "E412", 2, "offsets go backwards: t[1]"),
        (changed(end_offsets="[]"), "E412", 2, "offsets cannot be read"),
        (changed(messages=12, gaps=None, rows_read=14), "E410", 2, "read 14 of 12"),
        (changed(messages=15, gaps=None, rows_read=15, unselected=3), "E412", 2, "15 messages + -1 gaps"),
    ],
)  # fmt: skip
def test_damage_is_named_with_its_batch_and_numbers(damage: Callable[[Rows], Rows], code: str, batch_id: int, words: str) -> None:
    found = judged(damage([account(number) for number in range(5)]))
    assert found, "the damage was not seen"
    first = min(found, key=lambda one: one.batch_id)
    assert (first.code, first.batch_id, first.lane, first.epoch) == (code, batch_id, "fast", "e")
    assert words in first.what and first.means


def test_what_follows_a_gap_is_not_blamed_for_it() -> None:
    assert len(judged(removed([account(number) for number in range(9)]))) == 1


def test_rows_taken_from_the_end_are_missed_by_the_ledgers_own_transaction() -> None:
    (found,) = judged([account(number) for number in range(3)], last=4)
    assert (found.code, found.batch_id) == ("E411", 3) and "batches 3 to 4 have no account" in found.what


def test_rows_of_an_earlier_release_have_gaps_where_offsets_say_so() -> None:
    assert judged([account(number, gaps=None) for number in range(3)]) == []


def test_a_new_partition_begins_where_it_appears() -> None:
    appears = account(1, end_offsets='{"t": {"0": 20, "1": 8, "2": 0}}')
    then = account(2, start_offsets=appears.end_offsets, end_offsets='{"t": {"0": 30, "1": 12, "2": 0}}')
    assert judged([account(0), appears, then]) == []


def test_an_output_may_be_added_or_taken_off_but_not_miss_a_batch() -> None:
    rows = [row for number in range(4) for row in both(number)]
    assert judged(rows, outputs=("mirror", "second")) == []
    added = [row for row in rows if row.output == "mirror" or row.batch_id > 1]
    assert judged(added, outputs=("mirror", "second")) == []
    taken_off = [row for row in rows if row.output == "mirror" or row.batch_id < 2]
    assert judged(taken_off) == []
    (ended,) = judged(taken_off, outputs=("mirror", "second"))
    assert (ended.output, ended.batch_id) == ("second", 2) and "no account of batches 2 to 3" in ended.what
    (absent,) = judged([row for row in rows if row.output == "mirror" or row.batch_id != 1])
    assert (absent.code, absent.output, absent.batch_id) == ("E411", "second", 1) and "no account of batch 1" in absent.what


def test_outputs_of_one_lane_have_read_the_same() -> None:
    one, two = both(0)
    (found,) = judged([one, replace(two, messages=12)])
    assert (found.code, found.output) == ("E412", "second") and "mirror says 13 messages" in found.what


def replays(*places: tuple[int, str]) -> Rows:
    return [account(part, lane="@replay", epoch="act", output=output, gaps=None) for part, output in places]


@pytest.mark.parametrize(
    ("rows", "last", "words"),
    [
        (replays((0, "mirror"), (1, "history"), (2, "mirror")), 2, None),
        (replays((0, "mirror"), (0, "history"), (2, "mirror")), 2, "part 1 has no account"),
        (replays((1, "mirror")), 1, "part 0 has no account"),
        (replays((0, "mirror")), 2, "parts 1 to 2 have no account"),
        (replays((0, "mirror"), (0, "mirror")), 0, "several accounts of one part"),
        ([*replays((0, "mirror")), *(replace(row, applied=0) for row in replays((1, "mirror")))], 1, "applied 0"),
    ],
)
def test_replays_of_dead_letters_have_parts_without_offsets(rows: Rows, last: int, words: str | None) -> None:
    found = list(judge_replays(rows, last))
    assert [words in one.what for one in found if words] == [True] * (words is not None), found


def test_the_oldest_misfit_is_the_first_and_no_more_than_enough_are_kept() -> None:
    misfits = Misfits()
    assert misfits.first is None
    for batch_id in range(5 * KEPT, 0, -1):
        misfits.add([Misfit("E410", "fast", "mirror", "e", batch_id, f"2026-01-01T00:00:{batch_id:06d}", "", "")])
    assert misfits.count == 5 * KEPT and len(misfits.ordered) == KEPT
    assert misfits.first is not None and misfits.first.batch_id == 1
    assert misfits.first.place == "fast/mirror batch 1 of checkpoint e"


@pytest.mark.parametrize("text", ["", "7", '{"t": 7}', '{"t": {"x": 1}}', '{"t": {"0": null}}'])
def test_offsets_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(ValueError):
        offsets_of(text)
