"""`millrace reconcile FLOW`: is the copy right?"""

from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.cli.validate import AsJson, FlowPath, Output

if TYPE_CHECKING:
    from pipelines.reconcile.report import Reconciliation

SHOWN = 20


def reconcile(
    flow: FlowPath,
    output: AsJson = Output.TEXT,
    tolerance_s: Annotated[
        float, typer.Option("--tolerance-s", min=0.0, help="How far expiries may be apart, in seconds.")
    ] = 3.0,
) -> None:
    """Compare source, mirror and history record by record, and account for every offset read.

    Compares bins with their types, user keys, sets, expiries and deletes. Let the flow catch up first: what is still on its way
    counts as a difference. Exit status 0 when nothing differs, 1 when something does.
    """
    import json

    from pipelines.flow import load_flow
    from pipelines.reconcile.report import reconcile as compare
    from pipelines.reconcile.report import require_reachable
    from pipelines.session import build_session, close_session

    loaded = load_flow(flow)
    require_reachable(loaded)
    typer.echo(f"comparing the outputs of flow {loaded.name!r} (Spark is starting) ...", err=True)
    session = build_session(f"millrace reconcile {loaded.name}", loaded.spark.overrides(), loaded.spark.master)
    try:
        found = compare(loaded, session, tolerance_s)
    finally:
        close_session(session)
    if output is Output.JSON:
        typer.echo(json.dumps(found.as_dict(), ensure_ascii=False))
    else:
        show(found)
    if not found.good:
        raise typer.Exit(1)


def show(found: "Reconciliation") -> None:
    """Tables and plain words."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"Flow {found.flow}: records compared")
    for column in ("expected", "found", "compared", "equal", "of these as far as the form carries", "differing"):
        table.add_column(column, justify="left" if column in ("expected", "found") else "right")
    for one in found.comparisons:
        numbers = (one.compared, one.equal, one.form_limited, one.differing)
        table.add_row(one.expected, one.found, *(f"{number:,}" for number in numbers))
    console = Console()
    if found.comparisons:
        console.print(table)
    for one in found.comparisons:
        for finding in one.findings[:SHOWN]:
            place = f"digest {finding['digest']} set {finding['set']}"
            console.print(f"  {one.found}: {finding['kind']}: {place}: {finding['detail']}", markup=False, highlight=False)
        if one.differing > min(len(one.findings), SHOWN):
            console.print(f"  {one.found}: and {one.differing - min(len(one.findings), SHOWN):,} more", markup=False)
    for check in found.offsets:
        console.print(
            f"history {check.output!r}: {check.events:,} offsets read, {check.lost:,} unaccounted for, {check.doubled:,} twice",
            highlight=False,
        )
        if check.gaps or check.unconfirmed:
            apart = (
                [f"{check.gaps:,} offsets hold no message, as Kafka confirms (transactions, compaction)"] if check.gaps else []
            )
            apart += [f"{check.unconfirmed:,} hold none that was read, and are gone from Kafka"] if check.unconfirmed else []
            console.print(f"  counted apart: {'; '.join(apart)}", highlight=False)
    console.print("nothing differs" if found.good else "DIFFERENCES FOUND")


__all__ = ["reconcile", "show"]
