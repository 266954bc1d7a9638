"""The mirror protocol for images that carry only some bins, or none: read, merge, write what is missing, look again.

A record has two places: the record itself, which readers see, and a side record in the tombstone set. Each holds a state
(`merge.State`), and what is true of the record is both joined with the events at hand. A step that finds either place behind
writes it, guarded by the stamp it was read with, and a write that lost a race begins again; joining makes repetition harmless.

The side record says what the record itself cannot keep: that it is deleted, or has expired, and then all its bins, in case a
write turns up that had kept it alive. A record that lives and never expires needs none.

    READ_SIDE --> READ_RECORD --> decide --side is behind--> WRITE_SIDE --0--> READ_RECORD
                                   |--record is behind--> CREATE, UPDATE or REMOVE --0--> LOOK_SIDE --> decide
                                   `--nothing is--> done
    any write --filtered, exists, not found--> READ_SIDE

Whoever writes the side record reads the record afterwards; whoever writes the record looks at the side record afterwards. So of
two that meet, the later one sees both, as a writer and a deleter do in `steps`. An attempt that was cut off is ended by its
replay.
"""

import random
from collections.abc import Sequence
from enum import IntEnum
from typing import Any

import aerospike
from aerospike_helpers.batch.records import BatchRecord, Read, Remove, Write
from aerospike_helpers.operations import operations as op

from schemas.events import ChangeEvent
from sinks.aerospike.classify import Answer
from sinks.aerospike.config import MirrorConfig
from sinks.aerospike.guards import BATCH_BIN, KIND_BIN, STAMP_BIN, STATE_BIN, VERSION_BIN, stamped
from sinks.aerospike.item import DELETED, EXPIRING
from sinks.aerospike.merge import REMOVED, UNKNOWN_EXPIRY, Cell, State, join
from sinks.aerospike.partial_item import (
    ABSENT,
    PartialItem,
    Replica,
    as_bin,
    copied,
    partial_items,
    past_horizon,
    record_of,
    side_of,
)
from sinks.aerospike.values import OP_WRITE
from sinks.contract import APPLIED, Disposition, Outcome


class PartialStep(IntEnum):
    """Where a record stands. Lower steps are sent first, so that later ones gather into fuller calls."""

    READ_SIDE = 0
    READ_RECORD = 1
    READ_WHOLE = 2
    WRITE_SIDE = 3
    CREATE = 4
    UPDATE = 5
    REMOVE = 6
    LOOK_SIDE = 7


_READ_STATE = [op.read(name) for name in (STATE_BIN, STAMP_BIN, BATCH_BIN)]
_STAMPS = 1 << 62
_CREATE, _UPDATE = aerospike.POLICY_EXISTS_CREATE, aerospike.POLICY_EXISTS_UPDATE


