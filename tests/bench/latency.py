"""Change to visible: a sample of the changes is looked up in the mirror until it is there, by somebody who is not the flow."""

import threading
import time
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from confluent_kafka import Producer

from pipelines.flow.model import Flow
from schemas.digest import digest_of
from sinks.aerospike.connection import client_for
from tests.bench.machine import Steal
from tests.bench.workload import SET, message
from tests.support.flow_process import FlowProcess

SAMPLED_EVERY = 20
POLL_S = 0.02
"""Between two looks: up to so much is added to every latency. Looking every 5 ms took 0.07 of a core more from the flow."""
TOGETHER = 5
"""Changes made at one moment. A wait before each of a thousand a second took CPU from the flow."""
LINGER_MS = 5
"""As long as the local stack's own shipping gathers messages for a request. It is part of every latency."""
FIRST_KEY = 1 << 40


class Latency(NamedTuple):
    """Seconds from a change's last-update time to the moment a reader sees it.

    stolen, stolen_worst: the shares of the machine that its host gave to others meanwhile, and in the worst ten seconds of it.
    """

    p50_s: float
    p90_s: float
    p99_s: float
    max_s: float
    samples: int
    rate: float
    stolen: float
    stolen_worst: float


def measure(flow: Flow, flow_file: Path, topic: str, rate: float, seconds: float) -> Latency:
    """Run the flow as users do, produce `rate` changes a second, and watch.

    The first half is warm-up and not counted: it takes a JVM some three minutes to be as fast as it gets.
    """
    options = flow.lanes["fast"].outputs["mirror"]
    client = client_for(options.client())  # type: ignore[union-attr]
    watcher = _Watcher(client, options.namespace)  # type: ignore[union-attr]
    with FlowProcess(flow_file, environment={"JAVA_TOOL_OPTIONS": ""}) as driver:
        driver.wait_for(lambda lines: any(line["kind"] == "started" for line in lines), "the flow to start")
        watcher.start()
        with Steal() as steal:
            began = time.monotonic()
            _produce(flow.source.servers, topic, rate, seconds, watcher)
            watcher.finish()
    found = sorted(watcher.seen[len(watcher.seen) // 2 :])
    at = [found[min(len(found) - 1, int(len(found) * share))] for share in (0.50, 0.90, 0.99)]
    return Latency(*at, found[-1], len(found), rate, *steal.since(began + seconds / 2))


def _produce(bootstrap: str, topic: str, rate: float, seconds: float, watcher: "_Watcher") -> None:
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": LINGER_MS})
    random = Random(3)
    began = time.monotonic()
    for number in range(int(rate * seconds)):
        ahead_s = number / rate - (time.monotonic() - began)
        if ahead_s > 0 and number % TOGETHER == 0:
            threading.Event().wait(ahead_s)
        sampled = number % SAMPLED_EVERY == 0
        key = FIRST_KEY + number if sampled else random.randrange(100_000)
        now_s = time.time()
        kafka_key, value = message(random, key, int(now_s * 1000), 1 + number % 60_000)
        producer.produce(topic, value, kafka_key)
        producer.poll(0)
        if sampled:
            watcher.expect(digest_of(SET, key), now_s)
    producer.flush()


class _Watcher(threading.Thread):
    """Asks for every sampled record until it is there."""

    def __init__(self, client: Any, namespace: str) -> None:
        super().__init__(daemon=True)
        self.seen: list[float] = []
        self._client = client
        self._namespace = namespace
        self._waiting: dict[bytes, float] = {}
        self._lock = threading.Lock()
        self._last = threading.Event()

    def expect(self, digest: bytes, written_s: float) -> None:
        """A change was made."""
        with self._lock:
            self._waiting[digest] = written_s

    def run(self) -> None:
        """Until told to finish and everything was seen, or half a minute after that."""
        give_up = float("inf")
        while time.monotonic() < give_up:
            with self._lock:
                waiting = list(self._waiting)
            if not waiting and self._last.is_set():
                return
            if self._last.is_set() and give_up == float("inf"):
                give_up = time.monotonic() + 30.0
            self._look(waiting)
            threading.Event().wait(POLL_S)

    def _look(self, waiting: list[bytes]) -> None:
        if not waiting:
            return
        rows = self._client.batch_read([(self._namespace, None, None, bytearray(digest)) for digest in waiting], []).batch_records
        now_s = time.time()
        for digest, row in zip(waiting, rows, strict=True):
            if row.result == 0:
                with self._lock:
                    self.seen.append(now_s - self._waiting.pop(digest))

    def finish(self) -> None:
        """Wait for what is still out."""
        self._last.set()
        self.join()
        if self._waiting:
            raise TimeoutError(f"{len(self._waiting)} sampled changes never became visible")


__all__ = ["Latency", "measure"]
