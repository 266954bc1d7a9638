"""`millrace doctor`: is everything there, in the right version, and does every address answer a real request?"""

import json
import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

import typer

from pipelines.cli.validate import AsJson, Output

if TYPE_CHECKING:
    from pipelines.flow import Flow
    from pipelines.flow.registry import Registry

State = Literal["ok", "warn", "fail"]
TOLD_PACKAGES = ("pyspark", "delta-spark", "aerospike", "confluent-kafka", "pyarrow", "pandas", "deltalake", "pydantic")
DISK_FAIL_BYTES = 1 << 30
DISK_WARN_BYTES = 5 << 30
KAFKA_TIMEOUT_S = 5.0


class Check(NamedTuple):
    """One row: what was looked at, how it is, what was found, and what to do unless it is ok."""

    name: str
    state: State
    found: str
    remedy: str = ""


def doctor(
    flow: Annotated[
        Path | None, typer.Argument(metavar="[FLOW]", help="Flow file: its addresses are asked, else those of the local stack.")
    ] = None,
    output: AsJson = Output.TEXT,
) -> None:
    """Check versions, jars, disk space and, with a real request each, every address. Exit status 1 when something fails."""
    checks = [*machine_checks(), *(flow_checks(flow) if flow else local_checks())]
    if output is Output.JSON:
        print(json.dumps({"healthy": healthy(checks), "checks": [check._asdict() for check in checks]}, indent=2))
    else:
        _print(checks)
    if not healthy(checks):
        raise typer.Exit(1)


def healthy(checks: Iterable[Check]) -> bool:
    """Whether nothing failed; warnings are allowed."""
    return all(check.state != "fail" for check in checks)


def machine_checks() -> Iterator[Check]:
    """Versions, jars, the workers' Python, disk space."""
    from deploy.setup.prerequisites import PYTHON_LOWEST, PYTHON_TRIED

    version = sys.version_info[:2]
    state: State = "fail" if version < PYTHON_LOWEST else "warn" if version > PYTHON_TRIED else "ok"
    yield Check("Python", state, f"{platform.python_version()} ({sys.executable})", "Use Python 3.11 to 3.13; see `make setup`.")
    yield _java()
    yield _maven()
    yield from _packages()
    yield jars_check("spark")
    yield jars_check("kafka")
    yield registry_check()
    yield _workers_python()
    yield from _disk()


def jars_check(kind: Literal["spark", "kafka"]) -> Check:
    """Whether the jars folder holds exactly the jars that were tried together.

    A second version of a jar on Spark's class path fails far away from its cause, so a jar too many fails like a missing one.
    For Kafka, which runs apart, it only warns.
    """
    from deploy.paths import PROJECT, jars_folder

    folder = jars_folder(kind)
    expected = set((PROJECT / "deploy" / "jars" / kind / "expected.txt").read_text().split())
    present = {path.name for path in folder.glob("*.jar")}
    missing, extra = sorted(expected - present), sorted(present - expected)
    name = f"jars for {kind.capitalize()}"
    remedy = f"Delete {folder} and run `make setup`."
    if not present:
        return Check(name, "fail", f"none in {folder}", "Run `make setup`.")
    if missing:
        return Check(name, "fail", f"missing in {folder}: {_some(missing)}", remedy)
    if extra:
        return Check(name, "fail" if kind == "spark" else "warn", f"not expected in {folder}: {_some(extra)}", remedy)
    return Check(name, "ok", f"{len(present)} in {folder}")


def registry_check() -> Check:
    """Whether the local registry's files are as tried. None at all is well: they are fetched by those who need them."""
    from deploy.paths import jars_folder
    from deploy.setup.registry_files import is_complete, jars_in

    folder = jars_folder("registry")
    present = jars_in(folder)
    name = "jars for Registry"
    if not present:
        return Check(name, "ok", "none; `millrace local up --registry` fetches them")
    if not is_complete(folder):
        return Check(name, "warn", f"not as expected in {folder}", "The next `millrace local up --registry` fetches them anew.")
    return Check(name, "ok", f"{len(present)} in {folder}")


