"""What partial images of one record add up to, whatever their order: a join of small facts, no server in sight.

A record's state is what is known of it: the version of its newest delete, of each bin the version that set or removed it, and
its newest writes with their expiries. Two states are joined by taking the newest of everything, so the order of joining does not
matter, nor does repetition; from the joined state follows what a reader shall see:

* a delete takes every bin that is not newer than itself;
* a write that comes when the write before it has expired begins the record anew: XDR ships no event for an expiry between the two
  (unless `ship-nsup-deletes` is on, and even then not always), and the older bins are gone at the source. Unless its generation
  tells that the record lived on: XDR ships the latest of several writes, and one that was not shipped may have kept it alive;
* the expiry is the newest write's.

Bins of a life that has ended are kept, unseen, in case a write turns up late that had kept the record alive. That needs the
writes in between: the newest REMEMBERED of a record are known one by one. What falls off the end is settled as it stands.
"""

from collections.abc import Mapping
from functools import cmp_to_key
from itertools import pairwise
from typing import NamedTuple

from schemas.events import DELETE, ChangeEvent
from schemas.version import GENERATIONS, HALF, unpack
from sinks.aerospike.rank import is_older_rank, rank_of

REMEMBERED = 16
UNKNOWN_EXPIRY = -1
"""Expiry of a write that was found in a record and not in an event: it is the record's time to live, and is left alone."""

REMOVED, PLAIN, ORDERED_LIST, KEY_ORDERED, KEY_VALUE_ORDERED = range(5)


class Cell(NamedTuple):
    """One bin: the version that it is of, and what stands there: REMOVED, or a value, with the order a list or map keeps."""

    rank: int
    kind: int


class Wrote(NamedTuple):
    """One write: its version, and its expiry in seconds since 1970 (None: never; UNKNOWN_EXPIRY)."""

    rank: int
    exp_s: int | None


class State(NamedTuple):
    """What is known of one record. `deleted`: rank of its newest delete. `writes`: the newest ones above it, oldest first."""

    deleted: int | None
    writes: tuple[Wrote, ...]
    cells: Mapping[str, Cell]

    @property
    def newest(self) -> Wrote | None:
        """The newest write that no delete has taken."""
        return self.writes[-1] if self.writes else None

    @property
    def born(self) -> int | None:
        """Rank of the write that began the present life; None when that is not known to have followed an expiry."""
        begun = None
        for before, after in pairwise(self.writes):
            if _ended(before, after):
                begun = after.rank
        return begun

    def alive(self, now_s: float) -> bool:
        """Whether a reader shall find the record."""
        newest = self.newest
        return newest is not None and (newest.exp_s in (None, UNKNOWN_EXPIRY) or newest.exp_s > now_s)

    def shown(self) -> dict[str, Cell]:
        """Bins a reader shall find while the record is alive."""
        born = self.born
        return {
            name: cell
            for name, cell in self.cells.items()
            if cell.kind != REMOVED and (born is None or not is_older_rank(cell.rank, born))
        }


NOTHING = State(None, (), {})


def state_of(event: ChangeEvent, kinds: Mapping[str, int]) -> State:
    """What one event says. kinds: of each bin it carries, what stands there."""
    rank = rank_of(event)
    if event.op == DELETE:
        return State(rank, (), {})
    return State(None, (Wrote(rank, event.exp_s),), {name: Cell(rank, kind) for name, kind in kinds.items()})


def join(a: State, b: State) -> State:
    """What `a` and `b` say together."""
    if b == NOTHING:
        return a
    if a == NOTHING:
        return b
    deleted = a.deleted
    if deleted is None or (b.deleted is not None and is_older_rank(deleted, b.deleted)):
        deleted = b.deleted
    cells = dict(a.cells)
    for name, cell in b.cells.items():
        mine = cells.get(name)
        if mine is None or newer_cell(cell, mine):
            cells[name] = cell
    return _settled(deleted, _all_writes(a.writes, b.writes), cells)


def newer_cell(a: Cell, b: Cell) -> bool:
    """Whether `a` replaces `b`. At one version a value stands above a removal, so that any order ends the same."""
    return is_older_rank(b.rank, a.rank) or (a.rank == b.rank and a.kind > b.kind)


def _all_writes(a: tuple[Wrote, ...], b: tuple[Wrote, ...]) -> tuple[Wrote, ...]:
    if a == b or not b:
        return a
    if not a or is_older_rank(a[-1].rank, b[0].rank):
        return a + b
    known = {write.rank: write for write in a}
    for write in b:
        same = known.get(write.rank)
        known[write.rank] = write if same is None or _later(write.exp_s, same.exp_s) else same
    return tuple(sorted(known.values(), key=_BY_AGE))


def _settled(deleted: int | None, writes: tuple[Wrote, ...], cells: dict[str, Cell]) -> State:
    """Without what a delete has taken, and with no more than REMEMBERED writes: an expiry before them is a delete from now on."""
    while True:
        if deleted is not None:
            writes = tuple(write for write in writes if is_older_rank(deleted, write.rank))
            cells = {name: cell for name, cell in cells.items() if is_older_rank(deleted, cell.rank)}
        if len(writes) <= REMEMBERED:
            return State(deleted, writes, cells)
        forgotten = len(writes) - REMEMBERED
        for before, after in pairwise(writes[: forgotten + 1]):
            if _ended(before, after):
                deleted = before.rank
        writes = writes[forgotten:]


def _ended(before: Wrote, after: Wrote) -> bool:
    """Whether `before` had expired, by the source's clock, when `after` was written, and no write in between kept it alive.

    A record that lived on counted two writes at least: the one that kept it alive, and `after`. One that was created anew counts
    from 1 again; should it have come further than before, unseen, its older bins are kept rather than newer ones lost.
    """
    if before.exp_s in (None, UNKNOWN_EXPIRY) or before.rank < 0 or after.rank < 0:
        return False
    earlier, later = unpack(before.rank), unpack(after.rank)
    return before.exp_s * 1000 <= later.lut_ms and not 2 <= (later.gen - earlier.gen) % GENERATIONS < HALF


def _later(a: int | None, b: int | None) -> bool:
    """Whether expiry `a` stands above `b`: what an event says above what is only known from a record, never above all."""
    if b is None or a == b:
        return False
    return a is None or a > b


def _age(a: Wrote, b: Wrote) -> int:
    return -1 if is_older_rank(a.rank, b.rank) else 1 if is_older_rank(b.rank, a.rank) else 0


_BY_AGE = cmp_to_key(_age)

__all__ = [
    "Cell",
    "KEY_ORDERED",
    "KEY_VALUE_ORDERED",
    "NOTHING",
    "ORDERED_LIST",
    "PLAIN",
    "REMEMBERED",
    "REMOVED",
    "State",
    "UNKNOWN_EXPIRY",
    "Wrote",
    "join",
    "newer_cell",
    "state_of",
]
