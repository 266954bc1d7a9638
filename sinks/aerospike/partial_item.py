"""One record's events of a call, taken together, and what is found of the record in the mirror: the work of one partial merge."""

from collections.abc import Mapping, Sequence
from functools import cmp_to_key
from typing import Any, NamedTuple

import aerospike
from aerospike_helpers.operations import list_operations, map_operations

from schemas.bins import PRIVATE_BIN_PREFIX, KeyOrderedMap, KeyValueOrderedMap, OrderedList
from schemas.events import ChangeEvent
from schemas.lateness import NOT_MEASURED, late_by
from sinks.aerospike.config import MirrorConfig
from sinks.aerospike.guards import BATCH_BIN, KIND_BIN, STAMP_BIN, STATE_BIN, VERSION_BIN
from sinks.aerospike.item import DELETED, Item, outranks, prepare
from sinks.aerospike.merge import (
    KEY_ORDERED,
    KEY_VALUE_ORDERED,
    NOTHING,
    ORDERED_LIST,
    PLAIN,
    REMOVED,
    UNKNOWN_EXPIRY,
    Cell,
    State,
    Wrote,
    join,
    newer_cell,
    state_of,
)
from sinks.aerospike.rank import BELOW_ALL, is_older_rank, rank_of
from sinks.aerospike.values import OP_WRITE
from sinks.contract import APPLIED, DUPLICATE, SUPERSEDED, Disposition, Outcome

_KINDS: dict[type, int] = {OrderedList: ORDERED_LIST, KeyOrderedMap: KEY_ORDERED, KeyValueOrderedMap: KEY_VALUE_ORDERED}
_DELETED, _WRITES, _CELLS, _APPLIED = "d", "w", "c", "a"


class Said(NamedTuple):
    """One event of the record: its place in the call, what it says, and the operations that write its bins, by name."""

    prepared: Item
    state: State
    operations: dict[str, list[dict[str, Any]]]

    @property
    def code(self) -> int:
        """Version and kind as one integer, by which a batch knows again what it has applied."""
        return self.prepared.rank * 2 + (self.prepared.kind == DELETED)


class Replica(NamedTuple):
    """What one of a record's two places in the mirror holds: the record itself, or its side record.

    stamp:   changes with every write of ours; None when somebody else, or a mirror of full images, wrote it.
    batch, applied: the batch that wrote last, and the events (`Said.code`) that it applied.
    values:  the readable bins; None when they were not read.
    """

    there: bool
    state: State
    stamp: int | None = None
    batch: str | None = None
    applied: tuple[int, ...] = ()
    values: Mapping[str, Any] | None = None


ABSENT = Replica(False, NOTHING, values={})


def side_of(bins: Mapping[str, Any]) -> Replica:
    """The side record. One left by a mirror of full images is a delete, or says that nothing older than a write may come back."""
    if STATE_BIN in bins:
        return _stored(bins, whole=True)
    rank = bins.get(VERSION_BIN, BELOW_ALL)
    deleted = rank if bins.get(KIND_BIN, DELETED) == DELETED else rank - 1
    return Replica(True, State(deleted, (), {}), values={})


def record_of(bins: Mapping[str, Any], *, whole: bool) -> Replica:
    """The record itself. One without our state counts as one write of all its bins, older than any event if it has no version."""
    if STATE_BIN in bins:
        return _stored(bins, whole=whole)
    rank = bins.get(VERSION_BIN, BELOW_ALL)
    values = _readable(bins)
    return Replica(True, State(None, (Wrote(rank, UNKNOWN_EXPIRY),), {name: Cell(rank, PLAIN) for name in values}), values=values)


def _stored(bins: Mapping[str, Any], *, whole: bool) -> Replica:
    stored = bins[STATE_BIN]
    flat = stored[_WRITES]
    cells = {name: Cell(*cell) if isinstance(cell, list) else Cell(cell, PLAIN) for name, cell in stored[_CELLS].items()}
    state = State(stored.get(_DELETED), tuple(map(Wrote, flat[::2], flat[1::2])), cells)
    values = _readable(bins) if whole else None
    return Replica(True, state, bins.get(STAMP_BIN), bins.get(BATCH_BIN), tuple(stored.get(_APPLIED, ())), values)


def _readable(bins: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in bins.items() if not name.startswith(PRIVATE_BIN_PREFIX)}


