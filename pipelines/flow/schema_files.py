"""Schema files: one record type each, read by itself or in the place where a flow names it."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines.flow.document import Document, document_at, read_document
from pipelines.flow.interpolate import Interpolated
from pipelines.flow.mending import validated
from pipelines.flow.places import Loc, dotted
from pipelines.flow.problems import FlowInvalid, Problem, placed
from pipelines.flow.records import RecordSchema

OPTION = "schema"
"""The option of an entry of `records` that names its schema file."""


def load_schema(path: str | Path, environment: Mapping[str, str] | None = None) -> RecordSchema:
    """The record type that the file at `path` describes.

    Raises ConfigError E100 when the file cannot be read or is no YAML, E101 with every problem and its line otherwise.
    """
    return _schema_of(document_at(path, os.environ if environment is None else environment))


def parse_schema(text: str, path: str, environment: Mapping[str, str]) -> RecordSchema:
    """As `load_schema`, from the text of a schema file; `path` is for messages."""
    return _schema_of(read_document(text, path, environment))


def fill_in_schemas(document: Document, environment: Mapping[str, str]) -> set[Loc]:
    """Put into a flow's document the record types of the schema files it names; answers where one could not be had.

    Paths are relative to the flow's folder. What is wrong with a file joins the document's problems, with the file's own lines.
    """
    entries = document.data.get("records")
    if not isinstance(entries, tuple):
        return set()
    filled: list[Any] = []
    missing: set[Loc] = set()
    for index, entry in enumerate(entries):
        if not isinstance(entry, dict) or OPTION not in entry:
            filled.append(entry)
            continue
        loc: Loc = ("records", index)
        schema = _named_schema(document, loc, entry, environment)
        if schema is None:
            missing.add(loc)
            schema = RecordSchema(namespace="unknown", bins={})
        filled.append(schema)
    document.data = {**document.data, "records": tuple(filled)}
    return missing


def _named_schema(document: Document, loc: Loc, entry: dict[str, Any], environment: Mapping[str, str]) -> RecordSchema | None:
    here = (*loc, OPTION)
    name = entry[OPTION]
    if not isinstance(name, str) or not name:
        if here not in {problem.loc for problem in document.problems}:
            _add(document, here, f"{dotted(here)!r} is not the path of a schema file", "Write the path of a YAML file.")
        return None
    shown = name.written if isinstance(name, Interpolated) else str(name)
    path = Path(document.path).parent / str(name)
    try:
        inner = document_at(path, environment)
        schema = _schema_of(inner)
    except FlowInvalid as invalid:
        for problem in invalid.problems:
            if problem.line:
                document.problems.append(placed(problem, problem.line, problem.column, str(path)))
            else:
                _add(document, here, f"schema file {shown} {problem.message}", "Paths are relative to the flow's folder.")
        return None
    twice = False
    for option in (option for option in entry if option != OPTION):
        twice = True
        at = (*loc, option)
        if (option,) in inner.marks:
            line, column = inner.mark((option,))
            _add(document, at, f"{dotted(at)!r} is also given in {path}:{line}:{column}", "Keep one of them.")
        else:
            _add(document, at, f"{dotted(at)!r} is given beside a schema file", f"Move it into {path}.")
    if twice:
        return None
    document.parts[loc] = inner
    return schema


def _add(document: Document, loc: Loc, message: str, remedy: str) -> None:
    document.problems.append(placed(Problem(loc, message, remedy), *document.mark(loc)))


def _schema_of(document: Document) -> RecordSchema:
    unreadable = {problem.loc for problem in document.problems}
    schema, found = validated(RecordSchema, document, unreadable)
    problems = document.problems + [placed(problem, *document.mark(problem.loc)) for problem in found]
    if schema is None or problems:
        raise FlowInvalid(sorted(problems, key=lambda one: (one.line, one.column)), document.path, what="schema")
    return schema


__all__ = ["OPTION", "fill_in_schemas", "load_schema", "parse_schema"]
