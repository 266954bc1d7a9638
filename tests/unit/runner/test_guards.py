import pytest

from pipelines.guards import LanePosition, require_offsets, require_partitions, require_same_topics, require_topics
from pipelines.kafka_offsets import Bounds, client_settings, count
from schemas.errors import ConfigError, Terminal

FAST = LanePosition("fast", needs={"t": {0: 100, 1: 5}}, planned={"t": {0: 120, 1: 5}})
NEW = LanePosition("bulk", None, None)


def bounds(oldest: tuple[int, int], newest: tuple[int, int]) -> Bounds:
    return Bounds({"t": dict(enumerate(oldest))}, {"t": dict(enumerate(newest))})


def refused(error: pytest.ExceptionInfo[Terminal] | pytest.ExceptionInfo[ConfigError]) -> str:
    return str(error.value)


def test_a_position_the_topic_still_holds_is_fine() -> None:
    require_offsets(FAST, bounds((100, 0), (120, 5)))
    require_partitions(FAST, {"t": [0, 1, 2]})
    require_topics(["t"], {"t": [0, 1]}, [FAST, NEW], "broker:9092")


def test_expired_messages_are_refused_with_their_number() -> None:
    with pytest.raises(Terminal) as error:
        require_offsets(FAST, bounds((1_101, 0), (5_000, 5)))
    assert error.value.code == "E431"
    assert "lane fast goes on at offset 100 of partition 0 of topic t" in refused(error) and "1,001 messages are gone" in refused(
        error
    )


def test_a_topic_that_ends_before_the_plan_is_refused() -> None:
    with pytest.raises(Terminal) as error:
        require_offsets(FAST, bounds((0, 0), (119, 5)))
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
