import json
from pathlib import Path

import pytest
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import ClusterMetadata, TopicMetadata

from pipelines.guards import (
    TOPICS_FILE,
    LanePosition,
    check_kafka,
    more_partitions,
    require_offsets,
    require_partitions,
    require_same_topics,
    require_topics,
)
from pipelines.kafka_offsets import Bounds, Broker, client_settings, count
from schemas.errors import ConfigError, Retryable, Terminal
from tests.support.kafka_broker import BrokerDouble

FAST = LanePosition("fast", needs={"t": {0: 100, 1: 5}}, planned={"t": {0: 120, 1: 5}})
NEW = LanePosition("bulk", None, None)


def bounds(oldest: tuple[int, ...], newest: tuple[int, ...]) -> Bounds:
    ends = {"t": dict(enumerate(newest))}
    return Bounds({"t": dict(enumerate(oldest))}, ends, ends)


def refused(error: pytest.ExceptionInfo[Terminal] | pytest.ExceptionInfo[ConfigError]) -> str:
    return str(error.value)


def test_a_position_the_topic_still_holds_is_fine() -> None:
    require_offsets([FAST], bounds((100, 0), (120, 5)))
    require_partitions(FAST, {"t": [0, 1, 2]})
    require_topics(["t"], {"t": [0, 1]}, [FAST, NEW], "broker:9092")


def test_expired_messages_are_refused_with_their_number() -> None:
    with pytest.raises(Terminal) as error:
        require_offsets([FAST], bounds((1_101, 0), (5_000, 5)))
    assert error.value.code == "E431"
    assert "partition 0 of topic t: goes on at 100, oldest there is 1,101 (1,001 offsets gone)" in refused(error)


def test_everything_that_is_gone_is_told_at_once() -> None:
    slow = LanePosition("bulk", needs={"t": {0: 1_200, 1: 0}}, planned=None)
    with pytest.raises(Terminal) as error:
        require_offsets([FAST, slow], bounds((1_101, 7), (5_000, 9)))
    assert error.value.code == "E431"
    assert "lane fast has not read 1,003 offsets that are gone" in refused(error)
    assert "partition 1 of topic t: goes on at 5, oldest there is 7 (2 offsets gone)" in refused(error)
    assert "lane bulk has not read 7 offsets that are gone" in refused(error)
    assert "partition 0 of topic t: goes on at 1,200" not in refused(error)


def test_a_new_partition_that_was_never_read_whole_is_refused_as_spark_would() -> None:
    require_offsets([FAST], bounds((0, 0, 0), (120, 5, 9)))
    with pytest.raises(Terminal, match=r"E431.*partition 2 of topic t, which is new to it, begins at 40 instead of 0"):
        require_offsets([FAST], bounds((0, 0, 40), (120, 5, 90)))


def test_offsets_are_compared_with_what_is_written_not_with_what_is_committed() -> None:
    """A checkpoint that has read uncommitted messages stands behind an open transaction: the topic is the same one."""
    ends = {"t": {0: 120, 1: 5}}
    require_offsets([FAST], Bounds({"t": {0: 0, 1: 0}}, ends, {"t": {0: 50, 1: 5}}))


def test_added_partitions_are_told() -> None:
    assert more_partitions({"t": {0: 1, 1: 2}}, {"t": [0, 1], "u": [0]}) == []
    (line,) = more_partitions({"t": {0: 1, 1: 2}}, {"t": [0, 1, 2, 3]})
    assert "topic t has 4 partitions now, 2 before: partitions 2, 3 are read from the first message" in line


def test_the_cluster_and_its_topics_are_remembered_and_another_one_is_refused(tmp_path: Path) -> None:
    broker = BrokerDouble({"t": {0: (0, 120), 1: (0, 5), 2: (0, 0)}}, cluster="first", ids={"t": "a"})
    told: list[str] = []
    check_kafka(broker, ["t"], [FAST], str(tmp_path), told.append)
    assert json.loads((tmp_path / TOPICS_FILE).read_text()) == {"cluster id": "first", "t": "a"}
    assert len(told) == 1 and "3 partitions now" in told[0]
    broker.cluster = "second"
    with pytest.raises(Terminal, match=r"E435.*its id was first at the last start and is second.*topics\.json"):
        check_kafka(broker, ["t"], [FAST], str(tmp_path))
    check_kafka(broker, ["t"], [NEW], str(tmp_path))  # nothing was read: nothing to mix
    assert json.loads((tmp_path / TOPICS_FILE).read_text())["cluster id"] == "second"


