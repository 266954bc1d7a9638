"""What the bins of records look like, from a sample of them: how often each is there, of which types, and what contradicts."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from schemas.bins import BIN_TYPES, NULL_TYPE, BinType
from schemas.events import WRITE
from schemas.tables import bin_columns
from schemas.xdr.normal_form import Read


@dataclass(slots=True)
class SeenBin:
    """One bin in a sample. types: how many records have it with a value of each type; nulls: how many say that it was deleted."""

    types: Counter[str] = field(default_factory=Counter)
    nulls: int = 0

    @property
    def records(self) -> int:
        """In how many records it has a value."""
        return self.types.total()


@dataclass(slots=True)
class SeenType:
    """The records of one set in a sample: how many there are, and their bins by name, in the order they were met."""

    namespace: str
    set: str | None
    records: int = 0
    deletes: int = 0
    bins: dict[str, SeenBin] = field(default_factory=dict)

    def add(self, types: Mapping[str, str]) -> None:
        """One record, the types of its bins by their names."""
        self.records += 1
        for name, kind in types.items():
            seen = self.bins.setdefault(name, SeenBin())
            if kind == NULL_TYPE:
                seen.nulls += 1
            else:
                seen.types[kind.partition(":")[0]] += 1


@dataclass(slots=True)
class Sample:
    """Everything that was looked at. dead: messages that cannot be read, by reason code."""

    looked_at: int = 0
    dead: Counter[str] = field(default_factory=Counter)
    types: dict[tuple[str, str | None], SeenType] = field(default_factory=dict)

    def of(self, namespace: str, set_name: str | None) -> SeenType:
        """The account of one set's records."""
        return self.types.setdefault((namespace, set_name), SeenType(namespace, set_name))

    def add_readings(self, readings: Iterable[Read]) -> None:
        """Messages, as they were read."""
        for read in readings:
            self.looked_at += 1
            said = read.metadata
            if read.error is not None:
                self.dead[read.error[0]] += 1
            elif said.op == WRITE:
                self.of(said.namespace or "", said.set).add({name: kind for name, kind, _ in read.bins or ()})
            else:
                self.of(said.namespace or "", said.set).deletes += 1


class InferredBin(NamedTuple):
    """What a bin is best declared as.

    type:     None when it never has a value of a known type. share: of the records, how many have it (0 to 1).
    conflict: why not all of its values fit that type; "" when they do. aside: why the history cannot give it a column, or "".
    """

    name: str
    type: BinType | None
    share: float
    types: dict[str, int]
    nulls: int
    conflict: str
    aside: str


def inferred_bins(seen: SeenType, *, types_travel: bool) -> list[InferredBin]:
    """The bins of a record type, by name.

    types_travel: the sample tells integers from doubles; flat JSON does not, where one number in ten may be written without its
                  fraction, so there a bin that has both is a double.
    """
    chosen = {name: _chosen(known.types, types_travel) for name, known in seen.bins.items()}
    aside = bin_columns({name: kind or BinType.STR for name, kind in chosen.items()}).aside
    return [
        InferredBin(
            name,
            chosen[name],
            known.records / seen.records if seen.records else 0.0,
            dict(known.types.most_common()),
            known.nulls,
            _conflict(known, chosen[name], types_travel),
            aside.get(name, ""),
        )
        for name, known in sorted(seen.bins.items())
    ]


def _chosen(types: Mapping[str, int], types_travel: bool) -> BinType | None:
    """The type most values have; of equally many the one whose name comes first: the same sample gives the same answer."""
    known = {kind: number for kind, number in types.items() if kind in BIN_TYPES}
    if not types_travel and BinType.INT in known and BinType.FLOAT in known:
        known[BinType.FLOAT] += known.pop(BinType.INT)
    return BinType(min(known, key=lambda kind: (-known[kind], kind))) if known else None


def _conflict(seen: SeenBin, chosen: BinType | None, types_travel: bool) -> str:
    fitting = {str(chosen), *(("int",) if chosen is BinType.FLOAT and not types_travel else ())}
    others = {kind: number for kind, number in seen.types.most_common() if kind not in fitting}
    if not others:
        return ""
    told = ", ".join(f"{kind} in {number:,}" for kind, number in others.items())
    return f"{told} of {seen.records:,} records"


def type_of_value(value: Any, names: Mapping[type, str]) -> str:
    """The type of a value the Aerospike client gave, by `names`: its own class's first, then those of its parents."""
    return next((names[kind] for kind in type(value).__mro__ if kind in names), type(value).__name__)


__all__ = ["InferredBin", "Sample", "SeenBin", "SeenType", "inferred_bins", "type_of_value"]
