"""`millrace run FLOW`: run a flow until it is stopped, or with --once until everything there now is written."""

from typing import Annotated

import typer

from pipelines.cli.validate import AsJson, FlowPath, Output


def run(
    flow: FlowPath,
    once: Annotated[bool, typer.Option("--once", help="Write what is in Kafka now, then stop.")] = False,
    output: AsJson = Output.TEXT,
    adopt_tables: Annotated[
        bool,
        typer.Option(
            "--adopt-tables",
            help="Take the Delta tables and counters as they are: written by another checkpoint, restored, or new.",
        ),
    ] = False,
    drain_timeout: Annotated[
        float | None,
        typer.Option("--drain-timeout", metavar="SECONDS", min=0, help="Time for the batches under way after a signal."),
    ] = None,
    accept: Annotated[
        list[str] | None,
        typer.Option("--accept", help="Accept a change of the flow over old state, by the name E443 gives it. May be repeated."),
    ] = None,
) -> None:
    """Run a flow. Ctrl-C or SIGTERM stops it after the batches under way; once more, or after --drain-timeout, stops at once.

    Shows one line per micro-batch and lane, or with `--output json` one object per line: kind "batch" with the ledger's columns,
    and the kinds changed, started, took_over, waiting, restart, recovered, kafka_away, kafka_back, past_horizon, stopping, cut,
    stopped.
    Exit status 0 after an ordered stop, 2 when the flow or the set-up is wrong, 3 when a server did not answer for too long,
    Spark died, or a stop cut a batch, which the next start repeats; 4 when a person must decide.
    """
    from pipelines.stop_signals import StopSignals

    with StopSignals() as stop:  # first: what follows takes seconds, and process 1 of a container ignores what nobody handles
        from pipelines.flow import load_flow
        from pipelines.progress import JsonReport, TextReport
        from pipelines.runner import run_flow

        run_flow(
            load_flow(flow),
            JsonReport() if output is Output.JSON else TextReport(),
            once=once,
            adopt_tables=adopt_tables,
            accept=accept or (),
            drain_timeout_s=drain_timeout,
            stop=stop,
        )


__all__ = ["run"]
