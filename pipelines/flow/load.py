"""Read a flow file: every problem at once, each with its line, or the Flow."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipelines.flow.avro import place_avro_files
from pipelines.flow.document import Document, document_at, read_document
from pipelines.flow.mending import validated
from pipelines.flow.model import Flow
from pipelines.flow.problems import FlowInvalid, Problem, placed
from pipelines.flow.schema_files import fill_in_schemas
from pipelines.flow.warnings import warnings_about


@dataclass(frozen=True, slots=True)
class LoadedFlow:
    """A valid flow, where it came from, and what is allowed in it but worth a look."""

    flow: Flow
    path: str
    warnings: tuple[Problem, ...]


def load_flow(path: str | Path, environment: Mapping[str, str] | None = None) -> Flow:
    """The flow in the file at `path`, with the environment (by default this process's) filled in.

    Raises ConfigError E100 when the file cannot be read or is no YAML, E101 with every problem and its line otherwise.
    """
    return read_flow(path, environment).flow


def read_flow(path: str | Path, environment: Mapping[str, str] | None = None) -> LoadedFlow:
    """As `load_flow`, with warnings."""
    environment = os.environ if environment is None else environment
    return _loaded(document_at(path, environment), environment)


def parse_flow(text: str, path: str = "<text>", environment: Mapping[str, str] | None = None) -> LoadedFlow:
    """As `read_flow`, from the text of a flow file; `path` is for messages."""
    environment = os.environ if environment is None else environment
    return _loaded(read_document(text, path, environment), environment)


def _loaded(document: Document, environment: Mapping[str, str]) -> LoadedFlow:
    place_avro_files(document)
    unreadable = fill_in_schemas(document, environment) | {problem.loc for problem in document.problems if not problem.file}
    flow, found = validated(Flow, document, unreadable)
    problems = document.problems + [_marked(document, problem) for problem in found]
    if flow is None or problems:
        raise FlowInvalid(sorted(problems, key=lambda problem: (problem.file, problem.line, problem.column)), document.path)
    return LoadedFlow(flow, document.path, tuple(_marked(document, warning) for warning in warnings_about(flow)))


def _marked(document: Document, problem: Problem) -> Problem:
    """The problem with its place. What was derived has the place of what it was derived from."""
    loc = problem.loc
    if loc[:1] == ("ledger",) and ("ledger",) not in document.marks:
        loc = ("dead_letters",)
    if loc[:1] == ("lanes",) and ("lanes",) not in document.marks:
        loc = loc[2:]
    return placed(problem, *document.place(loc))


__all__ = ["LoadedFlow", "load_flow", "parse_flow", "read_flow"]
