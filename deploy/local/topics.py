"""Topics of any Kafka: is it there, create, delete through confluent_kafka's admin client."""

import time
from collections.abc import Mapping, Sequence
from typing import Any, cast

from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

from schemas.errors import Retryable


def metadata_problem(bootstrap: str, timeout_s: float = 5.0) -> str | None:
    """Why a metadata request to `bootstrap` fails; None when a broker answers. Never raises for an unreachable one."""
    try:
        metadata = _admin(bootstrap).list_topics(timeout=timeout_s)
    except KafkaException as problem:
        return str(problem.args[0].str())
    return None if metadata.brokers else "the answer names no broker"


def create_topics(
    bootstrap: str,
    topics: Sequence[str],
    *,
    partitions: int = 2,
    settings: Mapping[str, str] | None = None,
    timeout_s: float = 30.0,
) -> list[str]:
    """Create those of `topics` that do not exist, and wait until every partition can be used. Returns the created ones.

    settings: topic settings, for example {"retention.ms": "60000", "cleanup.policy": "delete"}.
    Raises:   Retryable E220 when the broker refuses or does not answer.
    """
    admin = _admin(bootstrap)
    wanted = [NewTopic(name, num_partitions=partitions, replication_factor=1, config=dict(settings or {})) for name in topics]
    created = []
    for name, future in admin.create_topics(wanted, request_timeout=timeout_s).items() if wanted else ():
        try:
            future.result()
            created.append(name)
        except KafkaException as problem:
            if problem.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise Retryable(
                    "E220", f"topic {name} cannot be created: {problem.args[0].str()}", address=bootstrap
                ) from problem
    _wait_for_leaders(admin, topics, timeout_s, bootstrap)
    return created


def delete_topics(bootstrap: str, topics: Sequence[str], *, timeout_s: float = 30.0) -> None:
    """Delete `topics`; one that does not exist is no error. Raises Retryable E220."""
    admin = _admin(bootstrap)  # Held: a client that is collected takes its requests with it.
    for name, future in admin.delete_topics(list(topics), request_timeout=timeout_s).items() if topics else ():
        try:
            future.result()
        except KafkaException as problem:
            if problem.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise Retryable(
                    "E220", f"topic {name} cannot be deleted: {problem.args[0].str()}", address=bootstrap
                ) from problem


def _wait_for_leaders(admin: AdminClient, topics: Sequence[str], timeout_s: float, bootstrap: str) -> None:
    """Until every partition answers an offset request: metadata names a leader a moment before the leader knows it is one."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            known = admin.list_topics(timeout=timeout_s).topics
            partitions = [TopicPartition(name, partition) for name in topics for partition in known[name].partitions]
            asked = dict.fromkeys(partitions, cast(OffsetSpec, OffsetSpec.latest()))
            for answer in admin.list_offsets(asked, request_timeout=timeout_s).values():
                answer.result()
        except (KeyError, KafkaException) as problem:
            if time.monotonic() > deadline:
                text = f"topics {', '.join(topics)} cannot be used after {timeout_s:.0f} s: {problem}"
                raise Retryable("E220", text, address=bootstrap) from problem
            time.sleep(0.05)
        else:
            return


def _admin(bootstrap: str) -> AdminClient:
    # What goes wrong comes back as an exception; librdkafka's own lines on stderr would only repeat it.
    settings: dict[str, Any] = {"bootstrap.servers": bootstrap, "log_level": 0, "error_cb": _ignore, "socket.timeout.ms": 10_000}
    return AdminClient(settings)


def _ignore(error: KafkaError) -> None:
    """For librdkafka's background errors."""


__all__ = ["create_topics", "delete_topics", "metadata_problem"]
