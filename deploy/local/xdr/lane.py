"""The changes of one namespace on their way to one topic: queued, read when due, encoded, disturbed, and accounted for.

No Kafka here: `take` gives out messages, `delivered` and `failed` take the broker's answers. A change counts as shipped only when
a message that carries it, or a later state of its record, was delivered; the ship position follows the oldest one that is not.
"""

import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from deploy.local.node.changes import ChangeKind, ChangeSource, DeletedImage, Particle, RecordImage
from deploy.local.xdr.change import Unserialisable, delete_of, write_of
from deploy.local.xdr.disorder import Disorder, Fate, Held, Outgoing
from deploy.local.xdr.formats import FORMATS
from deploy.local.xdr.queue import ChangeQueue, Pending
from deploy.local.xdr.settings import XdrSettings

RECOVERY_MARGIN_MS = 1000
"""Re-shipped before the ship position: rows of one long batch may carry a time a little before rows already shipped."""
MAX_MARKS = 10_000


@dataclass(slots=True)
class Counters:
    """What has happened since the node started; every drop is counted. Shipped and the next four count delivered messages.

    shipped:    messages that carry a change. Of these reordered: held back; overtaken: delivered after a newer version of their
                record; reshipped: queued by a restart or a rewind.
    duplicates: repetitions sent on purpose.
    skipped:    records their format cannot express, or Kafka refuses for good; `reasons` says why.
    gone:       changes whose record had vanished (expired, truncated) before it was shipped.
    failed:     messages Kafka did not take; queued again.
    """

    changes: int = 0
    shipped: int = 0
    duplicates: int = 0
    reordered: int = 0
    overtaken: int = 0
    reshipped: int = 0
    skipped: int = 0
    gone: int = 0
    failed: int = 0
    reasons: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class Unshipped:
    """Numbers of the oldest and the newest change of a record that are not delivered, and since when there is one."""

    first: int
    last: int
    since_ms: float


class Sent(NamedTuple):
    """What was shipped of a record last, for the bin policy only-changed. A bin whose message Kafka refused is UNSENT."""

    bins: Mapping[str, Particle]
    generation: int
    exp_s: int


UNSENT: Particle = (-1, b"")


class FlushMark:
    """What was on its way at one moment; done when all of it is delivered, whatever was written since."""

    def __init__(self, digests: dict[bytes, int], messages: set[int]) -> None:
        self.digests = digests
        self.messages = messages

    @property
    def left(self) -> int:
        """Records and messages still on their way."""
        return len(self.digests) + len(self.messages)


