"""Letters and their states, read without Spark: every letter once, in one state, and the sums hold."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from schemas.letters import LetterState
from sinks.delta.letter_book import LetterBook, Sums, Wanted
from sinks.delta.letter_keys import LetterKey, keys_of
from sinks.delta.letter_states import Act, LetterStates, NewState
from tests.support.letters import AT, Tables


@pytest.fixture
def tables(tmp_path: Path) -> Tables:
    return Tables(tmp_path)


def act(turn: int, kind: str = "replay") -> Act:
    return Act(kind, f"act-{turn}", turn, "somebody@here", "because")


def test_a_letter_waits_until_something_is_done_about_it(tables: Tables) -> None:
    first, second, third = (tables.letter(offset) for offset in range(3))
    assert tables.book.standing().sums() == Sums(3, 3, 0, 0, 0, 0)
    tables.states.append(
        act(1), 0, [NewState(first, "e", LetterState.REPLAYED), NewState(second, "e", LetterState.WAITING, "D205", "no")]
    )
    tables.states.append(act(2, "drop"), 0, [NewState(third, "e", LetterState.DROPPED)])
    standing = tables.book.standing()
    assert standing.sums() == Sums(3, 1, 1, 0, 1, 0) and standing.sums().hold
    assert standing.by_reason() == [("D108", 2), ("D205", 1)], "the newest reason counts"
    (waits,) = standing.only(Wanted(states=frozenset({LetterState.WAITING}))).letters()
    assert waits == second


def test_the_newest_act_says_the_state_whatever_the_order_of_files(tables: Tables) -> None:
    key = tables.letter(1)
    tables.states.append(act(7), 0, [NewState(key, "e", LetterState.SUPERSEDED)])
    tables.states.append(act(3), 5, [NewState(key, "e", LetterState.WAITING, "D108", "still")])
    assert tables.book.standing().sums() == Sums(1, 0, 0, 1, 0, 0)
    assert [row["state"] for row in tables.states.told_of(key)] == ["waiting", "superseded"]


def test_a_part_of_an_act_is_appended_once(tables: Tables) -> None:
    key = tables.letter(1)
    states = [NewState(key, "e", LetterState.REPLAYED, fates={"mirror": "applied"})]
    assert [tables.states.append(act(1), 4, states) for _ in range(3)] == [1, 0, 0]
    assert tables.states.holds("act-1", 4) and not tables.states.holds("act-1", 5) and not tables.states.holds("act-2", 0)
    (row,) = tables.states.told_of(key)
    assert (row["fates"], row["by"], row["why"], row["act"]) == ([("mirror", "applied")], "somebody@here", "because", "replay")


def test_a_message_read_again_under_a_new_checkpoint_is_the_same_letter(tables: Tables) -> None:
    key = tables.letter(1, epoch="e1")
    assert tables.letter(1, epoch="e2", code="D107") == key
    standing = tables.book.standing()
    assert standing.sums().letters == 1 and standing.by_reason() == [("D107", 1)]
    assert [row["epoch"] for row in tables.book.contents([key]).values()] == ["e2"]


def test_what_was_done_counts_until_another_checkpoint_writes_the_letter_again(tables: Tables) -> None:
    key = tables.letter(1, epoch="e1")
    tables.states.append(act(1), 0, [NewState(key, "e1", LetterState.REPLAYED)])
    assert tables.book.standing().sums() == Sums(1, 0, 1, 0, 0, 0)
    tables.letter(1, epoch="e2", code="D107")
    standing = tables.book.standing()
    assert standing.sums() == Sums(1, 1, 0, 0, 0, 0) and standing.by_reason() == [("D107", 1)]
    assert standing.rows.column("act_id").to_pylist() == [None]
    tables.states.append(act(2), 0, [NewState(key, "e2", LetterState.DROPPED)])
    assert tables.book.standing().sums() == Sums(1, 0, 0, 0, 1, 0)


def test_an_output_s_refusal_and_a_part_of_a_message_are_letters_of_their_own(tables: Tables) -> None:
    keys = {tables.letter(1), tables.letter(1, output="m", code="D205"), tables.letter(1, element=3)}
    assert len(keys) == 3 and set(tables.book.standing().letters()) == keys


def test_a_topic_created_again_has_letters_of_its_own_at_the_same_offsets(tables: Tables) -> None:
    old = tables.letter(1)
    tables.states.append(act(1), 0, [NewState(old, "e", LetterState.REPLAYED)])
    new = tables.letter(1, epoch="e2", kafka_timestamp=AT + timedelta(days=1))
    assert new != old
    assert tables.book.standing().sums() == Sums(2, 1, 1, 0, 0, 0)


def test_a_state_without_its_letter_is_told(tables: Tables) -> None:
    key = tables.letter(1)
    gone = LetterKey(key.id._replace(offset=99), key.kafka_us)
    tables.states.append(act(1), 0, [NewState(key, "e", LetterState.REPLAYED), NewState(gone, "e", LetterState.DROPPED)])
    sums = tables.book.standing().sums()
    assert sums == Sums(1, 0, 1, 0, 0, 1) and not sums.hold


def test_letters_are_chosen_by_reason_topic_output_time_and_name(tables: Tables) -> None:
    keys = [
        tables.letter(1),
        tables.letter(2, code="D102"),
        tables.letter(3, topic="u"),
        tables.letter(4, output="m"),
    ]

    def chosen(**wanted: Any) -> list[LetterKey]:
        return sorted(tables.book.standing().only(Wanted(**wanted)).letters(), key=str)

    assert chosen() == sorted(keys, key=str)
    assert chosen(codes=frozenset({"D102"})) == [keys[1]]
    assert chosen(topics=frozenset({"u"})) == [keys[2]]
    assert chosen(outputs=frozenset({"m"})) == [keys[3]]
    assert chosen(outputs=frozenset({"@decode"}), topics=frozenset({"t"})) == keys[:2]
    assert chosen(ids=frozenset({keys[0].id, keys[3].id})) == [keys[0], keys[3]]
    assert chosen(since=datetime.now(UTC) + timedelta(hours=1)) == []
    assert len(chosen(until=datetime.now(UTC) + timedelta(hours=1))) == 4
    assert tables.book.standing().only(Wanted(codes=frozenset({"D102"}))).sums().letters == 1


def test_contents_come_by_name_and_as_a_stream_each_letter_once(tables: Tables) -> None:
    keys = [tables.letter(offset, value=bytes([offset])) for offset in range(5)]
    tables.letter(3, epoch="e2", value=b"\x03")
    rows = tables.book.contents([keys[3], keys[0]])
    assert [(key, row["value"]) for key, row in rows.items()] == [(keys[3], b"\x03"), (keys[0], b"\x00")]
    streamed = dict(tables.book.stream(keys[1:], ["value"]))
    assert {key: row["value"] for key, row in streamed.items()} == {key: bytes([key.id.offset]) for key in keys[1:]}
    assert len(list(tables.book.stream(keys, ["value"]))) == 5


def test_without_tables_there_is_nothing(tmp_path: Path) -> None:
    book = LetterBook("f", str(tmp_path / "none"), LetterStates("f", str(tmp_path / "neither")))
    sums = book.standing().sums()
    assert sums == Sums(0, 0, 0, 0, 0, 0) and sums.hold
    assert book.standing().only(Wanted(codes=frozenset({"D1"}))).letters() == []
    assert list(tmp_path.iterdir()) == [], "looking makes nothing"


def test_keys_survive_a_journey_through_a_table_without_a_timestamp(tables: Tables) -> None:
    key = tables.letter(1, kafka_timestamp=None)
    assert key.kafka_us is None
    assert tables.book.standing().letters() == [key] == keys_of(tables.book.standing().rows)
    tables.states.append(act(1), 0, [NewState(key, "e", LetterState.REPLAYED)])
    assert tables.book.standing().sums() == Sums(1, 0, 1, 0, 0, 0)
