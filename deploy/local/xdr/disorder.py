"""What the road does to messages: some come twice, some come late. Seeded, and the same choice for the same change.

The choice depends on seed, namespace, digest, generation and kind only, never on time or on the order of shipping, so two runs
over the same changes hold back and repeat the same ones. A message that is held back keeps the image it was made from: when it
comes out, newer versions of the record, or its delete, may have been sent.
"""

import heapq
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import NamedTuple

from deploy.local.node.changes import DeletedImage
from deploy.local.xdr.change import Change, Message

_FOUR = struct.Struct(">4I")
_UNIT = 1.0 / (1 << 32)


class Fate(NamedTuple):
    """What happens to one message: held back for `hold_ms` (0: sent at once), sent again `repeat_ms` later (None: not)."""

    hold_ms: float
    repeat_ms: float | None


_ON_TIME = Fate(0.0, None)


class Disorder:
    """Decides the fate of messages."""

    def __init__(self, *, seed: int, duplicates: float, reorder: float, window_ms: int) -> None:
        self._key = seed.to_bytes(16, "big", signed=True)
        self._duplicates = duplicates
        self._reorder = reorder
        self._window_ms = window_ms

    def fate(self, change: Change) -> Fate:
        """The fate of the message about `change`: a pure function of the seed and the change's identity."""
        if not self._duplicates and not self._reorder:
            return _ON_TIME
        identity = b"%d/%s/%s/" % (change.gen, change.op.encode(), change.namespace.encode()) + change.digest
        drawn = blake2b(identity, digest_size=16, key=self._key).digest()
        late, hold, again, pause = _FOUR.unpack(drawn)
        return Fate(
            # At least a millisecond: a message that is held back is really held back.
            max(1.0, hold * _UNIT * self._window_ms) if late * _UNIT < self._reorder else 0.0,
            max(1.0, pause * _UNIT * self._window_ms) if again * _UNIT < self._duplicates else None,
        )


@dataclass(slots=True, eq=False)
class Outgoing:
    """A message on its way.

    covers:    number of the newest change it carries; None for a repetition, which nothing depends on.
    deleted:   the delete it carries or could carry, should it have to be made again.
    overtaken: a newer version of the record was sent while this one was held back.
    bins:      names of the bins it carries, removed ones too, if it does not carry all; gone: it is a delete.
    """

    digest: bytes
    message: Message
    covers: int | None
    deleted: DeletedImage | None = None
    held: bool = False
    overtaken: bool = False
    reshipped: bool = False
    bins: tuple[str, ...] = ()
    gone: bool = False


class Held:
    """Messages held back, given out when their time has come."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Outgoing]] = []
        self._by_digest: dict[bytes, list[Outgoing]] = {}
        self._count = 0

    def __len__(self) -> int:
        return len(self._heap)

    def __iter__(self) -> Iterator[Outgoing]:
        return (outgoing for _, _, outgoing in self._heap)

    def put(self, outgoing: Outgoing, release_ms: float) -> None:
        """Hold `outgoing` back until `release_ms`."""
        self._count += 1
        heapq.heappush(self._heap, (release_ms, self._count, outgoing))
        self._by_digest.setdefault(outgoing.digest, []).append(outgoing)

    def overtake(self, digest: bytes) -> None:
        """A newer version of the record is being sent: mark what is held of it."""
        for outgoing in self._by_digest.get(digest, ()):
            outgoing.overtaken = True

    def take(self, now_ms: float) -> Outgoing | None:
        """The next message whose time has come; None when there is none."""
        if not self._heap or self._heap[0][0] > now_ms:
            return None
        outgoing = heapq.heappop(self._heap)[2]
        same = self._by_digest[outgoing.digest]
        same.remove(outgoing)
        if not same:
            del self._by_digest[outgoing.digest]
        return outgoing

    def next_release_ms(self) -> float | None:
        """When the next message comes out; None when nothing is held."""
        return self._heap[0][0] if self._heap else None

    def expedite(self, now_ms: float) -> None:
        """Let everything out at once, in the order in which it would have come out."""
        self._heap = [(now_ms, rank, outgoing) for rank, (_, _, outgoing) in enumerate(sorted(self._heap, key=lambda e: e[:2]))]


__all__ = ["Disorder", "Fate", "Held", "Outgoing"]
