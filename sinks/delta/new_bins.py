"""Bins that nobody declared and that are to get a column: found by the workers, added by the driver, with the data that has them.

A worker cannot change the columns it was told to write, so it looks through its whole part of the batch, then fails with the
names and types it has met. Nothing was committed; the driver adds the columns and writes the batch again, both in one commit.
New bins are rare, and batches without any cost nothing.
"""

import json
import re
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from schemas.bins import BIN_TYPES, BinType
from schemas.tables import TYPED_COLUMN, added_as, bin_columns
from schemas.xdr.options import RecordType

MOST_ADDED = 500
"""Columns a table gets without anybody declaring them; further new bins are rescued: who makes names of data has millions."""

ADDED_BY_COLUMN: dict[str, BinType] = {
    "long": BinType.INT,
    "double": BinType.FLOAT,
    "boolean": BinType.BOOL,
    "string": BinType.STR,
    "binary": BinType.BLOB,
}
"""By the type of a table's column, as Delta names it: the type that a bin without a declaration is known by."""

_INSIDE = re.compile(r"<millrace-new-bins:([A-Za-z0-9+/=]+)>")


@dataclass(frozen=True)
class BinRules:
    """What becomes of bins and values that a history's declared columns do not foresee.

    added:   columns that were not declared; see `schemas.tables` for what such a one holds.
    widened: declared bins whose columns also take what fits in without loss: integers in doubles, HyperLogLogs in blobs.
    adding:  record types whose new bins get columns.
    """

    added: frozenset[str] = frozenset()
    widened: frozenset[str] = frozenset()
    adding: tuple[RecordType, ...] = ()

    def without_adding(self) -> "BinRules":
        """The same, but no new columns."""
        return BinRules(self.added, self.widened)

    def held_by(self, name: str, kind: BinType) -> tuple[BinType, ...]:
        """The base types of values that the column of a bin may hold, its own first."""
        if name in self.added:
            return (kind, *(other for other in BinType if other != kind and TYPED_COLUMN[other] == TYPED_COLUMN[kind]))
        more = {BinType.FLOAT: (BinType.INT,), BinType.BLOB: (BinType.HLL,)} if name in self.widened else {}
        return (kind, *more.get(kind, ()))


def rules_of(records: Iterable[RecordType], declared: Mapping[str, BinType] | None) -> BinRules:
    """The rules that the policies of a flow's record types come to."""
    if declared is None:
        return BinRules()
    known = tuple(records)
    widening = [record for record in known if record.policies.type_change == "widen"]
    return BinRules(
        widened=frozenset(name for record in widening for name in record.bins or {} if name in declared),
        adding=tuple(record for record in known if record.policies.new_bin == "add"),
    )


class NewBins(Exception):
    """In a worker: bins that are to get a column, by name with the type they came with. The text carries them to the driver."""

    def __init__(self, types: Mapping[str, str]) -> None:
        inside = b64encode(json.dumps(dict(types)).encode()).decode()
        super().__init__(f"{len(types)} new bins want columns <millrace-new-bins:{inside}>")


def new_bins_in(failure: Exception) -> dict[str, BinType]:
    """The bins that workers failed for, with the type each one's column is known by; empty when it was for another reason."""
    found = _INSIDE.search(str(failure))
    if found is None:
        return {}
    return {name: added_as(BinType(kind)) for name, kind in json.loads(b64decode(found[1])).items()}


def may_be_column(name: str, kind: str, columns: Mapping[str, BinType]) -> bool:
    """Whether a bin of that name and base type could get a column beside those there."""
    if kind not in BIN_TYPES or name in columns:
        return False
    return name in bin_columns({**columns, name: BinType(kind)}).typed


NO_RULES = BinRules()

__all__ = ["ADDED_BY_COLUMN", "BinRules", "MOST_ADDED", "NO_RULES", "NewBins", "may_be_column", "new_bins_in", "rules_of"]
