"""`millrace validate FLOW`: every problem of a flow file with its line, starting nothing."""

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pipelines.flow import LoadedFlow
    from pipelines.flow.problems import FlowInvalid

INVALID = 2
"""Exit status of a flow that is not valid, as of every ConfigError."""


class Output(StrEnum):
    """How a command prints its result."""

    TEXT = "text"
    JSON = "json"


FlowPath = Annotated[Path, typer.Argument(metavar="FLOW", help="Flow file, YAML.")]
AsJson = Annotated[Output, typer.Option("--output", help="text for people, json for programs.")]


def validate(flow: FlowPath, output: AsJson = Output.TEXT) -> None:
    """Check a flow file and list all its problems with file, line and column. Starts nothing and asks no server.

    Exit status 0 when the flow can be run, 2 when there is something to mend.
    """
    from pipelines.flow import FlowInvalid, read_flow

    try:
        loaded = read_flow(flow)
    except FlowInvalid as invalid:
        _print_problems(invalid, str(flow), output)
        raise typer.Exit(INVALID) from None
    _print_valid(loaded, output)


def _print_problems(invalid: "FlowInvalid", path: str, output: Output) -> None:
    if output is Output.JSON:
        problems = [problem.as_dict(path) for problem in invalid.problems]
        typer.echo(json.dumps({"valid": False, "code": invalid.code, "problems": problems, "warnings": []}, indent=2))
        return
    for problem in invalid.problems:
        typer.echo(problem.text(path))
    count = len(invalid.problems)
    typer.echo(f"{path}: {count} problem{'' if count == 1 else 's'}", err=True)


def _print_valid(loaded: "LoadedFlow", output: Output) -> None:
    flow = loaded.flow
    if output is Output.JSON:
        warnings = [warning.as_dict(loaded.path) for warning in loaded.warnings]
        lanes = {name: list(lane.outputs) for name, lane in flow.lanes.items()}
        typer.echo(json.dumps({"valid": True, "flow": flow.name, "lanes": lanes, "problems": [], "warnings": warnings}, indent=2))
        return
    for warning in loaded.warnings:
        typer.echo(f"{warning.file or loaded.path}:{warning.line}:{warning.column}: warning: {warning.sentence}")
    lanes_shown = "; ".join(f"{name}: {', '.join(lane.outputs)}" for name, lane in flow.lanes.items())
    typer.echo(f"{loaded.path}: OK. Flow {flow.name} reads {', '.join(flow.source.topics)} and writes {lanes_shown}")


__all__ = ["AsJson", "FlowPath", "INVALID", "Output", "validate"]