class Lane:
    """One namespace to one topic. Single-threaded: the node's event loop calls everything.

    clock_ms: a monotonic clock, in milliseconds.
    wake:     called when something was queued.
    """

    def __init__(
        self,
        settings: XdrSettings,
        source: ChangeSource,
        *,
        clock_ms: Callable[[], float] = lambda: time.monotonic_ns() / 1e6,
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        self.settings = settings
        self.counters = Counters()
        self.in_flight = 0
        self.paused = False
        self.position_ms: int | None = None
        self._source = source
        self._clock_ms = clock_ms
        self._wake = wake
        self._format = FORMATS[settings.format](settings)
        self._queue = ChangeQueue(
            hot_key_ms=settings.hot_key_ms, delay_ms=settings.delay_ms, ship_nsup_deletes=settings.ship_nsup_deletes
        )
        self._disorder = Disorder(
            seed=settings.seed,
            duplicates=settings.duplicates,
            reorder=settings.reorder,
            window_ms=settings.reorder_window_ms,
        )
        self._held = Held()
        self._unshipped: dict[bytes, Unshipped] = {}
        self._vanished: set[bytes] = set()
        self._sent_bins: dict[bytes, Sent] = {}
        self._number = 0
        self._last_change: tuple[bytes, DeletedImage | None] | None = None
        self._marks: deque[tuple[int, int]] = deque()
        self._flushes: list[FlushMark] = []
        self._sending: dict[int, Outgoing] = {}

    # ------------------------------------------------------------------ changes in
    def on_change(self, namespace: str, digest: bytes, kind: ChangeKind, deleted: DeletedImage | None) -> None:
        """The node's change listener."""
        self._note(digest, kind, deleted, unsettled=digest in self._vanished)
        self._vanished.discard(digest)
        self._wake()

    def recover(self, since_ms: int, *, unsettled_from_ms: int | None = None) -> int:
        """Queue once more every record and remembered delete changed at or after `since_ms`; answers how many.

        Current images in the order of their last update, as a real recovery cannot bring back versions in between.
        unsettled_from_ms: from here on nothing is known to have been shipped, so expiries count too.
        """
        queued = 0
        for image in self._source.changes_since(since_ms):
            if isinstance(image, RecordImage):
                queued += self._note(image.digest, "write", None, reshipped=True)
            else:
                unsettled = unsettled_from_ms is not None and image.lut_ms >= unsettled_from_ms
                queued += self._note(image.digest, image.kind, image, unsettled=unsettled, reshipped=True)
        if queued:
            self._wake()
        return queued

    def _note(
        self, digest: bytes, kind: ChangeKind, deleted: DeletedImage | None, *, unsettled: bool = False, reshipped: bool = False
    ) -> bool:
        unshipped = self._unshipped.get(digest)
        number = self._number + 1
        now_ms = self._clock_ms()
        if kind != "write" and (sent := self._sent_bins.get(digest)) is not None:
            # All bins of a record that is created anew have changed, and nulls tell of those it has no longer: no message may
            # tell of an expiry, nor of a delete when the record is there again by then.
            self._sent_bins[digest] = sent._replace(bins=dict.fromkeys(sent.bins, UNSENT))
        if not self._queue.put(
            digest, kind, deleted, number, now_ms, unsettled=unsettled or unshipped is not None, reshipped=reshipped
        ):
            return False
        self._number = number
        self.counters.changes += 1
        self._last_change = digest, deleted
        if unshipped is None:
            self._unshipped[digest] = Unshipped(number, number, now_ms)
        else:
            unshipped.last = number
        return True

    # ------------------------------------------------------------------ messages out
    def take(self, limit: int) -> list[Outgoing]:
        """About `limit` messages that are due, in sending order; each is answered by `delivered` or `failed`."""
        if self.paused:
            return []
        now_ms = self._clock_ms()
        out: list[Outgoing] = []
        while len(out) < limit and (held := self._held.take(now_ms)) is not None:
            out.append(held)
        examined = 0
        while len(out) < limit and examined < limit and (pending := self._queue.take(now_ms)) is not None:
            examined += 1
            outgoing = self._read(pending, now_ms)
            if outgoing is not None:
                out.append(outgoing)
        for outgoing in out:
            self._sending[id(outgoing)] = outgoing
        self.in_flight += len(out)
        return out

    def next_due_ms(self) -> float | None:
        """Milliseconds until something is due; None when nothing waits."""
        if self.paused:
            return None
        times = [at for at in (self._queue.next_due_ms(), self._held.next_release_ms()) if at is not None]
        return max(0.0, min(times) - self._clock_ms()) if times else None

    def delivered(self, outgoing: Outgoing) -> None:
        """Kafka has the message."""
        self._answered(outgoing)
        if outgoing.covers is None:
            self.counters.duplicates += 1
            return
        self.counters.shipped += 1
        self.counters.reordered += outgoing.held
        self.counters.overtaken += outgoing.overtaken
        self.counters.reshipped += outgoing.reshipped
        sent = self._sent_bins.get(outgoing.digest)
        if outgoing.gone and sent is not None and all(particle == UNSENT for particle in sent.bins.values()):
            del self._sent_bins[outgoing.digest]
        self._settle(outgoing.digest, outgoing.covers)

    def failed(self, outgoing: Outgoing, *, why: str, permanent: bool = False) -> None:
        """Kafka did not take the message: the record is queued again, or given up and counted when repeating cannot help."""
        self._answered(outgoing)
        if outgoing.covers is None:
            self.counters.failed += 1
        elif permanent:
            self._skip(outgoing.digest, outgoing.covers, why)
        else:
            self.counters.failed += 1
            sent = self._sent_bins.get(outgoing.digest)
            if sent is not None:
                self._sent_bins[outgoing.digest] = sent._replace(bins={**sent.bins, **dict.fromkeys(outgoing.bins, UNSENT)})
            unshipped = self._unshipped.get(outgoing.digest)
            # A newer change of the record is queued or on its way, and will carry this one too.
            if unshipped is not None and unshipped.last == outgoing.covers:
                kind: ChangeKind = "delete" if outgoing.deleted else "write"
                self._queue.put(outgoing.digest, kind, outgoing.deleted, unshipped.last, self._clock_ms())

    def _read(self, pending: Pending, now_ms: float) -> Outgoing | None:
        digest = pending.digest
        image = self._source.image(digest)
        if image is not None:
            change = write_of(image, self._bins_of(image))
        elif pending.deleted is not None:
            change = delete_of(pending.deleted)
        else:
            self.counters.gone += 1
            self._vanished.add(digest)
            self._settle(digest, pending.number)
            return None
        try:
            message = self._format.encode(change)
        except Unserialisable as error:
            self._skip(digest, pending.number, str(error))
            return None
        self._held.overtake(digest)
        fate = self._disorder.fate(change)
        waiting = [flush for flush in self._flushes if digest in flush.digests]
        if waiting:
            # Somebody waits for this record: nothing is held back any more, but a repetition stays one.
            fate = Fate(0.0, None if fate.repeat_ms is None else 0.0)
        if fate.repeat_ms is not None:
            again = Outgoing(digest, message, None)
            self._held.put(again, now_ms + fate.hold_ms + fate.repeat_ms)
            for flush in waiting:
                flush.messages.add(id(again))
        outgoing = Outgoing(digest, message, pending.number, pending.deleted, reshipped=pending.reshipped)
        if self.settings.bin_policy == "only-changed":
            outgoing.bins, outgoing.gone = tuple(change.bins), change.op == "delete"
        if fate.hold_ms:
            outgoing.held = True
            self._held.put(outgoing, now_ms + fate.hold_ms)
            return None
        return outgoing

    def _bins_of(self, image: RecordImage) -> Mapping[str, Particle | None] | None:
        """The bins to ship under the bin policy; None for all."""
        if self.settings.bin_policy == "all":
            return None
        if self.settings.bin_policy == "no-bins":
            return {}
        # Compared with what was shipped last, so a burst gives the union of its changes.
        sent = self._sent_bins.get(image.digest)
        before: Mapping[str, Particle] = {} if sent is None else sent.bins
        if sent is not None and _expired_between(sent, image):
            before = dict.fromkeys(before, UNSENT)
        self._sent_bins[image.digest] = Sent(image.bins, image.generation, image.exp_s)
        changed: dict[str, Particle | None] = {n: particle for n, particle in image.bins.items() if before.get(n) != particle}
        changed.update((name, None) for name in before if name not in image.bins)
        return changed

    # ------------------------------------------------------------------ accounts
    def advance(self) -> int | None:
        """Move the ship position forward and give it: every change before it, in Unix ms, was delivered. None: unknown yet."""
        if (
            self._last_change is not None
            and len(self._marks) < MAX_MARKS
            and (not self._marks or self._marks[-1][0] < self._number)
        ):
            digest, deleted = self._last_change
            image = self._source.image(digest)
            # Luts never go backwards, so the newest change's is the greatest. Its record may be gone: then wait for another.
            if image is not None or deleted is not None:
                lut_ms = image.lut_ms if image is not None else deleted.lut_ms if deleted is not None else 0
                self._marks.append((self._number, lut_ms))
        oldest = min((entry.first for entry in self._unshipped.values()), default=self._number + 1)
        while self._marks and self._marks[0][0] < oldest:
            self.position_ms = max(self.position_ms or 0, self._marks.popleft()[1])
        return self.position_ms

    def flush(self) -> FlushMark:
        """Make everything that waits due at once, also what is held back; the mark tells when it has arrived."""
        now_ms = self._clock_ms()
        self._queue.expedite(now_ms)
        self._held.expedite(now_ms)
        mark = FlushMark(
            {digest: entry.last for digest, entry in self._unshipped.items()},
            {id(outgoing) for outgoing in self._held} | set(self._sending),
        )
        self._flushes = [flush for flush in self._flushes if flush.left] + [mark]
        self._wake()
        return mark

    @property
    def empty(self) -> bool:
        """Whether nothing is queued, held back or unanswered."""
        return not self._queue and not self._held and not self._sending and not self._unshipped

    def status(self) -> dict[str, int | str | bool]:
        """Counters and depths for the info command; lag_ms is the age of the oldest change that is not delivered."""
        oldest = min((entry.since_ms for entry in self._unshipped.values()), default=None)
        counters = self.counters
        return {
            "ns": self.settings.namespace,
            "topic": self.settings.topic,
            "format": self.settings.format,
            "paused": self.paused,
            "changes": counters.changes,
            "coalesced": self._queue.coalesced,
            "shipped": counters.shipped,
            "duplicates": counters.duplicates,
            "reordered": counters.reordered,
            "overtaken": counters.overtaken,
            "reshipped": counters.reshipped,
            "skipped": counters.skipped,
            "gone": counters.gone,
            "failed": counters.failed,
            "queued": len(self._queue),
            "held": len(self._held),
            "in_flight": self.in_flight,
            "lag_ms": 0 if oldest is None else int(self._clock_ms() - oldest),
            "position_ms": self.position_ms or 0,
        }

    def _answered(self, outgoing: Outgoing) -> None:
        self.in_flight -= 1
        del self._sending[id(outgoing)]
        for flush in self._flushes:
            flush.messages.discard(id(outgoing))

    def _skip(self, digest: bytes, number: int, why: str) -> None:
        self.counters.skipped += 1
        self.counters.reasons[why] += 1
        self._settle(digest, number)

    def _settle(self, digest: bytes, covers: int) -> None:
        unshipped = self._unshipped.get(digest)
        if unshipped is not None:
            if unshipped.last <= covers:
                del self._unshipped[digest]
            elif unshipped.first <= covers:
                unshipped.first = covers + 1
                unshipped.since_ms = self._clock_ms()
        for flush in self._flushes:
            if flush.digests.get(digest, covers + 1) <= covers:
                del flush.digests[digest]


def _expired_between(sent: Sent, image: RecordImage) -> bool:
    """Whether the record shipped last had expired, unnoticed so far, when the present one was created."""
    return bool(sent.exp_s) and sent.exp_s * 1000 <= image.lut_ms and image.generation <= sent.generation + 1


__all__ = ["Counters", "FlushMark", "Lane"]
