"""One micro-batch's work, prepared: what fits, what wins among events of one record, and what each winner needs."""

import time
from collections.abc import Sequence
from typing import Any

from schemas.digest import KeyMismatch, resolve_user_key
from schemas.events import DELETE, ChangeEvent
from schemas.lateness import NOT_MEASURED, late_by
from sinks.aerospike.config import MirrorConfig
from sinks.aerospike.rank import is_older_rank, rank_of
from sinks.aerospike.values import BinOperations, Unfit, bin_operations, set_problem
from sinks.contract import DUPLICATE, Disposition, Outcome, superseded

EXPIRING = 0
DELETED = 1
_WITH_USER_KEY = 3  # (namespace, set, user key); by digest only it is (namespace, set, None, digest)
MAX_TTL_S = 315_360_000
_USUAL_BYTES = 512


class Item:
    """One event on its way into the mirror: the newest of its record in this call.

    rank, kind:   what it is compared by; kind is DELETED for deletes and EXPIRING otherwise (a delete outranks a write of
                  its own version).
    key:          as a write sends it, with the user key when known; digest_key: for reads and removals, which need no set.
    losers:       indexes of the record's other events of this call, newest first: tried in turn should this one be refused.
    marked_here:  whether this batch wrote the tombstone (or expiry mark) of this event.
    verdict:      the outcome that stands once the last look at the tombstones is over.
    undo_rank:    rank of the tombstone that takes a created record away again.
    """

    __slots__ = (
        *("index", "event", "rank", "kind", "operations", "key", "digest_key", "mark_key", "losers", "size_bytes"),
        "sends_key",
        *("marked_here", "verdict", "undo_rank", "attempts"),
    )

    def __init__(self, index: int, event: ChangeEvent, rank: int, operations: BinOperations | None, key: tuple[Any, ...]) -> None:
        self.index = index
        self.event = event
        self.rank = rank
        self.kind = DELETED if event.op == DELETE else EXPIRING
        self.operations = operations
        self.key = key
        self.sends_key = len(key) == _WITH_USER_KEY
        self.digest_key: tuple[Any, ...] = ()
        self.mark_key: tuple[Any, ...] = ()
        self.losers: list[int] | None = None
        self.size_bytes = _USUAL_BYTES
        self.marked_here = False
        self.verdict: Outcome | None = None
        self.undo_rank = 0
        self.attempts = 0


def prepare(event: ChangeEvent, index: int, rank: int, config: MirrorConfig) -> Item | Outcome:
    """The event as an Item, or the Outcome that rejects it. Nothing is sent."""
    digest = bytearray(event.digest)
    operations: BinOperations | None = None
    key: tuple[Any, ...] = (config.namespace, event.set, None, digest)
    if event.op != DELETE:
        problem = set_problem(event.set)
        if problem is not None:
            return _reject(problem)
        fitted = bin_operations(event.bins)
        if isinstance(fitted, Unfit):
            return _reject(fitted)
        operations = fitted
        if event.exp_s is not None and event.exp_s - time.time() > MAX_TTL_S:
            return Outcome(Disposition.REJECTED, "D203", f"expiry {event.exp_s} is more than ten years away, Aerospike's limit")
        if config.send_key and event.user_key is not None:
            try:
                user_key = _user_key(event, config)
            except KeyMismatch as error:
                return Outcome(Disposition.REJECTED, "D206", str(error))
            if user_key is not None:
                key = (config.namespace, event.set, bytearray(user_key) if isinstance(user_key, bytes) else user_key)
    item = Item(index, event, rank, operations, key)
    item.digest_key = (config.namespace, None, None, digest)
    item.mark_key = (config.namespace, config.tombstone_set, digest)
    if operations is not None:
        item.size_bytes += operations.size_bytes
    return item


def _user_key(event: ChangeEvent, config: MirrorConfig) -> int | str | bytes | None:
    """The user key to send, None for none. Raises KeyMismatch."""
    user_key = event.user_key
    if config.user_keys != "proved" and user_key is not None:
        try:
            user_key = resolve_user_key(event.set, user_key, event.digest)
        except KeyMismatch:
            if config.user_keys == "check":
                raise
            return None
    return None if isinstance(user_key, float) else user_key  # the client takes no double: the record is known by its digest


def rank_and_dedupe(events: Sequence[ChangeEvent], config: MirrorConfig, outcomes: list[Outcome | None]) -> list[Item]:
    """Winners of the call, oldest first. Losers and rejected events get their outcome at once.

    Every event that fits is a candidate; per record the highest rank wins. Losers of the winner's own rank and kind are
    duplicates, all others superseded; late among these are those that came after a newer event.
    """
    winners: dict[bytes, Item] = {}
    late_ms: dict[int, int] = {}
    for index, event in enumerate(events):
        prepared = prepare(event, index, rank_of(event), config)
        if isinstance(prepared, Outcome):
            outcomes[index] = prepared
            continue
        standing = winners.get(event.digest)
        if standing is None:
            winners[event.digest] = prepared
            continue
        if outranks(prepared.rank, prepared.kind, standing.rank, standing.kind):
            prepared.losers = [standing.index, *(standing.losers or ())]
            winners[event.digest] = prepared
        else:
            standing.losers = _newest_first([*(standing.losers or ()), index], events)
            late_ms[index] = late_by(prepared.rank, standing.rank)
    for winner in winners.values():
        for loser in winner.losers or ():
            same = rank_of(events[loser]) == winner.rank and events[loser].op == winner.event.op
            outcomes[loser] = DUPLICATE if same else superseded(late_ms.get(loser, NOT_MEASURED))
    items = list(winners.values())
    items.sort(key=lambda item: item.rank)
    return items


def outranks(rank: int, kind: int, other_rank: int, other_kind: int) -> bool:
    """Whether (rank, kind) stands strictly above the other."""
    return is_older_rank(other_rank, rank) or (rank == other_rank and kind > other_kind)


def _newest_first(indexes: list[int], events: Sequence[ChangeEvent]) -> list[int]:
    ordered: list[int] = []
    for index in indexes:
        at = 0
        while at < len(ordered) and is_older_rank(rank_of(events[index]), rank_of(events[ordered[at]])):
            at += 1
        ordered.insert(at, index)
    return ordered


def _reject(problem: Unfit) -> Outcome:
    return Outcome(Disposition.REJECTED, problem.code, problem.detail)


__all__ = ["DELETED", "EXPIRING", "Item", "MAX_TTL_S", "outranks", "prepare", "rank_and_dedupe"]
