"""What waits to be shipped in one namespace: digests, each at most once.

XDR queues digests and reads the record when it ships, so a burst on one record becomes one message. `hot_key_ms` is the least
time between two shipments of one record, `delay_ms` the least time between change and shipment (xdr-kafka reference 3.2).
"""

import heapq
from collections import OrderedDict
from dataclasses import dataclass

from deploy.local.node.changes import ChangeKind, DeletedImage


@dataclass(slots=True)
class Pending:
    """One record that has changed since it was last shipped.

    due_ms:  when it may be shipped, on the queue's clock.
    number:  number of the newest change it stands for.
    deleted: the newest delete among its changes, so that a delete is not forgotten when what came after it vanished again.
    reshipped: it is queued only because of a restart or a rewind.
    """

    digest: bytes
    due_ms: float
    number: int
    deleted: DeletedImage | None
    reshipped: bool = False


class ChangeQueue:
    """Pending records of one namespace, given out when due, oldest due first. Single-threaded; the caller passes the time."""

    def __init__(self, *, hot_key_ms: int, delay_ms: int, ship_nsup_deletes: bool) -> None:
        self._hot_key_ms = hot_key_ms
        self._delay_ms = delay_ms
        self._ship_nsup_deletes = ship_nsup_deletes
        self._pending: dict[bytes, Pending] = {}
        self._heap: list[tuple[float, int, bytes]] = []
        self._shipped_ms: OrderedDict[bytes, float] = OrderedDict()
        self.coalesced = 0

    def __len__(self) -> int:
        return len(self._pending)

    def __contains__(self, digest: bytes) -> bool:
        return digest in self._pending

    def put(
        self,
        digest: bytes,
        kind: ChangeKind,
        deleted: DeletedImage | None,
        number: int,
        now_ms: float,
        *,
        unsettled: bool = False,
        reshipped: bool = False,
    ) -> bool:
        """Note a change. False when nothing has to be shipped for it: an expiry, unless asked for.

        unsettled: an earlier write of the record may not have arrived yet. Then an expiry is shipped as a delete all the same,
        for the destination would otherwise keep an older image that knows of no expiry.
        """
        pending = self._pending.get(digest)
        if kind == "expire" and not self._ship_nsup_deletes and pending is None and not unsettled:
            return False
        if pending is not None:
            self.coalesced += 1
            pending.number = number
            pending.deleted = deleted or pending.deleted
            pending.reshipped = pending.reshipped and reshipped
            return True
        due_ms = now_ms + self._delay_ms
        last_ms = self._shipped_ms.get(digest)
        if last_ms is not None:
            due_ms = max(due_ms, last_ms + self._hot_key_ms)
        self._pending[digest] = Pending(digest, due_ms, number, deleted, reshipped)
        heapq.heappush(self._heap, (due_ms, number, digest))
        return True

    def take(self, now_ms: float) -> Pending | None:
        """The next record that is due, removed from the queue; None when none is."""
        if not self._heap or self._heap[0][0] > now_ms:
            return None
        pending = self._pending.pop(heapq.heappop(self._heap)[2])
        if self._hot_key_ms:
            self._note_shipped(pending.digest, now_ms)
        return pending

    def next_due_ms(self) -> float | None:
        """When the next record is due; None when the queue is empty."""
        return self._heap[0][0] if self._heap else None

    def expedite(self, now_ms: float) -> None:
        """Make everything due at once, in the order in which it would have become due."""
        for rank, (_, _, digest) in enumerate(sorted(self._heap)):
            self._pending[digest].due_ms = now_ms
            self._heap[rank] = (now_ms, rank, digest)
        self._heap.sort()

    def _note_shipped(self, digest: bytes, now_ms: float) -> None:
        self._shipped_ms[digest] = now_ms
        self._shipped_ms.move_to_end(digest)
        # Entries stand in shipping order, so those past the throttle are at the front.
        while self._shipped_ms and next(iter(self._shipped_ms.values())) + self._hot_key_ms <= now_ms:
            self._shipped_ms.popitem(last=False)


__all__ = ["ChangeQueue", "Pending"]
