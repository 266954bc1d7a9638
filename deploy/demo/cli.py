"""`millrace demo`: the main job with crashes, and its verdict."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.cli.validate import AsJson, Output

if TYPE_CHECKING:
    from deploy.demo.demo import DemoResult
    from deploy.demo.measures import Lag


def demo(
    seed: Annotated[int, typer.Option(help="Seed of workload, duplicates and disorder.")] = 1,
    rate: Annotated[int, typer.Option(min=1, help="Operations per second.")] = 200,
    seconds: Annotated[int, typer.Option(min=10, help="How long the workload writes at least, in seconds.")] = 30,
    message_format: Annotated[
        str, typer.Option("--format", help="Message format, as `source.format` of a flow; auto mixes them.")
    ] = "json",
    aerospike: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Mirror into this Aerospike; the source stays the embedded node.")
    ] = None,
    namespace: Annotated[str, typer.Option(help="Target namespace.")] = "mirror",
    clear: Annotated[bool, typer.Option("--clear", help="Truncate the target namespace of --aerospike first.")] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the stack running, and the data.")] = False,
    folder: Annotated[Path | None, typer.Option(help="Working folder. Default: .millrace/demo.", show_default=False)] = None,
    output: AsJson = Output.TEXT,
) -> None:
    """Run the whole job, kill its driver in the middle of batches, restart it, and compare every record.

    Exit status 0 when nothing was lost, doubled or different and every kill really happened, 1 otherwise.
    """
    from deploy.demo.demo import DemoOptions, run_demo, stack_folder

    options = DemoOptions(seed, rate, seconds, message_format, aerospike, namespace, clear, keep, folder)
    result = run_demo(options, lambda line: typer.echo(line, err=output is Output.JSON))
    if output is Output.JSON:
        typer.echo(json.dumps(result.as_dict(), ensure_ascii=False, default=str))
    else:
        show(result)
    if keep:
        at = f"--folder {stack_folder(folder)}"
        typer.echo(f"The stack keeps running: millrace local status {at}; end it: millrace local down {at} --purge", err=True)
    if not result.good:
        raise typer.Exit(1)


def show(result: "DemoResult") -> None:
    """The result in tables and plain words, the verdict last."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    ledger = Table(title="Ledger: what became of every event")
    columns = ("output", "batches", "events_in", "applied", "superseded", "duplicate", "dead")
    for name in columns:
        ledger.add_column(name.replace("_", " "), justify="left" if name == "output" else "right")
    for row in result.ledger:
        ledger.add_row(*(f"{row[name]:,}" if isinstance(row[name], int) else str(row[name]) for name in columns))
    console.print(ledger)
    compared = Table(title="Records compared")
    for name in ("expected", "found", "compared", "equal", "differing"):
        compared.add_column(name, justify="left" if name in ("expected", "found") else "right")
    for one in result.reconciliation["comparisons"]:
        compared.add_row(one["expected"], one["found"], *(f"{one[name]:,}" for name in ("compared", "equal", "differing")))
    console.print(compared)
    for one in result.reconciliation["comparisons"]:
        for finding in one["findings"][:10]:
            console.print(f"  {one['found']}: {finding['kind']}: {finding['digest']}: {finding['detail']}", markup=False)
    shipped = ", ".join(
        f"{name} {result.shipped[name]}" for name in ("shipped", "duplicates", "reordered") if name in result.shipped
    )
    console.print(f"Shipped by the source: {shipped}.", highlight=False)
    for fired in result.kill_evidence:
        console.print(f"Killed at {fired['point']} in batch {fired.get('batch_id', '?')} ({fired['at']}).", highlight=False)
    steady = f"{_lag(result.lag_steady)} once caught up; " if result.lag_steady else ""
    console.print(f"Change to visible in the mirror: {steady}{_lag(result.lag_all)} with the crashes.", highlight=False)
    if not steady:
        console.print("The last driver had not caught up for long enough to measure that apart.", highlight=False)
    console.print(
        f"{result.events:,} events in {result.seconds:.0f} s, {result.events_per_second:,.0f} events/s (the workload's rate).",
        highlight=False,
    )
    if not result.balanced:
        console.print("The ledger does not balance.", style="bold red")
    console.print(result.verdict, highlight=False)


def _lag(lag: "Lag | None") -> str:
    return f"p50 {lag.p50_s:.2f} s, p99 {lag.p99_s:.2f} s" if lag else "not measured"


__all__ = ["demo", "show"]
