"""What the broker says about a flow's topics: identity, settings, partitions, offsets. Reads only, no consumer group.

Spark's own lag metrics are measured when a batch is planned and are 0 without a rate limit, so lag is taken from here:
readable offset at the broker minus what a batch has done.

Offsets are places, not messages: a transaction takes one more for its end, an aborted one leaves nothing but used offsets, a
compacted topic has holes. A difference of offsets is therefore the most there can be, and never less than what there is.
"""

import logging
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple
from uuid import uuid4

from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, OffsetSpec

from schemas.errors import ConfigError, Retryable

Offsets = dict[str, dict[int, int]]
"""{topic: {partition: offset}}. As an end it is exclusive: the next offset to read."""

_LOG = logging.getLogger("millrace.kafka")
_SAME_NAME = frozenset(
    {
        "bootstrap.servers",
        "security.protocol",
        "ssl.endpoint.identification.algorithm",
        "ssl.key.password",
        "sasl.kerberos.service.name",
        "client.id",
        "socket.connection.setup.timeout.ms",
    }
)
_REFUSALS = frozenset(
    {
        KafkaError._AUTHENTICATION,
        KafkaError._SSL,
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    }
)
_MAY_PASS = frozenset(
    {
        KafkaError._TRANSPORT,
        KafkaError._TIMED_OUT,
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._DESTROY,
        KafkaError.REQUEST_TIMED_OUT,
        KafkaError.BROKER_NOT_AVAILABLE,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NOT_CONTROLLER,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.NETWORK_EXCEPTION,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
    }
)
_NO_SUCH_TOPIC = frozenset({KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC})
_JAAS_FIELD = re.compile(r"""\b(username|password)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)'|([^\s;"']+))""")


def client_settings(bootstrap_servers: str, options: Mapping[str, str]) -> dict[str, str]:
    """The C client's settings for the Java client's `options` (`kafka.` prefix taken off): same brokers, same credentials.

    PEM trust and key files and user names and passwords (SASL PLAIN and SCRAM) carry over; Java keystores cannot be read by the C
    client. Raises ConfigError E101 for those, naming the option to change.
    """
    settings = {"bootstrap.servers": bootstrap_servers}
    for name, value in options.items():
        if name in _SAME_NAME:
            settings[name] = str(value)
    if "sasl.mechanism" in options:
        settings["sasl.mechanism"] = str(options["sasl.mechanism"])
    for part in _JAAS_FIELD.finditer(str(options.get("sasl.jaas.config", ""))):
        text = next(group for group in part.groups()[1:] if group is not None)
        settings[f"sasl.{part[1]}"] = re.sub(r"\\(.)", r"\1", text)
    for store, location, inline in (
        ("truststore", "ssl.ca.location", "ssl.ca.pem"),
        ("keystore", "ssl.keystore.location", "ssl.certificate.pem"),
    ):
        if f"ssl.{store}.certificates" in options:
            settings[inline] = str(options[f"ssl.{store}.certificates"])
        if f"ssl.{store}.certificate.chain" in options:
            settings[inline] = str(options[f"ssl.{store}.certificate.chain"])
        if f"ssl.{store}.location" in options:
            if str(options.get(f"ssl.{store}.type", "JKS")).upper() not in ("PEM", "PKCS12"):
                raise ConfigError(
                    "E101",
                    f"kafka.ssl.{store}.location names a Java keystore, which only Java can read",
                    remedy=f"Convert it to PEM and set kafka.ssl.{store}.type: PEM; start-up checks and lag need it, too.",
                )
            if store == "keystore" and str(options.get("ssl.keystore.type", "")).upper() == "PEM":
                settings["ssl.certificate.location"] = settings["ssl.key.location"] = str(options["ssl.keystore.location"])
            else:
                settings[location] = str(options[f"ssl.{store}.location"])
    if "ssl.keystore.key" in options:
        settings["ssl.key.pem"] = str(options["ssl.keystore.key"])
    return settings


class Bounds(NamedTuple):
    """Of every partition of the topics asked for.

    oldest:   the oldest offset still there.
    newest:   the next offset to be written (high watermark).
    readable: where a reader ends (exclusive): the first offset of a transaction that is still open (last stable offset), or
              `newest` when there is none or when the flow reads uncommitted messages.
    """

    oldest: Offsets
    newest: Offsets
    readable: Offsets


