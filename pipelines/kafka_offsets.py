"""What the broker says about a flow's topics: partitions, oldest and newest offsets. Reads only, no consumer group.

Spark's own lag metrics are measured when a batch is planned and are 0 without a rate limit, so lag is taken from here:
newest offset at the broker minus what a batch has done.
"""

import logging
import re
from collections.abc import Callable, Iterable, Mapping
from threading import Event, Thread
from typing import Any, NamedTuple

from confluent_kafka import KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

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
    """Oldest offset still there and next offset to be written, of every partition of the topics asked for."""

    oldest: Offsets
    newest: Offsets


class Broker:
    """Metadata requests to one cluster.

    Every call raises Retryable E220 when no broker answers within `timeout_s`, ConfigError E151 when the brokers refuse us.
    """

    def __init__(self, settings: Mapping[str, str], timeout_s: float = 10.0) -> None:
        self.address = settings["bootstrap.servers"]
        self.timeout_s = timeout_s
        self._last: KafkaError | None = None
        ours: dict[str, Any] = {"log_level": 0, "socket.timeout.ms": int(timeout_s * 1000), "error_cb": self._remember}
        self._admin = AdminClient({**settings, **ours}, logger=_LOG)

    def partitions(self, topics: Iterable[str]) -> dict[str, list[int]]:
        """Partition numbers by topic; a topic that does not exist is absent. Never creates one."""
        try:
            known = self._admin.list_topics(timeout=self.timeout_s).topics
        except KafkaException as error:
            raise self._judged(error) from error
        return {topic: sorted(known[topic].partitions) for topic in topics if topic in known and not known[topic].error}

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
        """Oldest and newest offset of the given partitions."""
        return Bounds(self._ask(partitions, OffsetSpec.earliest()), self._ask(partitions, OffsetSpec.latest()))

    def newest(self, partitions: Mapping[str, Iterable[int]]) -> Offsets:
        """The next offset to be written in each of the given partitions: one request per leader."""
        return self._ask(partitions, OffsetSpec.latest())

    def _ask(self, partitions: Mapping[str, Iterable[int]], spec: OffsetSpec) -> Offsets:
        wanted = {TopicPartition(topic, number): spec for topic, numbers in partitions.items() for number in numbers}
        if not wanted:
            return {}
        answer: Offsets = {}
        try:
            for position, future in self._admin.list_offsets(wanted, request_timeout=self.timeout_s).items():
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


class NewestOffsets:
    """The newest offsets of a flow's topics, fetched in the background every `every_s` seconds.

    told: called when the broker stops answering (False, why) and when it answers again (True, "").

    `value` is the last answer, None before the first one. While the broker is away it stands still: lag is a lower bound.
    """

    def __init__(
        self,
        broker: Broker,
        topics: Iterable[str],
        every_s: float = 2.0,
        told: Callable[[bool, str], None] = lambda answers, message: None,
    ) -> None:
        self.value: Offsets | None = None
        self._told = told
        self._broker = broker
        self._topics = list(topics)
        self._every_s = every_s
        self._stop = Event()
        self._thread = Thread(target=self._run, name="millrace-newest-offsets", daemon=True)

    def start(self) -> None:
        """Begin fetching. The thread ends with `stop` or with the process."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread; waits no longer than one request."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(self._broker.timeout_s + 1)

    def _run(self) -> None:
        answers = True
        while not self._stop.is_set():
            try:
                self.value = self._broker.newest(self._broker.partitions(self._topics))
                if not answers:
                    answers = True
                    self._told(True, "")
            except (Retryable, ConfigError) as error:
                if answers:
                    answers = False
                    self._told(False, str(error))
            self._stop.wait(self._every_s)


def count(offsets: Mapping[str, Mapping[int, int]], since: Mapping[str, Mapping[int, int]]) -> int:
    """Messages between two positions: the sum of `offsets` - `since`, partitions missing in `since` counted from 0."""
    return sum(
        max(0, offset - since.get(topic, {}).get(partition, 0))
        for topic, numbers in offsets.items()
        for partition, offset in numbers.items()
    )


__all__ = ["Bounds", "Broker", "NewestOffsets", "Offsets", "client_settings", "count"]
