"""Problems of a flow in plain words: what stands there, what was expected, what to do. Never a secret's value."""

import difflib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from pipelines.flow.interpolate import Interpolated
from pipelines.flow.places import Loc, dotted, place_of
from pipelines.flow.secrets import MASK, Secret, is_sensitive
from schemas.errors import ConfigError

RULE = "flow_rule"
"""Type of the errors that rules over several options raise."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to mend. `line` and `column` count from 1, 0 for a flow built in Python; `file`: when it is not the flow."""

    loc: Loc
    message: str
    remedy: str = ""
    line: int = 0
    column: int = 0
    also: tuple[Loc, ...] = ()
    file: str = ""

    @property
    def option(self) -> str:
        """The option's full name, empty for the flow as a whole."""
        return dotted(self.loc)

    @property
    def sentence(self) -> str:
        """What is wrong and what to do, without the place."""
        return self.message + (f". {self.remedy}" if self.remedy else "")

    def text(self, path: str = "") -> str:
        """`file:line:column: message. What to do`, or without the place for a flow built in Python."""
        path = self.file or path
        where = f"{path or 'line'}:{self.line}:{self.column}: " if self.line else f"{path}: " if path else ""
        return where + self.sentence

    def as_dict(self, path: str = "") -> dict[str, Any]:
        """Plain data for JSON."""
        shown = asdict(self)
        return {"file": self.file or path or None, "line": self.line, "column": self.column, "option": self.option} | {
            key: shown[key] for key in ("message", "remedy")
        }


class FlowInvalid(ConfigError):
    """ConfigError E101 or E100 that carries every problem in `problems`."""

    def __init__(self, problems: Sequence[Problem], path: str = "", code: str = "E101", what: str = "flow") -> None:
        count = len(problems)
        lines = "".join(f"\n  {problem.text(path)}" for problem in problems)
        super().__init__(code, f"{count} problem{'' if count == 1 else 's'} in the {what}:{lines}")
        self.what = what
        self.problems = tuple(problems)
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return FlowInvalid, (self.problems, self.path, self.code, self.what)


def suggestion(name: str, known: Iterable[str]) -> str:
    """`did you mean 'x'?`, or the whole choice when nothing is near."""
    names = list(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(names)}" if names else ""


def shown(value: Any, loc: Loc) -> str:
    """A value as an error may show it: secrets masked, environment values as the file writes them, long ones cut."""
    if isinstance(value, Secret) or any(is_sensitive(part) for part in loc):
        return MASK
    if isinstance(value, Interpolated):
        return f"`{value.written}` (from the environment)"
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "a group of options"
    if isinstance(value, (list, tuple)):
        return "a list"
    if isinstance(value, BaseModel):
        return type(value).__name__
    text = repr(value)
    if is_sensitive(text):
        return MASK
    return text if len(text) <= 80 else f"{text[:77]}..."


_EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "address": "host:port or host:tls_name:port",
    "bool_type": "true or false",
    "string_type": "text",
    "string_sub_type": "text",
    "dict_type": "a group of options",
    "model_type": "a group of options",
    "model_attributes_type": "a group of options",
    "tuple_type": "a list",
}


def amount(number: float) -> str:
    """A limit as text: 3,600 and 0.5, never 3,600.0."""
    return f"{int(number) if number == int(number) else number:,}"


_WORDS: dict[str, Callable[[dict[str, Any]], str]] = {
    "greater_than": lambda c: f"more than {amount(c['gt'])}",
    "greater_than_equal": lambda c: f"at least {amount(c['ge'])}",
    "less_than": lambda c: f"less than {amount(c['lt'])}",
    "less_than_equal": lambda c: f"at most {amount(c['le'])}",
    "too_short": lambda c: f"at least {c['min_length']} of them",
    "string_too_short": lambda c: "text that is not empty",
    "string_too_long": lambda c: f"at most {c['max_length']} characters",
    "string_pattern_mismatch": lambda c: f"text like {c['pattern']}",
    "literal_error": lambda c: f"one of {c['expected']}",
    "enum": lambda c: f"one of {c['expected']}",
}

