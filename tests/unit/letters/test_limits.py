"""Limits: what is too many, who is told, and what a stopped batch leaves."""

from typing import Any

import pyarrow as pa
import pytest

from pipelines.flow.dead_letters import LetterLimits as Limits
from pipelines.letter_limits import HOUR_S, TOLD_EVERY_S, Commonest, LetterLimits, commonest_of, letters_of
from pipelines.outputs import Account
from schemas.errors import Terminal
from schemas.reasons import REASONS

FOUND = Commonest("D108", 90, "t[0]@7", "bin 'amount' is not an integer")


class Told:
    """A report that keeps what it is told, and a clock."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str, dict[str, object]]] = []
        self.now = 0.0
        self.asked = 0

    def event(self, kind: str, message: str, **fields: object) -> None:
        self.events.append((kind, message, fields))

    def batch(self, report: Any) -> None: ...

    def flush(self) -> None: ...

    def tick(self) -> None: ...

    def commonest(self) -> Commonest:
        self.asked += 1
        return FOUND


def account(events: int, dead: int, *, undecoded: int | None = None, unselected: int = 0) -> Account:
    gone = dead if undecoded is None else undecoded
    return Account(events, events + unselected, unselected, events - dead, 0, 0, dead, gone, 0, 0, None, 0.1)


def judge(told: Told, **limits: Any) -> LetterLimits:
    return LetterLimits(Limits(**limits), "bulk", told, lambda: told.now)


def test_a_share_over_the_limit_stops_with_the_commonest_reason_and_a_remedy() -> None:
    told = Told()
    limits = judge(told, share=0.2, share_action="stop", share_min_events=100)
    limits.require(1, {"history": account(100, 20)}, told.commonest)
    assert told.asked == 0, "nobody reads a batch again that is in order"
    with pytest.raises(Terminal) as stopped:
        limits.require(2, {"history": account(400, 81, unselected=9000)}, told.commonest)
    text = str(stopped.value)
    assert stopped.value.code == "E450"
    for words in ("81 of 400 events in output history", "20.0%", "D108", "90 times", "t[0]@7: bin 'amount'", "batch_id=2"):
        assert words in text, text
    assert stopped.value.remedy.startswith(REASONS["D108"].remedy) and "batch is repeated" in stopped.value.remedy


def test_few_events_are_not_judged_by_their_share() -> None:
    told = Told()
    limits = judge(told, share=0.2, share_action="stop", share_min_events=100)
    limits.require(1, {"history": account(99, 99)}, told.commonest)
    assert told.events == []


def test_a_warning_is_one_line_and_not_one_for_every_batch() -> None:
    told = Told()
    limits = judge(told, share=0.2, share_min_events=10)
    for batch in range(5):
        limits.require(batch, {"m": account(10, 9), "n": account(10, 9)}, told.commonest)
    assert len(told.events) == 1
    kind, message, fields = told.events[0]
    assert kind == "many_letters" and message.startswith("lane bulk, batch 0: 9 of 10 events") and fields["reason"] == "D108"
    told.now += TOLD_EVERY_S
    limits.require(5, {"m": account(10, 9)}, told.commonest)
    assert len(told.events) == 2


def test_off_is_off() -> None:
    told = Told()
    limits = judge(told, share=0.1, share_min_events=1, share_action="off", per_hour=1, per_hour_action="off")
    limits.require(1, {"m": account(100, 100)}, told.commonest)
    assert told.events == [] and told.asked == 0


def test_the_count_of_an_hour_forgets_what_is_older_and_counts_a_repeated_batch_once() -> None:
    told = Told()
    limits = judge(told, per_hour=100, per_hour_action="stop")
    for _ in range(5):
        limits.require(1, {"m": account(1000, 60)}, told.commonest)
    limits.require(2, {"m": account(1000, 40)}, told.commonest)
    with pytest.raises(Terminal, match="101 dead letters within an hour, more than 100"):
        limits.require(3, {"m": account(1000, 1)}, told.commonest)
    with pytest.raises(Terminal, match="101 dead letters"):
        limits.require(3, {"m": account(1000, 1)}, told.commonest)
    told.now += HOUR_S
    limits.require(3, {"m": account(1000, 100)}, told.commonest)


def test_letters_of_a_batch_count_an_undecoded_message_once() -> None:
    assert letters_of([account(10, 3, undecoded=3), account(10, 5, undecoded=3)]) == 5
    assert letters_of([]) == 0


def test_the_commonest_reason_is_found_among_letters_and_what_spark_counted() -> None:
    names = ("code", "detail", "topic", "partition", "offset")
    rows = [("D205", "no", "t", 0, 1), ("D108", "odd", "t", 1, 2), ("D108", "odder", "t", 1, 3)]
    table = pa.Table.from_pylist([dict(zip(names, row, strict=True)) for row in rows])
    assert commonest_of([table]) == Commonest("D108", 2, "t[1]@2", "odd")
    counted = {**dict(zip(names, ("D102", "cut", "u", 4, 9), strict=True)), "letters": 3}
    assert commonest_of([table], [counted]) == Commonest("D102", 3, "u[4]@9", "cut")
    assert commonest_of([]) is None