def as_bin(state: State, applied: Sequence[int], forget_below_ms: float) -> dict[str, Any]:
    """The state as the bin that keeps it. Removed bins are remembered as long as deletes are."""
    cells = {
        name: cell.rank if cell.kind == PLAIN else list(cell)
        for name, cell in state.cells.items()
        if cell.kind != REMOVED or cell.rank < 0 or (cell.rank >> 16) >= forget_below_ms
    }
    kept: dict[str, Any] = {_WRITES: [part for write in state.writes for part in write], _CELLS: cells, _APPLIED: list(applied)}
    if state.deleted is not None:
        kept[_DELETED] = state.deleted
    return kept


def copied(name: str, value: Any, kind: int) -> list[dict[str, Any]]:
    """Operations that write a value read from the other place. The order a list or map keeps is ours to remember."""
    if kind == KEY_ORDERED:
        value = aerospike.KeyOrderedDict(value)
    operations: list[dict[str, Any]] = [{"op": OP_WRITE, "bin": name, "val": value}]
    if kind == ORDERED_LIST:
        operations.append(list_operations.list_set_order(name, aerospike.LIST_ORDERED))
    elif kind == KEY_VALUE_ORDERED:
        operations.append(map_operations.map_set_policy(name, {"map_order": aerospike.MAP_KEY_VALUE_ORDERED}))
    return operations


class PartialItem:
    """All events of one record in one call.

    said:      the events, newest first.
    index:     place in the call of the one that is answered for, and refused first: the newest write, if there is one.
    key:       as a write sends it: with the user key of the newest event that has one.
    side, record: what was found, or written, last. total: all that is known, with the events.
    outcomes:  of `said`, in its order; None until the state before this batch is known. late_ms: the same, how late each came.
    """

    __slots__ = (
        *("said", "index", "key", "sends_key", "digest_key", "mark_key", "size_bytes", "attempts"),
        *("side", "record", "total", "outcomes", "late_ms", "stamp"),
    )

    def __init__(self, said: list[Said]) -> None:
        self.said = said
        writes = [one.prepared for one in said if one.prepared.kind != DELETED]
        first = writes[0] if writes else said[0].prepared
        keyed = next((one for one in writes if one.sends_key), first)
        self.index = first.index
        self.key, self.sends_key = keyed.key, keyed.sends_key
        self.digest_key, self.mark_key = first.digest_key, first.mark_key
        self.size_bytes = sum(one.prepared.size_bytes for one in said)
        self.attempts = 0
        self.side = self.record = ABSENT
        self.total = NOTHING
        self.outcomes: list[Outcome] | None = None
        self.late_ms: list[int] = []
        self.stamp = 0

    def rest(self) -> "PartialItem | None":
        """The item without the event that was refused."""
        left = [one for one in self.said if one.prepared.index != self.index]
        return PartialItem(left) if left else None

    def supplied(self, name: str, cell: Cell) -> list[dict[str, Any]] | None:
        """Operations that write `cell` from an event of this item; None when no event carries it."""
        for one in self.said:
            if one.state.cells.get(name) == cell:
                return one.operations[name]
        return None

    def judge(self, known: State, batch: str) -> None:
        """Decide what becomes of each event, against what was known before this batch, newest first.

        Applied: it changed a bin, the newest version or the newest delete, now or in an attempt of this very batch that was cut
        off. Duplicate: this version had arrived already. Superseded: everything it carries is older.
        """
        already = {code for place in (self.side, self.record) if place.batch == batch for code in place.applied}
        self._measure(known, {code >> 1 for code in already})
        outcomes: list[Outcome] = []
        before: set[int] = set()
        newer = NOTHING  # what the newer events of this call say by themselves
        for one in self.said:
            if one.code in before:  # whatever it brings counts for the first of its version
                outcomes.append(DUPLICATE)
            elif one.code in already and (one.prepared.kind == DELETED or _verdict(newer, one) is APPLIED):
                outcomes.append(APPLIED)
            else:
                outcomes.append(_verdict(known, one))
            if one is not self.said[-1]:
                before.add(one.code)
                known, newer = join(known, one.state), join(newer, one.state)
        self.outcomes = outcomes

    def _measure(self, known: State, mine: set[int]) -> None:
        """How much older each event is than the newest version before it: stored by another batch, or in its place in the call.

        mine: versions that this batch has written. A replay cannot know what stood there before them, so what is stored counts
        only where the call holds nothing newer.
        """
        ranks = [rank for rank in (known.deleted, known.newest and known.newest.rank) if rank is not None]
        newest = max(ranks, default=BELOW_ALL)
        if newest in mine or is_older_rank(newest, self.said[0].prepared.rank):
            newest = BELOW_ALL
        self.late_ms = [NOT_MEASURED] * len(self.said)
        for place, one in sorted(enumerate(self.said), key=lambda said: said[1].prepared.index):
            rank = one.prepared.rank
            if is_older_rank(rank, newest):
                self.late_ms[place] = late_by(rank, newest)
            else:
                newest = rank

    def settled(self) -> list[Outcome]:
        """The outcomes with how late each event was: one that brought something may be late, a duplicate never is."""
        return [
            outcome if late == NOT_MEASURED or outcome.disposition is Disposition.DUPLICATE else outcome._replace(late_ms=late)
            for outcome, late in zip(self.outcomes or (), self.late_ms, strict=True)
        ]

    def applied(self, place: Replica, batch: str) -> list[int]:
        """Codes of what this batch has applied, to be kept at `place` with those that stand there."""
        mine = {one.code for one, outcome in zip(self.said, self.outcomes or (), strict=True) if outcome is APPLIED}
        return sorted(mine.union(place.applied) if place.batch == batch else mine)


