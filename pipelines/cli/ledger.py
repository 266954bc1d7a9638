"""`millrace ledger FLOW`: the account of every micro-batch, the totals per output, and whether they balance."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.cli.validate import AsJson, FlowPath, Output

if TYPE_CHECKING:
    from schemas.ledger import LedgerRow

UNBALANCED = 1
"""Exit status when the sums of some batch do not hold."""
_COUNTS = (
    *("messages", "rows_read", "unselected", "events_in", "applied", "superseded", "duplicate", "dead"),
    *("past_horizon", "unversioned"),
)


@dataclass(frozen=True, slots=True)
class Totals:
    """The sums of one output over its batches; `unbalanced` names batches whose account does not add up."""

    lane: str
    output: str
    batches: int
    counts: dict[str, int]
    seconds: float
    first_at: str
    last_at: str
    unbalanced: tuple[int, ...]

    @property
    def balanced(self) -> bool:
        """Whether every batch adds up."""
        return not self.unbalanced

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "lane": self.lane,
            "output": self.output,
            "batches": self.batches,
            **self.counts,
            "seconds": round(self.seconds, 3),
            "first_at": self.first_at,
            "last_at": self.last_at,
            "balanced": self.balanced,
            "unbalanced_batches": list(self.unbalanced),
        }


def totals_of(rows: Sequence["LedgerRow"]) -> list[Totals]:
    """The totals per lane and output, in the order they first appear."""
    groups: dict[tuple[str, str], list[LedgerRow]] = {}
    for row in rows:
        groups.setdefault((row.lane, row.output), []).append(row)
    return [
        Totals(
            lane=lane,
            output=output,
            batches=len(group),
            counts={name: sum(getattr(row, name) for row in group) for name in _COUNTS},
            seconds=sum(row.seconds for row in group),
            first_at=min(row.committed_at for row in group),
            last_at=max(row.committed_at for row in group),
            unbalanced=tuple(row.batch_id for row in group if not _balances(row)),
        )
        for (lane, output), group in groups.items()
    ]


def ledger(
    flow: FlowPath,
    output: AsJson = Output.TEXT,
    lane: Annotated[
        str | None, typer.Option("--lane", help="Only this lane; @replay for replays of dead letters, each an epoch.")
    ] = None,
    last: Annotated[int, typer.Option("--last", min=0, help="How many of the newest batches to list; 0 for none.")] = 20,
    totals: Annotated[bool, typer.Option("--totals", help="Totals only.")] = False,
) -> None:
    """Show what became of every event: in = applied + superseded + duplicate + dead, per output and micro-batch.

    Reads the ledger table and what is not in it yet; a running flow is not disturbed. Totals are over all batches, whatever
    --last says. Below them, what became of the dead letters: letters = waiting + replayed + superseded + dropped.
    Exit status 0 when every batch of every output adds up, and the dead letters do, 1 when not.
    """
    from checkpoints.journal import Journal
    from pipelines.cli.dead_letters import sums_line
    from pipelines.dead_letters.desk import book_of
    from pipelines.flow import load_flow
    from schemas.errors import ConfigError
    from schemas.letters import REPLAY_LANE
    from sinks.delta.ledger import LedgerTable

    model = load_flow(flow)
    if lane is not None and lane not in (*model.lanes, REPLAY_LANE):
        raise ConfigError(
            "E101", f"the flow has no lane {lane!r}", remedy=f"Its lanes are {', '.join(model.lanes)}.", file=str(flow)
        )
    rows = LedgerTable(model.name, model.ledger.path).read(Journal(model.checkpoint), lane=lane)
    sums = totals_of(rows)
    listed = [] if totals or not last else rows[-last:]
    letters = book_of(model).standing().sums()
    balanced = all(total.balanced for total in sums) and letters.hold
    if output is Output.JSON:
        answer = {
            "flow": model.name,
            "balanced": balanced,
            "totals": [total.as_dict() for total in sums],
            "batches": [row.as_dict() for row in listed],
            "dead_letters": letters._asdict(),
        }
        typer.echo(json.dumps(answer, indent=2, ensure_ascii=False))
    else:
        typer.echo("\n".join([*_text(model.name, listed, sums), *([sums_line(model.name, letters)] if letters.letters else [])]))
    if not balanced:
        raise typer.Exit(UNBALANCED)


def _balances(row: "LedgerRow") -> bool:
    from schemas.errors import Terminal

    try:
        row.require_balance()
    except Terminal:
        return False
    return True


def _text(flow: str, rows: Sequence["LedgerRow"], sums: Sequence[Totals]) -> list[str]:
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
            )
            for row in rows
        ]
        lines += [*_columns([head, *body], left=3), ""]
    for total in sums:
        count = total.counts
        batches = "1 batch" if total.batches == 1 else f"{total.batches:,} batches"
        lines.append(
            f"{total.lane}/{total.output}: {batches}, in {count['events_in']:,} = {count['applied']:,} applied "
            f"+ {count['superseded']:,} superseded + {count['duplicate']:,} duplicate + {count['dead']:,} dead"
            + (f"; {count['unselected']:,} not selected" if count["unselected"] else "")
            + (f"; {count['past_horizon']:,} past the tombstone horizon" if count["past_horizon"] else "")
            + (f"; {count['unversioned']:,} without version" if count["unversioned"] else "")
            + ("" if total.balanced else f"  DOES NOT BALANCE in batch {', '.join(map(str, total.unbalanced))}")
        )
    lines.append("the ledger balances" if all(total.balanced for total in sums) else "THE LEDGER DOES NOT BALANCE")
    return lines


def _columns(rows: Sequence[Sequence[str]], left: int) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


__all__ = ["Totals", "UNBALANCED", "ledger", "totals_of"]