NAME_PATTERN = r"^[a-z0-9][a-z0-9_-]{0,62}$"


def _expectation(error: ErrorDetails) -> str:
    context = error.get("ctx", {})
    if context.get("pattern") == NAME_PATTERN:
        return "lower-case letters, digits, `_` and `-`, at most 63, beginning with a letter or digit"
    words = _WORDS.get(error["type"])
    return words(context) if words else _EXPECTED.get(error["type"], "")


def _problem(error: ErrorDetails, model: type[BaseModel]) -> Problem:
    kind, context = error["type"], error.get("ctx", {})
    place = place_of(model, error["loc"])
    loc, name = place.loc, dotted(place.loc)
    if kind == RULE:
        return Problem(loc, context["message"], context["remedy"], also=context["also"])
    if kind == "extra_forbidden":
        owner = place_of(model, error["loc"][:-1]).model
        known = list(owner.model_fields) if owner else []
        return Problem(loc, f"unknown option {name!r}", suggestion(str(loc[-1]), known))
    if kind == "missing":
        return Problem(loc, f"required option {name!r} is missing", _meaning(model, error["loc"]))
    if kind == "union_tag_not_found":
        return Problem((*loc, "type"), f"required option '{name}.type' is missing", "It names the kind of output.")
    if kind == "union_tag_invalid":
        kinds = [tag.strip(" '") for tag in str(context["expected_tags"]).split(",")]
        value = error["input"].get("type") if isinstance(error["input"], dict) else None
        return Problem(
            (*loc, "type"), f"'{name}.type' is {shown(value, loc)}, which is not a kind of output", suggestion(str(value), kinds)
        )
    expected = _expectation(error)
    if not expected:
        return Problem(loc, f"{name!r}: {error['msg']}")
    hint = ""
    if kind == "string_type" and isinstance(error["input"], (bool, int, float)):
        hint = "Put quotes around it."
    elif (
        kind.startswith(("int_", "float_", "bool_"))
        and isinstance(error["input"], str)
        and not isinstance(error["input"], Interpolated)
    ):
        hint = "Leave the quotes out." if error["input"].strip().lstrip("+-").replace(".", "", 1).isdigit() else ""
    elif kind in ("literal_error", "enum") and isinstance(error["input"], str) and "'" in expected:
        near = suggestion(error["input"], expected.replace(" or ", ", ").removeprefix("one of ").replace("'", "").split(", "))
        hint = near if near.startswith("Did") else ""
    return Problem(loc, f"{name!r} is {shown(error['input'], loc)}, expected {expected}", hint)


def _meaning(model: type[BaseModel], loc: Loc) -> str:
    owner = place_of(model, loc[:-1]).model
    field = owner.model_fields.get(str(loc[-1])) if owner else None
    return (field.description or "").split(";")[0].rstrip(".") + "." if field else ""


def root_errors(error: ValidationError) -> list[ErrorDetails]:
    """Pydantic's errors without those that only follow from another: defaults not computed, lists short of their wrong items."""
    return [
        one
        for one in error.errors(include_url=False)
        if one["type"] != "default_factory_not_called"
        and not (one["type"] == "too_short" and len(one["input"]) >= one.get("ctx", {})["min_length"])
    ]


def problems_from(error: ValidationError, model: type[BaseModel]) -> list[Problem]:
    """Every error pydantic found, in its order, in plain words."""
    return [_problem(one, model) for one in root_errors(error)]


def placed(problem: Problem, line: int, column: int, file: str = "") -> Problem:
    """The same problem with its place in the file; `file`: when it is another one than the flow."""
    return replace(problem, line=line, column=column, file=file)


__all__ = [
    "FlowInvalid",
    "NAME_PATTERN",
    "Problem",
    "RULE",
    "amount",
    "placed",
    "problems_from",
    "root_errors",
    "shown",
    "suggestion",
]
