"""What a workload knows it wrote: the last acknowledged state of every record, and counts of everything it did.

Expiry is known as an interval, since the server sets it between the moment a write was sent and the moment it was acknowledged.
"""

import base64
import hashlib
import json
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Final

from deploy.simulate.operations import KEEP, NEVER, Kind, Operation, RecordKey
from schemas.bins import GeoJson, KeyOrderedMap, KeyValueOrderedMap, OrderedList

MAX_VALUE_CHARS: Final = 1_024
"""Longer values stand in the file as length and SHA-256 of their text."""
_DONE: Final = {Kind.WRITE: "writes", Kind.UPDATE: "updates", Kind.DELETE: "deletes", Kind.TOUCH: "touches"}
_CLOCK_S: Final = 1.0
"""Servers keep expiry in whole seconds."""


class Presence(Enum):
    """Whether a reader should find a record."""

    THERE = "exists"
    GONE = "deleted"
    EXPIRED = "expired"
    EITHER = "about to expire"


@dataclass(frozen=True, slots=True)
class State:
    """A record as last acknowledged. bins: None = deleted. expires_s: Unix seconds, earliest and latest; None = never."""

    key: RecordKey
    bins: Mapping[str, Any] | None
    expires_s: tuple[float, float] | None
    certain: bool = True
    """False when an operation on it was given up without knowing whether it happened."""

    def presence(self, now_s: float) -> Presence:
        """Whether a reader should find it at a time."""
        if self.bins is None:
            return Presence.GONE
        if self.expires_s is None or now_s < self.expires_s[0]:
            return Presence.THERE
        return Presence.EXPIRED if now_s > self.expires_s[1] else Presence.EITHER


class Account:
    """Keeps the account of one workload. Any thread may report; operations on one record must be reported in their order."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._states: dict[tuple[str | None, int | str | bytes], State] = {}
        self._counts: Counter[str] = Counter()
        self._what: Counter[str] = Counter()
        self.contradictions: list[str] = []
        """Answers that cannot be right after what was acknowledged before: the server lost or invented something."""

    def expected_after(self, operation: Operation) -> dict[str, Any] | None:
        """The bins the record has once this operation has happened; None = no record."""
        if operation.kind is Kind.DELETE:
            return None
        before = self.state(operation.key)
        return operation.after((before.bins if before else None) or {})

    def state(self, key: RecordKey) -> State | None:
        """The last acknowledged state of a record; None when it was never written."""
        with self._lock:
            return self._states.get(key[:2])

    def states(self) -> Iterator[State]:
        """Every record ever written."""
        with self._lock:
            return iter(list(self._states.values()))

    def acknowledged(self, operation: Operation, sent_s: float, acknowledged_s: float, *, repeated: bool = False) -> None:
        """The server said it did it. repeated: after an attempt whose outcome was unknown."""
        bins = self.expected_after(operation)
        before = self.state(operation.key)
        if operation.kind not in (Kind.WRITE, Kind.DELETE) and self._certainly(before, Presence.GONE, sent_s):
            self._contradict(operation, "changed a record that does not exist")
        expires_s = _expiry(operation, before, sent_s, acknowledged_s)
        with self._lock:
            self._states[operation.key[:2]] = State(operation.key, bins, expires_s)
            self._counts[_DONE[operation.kind]] += 1
            self._what[operation.what] += 1
            if operation.ttl_s > 0 and operation.kind is not Kind.DELETE:
                self._counts["expiring"] += 1
            if before is not None and before.bins is None and bins is not None:
                self._counts["created_again"] += 1

    def missing(self, operation: Operation, acknowledged_s: float, *, repeated: bool = False) -> None:
        """The server said the record does not exist. repeated: a delete that may have happened at the first attempt."""
        before = self.state(operation.key)
        if self._certainly(before, Presence.THERE, acknowledged_s) and not (repeated and operation.kind is Kind.DELETE):
            self._contradict(operation, "did not find a record that was acknowledged")
        with self._lock:
            self._states[operation.key[:2]] = State(operation.key, None, None)
            if repeated and operation.kind is Kind.DELETE:
                self._counts["deletes"] += 1
                self._what[operation.what] += 1
            else:
                self._counts["found_nothing"] += 1

    def already_done(self, operation: Operation, sent_s: float, acknowledged_s: float, *, repeated: bool) -> None:
        """The guard said that this operation, or a later one, is in the record already. Only right for a repeated one."""
        if not repeated:
            self._contradict(operation, "was answered as done before it was sent")
        self.acknowledged(operation, sent_s, acknowledged_s, repeated=repeated)

    def given_up(self, operation: Operation, why: str) -> None:
        """Nobody knows whether it happened."""
        with self._lock:
            before = self._states.get(operation.key[:2]) or State(operation.key, None, None)
            self._states[operation.key[:2]] = State(operation.key, before.bins, before.expires_s, certain=False)
            self._counts["unresolved"] += 1
            self._counts[f"unresolved: {why}"] += 1

    def count(self, name: str, by: int = 1) -> None:
        """Count something else."""
        with self._lock:
            self._counts[name] += by

    def _certainly(self, state: State | None, presence: Presence, now_s: float) -> bool:
        if state is None:
            return presence is Presence.GONE
        return state.certain and state.presence(now_s) is presence

    def _contradict(self, operation: Operation, what: str) -> None:
        with self._lock:
            self.contradictions.append(f"operation {operation.number} ({operation.what}) {what}")

    def totals(self, now_s: float) -> dict[str, Any]:
        """Counts of operations, and of records by whether they should be found at a time."""
        states = list(self.states())
        presence = Counter(state.presence(now_s) for state in states)
        types = Counter(type_name(value) for state in states for value in (state.bins or {}).values())
        with self._lock:
            counts = {name: self._counts[name] for name in _DONE.values()}
            operations = sum(counts.values()) + self._counts["found_nothing"]
            others = {name: number for name, number in sorted(self._counts.items()) if name not in counts}
            return {
                "operations": operations,
                **counts,
                **dict.fromkeys(("expiring", "created_again", "found_nothing", "in_doubt", "unresolved"), 0),
                **others,
                "contradictions": len(self.contradictions),
                "records": {kind.value: presence[kind] for kind in Presence} | {"ever": len(states)},
                "bins_by_type": dict(sorted(types.items())),
                "by_happening": dict(self._what.most_common()),
            }

    @property
    def clean(self) -> bool:
        """Whether every operation's outcome is known and nothing contradicts it."""
        return not self.contradictions and not self._counts["unresolved"]

    def as_dict(self, now_s: float, **about: object) -> dict[str, Any]:
        """The whole account as plain data. about: what the workload was asked to do."""
        return {
            **about,
            "at_s": now_s,
            "totals": self.totals(now_s),
            "contradictions": self.contradictions,
            "records": [_record(state, now_s) for state in self.states()],
        }

    def save(self, path: Path, now_s: float, **about: object) -> None:
        """Write the account as JSON; the file appears whole or not at all."""
        part = path.with_name(path.name + ".part")
        part.write_text(json.dumps(self.as_dict(now_s, **about), ensure_ascii=False))
        part.replace(path)


