"""A Delta table of ours: made once and race-free before anything writes to it, and refused when it does not fit."""

import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deltalake import CommitProperties, DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError

from schemas.errors import ConfigError, Retryable
from sinks.delta.ddl import delta_schema
from sinks.delta.retention import PROPERTY, SHORTEST_S, retention_s

_PROPERTIES = {
    "delta.enableDeletionVectors": "false",  # nothing is deleted from an append log; without them any reader can read it
    "delta.checkpointInterval": "50",  # a table checkpoint costs a second and more on a small machine; 10 is Delta's default
}
_COLOUR = re.compile("\x1b\\[[0-9;]*m")


@dataclass(frozen=True, slots=True)
class TableContract:
    """What a table must look like.

    ddl:          its columns (`schemas.tables`). partition_by: partition columns in order.
    stats:        columns Delta keeps minima and maxima of, as `delta.dataSkippingStatsColumns` wants them.
    may_grow:     struct columns a table may lack fields of: the next append adds them.
    """

    ddl: str
    description: str
    stats: str
    partition_by: tuple[str, ...] = ()
    may_grow: frozenset[str] = field(default_factory=frozenset)


def table_path(address: str | os.PathLike[str]) -> str:
    """The address as both Spark and delta-rs take it: local ones as plain absolute paths, others unchanged."""
    text = os.fspath(address)
    if text.startswith("file:"):
        return "/" + text.removeprefix("file:").lstrip("/")
    return text if "://" in text else str(Path(text).absolute())


def create_if_absent(path: str, contract: TableContract, storage_options: Mapping[str, str] | None = None) -> None:
    """Make the table unless it is there. Two drivers may do this at once: one makes it, both see it.

    Raises ConfigError E121 when the path holds something else, Retryable E230 when the storage cannot be used.
    """
    if is_table(path, storage_options):
        return
    _refuse_other_contents(path)
    try:
        DeltaTable.create(
            path,
            delta_schema(contract.ddl),
            mode="ignore",
            partition_by=list(contract.partition_by) or None,
            description=contract.description,
            configuration={**_PROPERTIES, "delta.dataSkippingStatsColumns": contract.stats},
            storage_options=dict(storage_options or {}),
            commit_properties=CommitProperties(max_commit_retries=0),  # a retry would create the table once more, as version 1
        )
    except (DeltaError, OSError) as error:
        if not is_table(path, storage_options):
            raise Retryable("E230", f"the table cannot be created: {said(error)}", path=path) from error


def is_table(path: str, storage_options: Mapping[str, str] | None = None) -> bool:
    """Whether a Delta table is there. Raises Retryable E230 when the storage cannot be asked, ConfigError E121 on a file."""
    if "://" not in path and Path(path).is_file():
        raise ConfigError("E121", "the table's path is a file", path=path)
    try:
        return bool(DeltaTable.is_deltatable(path, dict(storage_options or {})))
    except (DeltaError, OSError) as error:
        raise Retryable("E230", f"the storage of the table does not answer: {said(error)}", path=path) from error


def open_table(path: str, storage_options: Mapping[str, str] | None = None) -> DeltaTable:
    """The table as delta-rs sees it.

    Raises ConfigError E121 when none is there, Retryable E230 when its log cannot be read.
    """
    try:
        return DeltaTable(path, storage_options=dict(storage_options or {}))
    except TableNotFoundError as error:
        raise ConfigError("E121", "there is no Delta table", path=path) from error
    except (DeltaError, OSError) as error:
        raise Retryable("E230", f"the table's log cannot be read: {said(error)}", path=path) from error


def said(error: BaseException) -> str:
    """What delta-rs said, on one line and without its colours."""
    return " ".join(_COLOUR.sub("", str(error)).split())


def require_contract(path: str, contract: TableContract, storage_options: Mapping[str, str] | None = None) -> bool:
    """Raise ConfigError E121 unless rows of `contract` can be appended; every column that does not fit is named.

    Columns the contract does not know are fine: they stay null. Returns whether the next append must add fields to a column that
    may grow.
    """
    if not is_table(path, storage_options):
        _refuse_other_contents(path)
        raise ConfigError("E121", "there is no Delta table", path=path)
    table = open_table(path, storage_options)
    wanted = json.loads(delta_schema(contract.ddl).to_json())["fields"]
    found = json.loads(table.schema().to_json())["fields"]
    problems, grows = _compare(wanted, found, contract.may_grow)
    metadata = table.metadata()
    if list(metadata.partition_columns) != list(contract.partition_by):
        problems.append(
            f"partitioned by {', '.join(metadata.partition_columns) or 'nothing'} "
            f"instead of {', '.join(contract.partition_by) or 'nothing'}"
        )
    kept_s = retention_s(metadata.configuration)
    if kept_s is not None and kept_s < SHORTEST_S:
        problems.append(
            f"{PROPERTY} is {metadata.configuration[PROPERTY]!r}: the table would forget which batches it holds; unset it"
        )
    if problems:
        raise ConfigError("E121", "the table does not fit: " + "; ".join(problems), path=path)
    return grows