def local_checks() -> Iterator[Check]:
    """The local stack's addresses, or those in MILLRACE_KAFKA, MILLRACE_AEROSPIKE and MILLRACE_REGISTRY."""
    from deploy.local.stack import Stack

    status = Stack().status()
    for part in status.parts:
        name = f"local {part.name}"
        if part.healthy:
            yield Check(name, "ok", f"{part.address} answers ({part.state})")
        elif part.state == "stopped":
            yield Check(name, "warn", "not running", "Start it with `millrace local up`, or name a flow to check its addresses.")
        else:
            yield Check(name, "fail", f"{part.address}: {part.problem}", f"See `millrace local logs {part.name}`.")


def flow_checks(path: Path) -> Iterator[Check]:
    """Every address of a flow: topics by a metadata request, clusters by connecting; and what a start would find there.

    Raises ConfigError for an invalid flow.
    """
    from deploy.findings import kafka_findings, mirror_findings
    from pipelines.flow import load_flow

    flow = load_flow(path)
    yield Check("flow", "ok", f"{flow.name}: {path}")
    source = _kafka(flow)
    yield source
    if source.state == "ok":
        yield from kafka_findings(flow, KAFKA_TIMEOUT_S)
    if flow.source.registry is not None:
        yield _registry(flow.source.registry)
    clusters = list(_clusters(flow))
    yield from clusters
    if all(check.state == "ok" for check in clusters):
        yield from mirror_findings(flow)
    yield from _folders(flow)


def _kafka(flow: "Flow") -> Check:
    from pipelines.flow.source import revealed
    from pipelines.kafka_offsets import Broker, client_settings
    from schemas.errors import ConfigError, Retryable

    try:
        settings = client_settings(flow.source.servers, revealed(flow.source.options))
        known = Broker(settings, KAFKA_TIMEOUT_S).partitions(flow.source.topics)
    except (ConfigError, Retryable) as problem:
        return Check("source", "fail", problem.message, problem.remedy)
    missing = [topic for topic in flow.source.topics if topic not in known]
    if missing:
        return Check(
            "source", "fail", f"{flow.source.servers} has no topic {_some(missing)}", "Create it, or correct source.topics."
        )
    told = ", ".join(f"{topic} ({len(numbers)} partitions)" for topic, numbers in known.items())
    return Check("source", "ok", f"{flow.source.servers} answers: {told}")


def _registry(registry: "Registry") -> Check:
    from pipelines.schema_registry import registry_problem

    where = ", ".join(registry.urls)
    problem = registry_problem(registry.client_options())
    if problem:
        remedy = "Check source.registry: addresses with the API's path, login, certificates; and that the registry is up."
        return Check("schema registry", "fail", problem, remedy)
    return Check("schema registry", "ok", f"{where} answers")


def _clusters(flow: "Flow") -> Iterator[Check]:
    from deploy.local.aerospike import client_problem
    from pipelines.flow import AerospikeCluster

    clusters: list[tuple[str, AerospikeCluster]] = [
        (f"output {name}", output) for name, output in flow.all_outputs().items() if isinstance(output, AerospikeCluster)
    ]
    if flow.reconcile:
        clusters.append(("reconcile source", flow.reconcile.source))
    for name, cluster in clusters:
        where = ", ".join(cluster.hosts)
        problem = client_problem(cluster.client(), [cluster.namespace])
        if problem:
            yield Check(name, "fail", f"{where}: {problem}", "Check hosts, namespace, credentials and that the cluster is up.")
        else:
            yield Check(name, "ok", f"{where} answers, has namespace {cluster.namespace}")


