"""Every option of a flow with the value it runs with, and whether the flow says so or Millrace does. Secrets as `***`."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from pydantic import BaseModel

from pipelines.flow.model import Flow
from pipelines.flow.places import Loc, dotted
from pipelines.flow.records import SCHEMALESS, Bin
from pipelines.flow.secrets import MASK, Secret, is_sensitive


class ResolvedOption(NamedTuple):
    """One option. `value` is JSON-ready; `default` means that the flow does not name it."""

    option: str
    value: Any
    default: bool


def resolved_options(flow: Flow) -> list[ResolvedOption]:
    """All options in the order of the models."""
    return list(_model(flow, (), given=True))


def _model(model: BaseModel, loc: Loc, given: bool) -> Iterator[ResolvedOption]:
    for name in type(model).model_fields:
        value = getattr(model, name)
        derived = (
            isinstance(model, Flow)
            and name == "lanes"
            and "outputs" in model.model_fields_set
            and "lanes" not in model.model_fields_set
        )
        if isinstance(model, Flow) and name == "outputs":  # they run in lanes and are shown there
            continue
        named = given and (name in model.model_fields_set or derived)
        if derived:
            yield from _derived_lanes(model, loc)
        else:
            yield from _value(value, (*loc, name), named)


def _derived_lanes(flow: BaseModel, loc: Loc) -> Iterator[ResolvedOption]:
    """Lanes Millrace made: what they feed is the flow's, how they run is ours."""
    assert isinstance(flow, Flow)
    for lane_name, lane in flow.lanes.items():
        here = (*loc, "lanes", lane_name)
        for name, output in lane.outputs.items():
            yield from _model(output, (*here, "outputs", name), given=True)
        yield from _value(lane.trigger, (*here, "trigger"), False)
        yield from _value(lane.max_offsets_per_trigger, (*here, "max_offsets_per_trigger"), False)


def _value(value: Any, loc: Loc, given: bool) -> Iterator[ResolvedOption]:
    if isinstance(value, Bin):
        yield ResolvedOption(dotted(loc), f"{value.type}{'' if value.nullable else ', not nullable'}", not given)
    elif isinstance(value, BaseModel):
        yield from _model(value, loc, given)
    elif isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _value(item, (*loc, key), given)
    elif isinstance(value, tuple) and value and isinstance(value[0], BaseModel):
        for index, item in enumerate(value):
            yield from _value(item, (*loc, index), given)
    else:
        yield ResolvedOption(dotted(loc), _shown(value, loc), not given)


def _shown(value: Any, loc: Loc) -> Any:
    if isinstance(value, Secret) or (is_sensitive(loc[-1]) and value is not None):
        return MASK
    if value is None and loc[-1] == "bins":
        return SCHEMALESS
    return list(value) if isinstance(value, tuple) else value


__all__ = ["ResolvedOption", "resolved_options"]
