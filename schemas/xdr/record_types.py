"""The record types of a flow, found by a record's namespace and set: which is it of, and which types do its bins have?"""

from collections.abc import Mapping
from functools import lru_cache

from schemas.bins import BinType
from schemas.xdr.options import RecordType, TypeChange
from schemas.xdr.problem import SchemaStop, Undecodable


class Declared(dict[str, BinType]):
    """The declared types of a record type's bins, by the names that messages use."""

    __slots__ = ("type_change",)

    def __init__(self, types: Mapping[str, BinType] | None = None, type_change: TypeChange = "dead-letter") -> None:
        super().__init__(types or {})
        self.type_change = type_change

    def contradicted(self, detail: str) -> None:
        """A value is not of its declared type: by policy raise Undecodable D108 or SchemaStop, or return to keep it as it is."""
        if self.type_change == "dead-letter":
            raise Undecodable("D108", detail)
        if self.type_change == "stop":
            raise SchemaStop(f"{detail}; policies.type_change is stop")


_NOTHING = Declared()


class RecordTypes:
    """Asked per message, so each answer is kept: a flow has few sets, and an unbounded number of names is not kept.

    find:     the place of the first record type that fits a namespace and set; None when there is none.
    any_bins: whether any record type declares bins.
    """

    def __init__(self, records: tuple[RecordType, ...]) -> None:
        self._records = records
        self._declared = {place: _declared(record) for place, record in enumerate(records)}
        self.find = lru_cache(maxsize=10_000)(self._find)
        self.any_bins = any(record.bins for record in records)

    def bins(self, namespace: str, set_name: str | None) -> Declared:
        """Declared types by the names messages use; empty when the record's type declares none."""
        if not self.any_bins:
            return _NOTHING
        found = self.find(namespace, set_name)
        return _NOTHING if found is None else self._declared[found]

    def _find(self, namespace: str, set_name: str | None) -> int | None:
        fitting = (place for place, record in enumerate(self._records) if record.fits(namespace, set_name))
        return next(fitting, None)


def _declared(record: RecordType) -> Declared:
    sent_as = {name: given for given, name in record.rename.items()}
    types = {sent_as.get(name, name): kind for name, kind in (record.bins or {}).items()}
    return Declared(types, record.policies.type_change)


__all__ = ["Declared", "RecordTypes"]
