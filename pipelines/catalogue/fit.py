"""Whether the history tables of a flow take what a schema file declares; the tables are only looked at."""

from collections.abc import Mapping
from typing import NamedTuple

from pipelines.flow.model import Flow
from pipelines.flow.outputs import DeltaHistory as HistoryOptions
from pipelines.flow.records import Records, RecordSchema, one_type_each
from schemas.bins import BinType
from schemas.errors import ConfigError
from sinks.delta.history import DeltaHistory
from sinks.delta.table import is_table, require_contract


class Misfit(NamedTuple):
    """One history that does not take it."""

    output: str
    message: str


def misfits(flow: Flow, schema: RecordSchema) -> list[Misfit]:
    """Every history table of the flow that would be refused, were `schema` in place of the flow's entry of the same records.

    Tables that are not there yet take everything. Raises ConfigError E101 when the flow takes no such records, Retryable E230.
    """
    declared = _declared_with(flow, schema)
    found = []
    for name, options in flow.all_outputs().items():
        if not isinstance(options, HistoryOptions):
            continue
        table = DeltaHistory(flow.name, name, options.path, declared)
        if not is_table(table.path):
            continue
        try:
            require_contract(table.path, table.contract)
        except ConfigError as refusal:
            found.append(Misfit(name, refusal.message))
    return found


def _declared_with(flow: Flow, schema: RecordSchema) -> Mapping[str, BinType] | None:
    places = [place for place, entry in enumerate(flow.records) if _same_records(entry, schema)]
    if not places:
        raise ConfigError(
            "E101",
            f"the flow takes no records of namespace {schema.namespace!r} with just these sets",
            remedy="Name the flow that uses the schema file.",
            flow=flow.name,
        )
    records = tuple(schema if place in places else entry for place, entry in enumerate(flow.records))
    return one_type_each(records)


def _same_records(entry: Records, schema: RecordSchema) -> bool:
    mine, other = schema.record_type(), entry.record_type()
    return mine.namespace == other.namespace and set(mine.sets or ()) == set(other.sets or ())


__all__ = ["Misfit", "misfits"]