def test_a_file_of_topics_without_a_cluster_is_completed(tmp_path: Path) -> None:
    (tmp_path / TOPICS_FILE).parent.mkdir()
    (tmp_path / TOPICS_FILE).write_text('{"t": "a"}')
    broker = BrokerDouble({"t": {0: (0, 120), 1: (0, 5)}}, cluster="first", ids={"t": "a"})
    check_kafka(broker, ["t"], [FAST], str(tmp_path), remember=False)
    assert json.loads((tmp_path / TOPICS_FILE).read_text()) == {"t": "a"}
    check_kafka(broker, ["t"], [FAST], str(tmp_path))
    assert json.loads((tmp_path / TOPICS_FILE).read_text()) == {"cluster id": "first", "t": "a"}
    broker.ids = {"t": "b"}
    with pytest.raises(Terminal, match="E432"):
        check_kafka(broker, ["t"], [FAST], str(tmp_path))


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (KafkaError.LEADER_NOT_AVAILABLE, Retryable),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, ConfigError),
        (KafkaError.UNKNOWN_TOPIC_OR_PART, None),
    ],
)
def test_a_topic_without_a_leader_is_no_missing_topic(
    code: int, expected: type[Exception] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While brokers restart a topic may have no leader for a moment: that is waited for, never taken for a topic that is gone."""
    known, topic = ClusterMetadata(), TopicMetadata()
    topic.error = KafkaError(code)
    known.topics = {"t": topic}
    broker = Broker({"bootstrap.servers": "127.0.0.1:1"}, 0.1)
    monkeypatch.setattr(broker._admin, "list_topics", lambda timeout: known)
    if expected is None:
        assert broker.partitions(["t"]) == {}
    else:
        with pytest.raises(expected):
            broker.partitions(["t"])


@pytest.mark.parametrize(
    "code", [KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.COORDINATOR_NOT_AVAILABLE, KafkaError._TRANSPORT]
)
def test_a_broker_that_restarts_is_asked_again(code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    class Refused:
        def result(self) -> object:
            raise KafkaException(KafkaError(code))

    broker = Broker({"bootstrap.servers": "127.0.0.1:1"}, 0.1)
    monkeypatch.setattr(broker._admin, "list_offsets", lambda wanted, **_: dict.fromkeys(wanted, Refused()))
    with pytest.raises(Retryable, match="E220"):
        broker.bounds({"t": [0]})


@pytest.mark.parametrize(
    ("code", "found"),
    [
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, {"t": None}),
        (KafkaError.UNSUPPORTED_VERSION, {"t": None}),
        (KafkaError._TIMED_OUT, None),
    ],
)
def test_a_policy_that_cannot_be_seen_stops_no_start(
    code: int, found: dict[str, None] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Refused:
        def result(self) -> object:
            raise KafkaException(KafkaError(code))

    broker = Broker({"bootstrap.servers": "127.0.0.1:1"}, 0.1)
    monkeypatch.setattr(broker._admin, "describe_configs", lambda wanted, **_: dict.fromkeys(wanted, Refused()))
    if found is not None:
        assert broker.cleanup_policies(["t"]) == found
    else:
        with pytest.raises(Retryable, match="E220"):
            broker.cleanup_policies(["t"])


def test_a_topic_that_ends_before_the_plan_is_refused() -> None:
    with pytest.raises(Terminal) as error:
        require_offsets([FAST], bounds((0, 0), (119, 5)))
    assert error.value.code == "E432"
    assert "ends at offset 119" in refused(error) and "planned up to 120" in refused(error)


def test_a_topic_with_another_identity_is_refused_whatever_its_offsets_say() -> None:
    require_same_topics({"t": "a"}, {"t": "a", "new": "b"})
    with pytest.raises(Terminal, match=r"E432.*topic t was deleted and created again: its id was a .* is b"):
        require_same_topics({"t": "a"}, {"t": "b"})


def test_vanished_partitions_are_named() -> None:
    with pytest.raises(Terminal, match=r"E433.*topic t has 1 partitions, but lane fast has read partition 1"):
        require_partitions(FAST, {"t": [0]})
    with pytest.raises(Terminal, match=r"E433.*no longer names"):
        require_partitions(FAST, {"other": [0]})


def test_a_missing_topic_is_a_mistake_before_the_first_batch_and_a_loss_after() -> None:
    with pytest.raises(ConfigError, match=r"E150.*topic paymnts at broker:9092"):
        require_topics(["paymnts"], {}, [NEW], "broker:9092")
    with pytest.raises(Terminal, match=r"E430.*lane fast read from it"):
        require_topics(["t"], {}, [FAST, NEW], "broker:9092")


def test_lag_counts_partitions_nobody_has_read_yet() -> None:
    assert count({"t": {0: 10, 1: 7}}, since={"t": {0: 4}}) == 13
    assert count({"t": {0: 10}}, since={"t": {0: 12}}) == 0


def test_java_options_become_the_c_clients() -> None:
    settings = client_settings(
        "b:9093",
        {
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.jaas.config": 'scram.ScramLoginModule required username="me" password="p\\"w;d";',
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": "/ca.pem",
            "max.poll.records": "500",
        },
    )
    assert settings == {
        "bootstrap.servers": "b:9093",
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "me",
        "sasl.password": 'p"w;d',
        "ssl.ca.location": "/ca.pem",
    }


def test_a_java_keystore_is_refused_with_the_way_out() -> None:
    with pytest.raises(ConfigError, match="Java keystore") as error:
        client_settings("b:9093", {"ssl.truststore.location": "/trust.jks"})
    assert "PEM" in error.value.remedy
