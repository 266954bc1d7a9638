"""`millrace dead-letters`: what people and programs are told, and what is refused. Without servers."""

import json
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from checkpoints.lease import Lease
from pipelines.cli.dead_letters import app
from pipelines.dead_letters.plan import Plan, PlanFile
from schemas.errors import ConfigError, MillraceError, Terminal
from schemas.letters import LetterState
from schemas.reasons import REASONS
from sinks.delta.letter_states import NewState
from tests.support.letters import Tables
from tests.support.typed_json import Change

GOOD = Change("k", 1_700_000_000_000, 1, {"n": 1}).message()[1]


@pytest.fixture
def tables(tmp_path: Path) -> Tables:
    return Tables(tmp_path)


@pytest.fixture
def flow(tmp_path: Path) -> Path:
    path = tmp_path / "flow.yaml"
    path.write_text(
        textwrap.dedent(f"""\
        name: f
        source: {{bootstrap_servers: "127.0.0.1:1", topics: t}}
        records: [{{namespace: payments}}]
        outputs:
          history: {{type: delta_history, path: {tmp_path}/history}}
        dead_letters: {{path: {tmp_path}/letters, states: {tmp_path}/states}}
        ledger: {tmp_path}/ledger
        checkpoint: {tmp_path}/checkpoint
        """)
    )
    return path


@pytest.fixture
def ask(flow: Path) -> Callable[..., Result]:
    def call(command: str, *options: str) -> Result:
        return CliRunner().invoke(app, [command, str(flow), *options])

    return call


def answer(result: Result) -> Any:
    assert result.exception is None or isinstance(result.exception, SystemExit), result.output
    return json.loads(result.stdout)


def read_through(flow: Path, offset: int) -> None:
    """The history's lane has finished everything before `offset`."""
    lane = flow.parent / "checkpoint" / "bulk"
    for folder in ("offsets", "commits", "sources/0"):
        (lane / folder).mkdir(parents=True, exist_ok=True)
    (lane / "metadata").write_text('{"id": "e"}')
    (lane / "sources/0/0").write_text('v1\n{"t":{"0":0}}')
    (lane / "offsets/0").write_text(f'v1\n{{}}\n{{"t":{{"0":{offset}}}}}')
    (lane / "commits/0").write_text("v1\n{}")


def refusal(result: Result) -> MillraceError:
    assert isinstance(result.exception, MillraceError), result.output
    return result.exception


def test_nothing_yet_is_no_failure(ask: Callable[..., Result], tmp_path: Path) -> None:
    result = ask("list")
    assert result.exit_code == 0 and "0 dead letters" in result.output


def test_a_list_counts_by_reason_and_shows_the_newest(ask: Callable[..., Result], tables: Tables) -> None:
    for offset in range(4):
        tables.letter(offset, b"{", code="D102" if offset < 3 else "D108", detail=f"at {offset}")
    result = ask("list", "--limit", "2")
    assert "flow f: 4 dead letters = 4 waiting + 0 replayed + 0 superseded + 0 dropped" in result.output
    assert f"3  D102  {REASONS['D102'].title}" in result.output and "... and 2 more" in result.output
    assert "t/0/3/0/@decode" in result.output and "at 3" in result.output and "t/0/0/0/@decode" not in result.output
    only = answer(ask("list", "--code", "D108", "--output", "json"))
    assert (only["chosen"], only["sums"]["letters"], only["reasons"]) == (
        1,
        4,
        [{"code": "D108", "title": REASONS["D108"].title, "letters": 1}],
    )
    assert [row["letter"] for row in only["letters"]] == ["t/0/3/0/@decode"]
    assert answer(ask("list", "--since", "1h", "--output", "json"))["chosen"] == 4
    assert answer(ask("list", "--until", "2020-01-01", "--output", "json"))["chosen"] == 0


def test_sums_that_do_not_hold_are_a_bad_answer(ask: Callable[..., Result], tables: Tables) -> None:
    key = tables.letter(1)
    gone = key._replace(id=key.id._replace(offset=7))
    tables.states.append(tables.act("drop"), 0, [NewState(gone, "e", LetterState.DROPPED)])
    result = ask("list")
    assert result.exit_code == 1 and "THE SUMS DO NOT HOLD" in result.output


def test_drop_keeps_who_when_and_why_and_deletes_nothing(ask: Callable[..., Result], tables: Tables) -> None:
    keys = [tables.letter(offset) for offset in range(3)]
    dropped = answer(ask("drop", "--letter", "t/0/1", "--why", "a test of ours", "--by", "eve", "--output", "json"))
    assert dropped["dropped"] == ["t/0/1/0/@decode"]
    (told,) = tables.states.told_of(keys[1])
    assert (told["by"], told["why"], told["act"]) == ("eve", "a test of ours", "drop")
    assert "1 dropped" in ask("list").output and len(tables.book.contents(keys)) == 3
    again = ask("drop", "--letter", "t/0/1", "--why", "again")
    assert "nothing was dropped" in again.output and len(tables.states.told_of(keys[1])) == 1
    assert "2 letters dropped" in ask("drop", "--all", "--why", "all of them").output


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--why", "x"], "no letters are chosen"),
        (["--all", "--code", "D108", "--why", "x"], "--all stands beside"),
        (["--all", "--why", "  "], "no reason is given"),
        (["--code", "D999", "--why", "x"], "'D999' is no reason"),
        (["--since", "yesterday", "--why", "x"], "'yesterday' is no time"),
        (["--letter", "t/zero/1", "--why", "x"], "are numbers"),
    ],
)
def test_a_choice_that_is_none_is_refused(ask: Callable[..., Result], tables: Tables, options: list[str], words: str) -> None:
    tables.letter(1)
    error = refusal(ask("drop", *options))
    assert isinstance(error, ConfigError) and words in str(error)
    assert tables.book.standing().sums().dropped == 0


