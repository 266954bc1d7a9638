"""Validate a document against its model so that one wrong option does not hide the others."""

from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from pipelines.flow.document import Document
from pipelines.flow.places import Loc, place_of
from pipelines.flow.problems import RULE, Problem, problems_from, root_errors

_MAX_REPAIRS = 20
M = TypeVar("M", bound=BaseModel)


def validated(model: type[M], document: Document, unreadable: set[Loc]) -> tuple[M | None, list[Problem]]:
    """The document as `model`, or its problems, without their places.

    When single options are wrong, a copy is mended so that rules over several options are still checked: a rule is reported only
    when none of the options it looked at was mended. unreadable: options whose problem is known already.
    """
    data: dict[str, Any] = document.data
    mended = set(unreadable)
    found: list[Problem] = []
    for attempt in range(_MAX_REPAIRS):
        try:
            return model.model_validate(data), found
        except ValidationError as error:
            problems = problems_from(error, model)
            errors = root_errors(error)
            rules = [details["type"] == RULE for details in errors]
            if all(rules):
                return None, found + [p for p in problems if not _touches(mended, (p.loc, *p.also))]
            if not attempt:
                found = [p for p in problems if not _touches(unreadable, (p.loc,))]
            for details in errors:
                data, loc = _mend(model, data, details["loc"])
                mended.add(loc)
    return None, found


def _touches(mended: set[Loc], looked_at: tuple[Loc, ...]) -> bool:
    return any(loc[: len(bad)] == bad or bad[: len(loc)] == loc for loc in looked_at for bad in mended)


def _mend(model: type[BaseModel], data: dict[str, Any], reported: Loc) -> tuple[dict[str, Any], Loc]:
    """A copy of `data` without the wrong option, or with an example of the required one; and its location."""
    loc = place_of(model, reported).loc
    owner = place_of(model, reported[:-1]).model
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


__all__ = ["validated"]
