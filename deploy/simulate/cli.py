"""`millrace simulate payments`: write payment traffic into the source namespace, and account for it."""

import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.validate import AsJson, Output

app = typer.Typer(name="simulate", help="Write a workload into a source namespace.", no_args_is_help=True)


@app.callback()
def simulate() -> None:
    """Write a workload into a source namespace."""


@app.command()
def payments(
    rate: Annotated[float, typer.Option(min=0.1, help="Operations per second.")] = 500.0,
    seconds: Annotated[int, typer.Option(min=1, help="How long, in seconds; rate times seconds operations are written.")] = 30,
    seed: Annotated[int, typer.Option(help="The same seed, rate and seconds write the same operations.")] = 1,
    aerospike: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Where to write. Default: MILLRACE_AEROSPIKE, else the local stack.")
    ] = None,
    namespace: Annotated[str, typer.Option(help="Namespace to write into.")] = "payments",
    account: Annotated[Path | None, typer.Option(help="Write the account of what was written to this file, as JSON.")] = None,
    verify: Annotated[bool, typer.Option(help="Scan the namespace afterwards and compare it with the account.")] = True,
    output: AsJson = Output.TEXT,
) -> None:
    """Cards, customers, merchants and transactions: updates, deletes, expiries, hot keys, every bin type.

    The namespace should be empty, or hold this workload's records only. Ctrl-C or SIGTERM ends the traffic early, in order, with
    its account. Exit status 1 when --verify finds a difference.
    """
    from deploy.local.stack import Stack
    from deploy.simulate.account import totals
    from deploy.simulate.payments import operations
    from deploy.simulate.verify import differences
    from deploy.simulate.writer import write
    from schemas.errors import ConfigError
    from sinks.aerospike.config import ClientConfig
    from sinks.aerospike.connection import client_for

    address = aerospike or os.environ.get("MILLRACE_AEROSPIKE") or Stack().status().aerospike.address
    if not address or ":" not in address:
        raise ConfigError(
            "E110", "no Aerospike to write to", remedy="Start one with `millrace local up`, or give --aerospike HOST:PORT."
        )
    host, _, port = address.rpartition(":")
    client = client_for(ClientConfig(hosts=((host, int(port), None),)))
    count = int(rate * seconds)
    typer.echo(
        f"writing {count:,} operations into namespace {namespace!r} at {address}, {rate:g} a second (seed {seed})", err=True
    )
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    accounts = write(operations(seed, count), client, namespace, rate, _Progress(count), stop.is_set)
    wrong = differences(client, namespace, accounts) if verify else []
    found = {"seed": seed, "rate": rate, "seconds": seconds, "totals": totals(accounts), "differences": wrong[:20]}
    if account is not None:
        account.write_text(json.dumps(found, indent=1) + "\n")
    if output is Output.JSON:
        typer.echo(json.dumps(found))
    else:
        typer.echo("wrote " + ", ".join(f"{number:,} {name.replace('_', ' ')}" for name, number in totals(accounts).items()))
        for line in wrong[:20]:
            typer.echo(f"  {line}", err=True)
    if wrong:
        typer.echo(f"{len(wrong):,} records are not as written", err=True)
        raise typer.Exit(1)


class _Progress:
    """A line every five seconds."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._said = time.monotonic()

    def __call__(self, done: int) -> None:
        if time.monotonic() - self._said >= 5.0:
            self._said = time.monotonic()
            typer.echo(f"  {done:,} of {self._count:,}", err=True)


__all__ = ["app"]