def test_a_replay_writes_and_says_what_became_of_each(ask: Callable[..., Result], flow: Path, tables: Tables) -> None:
    read_through(flow, 10)
    tables.letter(1, GOOD)
    tables.letter(2, b"still broken")
    tables.letter(3, GOOD, output="gone")
    dry = answer(ask("replay", "--dry-run", "--output", "json"))
    assert (dry["readable"], dry["unreadable"], dry["no_such_output"]) == (1, {"D102": 1}, {"gone": 1})
    assert tables.history_rows() == [] and tables.book.standing().sums().waiting == 3
    result = ask("replay", "--why", "mended", "--output", "json")
    done = answer(result)
    assert result.exit_code == 1, "one letter still waits"
    assert done["letters"] == {"replayed": 1, "waiting": 1} and done["outputs"] == {"history": {"applied": 1, "dead": 1}}
    assert tables.history_rows() == [(1, 0)]
    again = answer(ask("replay", "--code", "D108", "--output", "json"))
    assert again["letters"] == {} and tables.history_rows() == [(1, 0)]


def test_messages_a_history_s_lane_has_not_finished_are_left_for_later(
    ask: Callable[..., Result], flow: Path, tables: Tables
) -> None:
    for offset in (4, 5, 6):
        tables.letter(offset, GOOD)
    assert "not yet: 3 letters, of messages that lane bulk has not finished" in ask("replay").output
    read_through(flow, 5)
    assert "not yet: 2 letters" in ask("replay").output
    assert tables.history_rows() == [(4, 0)]
    (flow.parent / "checkpoint/bulk/commits/0").unlink()
    assert "not yet: 2 letters" in ask("replay").output, "a planned batch is not a finished one"


def test_dropped_letters_are_taken_up_again_only_when_asked_for(ask: Callable[..., Result], flow: Path, tables: Tables) -> None:
    read_through(flow, 10)
    tables.letter(1, GOOD)
    ask("drop", "--all", "--why", "x")
    assert answer(ask("replay", "--output", "json"))["letters"] == {}
    assert answer(ask("replay", "--dropped", "--output", "json"))["letters"] == {"replayed": 1}


def test_show_says_everything_about_a_letter(ask: Callable[..., Result], tables: Tables) -> None:
    tables.letter(1, GOOD, detail="bins[0] (name n): type is int, but the flow declares str", headers=None)
    text = ask("show", "t/0/1").output
    for words in (
        "t/0/1/0/@decode  waiting",
        f"D108 {REASONS['D108'].title}: bins[0] (name n)",
        "could not be decoded, read as json, by lane bulk",
        "^ character",
        "What to do: ",
        '"bins": {"n": {"type": "int", "value": "1"}}',
    ):
        assert words in text, text
    (view,) = answer(ask("show", "t/0/1", "--output", "json"))
    assert view["value"] == GOOD.decode() and view["failed_at"] == GOOD.decode().index('"n"')
    ask("drop", "--letter", "t/0/1", "--why", "not ours", "--by", "eve")
    assert "drop by eve: not ours -> dropped" in ask("show", "t/0/1").output
    assert "no such letter: t/0/9/0/@decode" in str(refusal(ask("show", "t/0/1", "t/0/9")))


def test_two_at_once_are_refused(ask: Callable[..., Result], tables: Tables) -> None:
    tables.letter(1)
    with Lease(tables.states.path, "f"):
        error = refusal(ask("drop", "--all", "--why", "x"))
        assert isinstance(error, Terminal) and error.code == "E451"
        assert refusal(ask("replay")).code == "E451"
        assert ask("list").exit_code == 0, "looking needs no lease"
    assert "1 letter dropped" in ask("drop", "--all", "--why", "x").output


def test_letters_in_a_cut_replay_cannot_be_dropped(ask: Callable[..., Result], flow: Path, tables: Tables) -> None:
    read_through(flow, 10)
    key, _ = tables.letter(1, GOOD), tables.letter(2)
    PlanFile(tables.states.path).write(Plan(tables.act(), 3, (key,)))
    assert "a replay was cut in a part of 1 letter:" in ask("list").output
    assert refusal(ask("drop", "--all", "--why", "x")).code == "E452"
    assert "1 letter dropped" in ask("drop", "--letter", "t/0/2", "--why", "x").output
    done = answer(ask("replay", "--output", "json"))
    assert done["finished_first"] == {"replayed": 1} and done["letters"] == {}
    assert {row.batch_id for row in tables.accounts()} == {3}


def test_a_history_on_s3_is_not_written_beside_the_running_flow(ask: Callable[..., Result], flow: Path, tables: Tables) -> None:
    tables.letter(1, GOOD)
    flow.write_text(flow.read_text().replace(f"{flow.parent}/history", "s3a://bucket/history"))
    with Lease(f"{flow.parent}/checkpoint", "f"):
        error = refusal(ask("replay"))
    assert error.code == "E453" and error.context["path"] == "s3a://bucket/history"
