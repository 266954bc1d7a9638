"""The record types of a flow, found by a record's namespace and set: is it taken, and which types do its bins have?"""

from collections.abc import Mapping

from schemas.bins import BinType
from schemas.xdr.options import RecordType

_NOTHING: Mapping[str, BinType] = {}
_REMEMBERED = 10_000


class RecordTypes:
    """Asked per message, so each answer is kept: a flow has few sets, and an unbounded number of names is not kept.

    any_bins: whether any record type declares bins.
    """

    def __init__(self, records: tuple[RecordType, ...]) -> None:
        self._records = records
        self._known: dict[tuple[str, str | None], RecordType | None] = {}
        self.any_bins = any(record.bins for record in records)

    def takes(self, namespace: str, set_name: str | None) -> bool:
        """Whether a record type fits the record; without any record types, all records are taken."""
        return not self._records or self._find(namespace, set_name) is not None

    def bins(self, namespace: str, set_name: str | None) -> Mapping[str, BinType]:
        """Declared types by bin name; empty when the record's type declares none."""
        if not self.any_bins:
            return _NOTHING
        found = self._find(namespace, set_name)
        return _NOTHING if found is None or found.bins is None else found.bins

    def _find(self, namespace: str, set_name: str | None) -> RecordType | None:
        try:
            return self._known[namespace, set_name]
        except KeyError:
            found = next((record for record in self._records if record.fits(namespace, set_name)), None)
            if len(self._known) < _REMEMBERED:
                self._known[namespace, set_name] = found
            return found


__all__ = ["RecordTypes"]
