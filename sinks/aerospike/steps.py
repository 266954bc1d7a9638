"""The mirror protocol as steps: what each sends for one record, and what its answer leads to.

Order of the steps is what makes any interleaving safe. A writer creates, then looks at the tombstones; a deleter marks, then
removes: whichever order they meet in, the delete stays. Every write carries a guard on the stored version, so each step may be
repeated, and repeated late.

    write            UPDATE --0--> applied
                       |--not found--> LOOK --tombstone outranks--> superseded
                       |                 `--else--> CREATE --0--> LOOK_AGAIN --nothing--> applied
                       |                              |              `--tombstone outranks--> UNDO --> superseded
                       |                              `--exists--> UPDATE_EXACT
                       `--filtered--> READ_BACK --newer--> superseded
                                        |--older--> UPDATE_EXACT
                                        `--equal--> LOOK_AGAIN (applied by this very batch, else duplicate)
    delete           MARK --0--> REMOVE --0, not found--> applied
                       |            `--filtered--> READ_NEWER --> superseded (the record is newer than the delete: by how much?)
                       `--filtered--> READ_MARK --outranks us--> superseded
                                        |--older--> MARK_EXACT
                                        `--equal--> REMOVE (applied by this very batch, else duplicate)
    expiring write   MARK (kind "expiring": once the record has expired, its version is still known), then as write;
                     already expired on arrival: MARK, then as a delete's REMOVE
"""

import time
from collections.abc import Sequence
from enum import IntEnum
from typing import Any

import aerospike
from aerospike_helpers.batch.records import BatchRecord, Read, Remove, Write
from aerospike_helpers.operations import operations as op

from schemas.events import ChangeEvent
from schemas.lateness import late_by
from sinks.aerospike.classify import Answer
from sinks.aerospike.config import MirrorConfig
from sinks.aerospike.guards import BATCH_BIN, KIND_BIN, VERSION_BIN, older, older_or_equal, outranked, surely_older
from sinks.aerospike.item import DELETED, Item, outranks, prepare, rank_and_dedupe
from sinks.aerospike.rank import rank_of
from sinks.aerospike.values import OP_WRITE
from sinks.contract import APPLIED, DUPLICATE, SUPERSEDED, Disposition, Outcome, superseded

PAST_HORIZON = Outcome(Disposition.APPLIED, past_horizon=True)


class Step(IntEnum):
    """Where an event stands. Lower steps are sent first, so that later ones gather into fuller calls."""

    MARK = 0
    READ_MARK = 1
    MARK_EXACT = 2
    UPDATE = 3
    READ_BACK = 4
    UPDATE_EXACT = 5
    LOOK = 6
    CREATE = 7
    LOOK_AGAIN = 8
    UNDO = 9
    REMOVE = 10
    READ_NEWER = 11


READ_VERSION = [op.read(VERSION_BIN), op.read(BATCH_BIN)]
READ_TOMBSTONE = [op.read(VERSION_BIN), op.read(KIND_BIN), op.read(BATCH_BIN)]
_SEND_KEY = {"key": aerospike.POLICY_KEY_SEND}


