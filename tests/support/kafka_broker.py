"""A broker's answers as data: what `pipelines.kafka_offsets.Broker` would say, changed by hand between two questions."""

from collections.abc import Iterable, Mapping

from pipelines.kafka_offsets import Bounds, Broker, Offsets
from schemas.errors import Retryable


class BrokerDouble(Broker):
    """Topics as {topic: {partition: (oldest, newest)}}.

    held: where reading ends before the partition does, as {(topic, partition): offset}. away: nobody answers.
    """

    def __init__(
        self,
        topics: Mapping[str, Mapping[int, tuple[int, int]]],
        cluster: str | None = None,
        ids: Mapping[str, str] | None = None,
        policies: Mapping[str, str | None] | None = None,
    ) -> None:
        self.address, self.timeout_s = "double:9092", 0.1
        self.topics = {topic: dict(partitions) for topic, partitions in topics.items()}
        self.cluster = cluster
        self.ids = dict(ids or {})
        self.policies = dict(policies or {})
        self.held: dict[tuple[str, int], int] = {}
        self.away = False

    def _answer(self) -> None:
        if self.away:
            raise Retryable("E220", "no answer from the double")

    def partitions(self, topics: Iterable[str]) -> dict[str, list[int]]:
        self._answer()
        return {topic: sorted(self.topics[topic]) for topic in topics if topic in self.topics}

    def cluster_id(self) -> str | None:
        self._answer()
        return self.cluster

    def topic_ids(self, topics: Iterable[str]) -> dict[str, str]:
        self._answer()
        return {topic: self.ids[topic] for topic in topics if topic in self.ids}

    def cleanup_policies(self, topics: Iterable[str]) -> dict[str, str | None]:
        self._answer()
        return {topic: self.policies.get(topic, "delete") for topic in topics}

    def newest(self, partitions: Mapping[str, Iterable[int]]) -> Offsets:
        self._answer()
        return {topic: {number: self.topics[topic][number][1] for number in numbers} for topic, numbers in partitions.items()}

    def readable(self, partitions: Mapping[str, Iterable[int]]) -> Offsets:
        ends = self.newest(partitions)
        return {t: {p: self.held.get((t, p), end) for p, end in numbers.items()} for t, numbers in ends.items()}

    def bounds(self, partitions: Mapping[str, Iterable[int]]) -> Bounds:
        oldest = {topic: {number: self.topics[topic][number][0] for number in numbers} for topic, numbers in partitions.items()}
        return Bounds(oldest, self.newest(partitions), self.readable(partitions))


__all__ = ["BrokerDouble"]
