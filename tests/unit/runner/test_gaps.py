"""Offsets without a message are told from messages nobody has read, by asking Kafka, and only when something is missing."""

import json
from collections.abc import Mapping, Sequence

import pytest

from pipelines.kafka_offsets import Offsets
from pipelines.reconcile.gaps import Gaps, account_gaps
from schemas.ledger import LedgerRow


def row(batch_id: int, start: int, end: int, messages: int) -> LedgerRow:
    counts = (messages, messages, 0, messages, messages, 0, 0, 0, 0, 0)
    first, last = (json.dumps({"t": {"0": at}}) for at in (start, end))
    return LedgerRow("f", "bulk", "history", "e", batch_id, "2026-01-01T00:00:00", *counts, 0.1, None, first, last)


class Kafka:
    """Holds messages at `offsets` of partition 0 of topic t, from `first` on."""

    def __init__(self, offsets: Sequence[int], first: int = 0) -> None:
        self.offsets, self.first, self.asked = offsets, first, 0

    def __call__(self) -> "Kafka":
        self.asked += 1
        return self

    def oldest(self, partitions: Mapping[str, Sequence[int]]) -> Offsets:
        return {"t": {0: self.first}}

    def messages(self, start: Offsets, end: Offsets) -> int:
        return sum(start["t"][0] <= offset < end["t"][0] for offset in self.offsets)


def settle(rows: Sequence[LedgerRow], end: int, kafka: Kafka) -> Gaps:
    return account_gaps(rows, {"t": {0: 0}}, {"t": {0: end}}, kafka)


def test_a_topic_without_gaps_is_not_asked() -> None:
    kafka = Kafka(range(10))
    assert settle([row(0, 0, 6, 6), row(1, 6, 10, 4)], 10, kafka) == Gaps()
    assert kafka.asked == 0


def test_the_ends_of_transactions_are_counted_apart() -> None:
    kafka = Kafka([0, 1, 2, 4, 5, 8])  # 3 and 9 end transactions; 6 and 7 were aborted
    assert settle([row(0, 0, 5, 4), row(1, 5, 10, 2)], 10, kafka) == Gaps(empty=4)


def test_a_message_that_was_not_read_is_missing_and_no_gap() -> None:
    kafka = Kafka([0, 1, 2, 4, 5, 8])
    assert settle([row(0, 0, 5, 3), row(1, 5, 10, 2)], 10, kafka) == Gaps(empty=4, missing=1)


def test_a_batch_without_an_account_is_missing() -> None:
    assert settle([row(0, 0, 5, 5)], 10, Kafka(range(10))) == Gaps(missing=5)
    assert settle([row(1, 5, 10, 4)], 10, Kafka(range(5, 10), first=5)) == Gaps(missing=6)


def test_what_kafka_no_longer_has_cannot_be_confirmed() -> None:
    kafka = Kafka([5, 8], first=5)
    rows = [row(0, 0, 5, 4), row(1, 5, 10, 2)]
    assert settle(rows, 10, kafka) == Gaps(empty=3, unconfirmed=1)
    assert settle(rows, 10, Kafka([], first=50)) == Gaps(unconfirmed=4)


def test_what_compaction_has_removed_since_is_not_missing() -> None:
    assert settle([row(0, 0, 5, 5), row(1, 5, 10, 4)], 10, Kafka([4, 9])) == Gaps(empty=1)


@pytest.mark.parametrize("read", [11, 12])
def test_more_messages_than_offsets_is_no_gap_either(read: int) -> None:
    assert settle([row(0, 0, 10, read)], 10, Kafka(range(10))) == Gaps(missing=10 - read)
