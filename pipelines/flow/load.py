"""Read a flow file: every problem at once, each with its line, or the Flow."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pipelines.flow.document import Document, read_document
from pipelines.flow.model import Flow
from pipelines.flow.places import Loc, place_of
from pipelines.flow.problems import RULE, FlowInvalid, Problem, placed, problems_from, root_errors
from pipelines.flow.warnings import warnings_about

_MAX_REPAIRS = 20


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
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise FlowInvalid([Problem((), f"cannot be read: {error.strerror}")], str(path), code="E100") from None
    except UnicodeDecodeError as error:
        raise FlowInvalid([Problem((), f"is not UTF-8 text: byte {error.start}")], str(path), code="E100") from None
    return parse_flow(text, str(path), environment)


def parse_flow(text: str, path: str = "<text>", environment: Mapping[str, str] | None = None) -> LoadedFlow:
    """As `read_flow`, from the text of a flow file; `path` is for messages."""
    document = read_document(text, path, os.environ if environment is None else environment)
    unreadable = {problem.loc for problem in document.problems}
    flow, found = _validate(document, unreadable)
    problems = document.problems + [_marked(document, problem) for problem in found]
    if flow is None or problems:
        raise FlowInvalid(sorted(problems, key=lambda problem: (problem.line, problem.column)), path)
    return LoadedFlow(flow, path, tuple(_marked(document, warning) for warning in warnings_about(flow)))


def _marked(document: Document, problem: Problem) -> Problem:
    """The problem with its place. What was derived has the place of what it was derived from."""
    loc = problem.loc
    if loc[:1] == ("ledger",) and ("ledger",) not in document.marks:
        loc = ("dead_letters",)
    if loc[:1] == ("lanes",) and ("lanes",) not in document.marks:
        loc = loc[2:]
    return placed(problem, *document.mark(loc))


def _validate(document: Document, unreadable: set[Loc]) -> tuple[Flow | None, list[Problem]]:
    """Validate; when single options are wrong, mend a copy so that rules over several options are still checked.

    A rule is reported only when none of the options it looked at was mended.
    """
    data: dict[str, Any] = document.data
    mended = set(unreadable)
    found: list[Problem] = []
    for attempt in range(_MAX_REPAIRS):
        try:
            return Flow.model_validate(data), found
        except ValidationError as error:
            problems = problems_from(error, Flow)
            errors = root_errors(error)
            rules = [details["type"] == RULE for details in errors]
            if all(rules):
                return None, found + [p for p in problems if not _touches(mended, (p.loc, *p.also))]
            if not attempt:
                found = [p for p in problems if not _touches(unreadable, (p.loc,))]
            for details in errors:
                data, loc = _mend(data, details["type"], details["loc"])
                mended.add(loc)
    return None, found


def _touches(mended: set[Loc], looked_at: tuple[Loc, ...]) -> bool:
    return any(loc[: len(bad)] == bad or bad[: len(loc)] == loc for loc in looked_at for bad in mended)


def _mend(data: dict[str, Any], kind: str, reported: Loc) -> tuple[dict[str, Any], Loc]:
    """A copy of `data` without the wrong option, or with an example of the required one; and its location."""
    loc = place_of(Flow, reported).loc
    owner = place_of(Flow, reported[:-1]).model
    field = owner.model_fields.get(str(loc[-1])) if owner and loc else None
    if field is not None and field.is_required():
        return _replaced(data, loc, field.examples[0] if field.examples else None), loc
    return _replaced(data, loc, None), loc


def _replaced(node: Any, loc: Loc, value: Any) -> Any:
    """`node` with the value at `loc` replaced, or removed when it is None."""
    if not loc:
        return node
    head, rest = loc[0], loc[1:]
    if isinstance(node, dict):
        if rest and head in node:
            return {**node, head: _replaced(node[head], rest, value)}
        return {k: v for k, v in node.items() if k != head} | ({head: value} if value is not None and not rest else {})
    if isinstance(node, (tuple, list)) and isinstance(head, int) and head < len(node):
        node = tuple(node)
        item = (_replaced(node[head], rest, value),) if rest else () if value is None else (value,)
        return node[:head] + item + node[head + 1 :]
    return node


__all__ = ["LoadedFlow", "load_flow", "parse_flow", "read_flow"]
