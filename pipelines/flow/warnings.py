"""What a valid flow may say but a person should look at twice."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pipelines.flow.places import Loc, dotted
from pipelines.flow.problems import Problem
from pipelines.flow.records import declared_types
from pipelines.flow.rule import placed_outputs
from pipelines.flow.secrets import Secret
from schemas.tables import bin_columns
from schemas.xdr.avro_schema import read_schema

if TYPE_CHECKING:
    from pydantic import BaseModel

    from pipelines.flow.model import Flow

_SHORT_DELTA_MS = 1_000


def warnings_about(flow: "Flow") -> Iterator[Problem]:
    """Warnings, in the order of the options."""
    for loc in _literal_secrets(flow, ()):
        yield Problem(loc, f"{dotted(loc)!r} is a secret written in the file", "Use ${NAME} or {file: /path}.")
    for bin_name, kinds in declared_types(flow.records).items():
        if len(kinds) > 1:
            yield Problem(
                ("records",),
                f"bin {bin_name!r} is declared as {' and as '.join(sorted(kinds))}: history tables keep it in `_rescued`",
                "Declare one type, or write two flows.",
            )
    registry = flow.source.registry
    if registry is not None and registry.secrets() and any(url.startswith("http:") for url in registry.urls):
        yield Problem(("source", "registry"), "the login to the schema registry is sent in clear", "Use an address with https:.")
    source = flow.source
    if source.avro is not None and source.image == "partial" and read_schema(source.avro.write.text).kind == "record":
        yield Problem(
            ("source", "avro", "write"),
            "a record schema cannot say that a bin was deleted: its null means that the bin is not in the message",
            "Give the connector a map schema, or let XDR ship whole records.",
        )
    yield from _without_column(flow)
    if not source.committed:
        yield Problem(
            ("source", "options", "isolation.level"),
            "read_uncommitted takes events of transactions that may be aborted: outputs then hold what never happened",
            "Leave isolation.level out.",
        )
    selected = {entry.namespace for entry in flow.records}
    for loc, _, output in placed_outputs(flow):
        if output.type == "delta_history":
            continue
        if output.auth_mode == "external_insecure":
            yield Problem(
                (*loc, "auth_mode"), "auth_mode external_insecure sends the password in clear", "Use external with TLS."
            )
        if output.type == "aerospike" and output.namespace in selected and flow.reconcile is None:
            yield Problem(
                (*loc, "namespace"),
                f"{dotted(loc)!r} writes a namespace named as the source's, {output.namespace!r}: right on another cluster, "
                "a loop on the same one",
                "Give reconcile.source, and the flow is checked.",
            )
    for name, lane in flow.lanes.items():
        if lane.writes_delta and lane.trigger.interval_ms is not None and lane.trigger.interval_ms < _SHORT_DELTA_MS:
            yield Problem(
                ("lanes", name, "trigger"),
                f"lane {name!r} may commit to Delta every {lane.trigger.interval_ms} ms; each commit is "
                "a table version with its files",
                "Some seconds are enough for history.",
            )


def _without_column(flow: "Flow") -> Iterator[Problem]:
    """Declared bins that no history table can have a column for."""
    if not any(output.type == "delta_history" for _, _, output in placed_outputs(flow)):
        return
    aside = bin_columns(flow.declared_bins() or {}).aside
    for index, entry in enumerate(flow.records):
        for name in entry.bins or {}:
            if name in aside:
                yield Problem(
                    ("records", index, "bins", name),
                    f"bin {name!r} gets no column in history tables, which keep it in `_rescued`: {aside.pop(name)}",
                    "Nothing is lost; declare it only if its type is to be checked.",
                )


def _literal_secrets(model: "BaseModel", loc: Loc) -> Iterator[Loc]:
    for name in type(model).model_fields:
        yield from _literals_in(getattr(model, name), (*loc, name))


def _literals_in(value: object, loc: Loc) -> Iterator[Loc]:
    from pydantic import BaseModel

    if isinstance(value, Secret):
        if value.literal:
            yield loc
    elif isinstance(value, BaseModel):
        yield from _literal_secrets(value, loc)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _literals_in(item, (*loc, key))


__all__ = ["warnings_about"]
