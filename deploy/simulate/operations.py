"""What a workload asks for: operations on records, and what each leaves behind. Plain data, no I/O.

Values are int, float, str, bool, bytes, list, dict, None inside lists and maps, and of `schemas.bins` GeoJson, OrderedList,
KeyOrderedMap, KeyValueOrderedMap.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, NamedTuple, TypeAlias

from schemas.bins import KeyOrderedMap, OrderedList

NEVER: Final = -1
"""ttl: the record does not expire."""
KEEP: Final = -2
"""ttl: what the record has."""
REVISION: Final = "rev"
"""Bin with the number of the operation that last wrote the record; makes a repeated update recognisable."""

Bins: TypeAlias = Mapping[str, Any]


class Kind(StrEnum):
    """What an operation does to its record."""

    WRITE = "write"  # the whole record, whatever was there
    UPDATE = "update"  # some bins of a record that exists
    DELETE = "delete"
    TOUCH = "touch"  # its time to live only


class RecordKey(NamedTuple):
    """Identity of a record. stored: whether the server is to keep the user key."""

    set: str | None
    user_key: int | str | bytes
    stored: bool


class Put(NamedTuple):
    """Set a bin."""

    bin: str
    value: Any

    def apply(self, bins: dict[str, Any]) -> None:
        """Do to `bins` what the server does."""
        bins[self.bin] = self.value


class Drop(NamedTuple):
    """Remove a bin."""

    bin: str

    def apply(self, bins: dict[str, Any]) -> None:
        """Do to `bins` what the server does."""
        bins.pop(self.bin, None)


class Add(NamedTuple):
    """Add to an integer bin, which begins at 0."""

    bin: str
    amount: int

    def apply(self, bins: dict[str, Any]) -> None:
        """Do to `bins` what the server does."""
        bins[self.bin] = bins.get(self.bin, 0) + self.amount


class Remember(NamedTuple):
    """Add an integer to an ordered list, of which the greatest few stay."""

    bin: str
    value: int
    most: int

    def apply(self, bins: dict[str, Any]) -> None:
        """Do to `bins` what the server does."""
        bins[self.bin] = OrderedList(sorted([*bins.get(self.bin, ()), self.value])[-self.most :])


class Enter(NamedTuple):
    """Set one entry of a key-ordered map."""

    bin: str
    key: int | str
    value: Any

    def apply(self, bins: dict[str, Any]) -> None:
        """Do to `bins` what the server does."""
        bins[self.bin] = KeyOrderedMap(bins.get(self.bin, {}) | {self.key: self.value})


class Arrange(NamedTuple):
    """Set a bin to a value with an order of its own: OrderedList or KeyValueOrderedMap."""

    bin: str
    value: Any

    def apply(self, bins: dict[str, Any]) -> None:
        """Do to `bins` what the server does."""
        bins[self.bin] = self.value


Change: TypeAlias = Put | Drop | Add | Remember | Enter | Arrange


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation. number: place in the workload, from 1. what: in a person's words. bins: of a WRITE. changes: of an UPDATE.

    ttl_s: seconds, NEVER or KEEP; meaningless for a DELETE.
    """

    number: int
    kind: Kind
    key: RecordKey
    what: str
    ttl_s: int = NEVER
    bins: Bins = field(default_factory=dict)
    changes: tuple[Change, ...] = ()

    def after(self, before: Bins) -> dict[str, Any]:
        """The bins an existing record with `before` has once this is done. Not for a DELETE."""
        if self.kind is Kind.WRITE:
            return {**self.bins, REVISION: self.number}
        bins = dict(before)
        if self.kind is Kind.UPDATE:
            for change in self.changes:
                change.apply(bins)
            bins[REVISION] = self.number
        return bins


__all__ = [
    "Add",
    "Arrange",
    "Bins",
    "Change",
    "Drop",
    "Enter",
    "KEEP",
    "Kind",
    "NEVER",
    "Operation",
    "Put",
    "REVISION",
    "RecordKey",
    "Remember",
]
