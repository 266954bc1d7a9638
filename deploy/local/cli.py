"""`millrace local`: the local stack on the command line."""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from deploy.local import faults_cli
from pipelines.cli.validate import AsJson, Output

if TYPE_CHECKING:
    from deploy.local.stack import StackConfig, StackStatus

app = typer.Typer(
    name="local",
    help="A real Kafka broker, an embedded Aerospike node and, when asked for, a schema registry on this machine, for trying out "
    "and for tests.",
    no_args_is_help=True,
)


class Part(StrEnum):
    """A part of the stack."""

    KAFKA = "kafka"
    REGISTRY = "registry"
    AEROSPIKE = "aerospike"


Folder = Annotated[
    Path | None,
    typer.Option("--folder", help="Folder of the stack: state, data, logs. Default: .millrace/local.", show_default=False),
]


@app.command()
def up(
    kafka: Annotated[
        str | None, typer.Option(envvar="MILLRACE_KAFKA", metavar="HOST:PORT", help="Use this Kafka instead of starting one.")
    ] = None,
    aerospike: Annotated[
        str | None,
        typer.Option(envvar="MILLRACE_AEROSPIKE", metavar="HOST:PORT", help="Use this Aerospike instead of starting one."),
    ] = None,
    kafka_port: Annotated[int | None, typer.Option(help="Port for Kafka; chosen once and kept when not given.")] = None,
    aerospike_port: Annotated[int | None, typer.Option(help="Port for Aerospike; chosen once and kept when not given.")] = None,
    registry: Annotated[
        bool | None,
        typer.Option(
            "--registry/--no-registry",
            help="Also start a schema registry (Confluent's API), or leave it out again. Maven fetches it the first time.",
            show_default=False,
        ),
    ] = None,
    registry_url: Annotated[
        str | None,
        typer.Option(
            envvar="MILLRACE_REGISTRY", metavar="URL", help="Use the schema registry whose Confluent API is at URL; start none."
        ),
    ] = None,
    registry_port: Annotated[
        int | None, typer.Option(help="Port for the schema registry; chosen once and kept when not given.")
    ] = None,
    namespace: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[,OPTION=VALUE...]", help="Namespace of the node; repeat for more. Default: payments, mirror, test."
        ),
    ] = None,
    xdr: Annotated[
        list[str] | None,
        typer.Option(
            metavar="namespace=NS,topic=T[,OPTION=VALUE...]",
            help="Ship a namespace's changes to a topic; repeat for more. Default: payments to xdr.payments.",
        ),
    ] = None,
    xdr_format: Annotated[
        str | None, typer.Option(help="Message format of every shipped namespace: json, flat-json, message-pack.")
    ] = None,
    duplicates: Annotated[float | None, typer.Option(min=0, max=1, help="Share of messages sent twice.")] = None,
    reorder: Annotated[float | None, typer.Option(min=0, max=1, help="Share of messages that later ones overtake.")] = None,
    seed: Annotated[int | None, typer.Option(help="Decides which messages are sent twice or overtaken.")] = None,
    ship_nsup_deletes: Annotated[
        bool | None, typer.Option("--ship-nsup-deletes/--no-ship-nsup-deletes", help="Ship expired records as deletes.")
    ] = None,
    partitions: Annotated[int | None, typer.Option(min=1, help="Partitions of the topics that are created.")] = None,
    retention_hours: Annotated[
        float | None, typer.Option(min=0.001, help="How long Kafka keeps messages; 168 when not given.")
    ] = None,
    reset: Annotated[bool, typer.Option("--reset", help="Forget the remembered options; ports and data stay.")] = False,
    folder: Folder = None,
    output: AsJson = Output.TEXT,
) -> None:
    """Start what does not run yet and wait until everything answers. Safe to repeat.

    Ports and options are remembered: without options, the stack comes up as it was. A part whose options changed starts again.
    """
    from deploy.local.stack import Stack, StackConfig

    stack = Stack(folder)
    before = stack.config()
    if reset:
        before = StackConfig.from_environment().with_ports_of(before)
    wanted = before.with_options(
        kafka=kafka,
        aerospike=aerospike,
        kafka_port=kafka_port,
        aerospike_port=aerospike_port,
        registry=registry_url,
        with_registry=registry,
        registry_port=registry_port,
        namespaces=tuple(namespace) if namespace else None,
        xdr=tuple(xdr) if xdr else None,
        kafka_settings=None if retention_hours is None else {"log.retention.ms": str(round(retention_hours * 3_600_000))},
    )
    if registry is False or (registry and registry_url is None):
        wanted = replace(wanted, registry=None)  # its own again, or none, where one was given before
    wanted = wanted.with_xdr_options(
        format=xdr_format,
        duplicates=duplicates,
        reorder=reorder,
        seed=seed,
        ship_nsup_deletes=ship_nsup_deletes,
        partitions=partitions,
    )
    status = _up_with_progress(wanted, stack.up)
    _print_status(status, output)
    if not status.healthy:
        raise typer.Exit(1)


