"""Which tables a flow has written to, as they were when last looked at: `<checkpoint>/_millrace/tables.json`.

A table that was deleted and made anew, or that an older copy replaced, looks healthy by itself. Only memory tells it apart.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from checkpoints.files import Folder
from schemas.errors import Terminal

TABLES_FILE = "_millrace/tables.json"
FORMAT = 1
DEAD_LETTERS = "@dead_letters"
LEDGER = "@ledger"
"""Names of the flow's own tables beside those of its outputs, which have the outputs' names."""


@dataclass(frozen=True, slots=True)
class KnownTable:
    """One table. path: where it was; id: made with the table; version: its newest when last looked at.

    accepted: by lane, the batch up to which an operator has accepted that the table need not hold what the lane has finished.
    """

    path: str
    id: str
    version: int
    accepted: dict[str, int] = field(default_factory=dict)


def read_tables(checkpoint: str) -> dict[str, KnownTable]:
    """The tables of a flow's checkpoint by name; empty before the first start.

    Raises Terminal E421 on a file that cannot be understood, E445 on one of a newer Millrace.
    """
    folder = Folder(checkpoint)
    text = folder.read_text(TABLES_FILE)
    if text is None:
        return {}
    file = f"{folder.path}/{TABLES_FILE}"
    try:
        record = json.loads(text)
        if int(record["format"]) > FORMAT:
            raise Terminal("E445", f"the file has format {record['format']}, and this release knows {FORMAT}", file=file)
        return {str(name): _table(table) for name, table in record["tables"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Terminal("E421", f"not a record of tables: {text[:80]!r}", file=file) from error


def write_tables(checkpoint: str, tables: Mapping[str, KnownTable]) -> None:
    """Replace the record, whole or not at all."""
    record = {"format": FORMAT, "tables": {name: asdict(table) for name, table in tables.items()}}
    Folder(checkpoint).replace(TABLES_FILE, json.dumps(record, indent=1, sort_keys=True) + "\n")


def _table(record: Mapping[str, Any]) -> KnownTable:
    accepted = {str(lane): int(batch) for lane, batch in record["accepted"].items()}
    return KnownTable(str(record["path"]), str(record["id"]), int(record["version"]), accepted)


__all__ = ["DEAD_LETTERS", "KnownTable", "LEDGER", "TABLES_FILE", "read_tables", "write_tables"]
