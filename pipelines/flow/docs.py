"""docs/configuration.md, made from the models: `python -m pipelines.flow.docs` writes it, a test compares it."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from pipelines.flow.avro import AvroFile
from pipelines.flow.model import Flow
from pipelines.flow.places import bare, union_models
from pipelines.flow.problems import amount
from pipelines.flow.records import Records, RecordSchema
from pipelines.flow.rules import OWN_SETTINGS
from pipelines.flow.secrets import Secret
from pipelines.flow.source import REFUSED_OPTIONS
from schemas.bins import BinType

PAGE = Path("docs/configuration.md")
_SCHEMA_FILE = "schema file"
_SCHEMA_HEADING = "## Schema files"
_UNITS = {"_ms": "ms", "_s": "s", "_bytes": "bytes"}
_KINDS: dict[Any, str] = {
    int: "whole number",
    float: "number",
    bool: "true or false",
    str: "text",
    Secret: "secret",
    AvroFile: "file",
}

_HEAD = """# Configuration

Made from the models by `make docs`; do not edit.

A flow file is YAML. Every option is checked: an unknown name, a wrong type or two options that contradict each other are refused
before anything starts, all of them at once with line and column (`millrace validate FLOW`). `millrace explain FLOW` shows every
option with the value it runs with. The same model can be built in Python (`pipelines.flow.Flow`), with the same checks.

**Environment.** `${NAME}` in a value is the environment variable NAME, `${NAME:-default}` gives a default for an unset or
empty one, `$${` stands for the characters `${`. The value may be a number, true or false where one is expected. Lists may be
written as one text with commas, which is how a variable holds several addresses.

**Secrets** are `${NAME}`, or `{file: /path}` for a mounted file (read when the flow is loaded, last line end dropped). They never
appear in logs, errors, plans or the output of any command. In `source.options` and `spark.conf` a value is a secret when its name
sounds like one (password, secret, token, jaas, credential, access key) or when it is given as `{file: /path}`.

**Units** are part of an option's name: `_ms`, `_s`, `_bytes`. Relative paths are relative to the folder Millrace is started in.

Duplicate keys and YAML tags are refused; anchors, aliases and `<<` merges work.
"""


def configuration_page() -> str:
    """The whole page."""
    parts = [_HEAD]
    for path, model in _models():
        parts.append("\n".join(_section(path, model)))
    parts.append("\n".join(_refusals()))
    return "\n".join(parts)


def _models() -> Iterator[tuple[str, type[BaseModel]]]:
    """Every model with the path it stands at, in the order a reader meets them, each once."""
    seen: set[type[BaseModel]] = set()

    def walk(path: str, model: type[BaseModel]) -> Iterator[tuple[str, type[BaseModel]]]:
        if model in seen:
            return
        seen.add(model)
        yield path, model
        for name, field in model.model_fields.items():
            for step, child in _children(field.annotation):
                yield from walk(f"{path}.{name}{step}" if path else f"{name}{step}", child)

    # Lanes before bare outputs: the paths in the tables are then those of a flow written out in full.
    fields = Flow.model_fields
    seen.add(Flow)
    yield "", Flow
    for name in sorted(fields, key=lambda name: (name == "outputs", list(fields).index(name))):
        for step, child in _children(fields[name].annotation):
            yield from walk(f"{name}{step}", child)
    yield _SCHEMA_FILE, RecordSchema


def _children(annotation: Any) -> Iterator[tuple[str, type[BaseModel]]]:
    annotation = bare(annotation)
    for model in union_models(annotation).values():
        yield "", model
    origin = get_origin(annotation)
    if origin is dict:
        for step, model in _children(get_args(annotation)[1]):
            yield f".NAME{step}", model
    elif origin is tuple:
        for step, model in _children(get_args(annotation)[0]):
            yield f"[]{step}", model
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield "", annotation


def _section(path: str, model: type[BaseModel]) -> Iterator[str]:
    tag = model.model_fields.get("type")
    kinds = tag is not None and not tag.is_required()
    kind = f" (`type: {tag.default}`)" if tag and kinds else ""
    yield _SCHEMA_HEADING if path == _SCHEMA_FILE else f"## `{path}`{kind}" if path else "## The flow"
    yield ""
    yield str(getattr(model, "summary", ""))
    yield ""
    yield "| option | type | default | unit | meaning |"
    yield "| --- | --- | --- | --- | --- |"
    for name, field in sorted(model.model_fields.items(), key=lambda item: item[0] != "type"):
        default = "**required**" if name == "type" else "`schemaless`" if model is Records and name == "bins" else _default(field)
        cells = (f"`{name}`", _type(field, model, name), default, _unit(name), (field.description or "") + _limits(field))
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
    yield ""


def _type(field: FieldInfo, model: type[BaseModel], name: str) -> str:
    if model is Records and name == "bins":
        return "`schemaless`, or names to types or groups"
    return _type_name(field.annotation)


def _type_name(annotation: Any) -> str:
    tags = union_models(annotation)
    if tags:
        return "output: " + " or ".join(f"`{tag}`" for tag in tags)
    annotation = bare(annotation)
    origin = get_origin(annotation)
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in get_args(annotation))
    if origin is tuple:
        return f"list of {_plural(_type_name(get_args(annotation)[0]))}"
    if origin is dict:
        value = get_args(annotation)[1]
        return f"names to {_plural(_type_name(value))}"
    if origin in (Union, UnionType):
        return " or ".join(_type_name(member) for member in get_args(annotation))
    if origin is Annotated:
        return _type_name(get_args(annotation)[0])
    if annotation is BinType:
        return "bin type"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "group"
    return _KINDS[annotation]


def _plural(name: str) -> str:
    return {"text": "text", "whole number": "whole numbers", "group": "groups", "text or secret": "text or secrets"}.get(
        name, name
    )


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "**required**"
    if field.default_factory is not None:
        return "its defaults" if _is_model(field) else "none" if field.default_factory is dict else "see meaning"
    value = field.default
    if value is None or value == ():
        return "none"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _is_model(field: FieldInfo) -> bool:
    return isinstance(field.default_factory, type) and issubclass(field.default_factory, BaseModel)


def _unit(name: str) -> str:
    return next((unit for suffix, unit in _UNITS.items() if name.endswith(suffix)), "")


def _limits(field: FieldInfo) -> str:
    bounds = {}
    for item in field.metadata:
        for attribute in ("ge", "le", "gt", "lt"):
            value = getattr(item, attribute, None)
            if value is not None:
                bounds[attribute] = amount(value)
    low = f"from {bounds['ge']}" if "ge" in bounds else f"more than {bounds['gt']}" if "gt" in bounds else ""
    high = f"to {bounds['le']}" if "le" in bounds else f"less than {bounds['lt']}" if "lt" in bounds else ""
    text = " ".join(part for part in (low, high) if part)
    return f" ({text})" if text else ""


def _refusals() -> Iterator[str]:
    yield "## Options that cannot be set"
    yield ""
    yield "| where | name | why |"
    yield "| --- | --- | --- |"
    for where, names in (("`source.options`", REFUSED_OPTIONS), ("`spark.conf`", OWN_SETTINGS)):
        for name, why in names.items():
            yield f"| {where} | `{name}` | {why} |"
    yield ""


def main() -> int:
    """Write the page into the project this is run in; `--check` only compares and exits 1 when it is out of date."""
    page = configuration_page()
    if "--check" in sys.argv[1:]:
        current = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
        if current != page:
            print(f"{PAGE} is out of date: run `make docs`", file=sys.stderr)
            return 1
        return 0
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

__all__ = ["PAGE", "configuration_page", "main"]
