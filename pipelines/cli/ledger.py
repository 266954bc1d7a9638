"""`millrace ledger FLOW`: the account of every micro-batch, the totals per output, and whether they balance."""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.cli.validate import AsJson, FlowPath, Output

if TYPE_CHECKING:
    from pipelines.cli.ledger_sums import Totals
    from pipelines.flow.model import Flow
    from schemas.ledger import LedgerRow

UNBALANCED = 1
"""Exit status when the sums of some batch do not hold, or a check finds what does not fit."""


def ledger(
    flow: FlowPath,
    output: AsJson = Output.TEXT,
    lane: Annotated[
        str | None, typer.Option("--lane", help="Only this lane; @replay for replays of dead letters, each an epoch.")
    ] = None,
    last: Annotated[int, typer.Option("--last", min=0, help="How many of the newest batches to list; 0 for none.")] = 20,
    totals: Annotated[bool, typer.Option("--totals", help="Totals only.")] = False,
    check: Annotated[
        bool,
        typer.Option("--check", help="Prove the balance from the first batch to the last against the flow's tables."),
    ] = False,
) -> None:
    """Show what became of every event: in = applied + superseded + duplicate + dead, per output and micro-batch.

    Reads the ledger table and what is not in it yet; a running flow is not disturbed. "total in" adds up an output's batches from
    its first one on. Totals are over all batches, whatever --last says, and so is the lateness of a mirror's events: how much
    older they were than the newest version their record had shown. Below them, what became of the dead letters: letters =
    waiting + replayed + superseded + dropped.

    With --check every account is held against its neighbours and against the Delta tables, without the checkpoint: no batch
    missing or twice, offsets joined, offsets = messages + gaps, sums right, the history's rows as many as applied, each place in
    Kafka once, dead letters as many as dead. The first batch that does not fit is named with its numbers.

    Exit status 0 when every batch of every output adds up, and the dead letters do, or the check finds nothing; 1 when not.
    """
    from checkpoints.journal import Journal
    from pipelines.cli.dead_letters import sums_line
    from pipelines.cli.ledger_sums import running_sums, totals_of
    from pipelines.dead_letters.desk import book_of
    from pipelines.flow import load_flow
    from schemas.errors import ConfigError
    from schemas.letters import REPLAY_LANE
    from sinks.delta.ledger import LedgerTable, rows_of

    model = load_flow(flow)
    if lane is not None and lane not in (*model.lanes, REPLAY_LANE):
        raise ConfigError(
            "E101", f"the flow has no lane {lane!r}", remedy=f"Its lanes are {', '.join(model.lanes)}.", file=str(flow)
        )
    if check:
        if lane is not None or totals:
            raise ConfigError("E101", "--check looks at all lanes and prints sums", remedy="Leave out --lane and --totals.")
        _check(model, output)
        return
    accounts = LedgerTable(model.name, model.ledger.path).accounts(Journal(model.checkpoint), lane=lane)
    sums = totals_of(accounts)
    last = 0 if totals else min(last, accounts.num_rows)
    listed = rows_of(accounts.slice(accounts.num_rows - last))
    running = running_sums(accounts, last) if last else []
    letters = book_of(model).standing().sums()
    balanced = all(total.balanced for total in sums) and letters.hold
    if output is Output.JSON:
        answer = {
            "flow": model.name,
            "balanced": balanced,
            "totals": [total.as_dict() for total in sums],
            "batches": [{**row.as_dict(), "cumulative": total} for row, total in zip(listed, running, strict=True)],
            "dead_letters": letters._asdict(),
        }
        typer.echo(json.dumps(answer, indent=2, ensure_ascii=False))
    else:
        text = _text(model.name, listed, running, sums)
        typer.echo("\n".join([*text, *([sums_line(model.name, letters)] if letters.letters else [])]))
    if not balanced:
        raise typer.Exit(UNBALANCED)


def _check(model: "Flow", output: Output) -> None:
    from pipelines.cli.ledger_proof import proof_as_dict, proof_as_text
    from pipelines.ledger_check.check import check_ledger
    from pipelines.ledger_check.subject import subject_of

    proof = check_ledger(subject_of(model))
    if output is Output.JSON:
        typer.echo(json.dumps(proof_as_dict(model.name, proof), indent=2, ensure_ascii=False))
    else:
        typer.echo("\n".join(proof_as_text(model.name, proof)))
    if proof.misfits.count:
        raise typer.Exit(UNBALANCED)


def _text(flow: str, rows: Sequence["LedgerRow"], running: Sequence[Mapping[str, int]], sums: Sequence["Totals"]) -> list[str]:
    from pipelines.cli.ledger_sums import named

    if not sums:
        return [f"flow {flow}: the ledger is empty"]
    lines: list[str] = []
    if rows:
        head = (
            "committed (UTC)",
            "lane",
            "output",
            "batch",
            "in",
            "applied",
            "superseded",
            "duplicate",
            "dead",
            "unselected",
            "s",
            "total in",
        )
        body = [
            (
                row.committed_at[:19].replace("T", " "),
                row.lane,
                row.output,
                f"{row.batch_id}",
                *(
                    f"{getattr(row, name):,}"
                    for name in ("events_in", "applied", "superseded", "duplicate", "dead", "unselected")
                ),
                f"{row.seconds:.2f}",
                f"{total['events_in']:,}",
            )
            for row, total in zip(rows, running, strict=True)
        ]
        lines += [*columns([head, *body], left=3), ""]
    for total in sums:
        count = total.counts
        batches = "1 batch" if total.batches == 1 else f"{total.batches:,} batches"
        lines.append(
            f"{total.lane}/{total.output}: {batches}, in {count['events_in']:,} = {count['applied']:,} applied "
            f"+ {count['superseded']:,} superseded + {count['duplicate']:,} duplicate + {count['dead']:,} dead"
            + (f"; {count['unselected']:,} not selected" if count["unselected"] else "")
            + (f"; {count['past_horizon']:,} past the tombstone horizon" if count["past_horizon"] else "")
            + (f"; {count['unversioned']:,} without version" if count["unversioned"] else "")
            + (f"; {total.gaps:,} offsets without a message" if total.gaps else "")
            + ("" if total.balanced else f"  DOES NOT BALANCE in batch {named(total.unbalanced)}")
        )
    for total in sums:
        lines += _lateness(total)
    lines.append("the ledger balances" if all(total.balanced for total in sums) else "THE LEDGER DOES NOT BALANCE")
    return lines


def _lateness(total: "Totals") -> list[str]:
    """The histogram of one output, empty when nothing was late."""
    from schemas.lateness import NAMES

    if total.lateness is None or not any(total.lateness):
        return []
    late, most = sum(total.lateness), max(total.lateness)
    lines = [f"{total.lane}/{total.output}: {late:,} events came late, after a newer version of their record, by up to"]
    for name, number in zip(NAMES, total.lateness, strict=True):
        if number:
            lines.append(f"  {name:>21}  {number:>12,}  {'#' * max(1, round(40 * number / most))}")
    return lines


def columns(rows: Sequence[Sequence[str]], left: int) -> list[str]:
    """The cells as lines with aligned columns, the first `left` of them to the left."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


__all__ = ["UNBALANCED", "columns", "ledger"]
