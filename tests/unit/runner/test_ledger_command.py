import json
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from checkpoints.journal import Journal
from pipelines.cli.ledger import ledger, totals_of
from schemas.errors import ConfigError
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
    (total,) = totals_of([replace(ROW, applied=6), replace(ROW, batch_id=1, applied=8)])
    assert total.counts["events_in"] == sum(total.counts[name] for name in ("applied", "superseded", "duplicate", "dead"))
    assert not total.balanced and total.unbalanced == (0, 1)


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
