"""A schema file as text, from what a sample shows: what could not be settled stands beside it, for the person who decides."""

import re
from collections.abc import Iterator, Sequence

import yaml

from schemas.inference import InferredBin, SeenType


def schema_text(seen: SeenType, bins: Sequence[InferredBin], origin: str) -> str:
    """The text of a schema file for the record type. origin: where the sample comes from, in words."""
    return "\n".join(_lines(seen, bins, origin)) + "\n"


def file_name(seen: SeenType) -> str:
    """The usual name of its schema file: namespace and set, with `-` for what does not fit in a file name."""
    parts = (seen.namespace, *(() if seen.set is None else (seen.set,)))
    return ".".join(re.sub(r"[^\w-]", "-", part) for part in parts) + ".yaml"


def _lines(seen: SeenType, bins: Sequence[InferredBin], origin: str) -> Iterator[str]:
    yield f"# Inferred from {seen.records:,} records of {origin}. Look through it before a flow uses it."
    yield "version: 1"
    yield f"namespace: {_scalar(seen.namespace)}"
    if seen.set is None:
        yield "sets: null # every set, and records without one: name the sets that are meant"
    else:
        yield f"sets: [{_scalar(seen.set)}]"
    declared = [known for known in bins if known.type is not None]
    yield "bins:" if declared else "bins: {}"
    for known in declared:
        yield f"  {_scalar(known.name)}: {known.type}{_comment(known)}"
    for known in bins:
        if known.type is None:
            yield f"  # {_scalar(known.name)}: {', '.join(known.types) or 'only null'}"


def _comment(known: InferredBin) -> str:
    said = ["in every record" if known.share >= 1 else f"in {known.share:.1%} of the records"]
    said += [f"also {known.conflict}"] if known.conflict else []
    said += [f"no column: {known.aside}"] if known.aside else []
    return f" # {'; '.join(said)}"


def _scalar(text: str) -> str:
    """Text as YAML writes it inside a flow collection or before a colon, on one line."""
    return yaml.safe_dump([text], allow_unicode=True, default_flow_style=True, width=10_000).strip()[1:-1]


__all__ = ["file_name", "schema_text"]
