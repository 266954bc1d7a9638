"""The local broker is a real one: acknowledged messages survive a crash, topics are only made on request, settings count."""

from pathlib import Path

import pytest
from confluent_kafka import KafkaException, Producer

from deploy.local.kafka import class_archive, start_broker
from deploy.local.topics import create_topics, delete_topics, metadata_problem
from schemas.errors import ConfigError, Retryable
from tests.support.fixtures_stack import KafkaUnderTest
from tests.support.kafka import end_offsets, produce, read_all

pytestmark = pytest.mark.stack


def test_messages_come_back_with_key_headers_and_place(kafka_broker: KafkaUnderTest, topic: str) -> None:
    produce(kafka_broker.address, topic, [(b"k1", b"v1"), (None, b"v2"), (b"k3", None)], partition=1, headers=[("h", b"1")])
    messages = read_all(kafka_broker.address, topic, at_least=3)
    assert [(m.key, m.value, m.partition, m.offset) for m in messages] == [
        (b"k1", b"v1", 1, 0),
        (None, b"v2", 1, 1),
        (b"k3", None, 1, 2),
    ]
    assert messages[0].headers == [("h", b"1")]
    assert end_offsets(kafka_broker.address, topic) == {0: 0, 1: 3}


def test_a_misspelled_topic_is_not_created(kafka_broker: KafkaUnderTest, topic: str) -> None:
    if kafka_broker.broker is None:
        pytest.skip("a broker of your own may create topics on first use")
    errors: list[str] = []
    producer = Producer({"bootstrap.servers": kafka_broker.address, "message.timeout.ms": 3000, "log_level": 0})
    producer.produce(f"{topic}-x", b"v", on_delivery=lambda error, _: errors.append(error.name()))
    producer.flush(10)
    assert errors and errors[0] in ("_UNKNOWN_TOPIC", "UNKNOWN_TOPIC_OR_PART", "_MSG_TIMED_OUT"), errors


def test_creating_a_topic_twice_changes_nothing(kafka_broker: KafkaUnderTest, topic: str) -> None:
    assert create_topics(kafka_broker.address, [topic], partitions=9) == []
    assert end_offsets(kafka_broker.address, topic) == {0: 0, 1: 0}
    delete_topics(kafka_broker.address, [topic])
    delete_topics(kafka_broker.address, [topic])


def test_acknowledged_messages_survive_a_crash_on_the_same_address(tmp_path: Path) -> None:
    broker = start_broker(tmp_path / "kafka", settings={"num.partitions": "1"})
    try:
        create_topics(broker.address, ["kept"], partitions=1)
        produce(broker.address, "kept", [(b"k", str(i).encode()) for i in range(500)])
        assert broker.kill()
        assert not broker.process.alive
        assert metadata_problem(broker.address, 0.5)
        again = broker.restart()
        assert again.address == broker.address
        assert [m.value for m in read_all(again.address, "kept")] == [str(i).encode() for i in range(500)]
    finally:
        broker.stop()
    assert not broker.process.alive


def test_the_broker_starts_from_the_class_archive(kafka_broker: KafkaUnderTest) -> None:
    """`make setup` makes it; were it not used, only speed would tell."""
    if kafka_broker.broker is None:
        pytest.skip("needs the local broker's process")
    assert class_archive().exists(), "make setup did not make it"
    maps = Path(f"/proc/{kafka_broker.broker.process.pid}/maps").read_text()
    assert str(class_archive()) in maps, "the JVM has not mapped it: it was made with other jars or by another JVM"


def test_a_taken_port_is_named_before_anything_starts(tmp_path: Path, kafka_broker: KafkaUnderTest) -> None:
    taken = int(kafka_broker.address.rpartition(":")[2])
    if kafka_broker.broker is None:
        pytest.skip("needs the local broker's port")
    with pytest.raises(ConfigError, match=f"E141.*{taken}"):
        start_broker(tmp_path / "kafka", port=taken)


def test_a_broker_that_cannot_start_shows_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        start_broker(tmp_path / "kafka", settings={"log.retention.ms": "soon"}, timeout_s=60)
    assert refused.value.code == "E140"
    assert "soon" in refused.value.message


def test_topic_settings_reach_the_broker(kafka_broker: KafkaUnderTest) -> None:
    with pytest.raises(Retryable, match=r"retention\.ms"):
        create_topics(kafka_broker.address, ["bad-settings"], settings={"retention.ms": "later"})


def test_an_unreachable_broker_is_described_not_raised() -> None:
    assert metadata_problem("127.0.0.1:1", 0.5)
    with pytest.raises((KafkaException, AssertionError)):
        read_all("127.0.0.1:1", "nowhere", timeout_s=0.5)