class Broker:
    """Metadata requests to one cluster.

    committed: whether `readable` ends before transactions that are still open, as it does for a reader of committed messages.
    Every call raises Retryable E220 when no broker answers within `timeout_s` or one is about to become leader, ConfigError E151
    when the brokers refuse us.
    """

    def __init__(self, settings: Mapping[str, str], timeout_s: float = 10.0, *, committed: bool = True) -> None:
        self.address = settings["bootstrap.servers"]
        self.timeout_s = timeout_s
        self._settings = dict(settings)
        self._isolation = IsolationLevel.READ_COMMITTED if committed else IsolationLevel.READ_UNCOMMITTED
        self._last: KafkaError | None = None
        ours: dict[str, Any] = {"log_level": 0, "socket.timeout.ms": int(timeout_s * 1000), "error_cb": self._remember}
        self._admin = AdminClient({**settings, **ours}, logger=_LOG)

    def partitions(self, topics: Iterable[str]) -> dict[str, list[int]]:
        """Partition numbers by topic; a topic that does not exist is absent. Never creates one."""
        try:
            known = self._admin.list_topics(timeout=self.timeout_s).topics
        except KafkaException as error:
            raise self._judged(error) from error
        found: dict[str, list[int]] = {}
        for topic in topics:
            metadata = known.get(topic)
            problem = None if metadata is None else metadata.error
            if metadata is None or (problem is not None and problem.code() in _NO_SUCH_TOPIC):
                continue
            if problem is not None:  # no leader yet, or no right to look: not the same as no topic
                raise self._judged(KafkaException(problem))
            found[topic] = sorted(metadata.partitions)
        return found

    def cluster_id(self) -> str | None:
        """The identity a cluster is given when it is made; None when the broker tells none."""
        try:
            identity = self._admin.list_topics(timeout=self.timeout_s).cluster_id
        except KafkaException as error:
            raise self._judged(error) from error
        return None if identity is None else str(identity)

    def cleanup_policies(self, topics: Iterable[str]) -> dict[str, str | None]:
        """`cleanup.policy` of each topic, such as `delete`, `compact` or `compact,delete`; None where we may not look."""
        found: dict[str, str | None] = {}
        asked = [ConfigResource(ConfigResource.Type.TOPIC, topic) for topic in topics]
        for resource, future in self._admin.describe_configs(asked, request_timeout=self.timeout_s).items():
            try:
                found[resource.name] = str(future.result()["cleanup.policy"].value)
            except KafkaException as error:
                if error.args[0].code() in _MAY_PASS:
                    raise self._judged(error) from error
                found[resource.name] = None  # no right to, or a service that only speaks like Kafka
        return found

    def topics_matching(self, pattern: str) -> list[str]:
        """Names of existing topics that match the whole of a Java-style `pattern`."""
        try:
            known = self._admin.list_topics(timeout=self.timeout_s).topics
        except KafkaException as error:
            raise self._judged(error) from error
        return sorted(topic for topic in known if re.fullmatch(pattern, topic))

    def topic_ids(self, topics: Iterable[str]) -> dict[str, str]:
        """The identity Kafka gives a topic when it is created (KIP-516); brokers older than 2.8 have none and are left out."""
        names = list(topics)
        found: dict[str, str] = {}
        try:
            answers = self._admin.describe_topics(TopicCollection(names), request_timeout=self.timeout_s)
            for name, future in answers.items():
                identity = future.result().topic_id
                if identity is not None:
                    found[name] = str(identity)
        except KafkaException as error:
            raise self._judged(error) from error
        return found

    def bounds(self, partitions: Mapping[str, Iterable[int]]) -> Bounds:
        """Oldest, newest and readable offset of the given partitions.

        Asked in this order, so that `oldest` <= `readable` <= `newest` holds also while messages are written.
        """
        oldest = self._ask(partitions, OffsetSpec.earliest())
        readable = self.readable(partitions)
        return Bounds(oldest, self.newest(partitions), readable)

    def newest(self, partitions: Mapping[str, Iterable[int]]) -> Offsets:
        """The next offset to be written in each of the given partitions: one request per leader."""
        return self._ask(partitions, OffsetSpec.latest())

    def readable(self, partitions: Mapping[str, Iterable[int]]) -> Offsets:
        """Where reading ends now in each of the given partitions, see Bounds: one request per leader."""
        return self._ask(partitions, OffsetSpec.latest(), self._isolation)

    def message_time_ms(self, topic: str, partition: int, offset: int) -> int | None:
        """The timestamp of the first message at or after `offset`, committed or not; None when none comes in time."""
        ours: dict[str, Any] = {
            "group.id": f"millrace-look-{uuid4()}",
            "enable.auto.commit": False,
            "isolation.level": "read_uncommitted",
            "log_level": 0,
            "error_cb": self._remember,
        }
        consumer = Consumer({**self._settings, **ours}, logger=_LOG)
        try:
            consumer.assign([TopicPartition(topic, partition, offset)])
            message = consumer.poll(self.timeout_s)
            return None if message is None or message.error() else int(message.timestamp()[1])
        except KafkaException as error:
            raise self._judged(error) from error
        finally:
            consumer.close()

    def _ask(
        self,
        partitions: Mapping[str, Iterable[int]],
        spec: OffsetSpec,
        isolation: IsolationLevel = IsolationLevel.READ_UNCOMMITTED,
    ) -> Offsets:
        wanted = {TopicPartition(topic, number): spec for topic, numbers in partitions.items() for number in numbers}
        if not wanted:
            return {}
        answer: Offsets = {}
        try:
            answers = self._admin.list_offsets(wanted, request_timeout=self.timeout_s, isolation_level=isolation)
            for position, future in answers.items():
                answer.setdefault(position.topic, {})[position.partition] = future.result().offset
        except KafkaException as error:
            raise self._judged(error) from error
        return answer

    def _remember(self, error: KafkaError) -> None:
        """What the client says in the background: a refused login shows here only, the request itself just times out."""
        self._last = error

    def _judged(self, error: KafkaException) -> Retryable | ConfigError:
        cause: KafkaError = error.args[0]
        for said in (cause, self._last):
            if said is not None and said.code() in _REFUSALS:
                return ConfigError("E151", f"{self.address}: {said.str()}")
        why = f"{cause.str()}; {self._last.str()}" if self._last is not None else cause.str()
        return Retryable("E220", f"no answer from {self.address} within {self.timeout_s:g} s: {why}")


def count(offsets: Mapping[str, Mapping[int, int]], since: Mapping[str, Mapping[int, int]]) -> int:
    """Offsets between two positions: the sum of `offsets` - `since`, partitions missing in `since` counted from 0.

    The most messages there can be between them: see the first lines of this module.
    """
    return sum(
        max(0, offset - since.get(topic, {}).get(partition, 0))
        for topic, numbers in offsets.items()
        for partition, offset in numbers.items()
    )


__all__ = ["Bounds", "Broker", "Offsets", "client_settings", "count"]