def _expiry(operation: Operation, before: State | None, sent_s: float, acknowledged_s: float) -> tuple[float, float] | None:
    if operation.kind is Kind.DELETE or operation.ttl_s == NEVER:
        return None
    if operation.ttl_s == KEEP:
        return before.expires_s if before else None
    return sent_s + operation.ttl_s - _CLOCK_S, acknowledged_s + operation.ttl_s + _CLOCK_S


def type_name(value: Any) -> str:
    """The bin type of a value, with its order."""
    names = {
        bool: "bool",
        int: "int",
        float: "float",
        str: "str",
        bytes: "blob",
        list: "list",
        dict: "map",
        GeoJson: "geojson",
        OrderedList: "list:ordered",
        KeyOrderedMap: "map:key",
        KeyValueOrderedMap: "map:key-value",
    }
    return names[type(value)]


def _record(state: State, now_s: float) -> dict[str, Any]:
    key = state.key
    user_key: Any = base64.b64encode(key.user_key).decode() if isinstance(key.user_key, bytes) else key.user_key
    return {
        "set": key.set,
        "key": {"type": type_name(key.user_key), "value": user_key, "stored": key.stored},
        "state": state.presence(now_s).value,
        "certain": state.certain,
        "expires_s": list(state.expires_s) if state.expires_s else None,
        "bins": None if state.bins is None else {name: _bin(value) for name, value in sorted(state.bins.items())},
    }


def _bin(value: Any) -> dict[str, Any]:
    text = json.dumps(_plain(value), ensure_ascii=False)
    if len(text) > MAX_VALUE_CHARS:
        return {"type": type_name(value), "chars": len(text), "sha256": hashlib.sha256(text.encode()).hexdigest()}
    return {"type": type_name(value), "value": _plain(value)}


def _plain(value: Any) -> Any:
    """As JSON that keeps apart what it would merge: blobs as {"$blob": Base64}, GeoJSON as {"$geojson": text}, maps as pairs."""
    if isinstance(value, bytes):
        return {"$blob": base64.b64encode(value).decode()}
    if isinstance(value, GeoJson):
        return {"$geojson": str(value)}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {"$map": [[_plain(key), _plain(item)] for key, item in value.items()]}
    return value


__all__ = ["Account", "Presence", "State", "type_name"]
