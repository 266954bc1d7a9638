"""What a rule over several options is, and the walk over outputs that rules share.

A rule is a generator over the built models. Locations begin at the flow; `also` names the other options a rule looked at, so that
a rule is not reported over options that are themselves in error.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from pipelines.flow.outputs import AnyOutput
from pipelines.flow.places import Loc
from pipelines.flow.problems import RULE

if TYPE_CHECKING:
    from pipelines.flow.model import Flow


@dataclass(frozen=True, slots=True)
class Broken:
    """A rule that does not hold."""

    loc: Loc
    message: str
    remedy: str
    also: tuple[Loc, ...] = ()


Rule = Callable[["Flow"], Iterator[Broken]]


def require_whole(title: str, broken: Iterable[Broken]) -> None:
    """Raise pydantic's ValidationError with everything that is broken, for a validator of a whole model."""
    problems = [
        InitErrorDetails(
            type=PydanticCustomError(RULE, "{message}", {"message": one.message, "remedy": one.remedy, "also": one.also}),
            loc=one.loc,
            input=None,
        )
        for one in broken
    ]
    if problems:
        raise ValidationError.from_exception_data(title, problems)


def placed_outputs(flow: "Flow") -> Iterator[tuple[Loc, str, AnyOutput]]:
    """Every output with its location and name, in lanes or not."""
    for lane_name, lane in flow.lanes.items():
        for name, output in lane.outputs.items():
            yield ("lanes", lane_name, "outputs", name), name, output
    for name, output in flow.outputs.items():
        yield ("outputs", name), name, output


__all__ = ["Broken", "Rule", "placed_outputs", "require_whole"]
