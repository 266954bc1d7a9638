"""What an event contributes to which record: the rules of an output that counts, without I/O."""

import math
from dataclasses import dataclass
from typing import Any, Literal

from schemas.bins import Hll
from schemas.events import DELETE, ChangeEvent
from sinks.aerospike.record_changes import Add, AddToEntry, Append, Contribution, Operation, Place, Put, Target
from sinks.aerospike.values import INT_MAX, INT_MIN, Unfit, for_client

KeyKind = Literal["bin", "constant", "user_key", "digest"]
Doing = Literal["count", "sum", "append", "last"]
Number = Literal["int", "float"]
Events = Literal["writes", "deletes", "all"]


@dataclass(frozen=True, slots=True)
class KeyRule:
    """How the target record is found. value: the bin's name, or the constant; None for the source record's own key or digest."""

    kind: KeyKind
    value: str | None = None


@dataclass(frozen=True, slots=True)
class CountedBin:
    """One bin of the target record.

    do:     count events; sum a bin; append a bin's value to a list; keep the last value of a bin.
    of:     the source bin; an event without it contributes nothing. None counts every event.
    by:     count and sum only: the bin is a map, and this source bin's value says which entry is added to.
    number: sum only: what is added, and what the target bin holds. keep: append only: how many elements the list keeps.
    """

    bin: str
    do: Doing
    of: str | None = None
    by: str | None = None
    number: Number = "int"
    keep: int | None = None


@dataclass(frozen=True, slots=True)
class CountPlan:
    """The rules of one output. set: where its records are; events: which kinds of change it counts."""

    set: str
    key: KeyRule
    bins: tuple[CountedBin, ...]
    events: Events = "writes"

    def takes(self, event: ChangeEvent) -> bool:
        """Whether the event is of a kind that is counted."""
        return self.events == "all" or (event.op == DELETE) == (self.events == "deletes")

    def contribution(self, event: ChangeEvent) -> Contribution | Unfit:
        """What the event does, with no operations when it lacks all bins asked for; or why it cannot be counted."""
        target = self._target(event)
        if isinstance(target, Unfit):
            return target
        operations: list[Operation] = []
        for counted in self.bins:
            done = _operation(counted, event.bins)
            if isinstance(done, Unfit):
                return done
            if done is not None:
                operations.append(done)
        return Contribution(target, Place.of(event), tuple(operations))

    def _target(self, event: ChangeEvent) -> Target | Unfit:
        match self.key.kind:
            case "digest":
                return Target(self.set, None, event.digest)
            case "constant":
                return Target(self.set, self.key.value)
            case "user_key":
                key, what = event.user_key, "user key"
            case "bin":
                key, what = event.bins.get(self.key.value or ""), f"key bin {self.key.value!r}"
        if key is None:
            return Unfit("D210", f"{what} is not in the event")
        return Target(self.set, key) if _fits_key(key) else Unfit("D210", f"{what} holds {_kind(key)}")


def _operation(counted: CountedBin, bins: dict[str, Any]) -> Operation | Unfit | None:
    value: Any = 1
    if counted.of is not None:
        value = bins.get(counted.of)
        if value is None:
            return None
    match counted.do:
        case "append":
            bad = for_client(value, f"bin {counted.of!r}")
            if isinstance(bad, Unfit):
                return bad
            if isinstance(value, Hll):
                return Unfit("D211", f"bin {counted.of!r} holds a HyperLogLog, which no list can hold")
            return Append(counted.bin, (value,), counted.keep)
        case "last":
            bad = for_client(value, f"bin {counted.of!r}")
            return bad if isinstance(bad, Unfit) else Put(counted.bin, value)
        case "count":
            value = 1
        case "sum":
            if type(value) is int and INT_MIN <= value <= INT_MAX:
                value = float(value) if counted.number == "float" else value
            elif type(value) is not float or counted.number == "int" or not math.isfinite(value):
                return Unfit("D211", f"bin {counted.of!r} holds {_kind(value)}; {counted.bin!r} sums {counted.number}s")
    if counted.by is None:
        return Add(counted.bin, value)
    entry = bins.get(counted.by)
    if entry is None:
        return None
    if not _fits_key(entry):
        return Unfit("D211", f"bin {counted.by!r} holds {_kind(entry)}, which cannot name an entry of map {counted.bin!r}")
    return AddToEntry(counted.bin, entry, value)


def _fits_key(key: Any) -> bool:
    """Integers of 64 bits, strings the client does not damage, and blobs."""
    return type(key) in (int, str, bytes) and not isinstance(for_client(key, ""), Unfit)


def _kind(value: Any) -> str:
    if type(value) is float and not math.isfinite(value):
        return "no finite number"
    if type(value) is int and not INT_MIN <= value <= INT_MAX:
        return "an integer of more than 64 bits"
    names = {bool: "a bool", float: "a float", int: "an int", str: "a string", bytes: "a blob", list: "a list", dict: "a map"}
    found = f"a {type(value).__name__}"
    return f"{names.get(type(value), found)}" + (" the client would damage" if type(value) is str and "\0" in value else "")


__all__ = ["CountPlan", "CountedBin", "Doing", "Events", "KeyKind", "KeyRule", "Number"]
