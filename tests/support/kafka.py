"""Kafka for tests: produce, read back, and wait; against any broker address."""

import time
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

Headers = Sequence[tuple[str, bytes]]


class Message(NamedTuple):
    """One message as it lies in the topic."""

    key: bytes | None
    value: bytes | None
    partition: int
    offset: int
    timestamp_ms: int
    headers: Headers


def produce(
    bootstrap: str,
    topic: str,
    messages: Iterable[tuple[bytes | None, bytes | None]],
    *,
    partition: int | None = None,
    headers: Headers | None = None,
    timeout_s: float = 30.0,
) -> int:
    """Send (key, value) pairs and wait until all are acknowledged; returns how many. Without `partition`, the key decides.

    Fails, with the broker's words, when one is refused.
    """
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 5, "acks": "all", "message.max.bytes": 16_000_000})
    refused: list[str] = []
    sent = 0
    where = {} if partition is None else {"partition": partition}
    for key, value in messages:
        while True:
            try:
                producer.produce(
                    topic,
                    key=key,
                    value=value,
                    headers=list(headers or ()),
                    on_delivery=lambda error, _: refused.append(str(error)) if error else None,
                    **where,
                )
                break
            except BufferError:
                producer.poll(0.1)
        sent += 1
        if sent % 1000 == 0:
            producer.poll(0)
    left = producer.flush(timeout_s)
    assert not refused and not left, f"{len(refused)} refused, {left} unacknowledged of {sent}: {refused[:3]}"
    return sent


def end_offsets(bootstrap: str, topic: str, *, timeout_s: float = 10.0) -> dict[int, int]:
    """Per partition, the offset the next message will get."""
    return {partition: high for partition, (_, high) in _watermarks(bootstrap, topic, timeout_s).items()}


def read_all(bootstrap: str, topic: str, *, at_least: int = 0, timeout_s: float = 30.0) -> list[Message]:
    """Everything in the topic now, ordered by partition and offset; waits until there are `at_least` messages."""
    wait_for_messages(bootstrap, topic, at_least, timeout_s=timeout_s)
    marks = _watermarks(bootstrap, topic, timeout_s)
    missing = {partition: high for partition, (low, high) in marks.items() if high > low}
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "tests-read-all", "enable.auto.commit": False})
    found: list[Message] = []
    deadline = time.monotonic() + timeout_s
    try:
        consumer.assign([TopicPartition(topic, partition, marks[partition][0]) for partition in missing])
        while missing:
            assert time.monotonic() < deadline, f"{topic}: partitions {sorted(missing)} not read to their end in {timeout_s} s"
            for message in consumer.consume(num_messages=1000, timeout=0.2):
                if message.error():
                    raise KafkaException(message.error())
                partition, offset = message.partition(), message.offset()
                assert partition is not None and offset is not None
                found.append(
                    Message(message.key(), message.value(), partition, offset, message.timestamp()[1], message.headers() or [])
                )
                if offset + 1 >= missing.get(partition, 0):
                    missing.pop(partition, None)
    finally:
        consumer.close()
    return sorted(found, key=lambda message: (message.partition, message.offset))


def wait_for_messages(bootstrap: str, topic: str, at_least: int, *, timeout_s: float = 30.0) -> int:
    """Wait until the topic holds `at_least` messages; returns how many it holds."""
    deadline = time.monotonic() + timeout_s
    while True:
        held = sum(high - low for low, high in _watermarks(bootstrap, topic, timeout_s).values())
        if held >= at_least:
            return held
        assert time.monotonic() < deadline, f"{topic}: {held} of {at_least} messages after {timeout_s} s"
        time.sleep(0.05)


def _watermarks(bootstrap: str, topic: str, timeout_s: float) -> dict[int, tuple[int, int]]:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "tests-watermarks", "enable.auto.commit": False})
    try:
        known = consumer.list_topics(topic, timeout=timeout_s).topics[topic]
        assert not known.error, f"{topic}: {known.error}"
        return {
            partition: consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=timeout_s)
            for partition in known.partitions
        }
    finally:
        consumer.close()


__all__ = ["Message", "end_offsets", "produce", "read_all", "wait_for_messages"]
