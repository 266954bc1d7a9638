"""Offsets that hold no message: ends of transactions, what they aborted, what compaction removed. Kafka itself is asked.

A lane that has read fewer messages than offsets has either met such gaps or lost something, and its own account cannot tell the
two apart. So the same range is read once more with a plain consumer, which only counts. Nothing is asked when nothing is missing.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol
from uuid import uuid4

from confluent_kafka import Consumer, KafkaError, TopicPartition

from pipelines.kafka_offsets import Broker, Offsets, count
from schemas.errors import Retryable
from schemas.ledger import LedgerRow

_PATIENCE_S = 30.0


class Gaps(NamedTuple):
    """What became of the offsets that no batch counts as a message.

    empty:       Kafka confirms that they hold none. unconfirmed: Kafka no longer has their range, so nobody can say.
    missing:     the rest: messages that were not read, or batches without an account.
    """

    empty: int = 0
    unconfirmed: int = 0
    missing: int = 0


class Topics(Protocol):
    """Kafka as the account of gaps asks it."""

    def oldest(self, partitions: Mapping[str, Sequence[int]]) -> Offsets:
        """The oldest offset still there."""

    def messages(self, start: Offsets, end: Offsets) -> int:
        """How many messages a reader gets from `start` to `end` (exclusive)."""


def account_gaps(ledger: Sequence[LedgerRow], start: Offsets, end: Offsets, topics: Callable[[], Topics]) -> Gaps:
    """Settle every offset of [start, end) that is no message in `ledger`, the accounts of its batches. Raises as `topics` does.

    topics: called only when there is something to settle.
    """
    unread = count(end, since=start) - sum(row.messages for row in ledger)
    if unread <= 0:
        return Gaps(missing=unread)
    kafka = topics()
    oldest = kafka.oldest({topic: sorted(partitions) for topic, partitions in end.items()})
    rows = sorted(ledger, key=lambda row: row.batch_id)
    first = next((place for place, row in enumerate(rows) if _still_there(_offsets(row.start_offsets), oldest)), len(rows))
    unconfirmed = sum(_span(row) - row.messages for row in rows[:first])
    if first == len(rows):
        return Gaps(unconfirmed=unconfirmed, missing=unread - unconfirmed)
    since = _offsets(rows[first].start_offsets)
    there = {topic: {number: since.get(topic, {}).get(number, 0) for number in ends} for topic, ends in end.items()}
    read = sum(row.messages for row in rows[first:])
    visible = kafka.messages(there, end)
    # Fewer than were read: compaction has removed some since.
    empty = count(end, since=there) - max(visible, read)
    return Gaps(empty, unconfirmed, missing=unread - unconfirmed - empty)


def _offsets(text: str) -> Offsets:
    return {topic: {int(number): int(offset) for number, offset in ends.items()} for topic, ends in json.loads(text).items()}


def _span(row: LedgerRow) -> int:
    return count(_offsets(row.end_offsets), since=_offsets(row.start_offsets))


def _still_there(start: Offsets, oldest: Offsets) -> bool:
    return all(offset >= oldest.get(topic, {}).get(number, 0) for topic, ends in start.items() for number, offset in ends.items())


class KafkaTopics:
    """The flow's own brokers. settings: of the C client. committed: as the flow reads."""

    def __init__(self, settings: Mapping[str, str], *, committed: bool) -> None:
        self._settings = dict(settings)
        self._isolation = "read_committed" if committed else "read_uncommitted"

    def oldest(self, partitions: Mapping[str, Sequence[int]]) -> Offsets:
        """See Topics. Raises Retryable E220, ConfigError E151."""
        return Broker(self._settings).bounds(partitions).oldest

    def messages(self, start: Offsets, end: Offsets) -> int:
        """See Topics. Raises Retryable E220 when the brokers stop answering."""
        left = {
            (topic, number): stop for topic, ends in end.items() for number, stop in ends.items() if stop > start[topic][number]
        }
        ours: dict[str, Any] = {
            "group.id": f"millrace-reconcile-{uuid4()}",
            "enable.auto.commit": False,
            "enable.partition.eof": True,  # a range that ends with a transaction's end has no last message
            "auto.offset.reset": "error",
            "isolation.level": self._isolation,
            "log_level": 0,
        }
        consumer = Consumer({**self._settings, **ours})
        found, heard = 0, time.monotonic()
        try:
            consumer.assign([TopicPartition(topic, number, start[topic][number]) for topic, number in left])
            while left:
                for message in consumer.consume(num_messages=10_000, timeout=0.5):
                    error = message.error()
                    if error is not None and error.code() != KafkaError._PARTITION_EOF:
                        raise Retryable("E220", f"{self._settings['bootstrap.servers']}: {error.str()}")
                    heard = time.monotonic()
                    place, offset = (message.topic() or "", message.partition() or 0), message.offset() or 0
                    if error is None and offset < left.get(place, 0):
                        found += 1
                    if error is not None or offset + 1 >= left.get(place, 0):
                        left.pop(place, None)
                if time.monotonic() - heard > _PATIENCE_S:
                    raise Retryable("E220", f"no message came from {self._settings['bootstrap.servers']} in {_PATIENCE_S:g} s")
        finally:
            consumer.close()
        return found


__all__ = ["Gaps", "KafkaTopics", "Topics", "account_gaps"]
