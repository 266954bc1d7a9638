"""What one batch does to one record by operations that must not run twice: contributions of many events, folded into one change.

The fence that keeps a change from being applied twice is kept per record and batch, so everything a batch does to a record
reaches the server in one call. Folding gives the same change in whatever order and grouping contributions come: sums are exact
(floats too: kept as unrounded parts until the end), list elements and last values go by their place in Kafka.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from schemas.events import ChangeEvent, UserKey

MapKey = int | str | bytes


class Place(NamedTuple):
    """Where an event stood in Kafka; the order in which its contributions count."""

    topic: str
    partition: int
    offset: int
    element: int = 0

    @classmethod
    def of(cls, event: ChangeEvent) -> "Place":
        """The event's place."""
        return cls(event.topic, event.partition, event.offset, event.element)


class Target(NamedTuple):
    """A record: by user key, or by digest (20 bytes) when `user_key` is None. `set` may be None."""

    set: str | None
    user_key: UserKey | None
    digest: bytes | None = None


class Add(NamedTuple):
    """Add to a number; the server makes the bin where it is missing. An int bin takes ints only, a float bin floats only."""

    bin: str
    value: int | float


class AddToEntry(NamedTuple):
    """Add to the number at `key` of a map bin; map and entry are made where they are missing."""

    bin: str
    key: MapKey
    value: int | float


class Append(NamedTuple):
    """Append values to a list bin, which then keeps its last `keep` elements; all of them when None."""

    bin: str
    values: tuple[Any, ...]
    keep: int | None = None


class Put(NamedTuple):
    """Set a bin; the event that stands last in Kafka wins within a batch, and the last batch between batches."""

    bin: str
    value: Any


class PutEntry(NamedTuple):
    """Set the entry at `key` of a map bin, as Put."""

    bin: str
    key: MapKey
    value: Any


Operation = Add | AddToEntry | Append | Put | PutEntry


@dataclass(slots=True)
class Sum:
    """An exact sum: whole numbers as they are, floats as parts that do not overlap (Shewchuk 1997), rounded once at the end."""

    whole: int = 0
    parts: list[float] = field(default_factory=list)
    floats: bool = False

    def add(self, value: int | float) -> None:
        """Add one number. A float makes the whole sum one."""
        if isinstance(value, float):
            self.floats = True
            self._add_part(value)
        else:
            self.whole += value

    def merge(self, other: "Sum") -> None:
        """Add another sum."""
        self.whole += other.whole
        self.floats = self.floats or other.floats
        for part in other.parts:
            self._add_part(part)

    def value(self) -> int | float:
        """The sum, correctly rounded when it is a float; not finite when it is beyond what a float can be."""
        try:
            return math.fsum([*self.parts, *_as_floats(self.whole)]) if self.floats else self.whole
        except (OverflowError, ValueError):
            return math.inf

    def _add_part(self, x: float) -> None:
        kept = 0
        for y in self.parts:
            if abs(x) < abs(y):
                x, y = y, x
            high = x + y
            low = y - (high - x)
            if low:
                self.parts[kept] = low
                kept += 1
            x = high
        self.parts[kept:] = [x]


def _as_floats(whole: int) -> list[float]:
    """Floats that add up to just that number. Raises OverflowError beyond what a float can be."""
    parts = []
    while whole:
        parts.append(float(whole))
        whole -= int(parts[-1])
    return parts


@dataclass(slots=True)
class _Listed:
    keep: int | None
    found: list[tuple[Place, int, Any]] = field(default_factory=list)

    def trim(self) -> None:
        if self.keep is not None and len(self.found) > 2 * self.keep:
            self.found.sort(key=_by_place)
            del self.found[: -self.keep]


def _by_place(found: tuple[Place, int, Any]) -> tuple[Place, int]:
    return found[0], found[1]


@dataclass(slots=True)
class RecordChange:
    """All that one batch does to one record. events: how many events that is."""

    target: Target
    events: int = 0
    sums: dict[str, Sum] = field(default_factory=dict)
    entries: dict[str, dict[MapKey, Sum]] = field(default_factory=dict)
    lists: dict[str, _Listed] = field(default_factory=dict)
    puts: dict[str, tuple[Place, Any]] = field(default_factory=dict)
    put_entries: dict[str, dict[MapKey, tuple[Place, Any]]] = field(default_factory=dict)

    def add(self, place: Place, operations: Iterable[Operation]) -> None:
        """Fold in what one event does. A bin takes one kind of operation only; that is for the caller to see to."""
        self.events += 1
        for number, done in enumerate(operations):
            match done:
                case Add(name, value):
                    self.sums.setdefault(name, Sum()).add(value)
                case AddToEntry(name, key, value):
                    self.entries.setdefault(name, {}).setdefault(key, Sum()).add(value)
                case Append(name, values, keep):
                    listed = self.lists.setdefault(name, _Listed(keep))
                    listed.found += [(place, (number << 32) | index, value) for index, value in enumerate(values)]
                    listed.trim()
                case Put(name, value):
                    self._put(self.puts, name, place, value)
                case PutEntry(name, key, value):
                    self._put(self.put_entries.setdefault(name, {}), key, place, value)

    def merge(self, other: "RecordChange") -> None:
        """Fold in what other events of the batch do to the same record."""
        self.events += other.events
        for name, total in other.sums.items():
            self.sums.setdefault(name, Sum()).merge(total)
        for name, totals in other.entries.items():
            mine = self.entries.setdefault(name, {})
            for key, total in totals.items():
                mine.setdefault(key, Sum()).merge(total)
        for name, theirs in other.lists.items():
            listed = self.lists.setdefault(name, _Listed(theirs.keep))
            listed.found += theirs.found
            listed.trim()
        for name, (place, value) in other.puts.items():
            self._put(self.puts, name, place, value)
        for name, puts in other.put_entries.items():
            for key, (place, value) in puts.items():
                self._put(self.put_entries.setdefault(name, {}), key, place, value)

    def elements(self, name: str) -> list[Any]:
        """The values to append to list bin `name`, in Kafka's order; at most as many as it keeps."""
        listed = self.lists[name]
        listed.found.sort(key=_by_place)
        found = listed.found if listed.keep is None else listed.found[-listed.keep :]
        return [value for _, _, value in found]

    @staticmethod
    def _put(held: dict[Any, tuple[Place, Any]], name: Any, place: Place, value: Any) -> None:
        before = held.get(name)
        if before is None or place >= before[0]:
            held[name] = (place, value)


class Contribution(NamedTuple):
    """What one event does to one record."""

    target: Target
    place: Place
    operations: tuple[Operation, ...]


def fold(contributions: Iterable[Contribution]) -> dict[Target, RecordChange]:
    """One change per record."""
    changes: dict[Target, RecordChange] = {}
    for one in contributions:
        change = changes.get(one.target)
        if change is None:
            change = changes[one.target] = RecordChange(one.target)
        change.add(one.place, one.operations)
    return changes


__all__ = [
    *("Add", "AddToEntry", "Append", "Contribution", "MapKey", "Operation", "Place", "Put", "PutEntry", "RecordChange", "Sum"),
    *("Target", "fold"),
]