class PartialProtocol:
    """The steps of one call for partial images. Holds nothing but the call's constants and its outcomes.

    batch_token: text naming the batch, kept with what it applied, by which a replay recognises its own work.
    """

    steps = PartialStep
    reads = frozenset({PartialStep.READ_SIDE, PartialStep.READ_RECORD, PartialStep.READ_WHOLE, PartialStep.LOOK_SIDE})

    def __init__(self, config: MirrorConfig, batch_token: str, outcomes: list[Outcome | None]) -> None:
        self._config = config
        self._token = batch_token
        self._outcomes = outcomes

    def items(self, events: Sequence[ChangeEvent]) -> list[PartialItem]:
        """The call's work; what cannot be stored is answered at once."""
        return partial_items(events, self._config, self._outcomes)

    def heir(self, item: PartialItem, events: Sequence[ChangeEvent]) -> PartialItem | None:
        """What is left to do once the item's newest write was refused."""
        return item.rest()

    def first_step(self, item: PartialItem) -> PartialStep:
        """Where a record begins."""
        return PartialStep.READ_SIDE

    def call_guard(self, step: PartialStep, items: Sequence[PartialItem]) -> Any:
        """None: every write has a guard of its own."""
        return None

    # ------------------------------------------------------------------ what is sent
    def request(self, step: PartialStep, item: PartialItem, now_s: float) -> BatchRecord:
        """What `step` sends for `item`."""
        match step:
            case PartialStep.READ_SIDE | PartialStep.LOOK_SIDE:
                return Read(item.mark_key, None, read_all_bins=True)
            case PartialStep.READ_RECORD:
                return Read(item.digest_key, _READ_STATE)
            case PartialStep.READ_WHOLE:
                return Read(item.digest_key, None, read_all_bins=True)
            case PartialStep.WRITE_SIDE:
                return self._write_side(item, now_s)
            case PartialStep.CREATE | PartialStep.UPDATE:
                return self._write_record(item, now_s)
            case PartialStep.REMOVE:
                return Remove(item.digest_key, {"expressions": stamped(item.record.stamp)})

    def _write_side(self, item: PartialItem, now_s: float) -> Write:
        """Everything that is known. Lives as long as a delete is remembered, counted from the record's own end."""
        total, newest = item.total, item.total.newest
        operations = _changes(_present(item.side.state), _present(total), lambda name, cell: _from_record(item, name, cell))
        operations += self._private(item, item.side, now_s)
        rank, kind = (total.deleted, DELETED) if newest is None else (newest.rank, EXPIRING)
        operations += [_put(VERSION_BIN, rank), _put(KIND_BIN, kind)]
        left_s = 0 if newest is None or newest.exp_s in (None, UNKNOWN_EXPIRY) else max(0, round(newest.exp_s - now_s))
        policy = _policy(item.side, {"ttl": left_s + self._config.tombstone_horizon_s})
        return Write(item.mark_key, operations, None, policy)

    def _write_record(self, item: PartialItem, now_s: float) -> Write:
        """What a reader shall see, as far as it is not there yet."""
        newest = item.total.newest
        assert newest is not None, "only a record that lives is written"
        operations = _changes(item.record.state.shown(), item.total.shown(), lambda name, cell: _from_side(item, name, cell))
        operations += self._private(item, item.record, now_s)
        operations.append(_put(VERSION_BIN, newest.rank))
        policy: dict[str, Any] = {"ttl": aerospike.TTL_NEVER_EXPIRE}
        if newest.exp_s == UNKNOWN_EXPIRY:
            policy["ttl"] = aerospike.TTL_DONT_UPDATE
        elif newest.exp_s is not None:
            policy["ttl"] = max(1, round(newest.exp_s - now_s))
        if item.sends_key:  # the client crashes when asked to send the key of a record known by its digest only
            policy["key"] = aerospike.POLICY_KEY_SEND
        return Write(item.key, operations, None, _policy(item.record, policy))

    def _private(self, item: PartialItem, place: Replica, now_s: float) -> list[dict[str, Any]]:
        item.stamp = random.randrange(_STAMPS)
        forget_below_ms = (now_s - self._config.tombstone_horizon_s) * 1000
        state = as_bin(item.total, item.applied(place, self._token), forget_below_ms)
        return [_put(STATE_BIN, state), _put(STAMP_BIN, item.stamp), _put(BATCH_BIN, self._token)]

    # ------------------------------------------------------------------ what an answer means
    def settle(
        self, step: PartialStep, item: PartialItem, answer: Answer, bins: dict[str, Any] | None, now_s: float
    ) -> PartialStep | Outcome:
        """What an answer (OK, NOT_FOUND, EXISTS or FILTERED) leads to: the next step, or the outcome of the newest event."""
        found = answer is Answer.OK
        match step:
            case PartialStep.READ_SIDE:
                item.side = side_of(bins or {}) if found else ABSENT
                return PartialStep.READ_RECORD
            case PartialStep.LOOK_SIDE:
                looked = side_of(bins or {}) if found else ABSENT
                if (looked.there, looked.stamp) == (item.side.there, item.side.stamp):
                    return self._done(item, now_s)  # nobody came in between, and the record was all that was behind
                item.side = looked
                return self._decide(item, now_s)
            case PartialStep.READ_RECORD if found and STATE_BIN not in (bins or {}):
                return PartialStep.READ_WHOLE  # not ours, or written from full images: its bins are what is known
            case PartialStep.READ_RECORD | PartialStep.READ_WHOLE:
                item.record = record_of(bins or {}, whole=step is PartialStep.READ_WHOLE) if found else ABSENT
                return self._decide(item, now_s)
            case PartialStep.WRITE_SIDE if found:
                item.side = self._written(item, item.side)
                return PartialStep.READ_RECORD
            case PartialStep.CREATE | PartialStep.UPDATE if found:
                item.record = self._written(item, item.record)
                return PartialStep.LOOK_SIDE
            case PartialStep.REMOVE if found or answer is Answer.NOT_FOUND:
                item.record = ABSENT
                return PartialStep.LOOK_SIDE
            case _:
                return PartialStep.READ_SIDE

    def _written(self, item: PartialItem, place: Replica) -> Replica:
        """The place as this item has just written it; values that came from events are not kept, the events have them."""
        applied = tuple(item.applied(place, self._token))
        values = {**(item.record.values or {}), **(place.values or {})} if place is item.side else None
        return Replica(True, item.total, item.stamp, self._token, applied, values)

    def _decide(self, item: PartialItem, now_s: float) -> PartialStep | Outcome:
        known = join(item.side.state, item.record.state)
        if item.outcomes is None:
            item.judge(known, self._token)
        for one in item.said:
            known = join(known, one.state)
        item.total = _without_lost(item, known)
        alive = item.total.alive(now_s)
        if _needs_side(item.total, alive) and item.side.state != item.total:
            unread = item.record.there and item.record.values is None
            if unread and any(_from_record(item, name, cell) is None for name, cell in _present(item.total).items()):
                return PartialStep.READ_WHOLE
            return PartialStep.WRITE_SIDE
        if not alive:
            return PartialStep.REMOVE if item.record.there else self._done(item, now_s)
        if item.record.state != item.total:
            return PartialStep.UPDATE if item.record.there else PartialStep.CREATE
        return self._done(item, now_s)

    def _done(self, item: PartialItem, now_s: float) -> Outcome:
        oldest_ms = (now_s - self._config.tombstone_horizon_s) * 1000
        answered = APPLIED
        for one, outcome in zip(item.said, item.settled(), strict=True):
            outcome = past_horizon(one, outcome, oldest_ms) if outcome.disposition is Disposition.APPLIED else outcome
            self._outcomes[one.prepared.index] = outcome
            if one.prepared.index == item.index:
                answered = outcome
        return answered