def _verdict(known: State, one: Said) -> Outcome:
    rank = one.prepared.rank
    newest = None if known.newest is None else known.newest.rank
    if one.prepared.kind == DELETED:
        if known.deleted is not None and is_older_rank(rank, known.deleted):
            return SUPERSEDED
        if newest is None or not is_older_rank(rank, newest):
            return DUPLICATE if known.deleted == rank else APPLIED
        takes = any(cell.kind != REMOVED and not is_older_rank(rank, cell.rank) for cell in known.cells.values())
        return APPLIED if takes else SUPERSEDED
    if known.deleted is not None and not is_older_rank(known.deleted, rank):
        return SUPERSEDED
    stored = [(cell, known.cells.get(name)) for name, cell in one.state.cells.items()]
    if newest is None or is_older_rank(newest, rank) or any(old is None or newer_cell(new, old) for new, old in stored):
        return APPLIED
    return DUPLICATE if newest == rank or any(old is not None and old.rank == rank for _, old in stored) else SUPERSEDED


def partial_items(events: Sequence[ChangeEvent], config: MirrorConfig, outcomes: list[Outcome | None]) -> list[PartialItem]:
    """One item per record, oldest first. Events that do not fit get their outcome at once."""
    by_record: dict[bytes, list[Said]] = {}
    for index, event in enumerate(events):
        if config.image == "none":
            event = event._replace(bins={})
        prepared = prepare(event, index, rank_of(event), config)
        if isinstance(prepared, Outcome):
            outcomes[index] = prepared
        else:
            by_record.setdefault(event.digest, []).append(_said(prepared))
    items = [PartialItem(sorted(said, key=_NEWEST_FIRST)) for said in by_record.values()]
    items.sort(key=lambda item: item.said[0].prepared.rank)
    return items


def _said(prepared: Item) -> Said:
    operations: dict[str, list[dict[str, Any]]] = {}
    if prepared.operations is not None:
        for operation in (*prepared.operations.writes, *prepared.operations.orders):
            operations.setdefault(operation["bin"], []).append(operation)
    kinds = {name: REMOVED if value is None else _KINDS.get(type(value), PLAIN) for name, value in prepared.event.bins.items()}
    return Said(prepared, state_of(prepared.event, kinds), operations)


def _newest_first(a: Said, b: Said) -> int:
    mine, other = a.prepared, b.prepared
    if outranks(mine.rank, mine.kind, other.rank, other.kind):
        return -1
    return 1 if outranks(other.rank, other.kind, mine.rank, mine.kind) else mine.index - other.index


_NEWEST_FIRST = cmp_to_key(_newest_first)


def past_horizon(one: Said, outcome: Outcome, oldest_ms: float) -> Outcome:
    """`outcome`, one of an event that was applied, and whether the event came later than deletes are remembered."""
    event = one.prepared.event
    late = one.prepared.kind != DELETED and event.lut_ms is not None and event.lut_ms < oldest_ms
    return outcome._replace(past_horizon=True) if late else outcome


__all__ = [
    "ABSENT",
    "PartialItem",
    "Replica",
    "Said",
    "as_bin",
    "copied",
    "partial_items",
    "past_horizon",
    "record_of",
    "side_of",
]
