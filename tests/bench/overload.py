"""A flow through a minute of overload: what is applied, what is refused, and how many calls the node sees, every five seconds.

    python -m tests.bench.overload [--rate N] [--takes N] [--warm-s N] [--normal-s N] [--overload-s N] [--output FILE]

Changes come at `--rate` a second from the first to the last second. During the overload the embedded node takes `--takes` rows a
second, none by default, and answers the others with device overload. The run ends when the flow has caught up.
"""

import argparse
import json
import shutil
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any

import aerospike
import yaml
from confluent_kafka import Producer

from deploy.local.aerospike import start_node
from deploy.local.kafka import start_broker
from deploy.local.topics import create_topics
from tests.bench.workload import BINS, NAMESPACE, message
from tests.support.flow_process import FlowProcess

KEYS = 5_000
NEVER = 2_000_000_000
STEP_S = 5.0
PATIENCE_S = 120.0


@dataclass(frozen=True, slots=True)
class Step:
    """Five seconds. Rates are per second.

    share: as the newest batch said, None when none ended. waiting: messages not worked off at the end.
    """

    at_s: float
    phase: str
    produced: float
    applied: float
    calls: float
    refused: float
    share: float | None
    waiting: int
    restarts: int


class Source(threading.Thread):
    """Produces changes at a rate until told to stop."""

    def __init__(self, bootstrap: str, topic: str, rate: float) -> None:
        super().__init__(daemon=True)
        self.sent = 0
        self._producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 20})
        self._topic = topic
        self._rate = rate
        self._enough = threading.Event()

    def run(self) -> None:
        """Keep the rate."""
        random, began = Random(3), time.monotonic()
        while not self._enough.wait(max(0.0, self.sent / self._rate - (time.monotonic() - began))):
            for _ in range(max(1, int(self._rate / 50))):
                key, value = message(random, self.sent % KEYS, int(time.time() * 1000), 1 + self.sent // KEYS)
                self._producer.produce(self._topic, value, key)
                self.sent += 1
            self._producer.poll(0)

    def finish(self) -> None:
        """Stop, with everything sent."""
        self._enough.set()
        self.join()
        self._producer.flush()


class Node:
    """The embedded node, asked about its faults. A fault that never fires counts the calls."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._client = aerospike.client({"hosts": [(host, int(port))]}).connect()
        self.order(f"name=latency;namespace=mirror;after={NEVER}")

    def order(self, command: str) -> str:
        """The answer to an info command about faults."""
        (answer,) = self._client.info_all(f"millrace-fault:{command}").values()
        assert "ERROR" not in answer[1], answer
        return str(answer[1]).strip()

    def counted(self) -> tuple[int, int]:
        """Calls so far, and rows refused so far."""
        rows = [dict(pair.partition("=")[::2] for pair in row.split(":")) for row in self.order("stats").split(";")]
        by_name = {row["name"]: row for row in rows}
        return int(by_name["latency"]["matched"]), int(by_name.get("overload", {}).get("rows", 0))


class Watch:
    """Turns what driver and node have said by now into steps."""

    def __init__(self, driver: FlowProcess, node: Node, source: Source) -> None:
        self._driver, self._node, self._source = driver, node, source
        self._before = self._now()
        self._batches = len(driver.of_kind("batch"))
        self._began_s = self._before_s = time.monotonic()

    def step(self, phase: str) -> Step:
        """The time since the last step."""
        time.sleep(max(0.0, self._before_s + STEP_S - time.monotonic()))
        now, now_s = self._now(), time.monotonic()
        took_s = now_s - self._before_s
        produced, applied, calls, refused, restarts = (later - earlier for later, earlier in zip(now, self._before, strict=True))
        batches = self._driver.of_kind("batch")
        share = batches[-1]["pressure"]["mirror"]["share"] if len(batches) > self._batches else None
        self._batches = len(batches)
        waiting = now[0] - now[1]
        self._before, self._before_s = now, now_s
        rates = [round(count / took_s, 1) for count in (produced, applied, calls, refused)]
        return Step(round(now_s - self._began_s, 1), phase, *rates, share, waiting, restarts)

    def _now(self) -> tuple[int, int, int, int, int]:
        done = sum(row["events_in"] for line in self._driver.of_kind("batch") for row in line["outputs"])
        return self._source.sent, done, *self._node.counted(), len(self._driver.of_kind("restart"))


def flow_file(folder: Path, bootstrap: str, address: str) -> Path:
    """A flow with a mirror, as users write it."""
    flow = {
        "name": "overload",
        "source": {"bootstrap_servers": bootstrap, "topics": ["busy"], "format": "json"},
        "records": [{"namespace": NAMESPACE, "bins": BINS}],
        "lanes": {"fast": {"outputs": {"mirror": {"type": "aerospike", "hosts": [address], "namespace": "mirror"}}}},
        "dead_letters": {"path": str(folder / "dead_letters")},
        "checkpoint": str(folder / "checkpoint"),
    }
    path = folder / "flow.yaml"
    path.write_text(yaml.safe_dump(flow))
    return path


def measure(options: argparse.Namespace, folder: Path, bootstrap: str, address: str) -> dict[str, Any]:
    """The run; every step is also shown as it ends."""
    create_topics(bootstrap, ["busy"], partitions=2)
    node, source = Node(address), Source(bootstrap, "busy", options.rate)
    steps: list[Step] = []
    with FlowProcess(flow_file(folder, bootstrap, address), environment={"JAVA_TOOL_OPTIONS": ""}) as driver:
        driver.wait_for(lambda lines: any(line["kind"] == "started" for line in lines), "the flow to start")
        source.start()
        driver.wait_for(lambda lines: any(line["kind"] == "batch" for line in lines), "a batch")
        time.sleep(options.warm_s)
        watch = Watch(driver, node, source)
        print("  at s  phase      produced/s  applied/s   calls/s  refused/s  share  waiting  restarts")

        def take(phase: str) -> Step:
            step = watch.step(phase)
            steps.append(step)
            share = "-" if step.share is None else f"{100 * step.share:.0f} %"
            print(
                f"{step.at_s:>6.0f}  {phase:<9}  {step.produced:>10,.0f}  {step.applied:>9,.0f}  {step.calls:>8.1f}  "
                f"{step.refused:>9,.0f}  {share:>5}  {step.waiting:>7,}  {step.restarts:>8}",
                flush=True,
            )
            return step

        for _ in range(round(options.normal_s / STEP_S)):
            take("normal")
        takes = f";per_s={options.takes}" if options.takes else ""
        node.order(f"name=overload;namespace=mirror;for_s={options.overload_s}{takes}")
        for _ in range(round(options.overload_s / STEP_S)):
            take("overload")
        give_up = time.monotonic() + PATIENCE_S
        usual = max(step.waiting for step in steps[: round(options.normal_s / STEP_S)])
        while True:
            step = take("after")
            if step.waiting <= 2 * usual and step.share == 1.0:
                break
            if time.monotonic() > give_up:
                print("it has not caught up in time")
                break
        source.finish()
        driver.wait_for_events("mirror", source.sent)
        totals = {name: sum(line["outputs"][0][name] for line in driver.of_kind("batch")) for name in ("events_in", "dead")}
    print(f"sent {source.sent:,}, taken in {totals['events_in']:,}, dead {totals['dead']}")
    assert totals == {"events_in": source.sent, "dead": 0}
    return {"rate": options.rate, "takes": options.takes, "steps": [asdict(step) for step in steps], "sent": source.sent}


def main() -> int:
    """Start the servers, run, write the JSON."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--rate", type=float, default=1_000.0)
    asked.add_argument("--takes", type=int, default=0)
    asked.add_argument("--warm-s", type=float, default=20.0)
    asked.add_argument("--normal-s", type=float, default=20.0)
    asked.add_argument("--overload-s", type=float, default=60.0)
    asked.add_argument("--output", type=Path)
    options = asked.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="millrace-overload-"))
    broker = start_broker(folder / "kafka")
    node = start_node(folder / "node", ("mirror,nsup-period=10",))
    try:
        result = measure(options, folder, broker.address, node.address)
    finally:
        node.stop()
        broker.stop()
        shutil.rmtree(folder, ignore_errors=True)
    if options.output is not None:
        options.output.write_text(json.dumps(result, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