def _needs_side(total: State, alive: bool) -> bool:
    """Whether the record itself cannot keep the state: it is gone, will go by itself, or has bins that must not be seen."""
    newest = total.newest
    if not alive or newest is None or newest.exp_s not in (None, UNKNOWN_EXPIRY):
        return True
    return len(total.shown()) < len(_present(total))


def _present(state: State) -> dict[str, Cell]:
    """Bins of which a value is known, seen or unseen."""
    return {name: cell for name, cell in state.cells.items() if cell.kind != REMOVED}


def _without_lost(item: PartialItem, total: State) -> State:
    """Without unseen bins whose value went with a side record that has expired."""
    side, seen = _present(item.side.state), item.record.state.shown()
    lost = [
        name
        for name, cell in _present(total).items()
        if side.get(name) != cell and seen.get(name) != cell and item.supplied(name, cell) is None
    ]
    return total._replace(cells={name: cell for name, cell in total.cells.items() if name not in lost}) if lost else total


def _from_record(item: PartialItem, name: str, cell: Cell) -> list[dict[str, Any]] | None:
    """Operations that bring a bin into the side record; empty when it is there, None when its value must be read first."""
    if item.side.state.cells.get(name) == cell:
        return []
    supplied = item.supplied(name, cell)
    if supplied is not None:
        return supplied
    values = item.record.values or {}
    return copied(name, values[name], cell.kind) if name in values else None


def _from_side(item: PartialItem, name: str, cell: Cell) -> list[dict[str, Any]] | None:
    """Operations that bring a bin into the record."""
    supplied = item.supplied(name, cell)
    if supplied is not None:
        return supplied
    values = item.side.values or {}
    return copied(name, values[name], cell.kind) if name in values else None


def _changes(before: dict[str, Cell], after: dict[str, Cell], value: Any) -> list[dict[str, Any]]:
    """Operations from one set of bins to another. What is there already is not written again."""
    operations = [_put(name, None) for name in before if name not in after]
    for name, cell in after.items():
        if before.get(name) != cell:
            operations += value(name, cell) or ()
    return operations


def _policy(place: Replica, policy: dict[str, Any]) -> dict[str, Any]:
    """The policy that writes a place only as it was read."""
    if not place.there:
        return {**policy, "exists": _CREATE}
    return {**policy, "exists": _UPDATE, "expressions": stamped(place.stamp)}


def _put(name: str, value: Any) -> dict[str, Any]:
    return {"op": OP_WRITE, "bin": name, "val": value}


__all__ = ["PartialProtocol", "PartialStep"]