def struct_fields(path: str, column: str, storage_options: Mapping[str, str] | None = None) -> dict[str, str]:
    """The fields of a struct column by name with the names of their types, those of nested ones left out; empty without it."""
    fields = json.loads(open_table(path, storage_options).schema().to_json())["fields"]
    found = next((field["type"] for field in fields if field["name"] == column), None)
    inner = found["fields"] if _is_struct(found) and isinstance(found, dict) else []
    return {field["name"]: field["type"] for field in inner if isinstance(field["type"], str)}


def _compare(
    wanted: Iterable[Mapping[str, Any]], found: Iterable[Mapping[str, Any]], may_grow: frozenset[str]
) -> tuple[list[str], bool]:
    there = {column["name"].lower(): column for column in found}
    ours = {column["name"].lower() for column in wanted}
    problems = [
        f"column {column['name']} of the table must not be null, but is never written"
        for name, column in there.items()
        if name not in ours and not column["nullable"]
    ]
    grows = False
    for column in wanted:
        name = column["name"]
        other = there.get(name.lower())
        if other is None:
            if name in may_grow:
                grows = True
            else:
                problems.append(f"column {name} is missing")
        elif name in may_grow and _is_struct(column["type"]) and _is_struct(other["type"]):
            inner, inner_grows = _compare_fields(name, column["type"]["fields"], other["type"]["fields"])
            problems += inner
            grows = grows or inner_grows
        elif _bare(column["type"]) != _bare(other["type"]):
            problems.append(f"column {name} is {_told(other['type'])} instead of {_told(column['type'])}")
    return problems, grows


def _compare_fields(
    column: str, wanted: Iterable[Mapping[str, Any]], found: Iterable[Mapping[str, Any]]
) -> tuple[list[str], bool]:
    there = {field["name"].lower(): field for field in found}
    problems = []
    grows = False
    for wish in wanted:
        other = there.get(wish["name"].lower())
        if other is None:
            grows = True
        elif other["name"] != wish["name"]:
            problems.append(f"{column}.{wish['name']} would be written into {column}.{other['name']}, which differs only in case")
        elif _bare(wish["type"]) != _bare(other["type"]):
            problems.append(f"column {column}.{wish['name']} is {_told(other['type'])} instead of {_told(wish['type'])}")
    return problems, grows


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, dict) and kind.get("type") == "struct"


def _bare(kind: Any) -> Any:
    """The type without what does not matter for appending: nullability and metadata."""
    if isinstance(kind, dict):
        return {
            key: _bare(value)
            for key, value in kind.items()
            if key not in ("nullable", "metadata", "containsNull", "valueContainsNull")
        }
    return [_bare(value) for value in kind] if isinstance(kind, list) else kind


def _told(kind: Any) -> str:
    if not isinstance(kind, dict):
        return str(kind)
    if kind["type"] == "struct":
        return "struct<" + ", ".join(f"{part['name']}: {_told(part['type'])}" for part in kind["fields"]) + ">"
    if kind["type"] == "map":
        return f"map<{_told(kind['keyType'])}, {_told(kind['valueType'])}>"
    return f"array<{_told(kind['elementType'])}>"


def _refuse_other_contents(path: str) -> None:
    """A local folder with files but no Delta log is somebody's data. Other storages are left to the first commit."""
    folder = Path(path)
    if "://" in path or not folder.exists():
        return
    others = sorted(entry.name for entry in folder.iterdir() if entry.name != "_delta_log")
    if others:
        raise ConfigError("E121", f"the folder holds {len(others)} entries ({others[0]}, ...) that are no Delta table", path=path)


__all__ = [
    "TableContract",
    "create_if_absent",
    "is_table",
    "open_table",
    "require_contract",
    "said",
    "struct_fields",
    "table_path",
]
