"""Messages to Kafka: an idempotent producer with acks=all that never blocks the caller, and topics that exist.

A producer that has met a fatal error is replaced; what it had not delivered is reported as failed.
"""

from collections.abc import Callable, Sequence
from functools import partial

import structlog
from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka import Message as Report
from confluent_kafka.admin import AdminClient, NewTopic

from deploy.local.xdr.change import Message

MAX_MESSAGE_BYTES = 12 * 1024 * 1024
"""A record of 8 MiB, the most a server keeps, is a third longer as Base64."""
PERMANENT = frozenset({KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_MSG, KafkaError.INVALID_RECORD})
_log = structlog.get_logger(__name__)

Answer = Callable[[str | None, bool], None]
"""Called with None when the message was delivered, else with why not and whether repeating it cannot help."""


class Delivery:
    """Hands messages to Kafka. `send` and `poll` return at once; answers come inside `poll`, on the caller's thread."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._fatal: str | None = None
        self._producer = self._connect()

    def send(self, topic: str, message: Message, answer: Answer) -> bool:
        """Queue a message. False when the client's queue is full: poll, then try again."""
        try:
            self._producer.produce(topic, message.value, message.key, on_delivery=partial(_report, answer))
        except BufferError:
            return False
        except KafkaException as error:
            kind: KafkaError = error.args[0]
            if kind.fatal():
                self._fatal = kind.str()
            answer(kind.str(), kind.code() in PERMANENT)
        return True

    def poll(self) -> None:
        """Give out the answers that have come."""
        self._producer.poll(0)
        if self._fatal is not None:
            _log.warning("producer replaced after a fatal error", error=self._fatal)
            self._producer.purge()
            self._producer.flush(1.0)
            self._fatal = None
            self._producer = self._connect()

    def close(self) -> None:
        """Give up what is not delivered."""
        self._producer.purge()
        self._producer.flush(1.0)

    def _connect(self) -> Producer:
        return Producer(
            {
                "bootstrap.servers": self._bootstrap,
                "client.id": "millrace-xdr",
                "acks": "all",
                "enable.idempotence": True,
                # XDR keeps trying; giving a message up after a time would only queue it again.
                "message.timeout.ms": 0,
                "linger.ms": 5,
                "message.max.bytes": MAX_MESSAGE_BYTES,
                # As Kafka's own client chooses, so keys meet the partitions the connector's would.
                "partitioner": "murmur2_random",
                "reconnect.backoff.max.ms": 1000,
                "log_level": 3,
                "error_cb": self._on_error,
            }
        )

    def _on_error(self, error: KafkaError) -> None:
        if error.fatal():
            self._fatal = error.str()


def _report(answer: Answer, error: KafkaError | None, _report: Report) -> None:
    if error is None:
        answer(None, False)
    else:
        answer(error.str(), error.code() in PERMANENT)


def ensure_topics(bootstrap: str, topics: Sequence[tuple[str, int]], timeout_s: float = 2.0) -> str | None:
    """Create the topics, (name, partitions), that do not exist. Blocks. None when all exist, else what is in the way."""
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    wanted = [
        NewTopic(name, num_partitions=partitions, replication_factor=1, config={"max.message.bytes": str(MAX_MESSAGE_BYTES)})
        for name, partitions in topics
    ]
    problem = None
    try:
        for future in admin.create_topics(wanted, operation_timeout=timeout_s, request_timeout=timeout_s).values():
            try:
                future.result(timeout_s + 1.0)
            except KafkaException as error:
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    problem = str(error.args[0].str())
    except (KafkaException, TimeoutError) as error:
        problem = str(error)
    return problem


__all__ = ["Delivery", "ensure_topics"]
