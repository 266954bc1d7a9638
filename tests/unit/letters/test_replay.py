"""Replays: every letter in one state, the outputs exact, the ledger balanced; cut anywhere and run again, the same."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.dead_letters.plan import Plan, PlanFile
from pipelines.dead_letters.reading import Letter
from pipelines.dead_letters.replay import Replay, parts
from pipelines.dead_letters.targets import Taken, Target
from schemas.bins import BinType
from schemas.errors import Retryable, Terminal
from schemas.letters import Fate, LetterState
from schemas.xdr.options import DecodeOptions, RecordType
from sinks.contract import Deadline, Disposition, Fence
from sinks.delta.letter_book import Sums
from sinks.delta.letter_states import NewState
from sinks.testing import FaultySink
from tests.support.letters import OPTIONS, Tables, array
from tests.support.typed_json import Change

NOW = 1_700_000_000_000
STRICT = DecodeOptions(records=(RecordType("payments", bins={"n": BinType.STR}),))


def change(key: str = "a", lut: int = 0, **changes: Any) -> Change:
    return Change(key, NOW + lut, 1, **{"bins": {"n": lut}, **changes})


def value_of(*args: Any, **changes: Any) -> bytes:
    return change(*args, **changes).message()[1]


@pytest.fixture
def tables(tmp_path: Path) -> Tables:
    return Tables(tmp_path)


def test_letters_that_can_be_read_now_reach_every_output_once(tables: Tables) -> None:
    for offset in range(5):
        tables.letter(offset, value_of(f"k{offset}", offset))
    done = tables.replay()
    assert done.states == {LetterState.REPLAYED: 5}
    assert {name: dict(fates) for name, fates in done.fates.items()} == {
        "mirror": {Fate.APPLIED: 5},
        "history": {Fate.APPLIED: 5},
    }
    assert len(tables.mirror.visible()) == 5 and tables.history_rows() == [(offset, 0) for offset in range(5)]
    assert tables.book.standing().sums() == Sums(5, 0, 5, 0, 0, 0)
    assert {(row.output, row.messages, row.applied, row.batch_id) for row in tables.accounts()} == {
        ("mirror", 5, 5, 0),
        ("history", 5, 5, 0),
    }
    again = tables.replay()
    assert again.letters == 0 and len(tables.accounts()) == 2 and len(tables.history_rows()) == 5


def test_what_still_cannot_be_read_waits_with_the_newest_reason(tables: Tables) -> None:
    key = tables.letter(1, b"not json")
    tables.letter(2, value_of())
    done = tables.replay()
    assert done.states == {LetterState.WAITING: 1, LetterState.REPLAYED: 1} and done.reasons == {"D102": 1}
    assert tables.book.standing().by_reason() == [("D102", 1), ("D108", 1)]
    (told,) = tables.states.told_of(key)
    assert told["code"] == "D102" and "not JSON" in told["detail"]
    assert dict(told["fates"]) == {"mirror": "dead", "history": "dead"}
    assert {(row.output, row.events_in, row.applied, row.dead) for row in tables.accounts()} == {
        ("mirror", 2, 1, 1),
        ("history", 2, 1, 1),
    }


def test_a_schema_mended_between_replays_settles_the_letter(tables: Tables) -> None:
    tables.letter(1, value_of())
    assert tables.replay(options=STRICT).states == {LetterState.WAITING: 1}
    assert tables.replay().states == {LetterState.REPLAYED: 1}
    assert tables.book.standing().sums() == Sums(1, 0, 1, 0, 0, 0)


def test_an_older_letter_after_a_newer_version_is_superseded_and_still_history(tables: Tables) -> None:
    newer = tables.letter(9, value_of("a", 50))
    tables.replay()
    older = tables.letter(1, value_of("a", 10))
    done = tables.replay()
    assert done.states == {LetterState.SUPERSEDED: 1}
    assert tables.mirror.visible() == {change().digest: {"n": 50}}
    assert tables.history_rows() == [(1, 0), (9, 0)]
    assert dict(tables.states.told_of(older)[0]["fates"]) == {"mirror": "superseded", "history": "applied"}
    assert tables.book.standing().sums() == Sums(2, 0, 1, 1, 0, 0)
    assert newer != older


def test_any_order_ends_in_the_newest(tables: Tables) -> None:
    for offset, lut in enumerate((30, 10, 40, 20)):
        tables.letter(offset, value_of("a", lut))
    done = tables.replay()
    assert done.states == {LetterState.SUPERSEDED: 3, LetterState.REPLAYED: 1}
    assert tables.mirror.visible() == {change().digest: {"n": 40}} and len(tables.history_rows()) == 4


def test_a_letter_of_one_output_goes_into_that_output_only(tables: Tables) -> None:
    tables.letter(1, value_of(), output="mirror", code="D205")
    done = tables.replay()
    assert set(done.fates) == {"mirror"} and tables.history_rows() == []
    assert len(tables.mirror.visible()) == 1


def test_an_output_that_is_gone_leaves_its_letters_waiting(tables: Tables) -> None:
    tables.letter(1, value_of(), output="another")
    assert tables.replay().letters == 0
    assert tables.book.standing().sums() == Sums(1, 1, 0, 0, 0, 0)


def test_one_output_s_refusal_keeps_the_letter_and_the_other_does_not_get_it_twice(tables: Tables) -> None:
    key = tables.letter(1, value_of())

    def refusing(targets: dict[str, Target]) -> dict[str, Target]:
        targets["mirror"]._sink = FaultySink(tables.mirror, [Disposition.REJECTED])  # type: ignore[attr-defined]
        return targets

    assert tables.replay(wrap=refusing).states == {LetterState.WAITING: 1}
    assert tables.states.told_of(key)[0]["code"] == "D205" and tables.history_rows() == [(1, 0)]
    done = tables.replay()
    assert done.states == {LetterState.REPLAYED: 1} and tables.history_rows() == [(1, 0)]
    assert done.fates["history"] == {Fate.DUPLICATE: 1} and done.fates["mirror"] == {Fate.APPLIED: 1}


def test_an_event_the_stream_wrote_meanwhile_is_not_added_again(tables: Tables) -> None:
    tables.letter(1, value_of())
    other = Tables(tables.folder / "other")
    other.letter(1, value_of())
    other.history, other.turn = tables.history, 7
    other.replay()
    assert tables.history_rows() == [(1, 0)]
    assert tables.replay().fates["history"] == {Fate.DUPLICATE: 1} and tables.history_rows() == [(1, 0)]


def test_a_letter_written_again_by_a_new_checkpoint_reaches_outputs_made_anew(tables: Tables) -> None:
    tables.letter(1, value_of(), epoch="e1")
    tables.replay()
    tables.letter(1, value_of(), epoch="e2")
    tables.mirror.records.clear()
    done = tables.replay()
    assert done.states == {LetterState.REPLAYED: 1} and len(tables.mirror.visible()) == 1
    assert done.fates["history"] == {Fate.DUPLICATE: 1} and tables.history_rows() == [(1, 0)]


def test_records_the_flow_does_not_take_are_settled_and_written_nowhere(tables: Tables) -> None:
    tables.letter(1, value_of(namespace="elsewhere"))
    done = tables.replay()
    assert done.states == {LetterState.REPLAYED: 1} and done.fates["mirror"] == {Fate.UNSELECTED: 1}
    assert tables.history_rows() == [] and not tables.mirror.visible()
    assert {(row.rows_read, row.unselected, row.events_in) for row in tables.accounts()} == {(1, 1, 0)}


def test_a_message_of_several_events_is_taken_whole_but_for_parts_with_letters_of_their_own(tables: Tables) -> None:
    whole = array(value_of("a", 1), value_of("b", 2), value_of("c", 3))
    tables.letter(1, whole)
    kept = tables.letter(1, whole, element=2)
    tables.states.append(tables.act("drop"), 0, [NewState(kept, "e", LetterState.DROPPED)])
    done = tables.replay()
    assert done.states == {LetterState.REPLAYED: 1} and tables.history_rows() == [(1, 0), (1, 1)]
    assert {(row.messages, row.applied) for row in tables.accounts()} == {(1, 2)}
    assert tables.book.standing().sums() == Sums(2, 0, 1, 0, 1, 0)


def test_a_part_that_is_not_there_any_more_waits(tables: Tables) -> None:
    key = tables.letter(1, value_of("a", 1), element=4)
    assert tables.replay().states == {LetterState.WAITING: 1}
    told = tables.states.told_of(key)[0]
    assert told["code"] == "D108" and told["detail"] == "the message holds 1 events now, and none at this place"
    assert tables.history_rows() == []


class Cut(BaseException):
    """A kill, as far as the code after it can tell."""


@pytest.mark.parametrize("point", ["after_plan", "mirror", "mid_mirror", "history", "ledger", "states"])
def test_cut_anywhere_and_run_again_reads_as_if_it_had_run_once(
    tables: Tables, point: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for offset in range(6):
        tables.letter(offset, value_of(f"k{offset % 4}", offset) if offset != 3 else b"broken")

    def cut(*_: Any, **__: Any) -> Any:
        raise Cut

    def cutting(targets: dict[str, Target]) -> dict[str, Target]:
        if point == "mid_mirror":
            real = tables.mirror.write

            def some(events: Any, fence: Fence, deadline: Deadline) -> Any:
                real(events[:2], fence, deadline)
                raise Cut

            monkeypatch.setattr(tables.mirror, "write", some)
        elif point in ("mirror", "history"):
            real_take = targets[point].take

            def take(events: Any, fence: Fence) -> list[Taken]:
                real_take(events, fence)
                raise Cut

            targets[point].take = take  # type: ignore[method-assign]
        return targets

    with monkeypatch.context() as patch, pytest.raises(Cut):
        if point == "ledger":
            patch.setattr(tables.states, "append", cut)
        elif point == "states":
            patch.setattr(PlanFile, "clear", cut)
        elif point == "after_plan":
            patch.setattr(Replay, "_part", cut)
        tables.replay(wrap=cutting)
    monkeypatch.undo()
    done = tables.replay()
    if point == "states":
        assert done.states == {LetterState.WAITING: 1}, "a part that was settled is not done again"
    assert tables.book.standing().sums() == Sums(6, 1, 3, 2, 0, 0)
    assert tables.history_rows() == [(offset, 0) for offset in (0, 1, 2, 4, 5)]
    assert {bins["n"] for bins in tables.mirror.visible().values()} == {2, 4, 5}
    rows = tables.accounts()
    first = {row.output: row for row in rows if row.epoch.startswith("00000001")}
    assert {row.epoch for row in rows} <= {"00000001-act", "00000002-act"}
    assert (first["mirror"].applied, first["mirror"].superseded, first["mirror"].dead) == (3, 2, 1)
    assert (first["history"].applied, first["history"].duplicate, first["history"].dead) == (5, 0, 1)
    assert len([row for row in rows if row.epoch == "00000001-act"]) == 2, "one account per part and output"
    assert PlanFile(tables.states.path).read() is None


def test_a_server_that_is_away_leaves_the_part_to_be_finished(tables: Tables) -> None:
    tables.letter(1, value_of())

    def away(targets: dict[str, Target]) -> dict[str, Target]:
        def take(events: Any, fence: Fence) -> list[Taken]:
            raise Retryable("E210", "away")

        targets["mirror"].take = take  # type: ignore[method-assign]
        return targets

    with pytest.raises(Retryable):
        tables.replay(wrap=away)
    assert tables.book.standing().sums().waiting == 1 and PlanFile(tables.states.path).read() is not None
    done = tables.replay()
    assert done.states == {LetterState.REPLAYED: 1} and tables.history_rows() == [(1, 0)]


def test_a_cut_part_whose_decoder_reads_more_now_adds_only_what_is_new(tables: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    tables.letter(1, value_of("a", 1))
    tables.letter(2, value_of("b", 2, bins={"n": "text"}))
    with monkeypatch.context() as patch, pytest.raises(Cut):
        patch.setattr(tables.ledger, "append", lambda rows: (_ for _ in ()).throw(Cut()))
        tables.replay(options=STRICT)
    assert tables.history_rows() == [(2, 0)]
    tables.replay(options=OPTIONS)
    assert tables.history_rows() == [(1, 0), (2, 0)]
    assert {(row.output, row.applied) for row in tables.accounts()} == {("mirror", 2), ("history", 2)}


def test_letters_that_stop_the_reader_leave_no_plan_behind(tables: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    tables.letter(1, value_of())
    with monkeypatch.context() as patch, pytest.raises(Retryable):
        patch.setattr("pipelines.dead_letters.replay.read_again", lambda *_: (_ for _ in ()).throw(Retryable("E210", "away")))
        tables.replay()
    assert PlanFile(tables.states.path).read() is None and tables.book.standing().sums().waiting == 1


def test_parts_fit_into_memory() -> None:
    sizes = [3, 3, 3, 9, 1, 1, 1, 1]
    letters: list[Any] = [Letter(number, {"value": b"x" * size}) for number, size in enumerate(sizes)]  # type: ignore[arg-type]
    made = [[len(letter.content["value"]) for letter in part] for part in parts(letters, most=3, most_bytes=6)]
    assert made == [[3, 3], [3], [9], [1, 1, 1], [1]]
    assert list(parts([])) == []


def test_several_parts_are_told_apart(tables: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    for offset in range(7):
        tables.letter(offset, value_of(f"k{offset}", offset))
    monkeypatch.setattr("pipelines.dead_letters.replay.parts", lambda letters: parts(letters, most=3))
    done = tables.replay()
    assert done.parts == 3 and done.states == {LetterState.REPLAYED: 7}
    assert Counter(row.batch_id for row in tables.accounts()) == {0: 2, 1: 2, 2: 2}
    assert sum(row.applied for row in tables.accounts() if row.output == "history") == 7


def test_a_part_that_was_finished_is_forgotten_whatever_comes_after(tables: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    key = tables.letter(1, value_of())
    PlanFile(tables.states.path).write(Plan(tables.act(), 0, (key,)))
    with monkeypatch.context() as patch, pytest.raises(Cut):
        patch.setattr(Replay, "run", lambda *_: (_ for _ in ()).throw(Cut()))
        tables.replay()
    assert PlanFile(tables.states.path).read() is None and tables.book.standing().sums().replayed == 1


def test_a_damaged_plan_is_not_passed_over(tables: Tables) -> None:
    PlanFile(tables.states.path)._folder.replace("_millrace/replay.json", '{"act": {')
    with pytest.raises(Terminal, match="E425"):
        tables.replay()


class Paused:
    """An output in whose write the process is paused, while another one finishes the part and replays the rest."""

    def __init__(self, target: Target, meanwhile: Callable[[], object]) -> None:
        self._target, self._meanwhile = target, meanwhile
        self.versioned = target.versioned

    def prepare(self) -> None:
        self._target.prepare()

    def take(self, rows: Any, fence: Fence) -> Any:
        self._meanwhile()
        return self._target.take(rows, fence)


@pytest.mark.parametrize("output", ["mirror", "history"])
@pytest.mark.parametrize("looks", [True, False], ids=["stopped", "without a lease"])
def test_a_replay_that_was_paused_and_replaced_changes_nothing(tables: Tables, output: str, looks: bool) -> None:
    for offset in range(3):
        tables.letter(offset, value_of(f"k{offset}", offset))
    replaced: list[Any] = []

    def meanwhile() -> None:
        if not replaced:
            replaced.append(None)
            replaced[0] = tables.replay()

    def require_lease() -> None:
        if replaced and looks:
            raise Terminal("E424", "the lease is not held")

    def wrap(targets: dict[str, Target]) -> dict[str, Target]:
        return {**targets, output: Paused(targets[output], meanwhile)}

    if looks:
        with pytest.raises(Terminal, match="E424"):
            tables.replay(wrap=wrap, require_lease=require_lease)
    else:
        tables.replay(wrap=wrap)
    assert replaced[0].states == {LetterState.REPLAYED: 3}
    assert tables.history_rows() == [(offset, 0) for offset in range(3)]
    assert sorted((row.output, row.batch_id, row.applied) for row in tables.accounts()) == [("history", 0, 3), ("mirror", 0, 3)]
    assert tables.book.standing().sums() == Sums(3, 0, 3, 0, 0, 0)
    assert len(tables.mirror.visible()) == 3
