"""`millrace simulate`: workloads on the command line."""

import json
import signal
import threading
import time
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.cli.validate import AsJson, Output
from schemas.errors import ConfigError

if TYPE_CHECKING:
    from deploy.simulate.account import Account
    from sinks.aerospike.config import ClientConfig

app = typer.Typer(
    name="simulate",
    help="Workloads that write to an Aerospike namespace and account for what they wrote.",
    no_args_is_help=True,
)

UNSETTLED = 1
INTERRUPTED = 130
SHOWN = 20
"""Differences shown and kept in the account, at most."""


@app.callback()
def simulate() -> None:
    """Keep `payments` a command of its own while it is the only one."""


@app.command()
def payments(
    rate: Annotated[int, typer.Option(min=1, help="Operations a second.")] = 500,
    seconds: Annotated[int, typer.Option(min=1, help="How long; rate times seconds operations are written.")] = 30,
    seed: Annotated[int, typer.Option(help="The same seed writes the same operations.")] = 1,
    aerospike: Annotated[
        str | None,
        typer.Option(envvar="MILLRACE_AEROSPIKE", metavar="HOST:PORT", help="Default: the node of the local stack."),
    ] = None,
    namespace: Annotated[str, typer.Option(help="Where to write; it must allow records to expire.")] = "payments",
    account: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write every record's expected state here, as JSON.")
    ] = None,
    verify: Annotated[bool, typer.Option(help="Scan the namespace afterwards and compare it with the account.")] = True,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Batches under way at once.")] = 4,
    output: AsJson = Output.TEXT,
) -> None:
    """Write customers, cards, merchants and transactions with updates, deletes, expiries, hot keys and every bin type.

    In a namespace that was empty nothing else may be found afterwards; what others have in it is counted and left alone.
    SIGTERM ends the traffic early and in order, with its account and the comparison. Exit status 0 when the outcome of every
    operation is known and the namespace is as the account says, 1 when not, 130 when interrupted.
    """
    from deploy.simulate.account import Account
    from deploy.simulate.payments import operations
    from deploy.simulate.verify import Comparison, compare, records_in
    from deploy.simulate.writer import Pace, Writer
    from sinks.aerospike.connection import client_for

    address = aerospike or _local_address()
    config = _client_config(address)
    if account is not None and not account.absolute().parent.is_dir():
        raise ConfigError("E145", f"the folder of {account} does not exist")
    kept = Account()
    client = client_for(config)
    was_empty = records_in(client, namespace) == 0
    writer = Writer(client, namespace, kept, workers=workers)
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    began = time.monotonic()
    interrupted = False
    try:
        writer.write_all(takewhile(lambda _: not stopped.is_set(), operations(seed, rate * seconds)), Pace(rate))
    except KeyboardInterrupt:
        interrupted = True
    writer.finish()
    took_s = time.monotonic() - began
    about: dict[str, Any] = {"workload": "payments", "rate": rate, "seconds": seconds, "seed": seed}
    about |= {"aerospike": address, "namespace": namespace, "took_s": round(took_s, 3), "interrupted": interrupted}
    wrong, strangers = compare(client, namespace, kept) if verify and not interrupted else Comparison([], 0)
    if was_empty and strangers:
        wrong.append(f"{strangers:,} records are there that this workload did not write")
    about |= {"differences": wrong[:SHOWN], "records_of_others": strangers}
    now_s = time.time()
    if account is not None:
        kept.save(account, now_s, **about)
    _print(kept, now_s, about, output)
    if interrupted:
        raise typer.Exit(INTERRUPTED)
    if wrong:
        more = f"; the first {SHOWN} are shown" if len(wrong) > SHOWN else ""
        typer.echo(f"the namespace is not as the account says: {len(wrong):,} differences{more}", err=True)
    if wrong or not kept.clean:
        raise typer.Exit(UNSETTLED)


def _client_config(address: str) -> "ClientConfig":
    from sinks.aerospike.config import ClientConfig

    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise ConfigError("E145", f"{address!r} is not host:port")
    return ClientConfig(hosts=((host, int(port), None),))


def _local_address() -> str:
    from deploy.local.stack import Stack

    address = Stack().status().aerospike.address
    if not address:
        raise ConfigError("E142", "no Aerospike was named and the local stack has none running")
    return address


def _print(account: "Account", now_s: float, about: dict[str, Any], output: Output) -> None:
    totals = account.totals(now_s)
    if output is Output.JSON:
        typer.echo(json.dumps({**about, "totals": totals, "contradictions": account.contradictions}, ensure_ascii=False))
        return
    done, took_s = totals["operations"], about["took_s"]
    typer.echo(
        f"payments, seed {about['seed']}: {done:,} operations in {took_s:.1f} s ({done / max(took_s, 0.001):,.0f} a second)"
    )
    parts = [f"{totals[name]:,} {name}" for name in ("writes", "updates", "deletes", "touches")]
    typer.echo(f"  {', '.join(parts)}; {totals['found_nothing']:,} found their record gone")
    typer.echo(f"  {totals['expiring']:,} set an expiry, {totals['created_again']:,} wrote a deleted record again")
    records = totals["records"]
    now = ", ".join(f"{number:,} {state}" for state, number in records.items() if state != "ever")
    typer.echo(f"  {records['ever']:,} records: {now}")
    typer.echo(f"  {totals['in_doubt']:,} answers in doubt, {totals['unresolved']:,} never resolved")
    if about["records_of_others"]:
        typer.echo(f"  {about['records_of_others']:,} records of others are in the namespace, too")
    for line in about["differences"]:
        typer.echo(f"  {line}", err=True)
    for line in account.contradictions[:10]:
        typer.echo(f"  contradiction: {line}", err=True)


__all__ = ["app", "payments"]
