import json
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from checkpoints.journal import Journal
from pipelines.cli.ledger import ledger
from schemas.errors import ConfigError, Terminal
from schemas.lateness import as_text, lateness_of
from schemas.ledger import LedgerRow

ROW = LedgerRow(
    "f", "fast", "mirror", "e1", 0, "2026-01-01T00:00:00.000+00:00", 12, 12, 2, 10, 7, 1, 1, 1, 0, 0, 0.5, None, "{}", "{}"
)


@pytest.fixture
def flow(tmp_path: Path) -> Path:
    path = tmp_path / "flow.yaml"
    path.write_text(
        textwrap.dedent(f"""\
        name: f
        source: {{bootstrap_servers: "127.0.0.1:1", topics: t}}
        records: [{{namespace: n}}]
        outputs:
          mirror: {{type: aerospike, hosts: "127.0.0.1:3000", namespace: m}}
          history: {{type: delta_history, path: {tmp_path}/history}}
        dead_letters: {tmp_path}/dead
        checkpoint: {tmp_path}/checkpoint
        """)
    )
    return path


def keep(flow: Path, *rows: LedgerRow) -> None:
    for row in rows:
        Journal(str(flow.parent / "checkpoint")).put(row.lane, [row])


def ask(flow: Path, *options: str) -> Result:
    app = typer.Typer()
    app.command()(ledger)
    return CliRunner().invoke(app, [str(flow), *options])


def test_an_empty_ledger_is_no_failure(flow: Path) -> None:
    result = ask(flow)
    assert result.exit_code == 0 and "the ledger is empty" in result.output


def test_batches_and_totals_are_shown_per_output(flow: Path) -> None:
    bulk = replace(ROW, lane="bulk", output="history", applied=9, superseded=0, duplicate=0)
    keep(flow, ROW, replace(ROW, batch_id=1), bulk)
    result = ask(flow)
    assert result.exit_code == 0
    assert "fast/mirror: 2 batches, in 20 = 14 applied + 2 superseded + 2 duplicate + 2 dead; 4 not selected" in result.output
    assert "bulk/history: 1 batch, in 10 = 9 applied + 0 superseded + 0 duplicate + 1 dead" in result.output
    assert "the ledger balances" in result.output
    only = json.loads(ask(flow, "--lane", "fast", "--last", "1", "--output", "json").output)
    assert [total["output"] for total in only["totals"]] == ["mirror"] and only["totals"][0]["batches"] == 2
    assert [row["batch_id"] for row in only["batches"]] == [1]
    assert json.loads(ask(flow, "--totals", "--output", "json").output)["batches"] == []


def test_one_event_missing_in_one_batch_is_found(flow: Path) -> None:
    keep(flow, *(replace(ROW, batch_id=number) for number in range(30)), replace(ROW, batch_id=30, applied=6))
    result = ask(flow, "--totals")
    assert result.exit_code == 1
    assert "DOES NOT BALANCE in batch 30" in result.output
    answer = json.loads(ask(flow, "--output", "json").output)
    assert answer["balanced"] is False and answer["totals"][0]["unbalanced_batches"] == [30]


def test_two_wrongs_that_cancel_out_do_not_balance(flow: Path) -> None:
    keep(flow, replace(ROW, applied=6), replace(ROW, batch_id=1, applied=8))
    (total,) = json.loads(ask(flow, "--output", "json").output)["totals"]
    assert total["events_in"] == sum(total[name] for name in ("applied", "superseded", "duplicate", "dead"))
    assert not total["balanced"] and total["unbalanced_batches"] == [0, 1]


@pytest.mark.parametrize("wrong", [{"unselected": 1}, {"messages": 13}, {"gaps": -1}, {"dead": 2}])
def test_all_that_a_batch_is_refused_for_is_seen_in_the_sums(flow: Path, wrong: dict[str, int]) -> None:
    row = replace(ROW, **wrong)  # type: ignore[arg-type]
    with pytest.raises(Terminal, match="E410"):
        row.require_balance()
    keep(flow, ROW, replace(row, batch_id=1))
    assert "DOES NOT BALANCE in batch 1" in ask(flow).output


