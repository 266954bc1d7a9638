"""From where pydantic says an error is to where it is in the flow: without union tags, and with the model expected there."""

from types import NoneType, UnionType
from typing import Annotated, Any, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel

Loc = tuple[str | int, ...]


class Place(NamedTuple):
    """`loc` holds option names and list positions only. `model` is the model at its end, if there is one."""

    loc: Loc
    model: type[BaseModel] | None


def bare(annotation: Any) -> Any:
    """An annotation without Annotated and without None."""
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) in (Union, UnionType):
        members = [member for member in get_args(annotation) if member is not NoneType]
        if len(members) == 1:
            return bare(members[0])
    return annotation


def union_models(annotation: Any) -> dict[str, type[BaseModel]]:
    """The models of a union told apart by `type`, by their tag; empty for anything else."""
    annotation = bare(annotation)
    if get_origin(annotation) not in (Union, UnionType):
        return {}
    members = [bare(member) for member in get_args(annotation)]
    return {m.model_fields["type"].default: m for m in members if isinstance(m, type) and issubclass(m, BaseModel)}


def place_of(model: type[BaseModel], loc: Loc) -> Place:
    """Where `loc`, as pydantic reports it for `model`, stands in the flow."""
    here: Any = model
    path: list[str | int] = []
    for part in loc:
        tags = union_models(here)
        if part in tags:
            here = tags[str(part)]
            continue
        if part == "[key]":
            continue
        path.append(part)
        here = bare(here)
        origin = get_origin(here)
        if isinstance(here, type) and issubclass(here, BaseModel):
            field = here.model_fields.get(str(part))
            here = bare(field.annotation) if field else None
        elif origin is dict:
            here = get_args(here)[1]
        elif origin is tuple:
            here = get_args(here)[0]
        else:
            here = None
    here = bare(here)
    return Place(tuple(path), here if isinstance(here, type) and issubclass(here, BaseModel) else None)


def dotted(loc: Loc) -> str:
    """`lanes.fast.outputs.mirror.hosts[0]`."""
    text = ""
    for part in loc:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


__all__ = ["Loc", "Place", "bare", "dotted", "place_of", "union_models"]
