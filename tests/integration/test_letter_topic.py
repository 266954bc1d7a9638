"""Dead letters in a real Kafka topic: every letter, under the same name each time, with all that is known about it."""

from datetime import UTC, datetime
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from schemas.errors import Retryable
from sinks.kafka_letters import LetterTopic
from tests.support.fixtures_stack import KafkaUnderTest
from tests.support.kafka import read_all

pytestmark = pytest.mark.stack

LETTER: dict[str, Any] = {
    "flow": "f", "lane": "bulk", "output": None, "epoch": "e", "batch_id": 7, "code": "D108", "detail": "größer als 1",
    "topic": "xdr.t", "partition": 3, "offset": 42, "element": 0,
    "kafka_timestamp": datetime(2026, 3, 1, 12, 0, 0, 5000, tzinfo=UTC), "key": b"\x00k", "value": b"\xff{",
    "headers": [{"key": "from", "value": b"ap"}, {"key": "none", "value": None}], "format": "json", "format_guess": None,
    "namespace": None, "digest": b"\x01" * 20, "seen_at": datetime(2026, 3, 2, tzinfo=UTC),
}  # fmt: skip


def test_letters_arrive_with_their_name_and_all_that_is_known(kafka_broker: KafkaUnderTest, topic: str) -> None:
    letters = LetterTopic(topic, {"bootstrap.servers": kafka_broker.address}, 30.0)
    refused = {**LETTER, "output": "mirror", "code": "D205", "headers": None}
    assert letters.send([LETTER, refused]) == 2
    assert letters.send([LETTER]) == 1, "a repeated batch"
    found = read_all(kafka_broker.address, topic, at_least=3)
    assert sorted(message.key or b"" for message in found) == [b"xdr.t/3/42/0/@decode"] * 2 + [b"xdr.t/3/42/0/mirror"]
    first, again = (message for message in found if message.key == b"xdr.t/3/42/0/@decode")
    assert first.value == b"\xff{" and first.partition == again.partition and list(first.headers) == list(again.headers)
    assert dict(first.headers) == {
        "millrace.id": b"xdr.t/3/42/0/@decode", "millrace.code": b"D108", "millrace.detail": "größer als 1".encode(),
        "millrace.topic": b"xdr.t", "millrace.partition": b"3", "millrace.offset": b"42", "millrace.element": b"0",
        "millrace.flow": b"f", "millrace.lane": b"bulk", "millrace.epoch": b"e", "millrace.batch_id": b"7",
        "millrace.format": b"json", "millrace.timestamp_ms": b"1772366400005", "millrace.key": b"\x00k",
        "millrace.digest": b"AQEBAQEBAQEBAQEBAQEBAQEBAQE=", "from": b"ap", "none": None,
    }  # fmt: skip


def test_what_the_topic_cannot_hold_is_sent_without_its_value(kafka_broker: KafkaUnderTest, topic: str) -> None:
    name = f"{topic}-small"
    small = NewTopic(name, num_partitions=1, config={"max.message.bytes": "2000"})
    admin = AdminClient({"bootstrap.servers": kafka_broker.address})
    for future in admin.create_topics([small]).values():
        future.result()
    letters = LetterTopic(name, {"bootstrap.servers": kafka_broker.address}, 30.0)
    large = {**LETTER, "offset": 43, "value": bytes(range(256)) * 40}
    assert letters.send([LETTER, large, {**LETTER, "offset": 44}]) == 3
    found = {message.key: message for message in read_all(kafka_broker.address, name, at_least=3)}
    left_out = found[b"xdr.t/3/43/0/@decode"]
    assert left_out.value is None and dict(left_out.headers)["millrace.value_left_out"] == b"10240"
    assert found[b"xdr.t/3/44/0/@decode"].value == LETTER["value"]


def test_brokers_that_do_not_answer_leave_the_batch_to_be_repeated() -> None:
    letters = LetterTopic("nowhere", {"bootstrap.servers": "127.0.0.1:1"}, 2.0)
    with pytest.raises(Retryable, match=r"E220.*topic nowhere"):
        letters.send([LETTER])