def test_sums_run_on_from_batch_to_batch_of_one_output(flow: Path) -> None:
    bulk = [replace(ROW, lane="bulk", output="history", batch_id=number) for number in range(2)]
    keep(flow, *(replace(ROW, batch_id=number) for number in range(5)), *bulk)
    batches = json.loads(ask(flow, "--last", "5", "--output", "json").output)["batches"]
    assert [(row["output"], row["batch_id"], row["cumulative"]["events_in"]) for row in batches] == [
        ("history", 1, 20), ("mirror", 1, 20), ("mirror", 2, 30), ("mirror", 3, 40), ("mirror", 4, 50),
    ]  # fmt: skip
    assert batches[-1]["cumulative"]["applied"] == 35
    keep(flow, replace(ROW, batch_id=4))
    again = json.loads(ask(flow, "--last", "1", "--output", "json").output)["batches"]
    assert again[0]["cumulative"]["events_in"] == 50, "a batch that is repeated counts once"
    assert ask(flow, "--last", "1").output.splitlines()[1].split()[-1] == "50"


def test_lateness_is_a_histogram_over_all_batches(flow: Path) -> None:
    day_ms = 86_400_000
    late = [as_text(lateness_of(found, day_ms)) for found in ([5, 5, 700], [5, 2 * day_ms], [])]
    keep(flow, *(replace(ROW, batch_id=number, lateness=text, gaps=1) for number, text in enumerate([*late, None])))
    keep(flow, replace(ROW, lane="bulk", output="history"))
    output = ask(flow, "--totals").output
    lines = [line.split() for line in output.splitlines()]
    assert "fast/mirror: 5 events came late, after a newer version of their record, by up to" in output
    assert ["10", "ms", "3", "#" * 40] in lines and ["1", "s", "1", "#" * 13] in lines
    assert ["more", "than", "the", "horizon", "1", "#" * 13] in lines
    assert "; 4 offsets without a message" in output
    totals = {total["output"]: total for total in json.loads(ask(flow, "--output", "json").output)["totals"]}
    assert totals["mirror"]["lateness"]["10 ms"] == 3 and totals["history"]["lateness"] is None


def test_a_lane_the_flow_has_not_is_named(flow: Path) -> None:
    result = ask(flow, "--lane", "fats")
    assert isinstance(result.exception, ConfigError)
    assert "'fats'" in str(result.exception) and "fast, bulk" in result.exception.remedy


def test_what_became_of_dead_letters_stands_below_and_must_add_up(flow: Path) -> None:
    from schemas.letters import LetterState
    from sinks.delta.letter_states import NewState
    from tests.support.letters import Tables

    flow.write_text(
        flow.read_text().replace(f"{flow.parent}/dead", f"{{path: {flow.parent}/letters, states: {flow.parent}/states}}")
    )
    tables = Tables(flow.parent)
    key = tables.letter(1)
    keep(flow, ROW)
    assert "flow f: 1 dead letter = 1 waiting + 0 replayed" in ask(flow).output
    assert json.loads(ask(flow, "--output", "json").output)["dead_letters"]["waiting"] == 1
    gone = key._replace(id=key.id._replace(offset=8))
    tables.states.append(tables.act("drop"), 0, [NewState(gone, "e", LetterState.DROPPED)])
    result = ask(flow)
    assert result.exit_code == 1 and "THE SUMS DO NOT HOLD" in result.output


def test_replays_are_a_lane_of_the_ledger(flow: Path) -> None:
    keep(flow, ROW, replace(ROW, lane="@replay", epoch="act"))
    answer = json.loads(ask(flow, "--lane", "@replay", "--output", "json").output)
    assert [(row["lane"], row["epoch"]) for row in answer["batches"]] == [("@replay", "act")]
