"""The fence that a record keeps: which batch of each writer changed it last, so that no batch changes it twice.

One private bin holds a map: writer -> [rank, events]. A writer is an output of a flow, so several may work on one record, each
with its own fence, and the map grows by one entry per output that ever changed the record. The rank orders a
writer's batches over all its checkpoints: the checkpoint's turn (see `sinks.aerospike.counter_marks`) above the batch id.
`events` is how many events that batch brought this record: a batch repeated with other ones is noticed.
"""

from typing import Any, NamedTuple

import aerospike
from aerospike_helpers import expressions as exp
from aerospike_helpers.operations import map_operations

FENCE_BIN = "_mr_f"
BATCH_BITS = 32
"""Batch ids of a checkpoint; at ten a second they last for 13 years. 31 bits are left for turns, in seconds since 2020."""
_MAX_BATCH = (1 << BATCH_BITS) - 1
_KEY_ORDERED = {"map_order": aerospike.MAP_KEY_ORDERED}


class WriterFence(NamedTuple):
    """Which batch of which writer changes records.

    writer: `flow/output`. turn: which of its checkpoints, as their mark says. batch_id: that checkpoint's.
    """

    writer: str
    turn: int
    batch_id: int

    @property
    def rank(self) -> int:
        """Later batches rank higher, and every batch of a later turn. Raises ValueError beyond what a record can keep."""
        if not 0 <= self.batch_id <= _MAX_BATCH or not 0 < self.turn < 1 << (63 - BATCH_BITS):
            raise ValueError(f"turn {self.turn}, batch {self.batch_id} cannot be kept in a record")
        return (self.turn << BATCH_BITS) | self.batch_id


def not_yet(fence: WriterFence) -> Any:
    """The guard of a change: the record has nothing of this writer's batch, nor of a later one. The same for all its records."""
    fences = exp.MapBin(FENCE_BIN)
    known = exp.MapGetByKey(None, aerospike.MAP_RETURN_COUNT, exp.ResultType.INTEGER, fence.writer, fences)
    kept = exp.MapGetByKey(None, aerospike.MAP_RETURN_VALUE, exp.ResultType.LIST, fence.writer, fences)
    stored = exp.ListGetByIndex(None, aerospike.LIST_RETURN_VALUE, exp.ResultType.INTEGER, 0, kept)
    return exp.Or(exp.Not(exp.BinExists(FENCE_BIN)), exp.Eq(known, 0), exp.LT(stored, fence.rank)).compile()


def remember(fence: WriterFence, events: int) -> dict[str, Any]:
    """The operation that keeps the fence, part of the same call as the change."""
    kept: dict[str, Any] = map_operations.map_put(FENCE_BIN, fence.writer, [fence.rank, events], _KEY_ORDERED)
    return kept


def kept_fence(bins: dict[str, Any] | None, writer: str) -> tuple[int, int] | None:
    """Rank and events that a record keeps of `writer`, or None."""
    kept = ((bins or {}).get(FENCE_BIN) or {}).get(writer)
    return None if kept is None else (kept[0], kept[1])


__all__ = ["BATCH_BITS", "FENCE_BIN", "WriterFence", "kept_fence", "not_yet", "remember"]