@app.command()
def status(folder: Folder = None, output: AsJson = Output.TEXT) -> None:
    """Show addresses, processes and health, found out by a real request to each part. Exit status 1 unless all answer."""
    from deploy.local.stack import Stack

    found = Stack(folder).status()
    _print_status(found, output)
    if not found.healthy:
        raise typer.Exit(1)


@app.command()
def down(
    purge: Annotated[bool, typer.Option("--purge", help="Also delete data, logs, remembered ports and options.")] = False,
    folder: Folder = None,
) -> None:
    """Stop the stack, whoever started it, also after a crash of the starter. Data stays unless --purge is given."""
    from deploy.local.stack import Stack

    if not Stack(folder).down(purge=purge, report=print):
        print("nothing was running")


@app.command()
def env(folder: Folder = None) -> None:
    """Print the stack's addresses as shell commands: eval "$(millrace local env)" makes flows and tests use them."""
    from deploy.local.stack import Stack

    status = Stack(folder).status()
    for name, part in (
        ("MILLRACE_KAFKA", status.kafka),
        ("MILLRACE_AEROSPIKE", status.aerospike),
        ("MILLRACE_MIRROR", status.aerospike),
        ("MILLRACE_REGISTRY", status.registry),
    ):
        if part is not None:
            print(f"export {name}={part.address}" if part.healthy else f"unset {name}")
    if not status.healthy:
        raise typer.Exit(1)


@app.command()
def logs(
    part: Annotated[Part | None, typer.Argument(help="Only this part's log.", show_default=False)] = None,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="How many of the last lines.")] = 50,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on printing new lines until interrupted.")] = False,
    folder: Folder = None,
) -> None:
    """Print the logs of the local servers."""
    from deploy.local.stack import PARTS, Stack

    stack = Stack(folder)
    chosen = [part.value] if part else list(PARTS)
    offsets = {}
    for name in chosen:
        log = stack.process(name).log_file
        offsets[name] = log.stat().st_size if log.exists() else 0
        for line in stack.process(name).log_tail(lines).splitlines():
            print(f"{name} | {line}")
    while follow:
        for name in chosen:
            offsets[name] = _print_new(name, stack.process(name).log_file, offsets[name])
        time.sleep(0.2)


def _print_new(name: str, log: Path, offset: int) -> int:
    """Print whole lines that came after `offset`; returns where to go on. A log that was set aside is read from its start."""
    if not log.exists():
        return 0
    with log.open("rb") as handle:
        size = handle.seek(0, 2)
        handle.seek(offset if offset <= size else 0)
        start = handle.tell()
        whole, newline, _ = handle.read().rpartition(b"\n")
    for line in whole.decode(errors="replace").splitlines():
        print(f"{name} | {line}", flush=True)
    return start + len(whole) + len(newline)


def _up_with_progress(config: "StackConfig", bring_up: Callable[..., "StackStatus"]) -> "StackStatus":
    """Steps as lines on stderr, and on a terminal a spinner with the seconds waited."""
    console = Console(stderr=True, highlight=False)
    began = time.monotonic()
    with console.status("starting", spinner="dots") as spinner:
        return bring_up(
            config,
            report=lambda line: console.print(line, soft_wrap=True, markup=False),
            tick=lambda part: spinner.update(f"waiting for {part}, {time.monotonic() - began:.0f} s"),
        )


def _print_status(status: "StackStatus", output: Output) -> None:
    if output is Output.JSON:
        print(json.dumps(status.as_dict(), indent=2))
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("part", "state", "address", "pid", "data"):
        table.add_column(heading, overflow="fold")
    for part in status.parts:
        table.add_row(part.name, part.state, part.address or "-", str(part.pid or "-"), part.data or "-")
    console = Console(highlight=False)
    console.print(table)
    for part in status.parts:
        if part.problem and part.state != "stopped":
            console.print(f"{part.name}: {part.problem}", markup=False)
    if status.namespaces:
        console.print(
            f"namespaces: {', '.join(status.namespaces)}; change events to: {', '.join(status.topics) or 'nowhere'}", markup=False
        )


faults_cli.register(app)

__all__ = ["app"]
