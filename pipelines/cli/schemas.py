"""`millrace schemas`: schema files made from what is there, compared, checked against tables, and shown."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.cli.infer import infer
from pipelines.cli.tables import show_table
from pipelines.cli.validate import AsJson, Output

if TYPE_CHECKING:
    from pipelines.catalogue.changes import Change
    from pipelines.flow.records import RecordSchema

DIFFERENT = 1
"""Exit status of `diff` when something differs, and of `check` when something would break."""

app = typer.Typer(
    name="schemas", help="Schema files: what the bins of a record type are, and what becomes of others.", no_args_is_help=True
)

SchemaPath = Annotated[Path, typer.Argument(metavar="FILE", help="Schema file, YAML.")]


@app.command("show")
def show(file: SchemaPath, output: AsJson = Output.TEXT) -> None:
    """Show a schema file: every bin with its type and where the history keeps it, and the policies.

    Exit status 2 when the file is not valid.
    """
    from pipelines.flow.schema_files import load_schema

    schema = load_schema(file)
    if output is Output.JSON:
        typer.echo(json.dumps(schema.model_dump(mode="json"), indent=2, ensure_ascii=False))
        return
    places = _columns(schema)
    rows = [
        (name, str(known.type), "yes" if known.nullable else "no", places[name], known.description or "")
        for name, known in schema.bins.items()
    ]
    sets = "all sets" if schema.sets is None else f"sets {', '.join(schema.sets)}"
    alone = " and records without a set" if schema.without_set else ""
    typer.echo(f"{file}: version {schema.version}, namespace {schema.namespace}, {sets}{alone}")
    if schema.description:
        typer.echo(schema.description)
    show_table(("bin", "type", "nullable", "in the history", "meaning"), rows)
    for given, name in schema.rename.items():
        typer.echo(f"messages call bin {name!r} {given!r}")
    for name in type(schema.policies).model_fields:
        typer.echo(f"policy {name}: {getattr(schema.policies, name)}")


@app.command("diff")
def diff(
    before: Annotated[str, typer.Argument(metavar="A|-", help="The older schema file; - for standard input.")],
    after: Annotated[Path, typer.Argument(metavar="B", help="The newer schema file.")],
    output: AsJson = Output.TEXT,
) -> None:
    """Show what differs between two schema files, or two versions of one: `git show HEAD:FILE | millrace schemas diff - FILE`.

    Exit status 0 when nothing differs, 1 when something does, 2 when a file is not valid.
    """
    from pipelines.catalogue.changes import changes
    from pipelines.flow.schema_files import load_schema

    found = changes(_previous(before), load_schema(after))
    if output is Output.JSON:
        typer.echo(json.dumps({"different": bool(found), "changes": _plain(found)}, indent=2, ensure_ascii=False))
    else:
        _show_changes(found)
    if found:
        raise typer.Exit(DIFFERENT)


@app.command("check")
def check(
    file: SchemaPath,
    against: Annotated[
        str | None, typer.Option("--against", metavar="A|-", help="The last version of the schema file; - for standard input.")
    ] = None,
    flow: Annotated[Path | None, typer.Option("--flow", help="The flow whose history tables it must fit.")] = None,
    output: AsJson = Output.TEXT,
) -> None:
    """Say whether a schema file may replace its last version, and whether it fits the history tables of a flow. Changes nothing.

    Exit status 0 when nothing breaks, 1 when something does, 2 when a file is not valid.
    """
    from pipelines.catalogue.changes import changes
    from pipelines.catalogue.fit import misfits
    from pipelines.flow import load_flow
    from pipelines.flow.schema_files import load_schema
    from schemas.errors import ConfigError

    if against is None and flow is None:
        raise ConfigError("E101", "there is nothing to check against", remedy="Give --against, --flow, or both.")
    schema = load_schema(file)
    found = [] if against is None else changes(_previous(against), schema)
    problems = [] if flow is None else misfits(load_flow(flow), schema)
    good = not problems and not any(change.breaks for change in found)
    if output is Output.JSON:
        answer = {"good": good, "changes": _plain(found), "tables": [problem._asdict() for problem in problems]}
        typer.echo(json.dumps(answer, indent=2, ensure_ascii=False))
    else:
        if against is not None:
            _show_changes(found)
        for problem in problems:
            typer.echo(f"history {problem.output!r}: {problem.message}")
        typer.echo("nothing breaks" if good else "SOMETHING WOULD BREAK")
    if not good:
        raise typer.Exit(DIFFERENT)


app.command("infer")(infer)


def _previous(path: str) -> "RecordSchema":
    import os
    import sys

    from pipelines.flow.schema_files import load_schema, parse_schema

    if path == "-":
        return parse_schema(sys.stdin.read(), "<standard input>", os.environ)
    return load_schema(path)


def _columns(schema: "RecordSchema") -> dict[str, str]:
    from schemas.tables import TYPED_COLUMN, bin_columns

    columns = bin_columns(schema.types() or {})
    places = {name: f"bins, {TYPED_COLUMN[kind]}" for name, kind in columns.typed.items()}
    return places | {name: f"_rescued: {why}" for name, why in columns.aside.items()}


def _plain(found: Iterable["Change"]) -> list[dict[str, str]]:
    return [change._asdict() for change in found]


def _show_changes(found: Sequence["Change"]) -> None:
    if not found:
        typer.echo("nothing differs")
        return
    show_table(("what", "before", "after", "breaks"), [tuple(change) for change in found])


__all__ = ["DIFFERENT", "app", "check", "diff", "show"]
