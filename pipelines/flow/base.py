"""What every model of a flow shares: closed, frozen, strictly typed, and all problems in one error."""

from typing import Annotated, Any, ClassVar

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Strict, StringConstraints, ValidationError

from pipelines.flow.interpolate import Interpolated
from pipelines.flow.problems import NAME_PATTERN, FlowInvalid, problems_from


class StrictModel(BaseModel):
    """Closed (an unknown option is an error) and frozen. Built in Python it raises ConfigError E101 with all problems."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)
    summary: ClassVar[str] = ""
    """One sentence over the model's table in docs/configuration.md."""

    def __init__(self, /, **data: Any) -> None:
        try:
            super().__init__(**data)
        except ValidationError as error:
            raise FlowInvalid(problems_from(error, type(self))) from None

    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]  # nested models: errors keep their place in the whole flow


def _typed(value: Any) -> Any:
    """An environment's text as the value YAML would have read; anything else unchanged."""
    if not isinstance(value, Interpolated):
        return value
    try:
        read = yaml.safe_load(value)
    except yaml.YAMLError:
        return value
    return read if isinstance(read, (bool, int, float)) else value


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Interpolated) else value


def split_commas(value: Any) -> Any:
    """Text with commas as its parts; anything else unchanged. Parts of an environment value still know how it was written."""
    if not isinstance(value, str):
        return value
    parts = tuple(part.strip() for part in value.split(",") if part.strip())
    return tuple(Interpolated(part, value.written) for part in parts) if isinstance(value, Interpolated) else parts


Int = Annotated[int, BeforeValidator(_typed), Strict()]
Float = Annotated[float, BeforeValidator(_typed), Strict()]
Bool = Annotated[bool, BeforeValidator(_typed), Strict()]
Text = Annotated[str, BeforeValidator(_plain), Strict(), StringConstraints(min_length=1)]

Texts = Annotated[tuple[Text, ...], BeforeValidator(split_commas)]
"""A list; text with commas is taken as one too, since an environment variable holds nothing else."""

Name = Annotated[str, BeforeValidator(_plain), Strict(), StringConstraints(pattern=NAME_PATTERN)]
"""Names a folder or a column value: lower-case letters, digits, `_` and `-`, at most 63."""


__all__ = ["Bool", "Float", "Int", "Name", "StrictModel", "Text", "Texts", "split_commas"]