def _folders(flow: "Flow") -> Iterator[Check]:
    """Folders on this machine that a run will write to: whether they, or the nearest folder that exists, can be written."""
    places = {"checkpoint": flow.checkpoint, "dead letters": flow.dead_letters.path, "ledger": flow.ledger.path}
    places |= {f"output {name}": output.path for name, output in flow.all_outputs().items() if output.type == "delta_history"}
    for name, place in places.items():
        if "://" in place and not place.startswith("file://"):
            continue
        folder = Path(place.removeprefix("file://")).absolute()
        existing = next(each for each in (folder, *folder.parents) if each.exists())
        if existing.is_dir() and os.access(existing, os.W_OK | os.X_OK):
            yield Check(name, "ok", f"{folder} can be written")
        else:
            yield Check(name, "fail", f"{existing} cannot be written", f"Give this user the right to write {folder}.")


def _java() -> Check:
    from deploy.setup.prerequisites import HOW_TO, JAVA_SUPPORTED, java_command, java_version

    command = java_command()
    version = java_version(command) if command else None
    if not version:
        home = os.environ.get("JAVA_HOME")
        return Check("Java", "fail", f"none in JAVA_HOME={home}" if home else "none on PATH", HOW_TO["Java"])
    state: State = "ok" if version[0] == JAVA_SUPPORTED else "warn" if version[0] > JAVA_SUPPORTED else "fail"
    return Check("Java", state, f"{version[1]} ({command})", "Spark 4.2 is built for Java 17; use that, through JAVA_HOME.")


def _maven() -> Check:
    from deploy.setup.prerequisites import HOW_TO, output_of

    command = shutil.which("mvn")
    said = output_of([command, "--batch-mode", "-v"]) if command else None
    if not command or not said:
        return Check("Maven", "warn", "none on PATH", f"Only `make setup` needs it, to fetch jars. {HOW_TO['Maven']}")
    match = re.search(r"Apache Maven [\w.-]+", said)
    return Check("Maven", "ok", match.group() if match else said.strip()[:60])


def _packages() -> Iterator[Check]:
    wanted = dict(requirement.split("==", 1) for requirement in metadata.requires("millrace") or () if "==" in requirement)
    for package in TOLD_PACKAGES:
        try:
            version = metadata.version(package)
        except metadata.PackageNotFoundError:
            yield Check(package, "fail", "not installed", "Run `make setup`.")
            continue
        pinned = wanted.get(package, version)
        yield Check(package, "ok" if version == pinned else "fail", version, f"{pinned} is needed: run `make setup`.")


def _workers_python() -> Check:
    named = os.environ.get("PYSPARK_PYTHON")
    if not named or shutil.which(named) == sys.executable:
        return Check("PYSPARK_PYTHON", "ok", f"workers run {sys.executable}")
    remedy = "Unset it: Millrace runs its workers with its own Python, which has the packages they need."
    return Check("PYSPARK_PYTHON", "warn", f"{named} is ignored; workers run {sys.executable}", remedy)


def _disk() -> Iterator[Check]:
    from deploy.paths import work_folder

    work = next(folder for folder in (work_folder(), *work_folder().parents) if folder.exists())
    for name, folder in (("disk, .millrace", work), ("disk, temporary", Path(tempfile.gettempdir()))):
        free = shutil.disk_usage(folder).free
        state: State = "fail" if free < DISK_FAIL_BYTES else "warn" if free < DISK_WARN_BYTES else "ok"
        yield Check(name, state, f"{free / (1 << 30):.1f} GB free in {folder}", "Make room; Spark and Kafka stop on a full disk.")


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _print(checks: list[Check]) -> None:
    from rich.console import Console
    from rich.table import Table

    colours: dict[State, str] = {"ok": "green", "warn": "yellow", "fail": "red"}
    table = Table(box=None, pad_edge=False, show_header=False)
    for check in checks:
        table.add_row(f"[{colours[check.state]}]{check.state}[/]", check.name, _plain(check.found))
        if check.state != "ok" and check.remedy:
            table.add_row("", "", _plain(check.remedy))
    Console(highlight=False).print(table)


def _plain(text: str) -> str:
    """Text that rich prints as it is."""
    from rich.markup import escape

    return escape(text)


__all__ = ["Check", "doctor", "flow_checks", "healthy", "jars_check", "local_checks", "machine_checks", "registry_check"]
