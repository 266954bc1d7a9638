"""The broker while a flow runs, asked in the background: readable offsets for lag, and what an operator wants to be told."""

import time
from collections.abc import Callable, Iterable, Mapping
from threading import Event, Thread
from typing import Protocol

from pipelines.guards import more_partitions, require_same_topics
from pipelines.kafka_offsets import Broker, Offsets
from pipelines.open_transactions import TOLD_AFTER_S, Held, OpenTransactions
from schemas.errors import ConfigError, Retryable, Terminal


class Tell(Protocol):
    """How something is told: as `pipelines.progress.Report.event`."""

    def __call__(self, kind: str, message: str, **fields: object) -> None:
        """Tell it. kind: stable, for machines."""


class KafkaWatch:
    """A thread that looks at a flow's topics every `every_s` seconds.

    value: where reading ends now, the last answer; None before the first one. While the broker is away it stands still: lag is
           a lower bound.
    error: Terminal E432 when a topic was created again while the flow reads it: Spark alone would read on from the old offsets.

    Tells: kafka_away, kafka_back, partitions_added, transaction_open, transaction_over.
    """

    def __init__(
        self,
        broker: Broker,
        topics: Iterable[str],
        tell: Tell,
        every_s: float = 2.0,
        transactions_after_s: float = TOLD_AFTER_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.value: Offsets | None = None
        self.error: Terminal | None = None
        self._broker = broker
        self._topics = list(topics)
        self._tell = tell
        self._every_s = every_s
        self._transactions = OpenTransactions(self._transaction, transactions_after_s, clock)
        self._partitions: dict[str, list[int]] = {}
        self._ids: dict[str, str] = {}
        self._answers = True
        self._stop = Event()
        self._thread = Thread(target=self._run, name="millrace-kafka-watch", daemon=True)

    def start(self) -> None:
        """Begin asking."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread; waits no longer than one request."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(self._broker.timeout_s + 1)

    def look(self) -> None:
        """Ask once. A broker that does not answer is told once, and once when it answers again."""
        try:
            found = self._broker.partitions(self._topics)
            readable = self._broker.readable(found)
            self.value = readable
            self._transactions.look(readable, self._broker.newest(found))
            self._same_topics(found)
        except (Retryable, ConfigError) as error:
            if self._answers:
                self._answers = False
                self._tell("kafka_away", f"{error}; lanes wait, lag is not known", code=error.code)
        except Terminal as error:
            self.error = error
        else:
            if not self._answers:
                self._answers = True
                self._tell("kafka_back", "Kafka answers again")

    def _same_topics(self, found: Mapping[str, list[int]]) -> None:
        ids = self._broker.topic_ids(found)
        require_same_topics(self._ids, ids)
        self._ids |= ids
        for line in more_partitions(self._partitions, found):
            self._tell("partitions_added", line)
        self._partitions |= found

    def _transaction(self, kind: str, held: Held) -> None:
        if kind == "transaction_open":
            said = f"{held}. It ends with its producer's transaction.timeout.ms; see docs/kafka.md when it does not"
        else:
            said = f"partition {held.partition} of topic {held.topic}: the transaction open at offset {held.offset:,} has ended"
        self._tell(kind, said, **held._asdict())

    def _run(self) -> None:
        while not self._stop.is_set() and self.error is None:
            self.look()
            self._stop.wait(self._every_s)


__all__ = ["KafkaWatch", "Tell"]
