"""Transactions that keep readers waiting: told with numbers when they last, and once more when they are over.

A reader of committed messages ends at the last stable offset: the first offset of the oldest transaction still open. Whatever is
written behind it waits, other producers' messages included. A producer that died leaves its transaction open until its
transaction.timeout.ms is over (a minute unless set, 15 minutes at most unless the brokers allow more); one that stays open longer
hangs, and only an operator can end it (KIP-664).
"""

import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

from pipelines.kafka_offsets import Offsets
from pipelines.progress import duration

TOLD_AFTER_S = 60.0
"""The usual transaction.timeout.ms: a transaction older than this is no ordinary one."""


class Held(NamedTuple):
    """A partition whose reader waits: at `offset`, for `seconds`, with `waiting` offsets behind it."""

    topic: str
    partition: int
    offset: int
    waiting: int
    seconds: float

    def __str__(self) -> str:
        return (
            f"partition {self.partition} of topic {self.topic}: a transaction has been open for {duration(self.seconds)}; "
            f"nothing from offset {self.offset:,} on can be read, {self.waiting:,} offsets wait"
        )


class OpenTransactions:
    """What is held back, look by look. Tells each one after `told_after_s`, then each time it has lasted twice as long.

    told: called with "transaction_open" or "transaction_over", and the place held.
    """

    def __init__(
        self,
        told: Callable[[str, Held], None],
        told_after_s: float = TOLD_AFTER_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._told = told
        self._told_after_s = told_after_s
        self._clock = clock
        self._since: dict[tuple[str, int], tuple[int, float]] = {}
        self._next_s: dict[tuple[str, int], float] = {}

    def look(self, readable: Offsets, newest: Offsets) -> None:
        """Take one look at the broker: where reading ends, and where the partition does."""
        now = self._clock()
        held = set()
        for one in held_back(readable, newest):
            place = (one.topic, one.partition)
            offset, since = self._since.get(place, (one.offset, now))
            if offset != one.offset:  # another transaction now
                self._over(place, now)
                since = now
            held.add(place)
            self._since[place] = (one.offset, since)
            if now - since >= self._next_s.get(place, self._told_after_s):
                self._next_s[place] = 2 * max(now - since, self._told_after_s)
                self._told("transaction_open", one._replace(seconds=now - since))
        for place in set(self._since) - held:
            self._over(place, now)

    def _over(self, place: tuple[str, int], now: float) -> None:
        offset, since = self._since.pop(place)
        if self._next_s.pop(place, None) is not None:
            self._told("transaction_over", Held(*place, offset, 0, now - since))


def held_back(readable: Mapping[str, Mapping[int, int]], newest: Mapping[str, Mapping[int, int]]) -> list[Held]:
    """Every partition in which reading ends before the partition does; how long is not known from one look (0 s)."""
    return [
        Held(topic, partition, offset, newest[topic][partition] - offset, 0.0)
        for topic, offsets in sorted(readable.items())
        for partition, offset in sorted(offsets.items())
        if newest.get(topic, {}).get(partition, offset) > offset
    ]


__all__ = ["Held", "OpenTransactions", "TOLD_AFTER_S", "held_back"]
