"""The traffic of a scenario: payments written to the source, and messages that nobody can read, each known to the oracle.

Runs in the harness's process, which no scenario kills. The account says of every record what the source has acknowledged; `bad`
holds what went to the topic directly, once the broker had acknowledged it.
"""

import threading
import time
from typing import Any

import aerospike
from confluent_kafka import Producer

from deploy.local.aerospike import Node
from deploy.simulate.account import Account
from deploy.simulate.operations import NEVER, Kind, Operation, RecordKey
from deploy.simulate.payments import Payments
from deploy.simulate.writer import Pace, Writer
from tests.chaos.matrix.site import SOURCE, TOPIC, Site, client_config

BAD_EVERY_S = 0.7
FRESH_SET = "fresh"


class Traffic:
    """Writes from `start` to `finish`, `rate` operations a second. bad: unreadable messages acknowledged so far."""

    def __init__(self, site: Site, seed: int, rate: int) -> None:
        self.account = Account()
        self.bad: list[bytes] = []
        self.error: BaseException | None = None
        self._source: Node = site.source
        self._kafka = site.broker.address
        self._seed = seed
        self._rate = rate
        self._number = 0
        self._fresh = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._write, name="traffic", daemon=True)
        self._spoiler = threading.Thread(target=self._spoil, name="bad-messages", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self.client: Any = aerospike.client(client_config(self._source).for_client()).connect()
        self._thread.start()
        self._spoiler.start()

    def finish(self) -> None:
        """End the traffic; returns when the outcome of every operation is known. Raises what went wrong."""
        self._stop.set()
        self._thread.join()
        self._spoiler.join()
        if self.error:
            raise self.error

    def write_fresh(self) -> tuple[str, str, int]:
        """One more write, apart from the traffic: (set, key, value of bin `rev`). It is in the account, too."""
        self._fresh += 1
        number = 1_000_000_000 + self._fresh
        key = RecordKey(FRESH_SET, f"fresh-{self._fresh}", True)
        writer = Writer(self.client, SOURCE, self.account, workers=1)
        writer.write(Operation(number, Kind.WRITE, key, "a fresh change", NEVER, {"n": self._fresh}))
        writer.finish()
        return FRESH_SET, str(key.user_key), number

    def _write(self) -> None:
        try:
            writer = Writer(self.client, SOURCE, self.account, workers=2)
            pace = Pace(self._rate)
            for operation in Payments(self._seed):
                if self._stop.is_set():
                    break
                pace.take()
                writer.write(operation)
            writer.finish()
        except BaseException as error:
            self.error = error

    def _spoil(self) -> None:
        producer = Producer(
            {"bootstrap.servers": self._kafka, "enable.idempotence": True, "message.timeout.ms": 120_000, "log_level": 0}
        )
        number = 0

        def delivered(error: object, message: Any) -> None:
            if error is None:
                self.bad.append(message.value())
            else:
                self.error = AssertionError(f"a bad message was not acknowledged, so nobody knows whether it is there: {error}")

        while not self._stop.wait(BAD_EVERY_S):
            number += 1
            producer.produce(TOPIC, f"no message {number}".encode(), f"bad-{number}".encode(), on_delivery=delivered)
            producer.poll(0)
        give_up = time.monotonic() + 130
        while len(producer) and time.monotonic() < give_up:
            producer.flush(1.0)


__all__ = ["Traffic"]