def _policies(exists: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Policies of a write that never expires: without and with the user key.

    The client must not be asked to send the key of a record it knows by digest only: version 19.3 crashes the process.
    """
    never = {"ttl": aerospike.TTL_NEVER_EXPIRE, "exists": exists}
    return never, {**never, **_SEND_KEY}


_REPLACE = _policies(aerospike.POLICY_EXISTS_REPLACE)
_UPDATE = _policies(aerospike.POLICY_EXISTS_UPDATE)
_CREATE = _policies(aerospike.POLICY_EXISTS_CREATE)
_CLEAR_BINS = op.delete()


class Protocol:
    """The steps of one call: builds requests, settles answers. Holds nothing but the call's constants and its outcomes.

    batch_token: text naming the batch, kept in each record it applied, by which a replay recognises its own work.
    """

    steps = Step
    reads = frozenset({Step.READ_MARK, Step.READ_BACK, Step.LOOK, Step.LOOK_AGAIN, Step.READ_NEWER})

    def __init__(self, config: MirrorConfig, batch_token: str, outcomes: list[Outcome | None]) -> None:
        self._config = config
        self._token = batch_token
        self._outcomes = outcomes
        self._events: Sequence[ChangeEvent] = ()
        self._token_op = {"op": OP_WRITE, "bin": BATCH_BIN, "val": batch_token}

    def items(self, events: Sequence[ChangeEvent]) -> list[Item]:
        """The call's work, one item per record; what loses or cannot be stored is answered at once."""
        self._events = events
        return rank_and_dedupe(events, self._config, self._outcomes)

    def heir(self, item: Item, events: Sequence[ChangeEvent]) -> Item | None:
        """The next older event of a record whose newest was refused, if there is one that fits."""
        losers = item.losers or []
        for position, index in enumerate(losers):
            heir = prepare(events[index], index, rank_of(events[index]), self._config)
            if isinstance(heir, Item):
                heir.losers = losers[position + 1 :]
                self._outcomes[index] = None
                return heir
        return None

    def first_step(self, item: Item) -> Step:
        """Where an event begins."""
        return Step.MARK if item.kind == DELETED or item.event.exp_s is not None else Step.UPDATE

    def call_guard(self, step: Step, items: Sequence[Item]) -> Any:
        """The one guard of a whole call, or None: the smallest version of `items`, which are in no particular order."""
        if step in (Step.UPDATE, Step.MARK):
            smallest = items[0].rank
            for item in items:
                if item.rank < smallest:
                    smallest = item.rank
            return surely_older(smallest)
        return None

    def request(self, step: Step, item: Item, now_s: float) -> BatchRecord:
        """What `step` sends for `item`."""
        match step:
            case Step.UPDATE:
                return self._write(item, now_s, None)
            case Step.UPDATE_EXACT:
                return self._write(item, now_s, older(item.rank))
            case Step.CREATE:
                return Write(
                    item.key, self._record_operations(item), None, _expiring(_CREATE[item.sends_key], item.event.exp_s, now_s)
                )
            case Step.READ_BACK | Step.READ_NEWER:
                return Read(item.digest_key, READ_VERSION)
            case Step.LOOK | Step.LOOK_AGAIN | Step.READ_MARK:
                return Read(item.mark_key, READ_TOMBSTONE)
            case Step.MARK:
                return self._mark(item, now_s, None)
            case Step.MARK_EXACT:
                return self._mark(item, now_s, outranked(item.rank, item.kind))
            case Step.REMOVE:
                return Remove(item.digest_key, {"expressions": older_or_equal(item.rank)})
            case Step.UNDO:
                return Remove(item.digest_key, {"expressions": older_or_equal(item.undo_rank)})

    def _record_operations(self, item: Item) -> list[dict[str, Any]]:
        operations = item.operations
        if operations is None:
            raise AssertionError("a delete has no record to write")
        return [*operations.writes, {"op": OP_WRITE, "bin": VERSION_BIN, "val": item.rank}, self._token_op, *operations.orders]

    def _write(self, item: Item, now_s: float, guard: Any) -> Write:
        """The whole image over an existing record. REPLACE takes plain writes only; to set an order, clear the bins first."""
        operations = self._record_operations(item)
        kind = _REPLACE
        if item.operations is not None and item.operations.orders:
            operations.insert(0, _CLEAR_BINS)
            kind = _UPDATE
        policy = _expiring(kind[item.sends_key], item.event.exp_s, now_s)
        if guard is not None:
            policy = {**policy, "expressions": guard}
        return Write(item.key, operations, None, policy)

    def _mark(self, item: Item, now_s: float, guard: Any) -> Write:
        """The tombstone of a delete, or the mark of an expiring write, which must outlive the record by the horizon."""
        left_s = 0 if item.event.exp_s is None else max(0, round(item.event.exp_s - now_s))
        operations = [
            {"op": OP_WRITE, "bin": VERSION_BIN, "val": item.rank},
            {"op": OP_WRITE, "bin": KIND_BIN, "val": item.kind},
            self._token_op,
        ]
        policy: dict[str, Any] = {"ttl": left_s + self._config.tombstone_horizon_s}
        if guard is not None:
            policy["expressions"] = guard
        return Write(item.mark_key, operations, None, policy)

    def settle(self, step: Step, item: Item, answer: Answer, bins: dict[str, Any] | None, now_s: float) -> Step | Outcome:
        """What an answer (OK, NOT_FOUND, EXISTS or FILTERED) leads to: the next step, or the event's outcome."""
        match step:
            case Step.MARK | Step.MARK_EXACT:
                if answer is Answer.FILTERED:
                    return Step.READ_MARK
                item.marked_here = True
                return self._after_mark(item, now_s)
            case Step.READ_MARK:
                return self._read_mark(item, answer, bins or {}, now_s)
            case Step.UPDATE | Step.UPDATE_EXACT:
                if answer is Answer.OK:
                    return APPLIED
                return Step.READ_BACK if answer is Answer.FILTERED else Step.LOOK
            case Step.READ_BACK:
                return self._read_back(item, answer, bins or {})
            case Step.LOOK:
                return self._superseded(item, bins) if self._outranked_by(item, answer, bins) else Step.CREATE
            case Step.CREATE:
                if answer is Answer.EXISTS:
                    return Step.UPDATE_EXACT
                late = item.event.lut_ms is not None and item.event.lut_ms / 1000 < now_s - self._config.tombstone_horizon_s
                item.verdict = PAST_HORIZON if late else APPLIED
                return Step.LOOK_AGAIN
            case Step.LOOK_AGAIN:
                if self._outranked_by(item, answer, bins):
                    item.undo_rank = (bins or {})[VERSION_BIN]
                    item.verdict = self._superseded(item, bins)
                    return Step.UNDO
                return item.verdict or APPLIED
            case Step.UNDO:
                return item.verdict or SUPERSEDED
            case Step.REMOVE:
                if answer is Answer.FILTERED:
                    return Step.READ_NEWER
                return APPLIED if item.marked_here else DUPLICATE
            case Step.READ_NEWER:
                return self._superseded(item, bins)

    def _after_mark(self, item: Item, now_s: float) -> Step:
        expired = item.event.exp_s is not None and item.event.exp_s <= now_s
        return Step.REMOVE if item.kind == DELETED or expired else Step.UPDATE

    def _read_mark(self, item: Item, answer: Answer, bins: dict[str, Any], now_s: float) -> Step | Outcome:
        stored = bins.get(VERSION_BIN)
        if answer is Answer.NOT_FOUND or stored is None:
            return Step.MARK_EXACT
        kind = bins.get(KIND_BIN, DELETED)
        if outranks(stored, kind, item.rank, item.kind):
            return self._superseded(item, bins)
        if outranks(item.rank, item.kind, stored, kind):
            return Step.MARK_EXACT
        item.marked_here = self._found_before(item, bins) is None
        return self._after_mark(item, now_s)

    def _read_back(self, item: Item, answer: Answer, bins: dict[str, Any]) -> Step | Outcome:
        stored = bins.get(VERSION_BIN)
        if answer is Answer.NOT_FOUND:
            return Step.LOOK
        if stored is None:
            return Step.UPDATE_EXACT
        if stored == item.rank:
            item.verdict = APPLIED if self._found_before(item, bins) is None else DUPLICATE
            return Step.LOOK_AGAIN
        return self._superseded(item, bins) if outranks(stored, 0, item.rank, 0) else Step.UPDATE_EXACT

    def _superseded(self, item: Item, bins: dict[str, Any] | None) -> Outcome:
        """The outcome of an event that found something newer, and how late it was."""
        newest = self._found_before(item, bins)
        return SUPERSEDED if newest is None else superseded(late_by(item.rank, newest))

    def _found_before(self, item: Item, bins: dict[str, Any] | None) -> int | None:
        """The version found, if another batch wrote it; the events that the item has overtaken then came after it, too.

        What this very batch wrote may stand behind the event in Kafka: a replay would take an event that was in order for late.
        """
        newest: int | None = (bins or {}).get(VERSION_BIN)
        if newest is None or (bins or {}).get(BATCH_BIN) == self._token:
            return None
        for index in item.losers or ():
            outcome = self._outcomes[index]
            if outcome is not None and outcome.disposition is Disposition.SUPERSEDED:
                self._outcomes[index] = superseded(late_by(rank_of(self._events[index]), newest))
        return newest

    def _outranked_by(self, item: Item, answer: Answer, bins: dict[str, Any] | None) -> bool:
        """Whether the tombstone just read stands above the event."""
        if answer is Answer.NOT_FOUND or not bins or bins.get(VERSION_BIN) is None:
            return False
        return outranks(bins[VERSION_BIN], bins.get(KIND_BIN, DELETED), item.rank, item.kind)


def _expiring(policy: dict[str, Any], exp_s: int | None, now_s: float) -> dict[str, Any]:
    """`policy` with the time to live an absolute expiry leaves. At least a second: zero would mean the namespace's default."""
    return policy if exp_s is None else {**policy, "ttl": max(1, round(exp_s - now_s))}


def wall_clock_s() -> float:
    """Seconds since 1970, the clock expiries are written in."""
    return time.time()


__all__ = ["PAST_HORIZON", "Protocol", "Step", "wall_clock_s"]
