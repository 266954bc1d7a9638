"""Dead letters end to end: a wrong schema, mended; its letters replayed beside the running flow, killed and run again."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import aerospike
import pytest
from deltalake import DeltaTable
from pyspark.sql import SparkSession

from pipelines.failpoints import VARIABLE
from tests.support.fixtures_stack import AerospikeUnderTest, KafkaUnderTest
from tests.support.flow_process import FlowProcess, ledger_of, reconciled, run_here
from tests.support.kafka import end_offsets, produce, read_all
from tests.support.spark import ROOT
from tests.support.typed_json import Change, final_state

pytestmark = [pytest.mark.spark, pytest.mark.stack, pytest.mark.timeout(2400)]

WRONG = "{n: int, text: int}"
RIGHT = "{n: int}"
GARBAGE: list[tuple[bytes | None, bytes | None]] = [(b"x", b"not json"), (b"y", b'{"msg":"write"}'), (b"z", None)]


class Bench:
    """A flow over a topic of the test's own, with one mirror and one history."""

    def __init__(self, folder: Path, kafka: str, node: AerospikeUnderTest, topic: str) -> None:
        self.folder, self.kafka, self.node, self.topic = folder, kafka, node, topic
        self.flow = folder / "flow.yaml"
        self.set = topic[-40:]

    def write_flow(self, bins: str, letters: str = "") -> None:
        self.flow.write_text(
            textwrap.dedent(f"""\
            name: dl-{self.topic[-8:].lower()}
            source: {{bootstrap_servers: "{self.kafka}", topics: {self.topic}, format: json}}
            records:
              - {{namespace: payments, sets: [{self.set}], bins: {bins}}}
            lanes:
              fast:
                trigger: {{interval_ms: 100}}
                outputs:
                  mirror: {{type: aerospike, hosts: "{self.node.address}", namespace: {self.node.namespace}}}
              bulk:
                trigger: {{interval_ms: 300}}
                outputs:
                  history: {{type: delta_history, path: {self.folder}/history}}
            dead_letters: {{path: {self.folder}/dead_letters{letters}}}
            checkpoint: {self.folder}/checkpoint
            """)
        )

    def changes(self, first: int, count: int, *, text: bool, key: str = "k") -> list[Change]:
        """Changes of forty records, later ones newer; with `text` the wrong schema cannot read them."""
        start_ms = 1_700_000_000_000
        bins: list[dict[str, int | str]] = [
            {"n": number, "text": f"Größe {number}"} if text else {"n": number} for number in range(first, first + count)
        ]
        return [
            Change(f"{key}{(first + place) % 40}", start_ms + (first + place) * 10, 1, bins_, set=self.set)
            for place, bins_ in enumerate(bins)
        ]

    def produce(self, changes: list[Change]) -> None:
        produce(self.kafka, self.topic, (change.message() for change in changes))

    def command(self, *words: str, fail: str = "") -> subprocess.CompletedProcess[str]:
        armed = self.folder / "failpoints"
        armed.write_text(f"{fail}\n" if fail else "")
        return subprocess.run(
            [sys.executable, "-m", "deploy.cli", *words], cwd=ROOT, env={**os.environ, VARIABLE: str(armed)},
            capture_output=True, text=True, timeout=600, check=False,
        )  # fmt: skip

    def letters(self, command: str, *options: str, status: int = 0) -> Any:
        done = self.command("dead-letters", command, str(self.flow), *options, "--output", "json")
        assert done.returncode == status, f"{done.returncode}: {done.stdout}\n{done.stderr}"
        return json.loads(done.stdout)

    def mirrored(self, changes: list[Change]) -> dict[bytes, dict[str, int | str]]:
        client = aerospike.client({"hosts": [(self.node.host, self.node.port)]})
        try:
            digests = sorted({change.digest for change in changes})
            rows = client.batch_read([(self.node.namespace, None, None, bytearray(one)) for one in digests]).batch_records
            return {
                digest: {name: value for name, value in row.record[2].items() if not name.startswith("_mr_")}
                for digest, row in zip(digests, rows, strict=True)
                if row.result == 0
            }
        finally:
            client.close()

    def history(self) -> list[tuple[int, int]]:
        """(partition, offset) of every row."""
        rows = DeltaTable(str(self.folder / "history")).to_pyarrow_table(columns=["partition", "offset"]).to_pylist()
        return sorted((row["partition"], row["offset"]) for row in rows)


@pytest.fixture
def bench(tmp_path: Path, kafka_broker: KafkaUnderTest, aerospike_node: AerospikeUnderTest, topic: str) -> Bench:
    return Bench(tmp_path, kafka_broker.address, aerospike_node, topic)


def test_letters_of_a_wrong_schema_are_replayed_exactly_beside_the_running_flow(bench: Bench, spark: SparkSession) -> None:
    from deploy.local.topics import create_topics

    create_topics(bench.kafka, [f"{bench.topic}-dead"], partitions=1)
    good, bad = bench.changes(0, 120, text=False), bench.changes(120, 150, text=True)
    newer = bench.changes(270, 15, text=False)
    bench.write_flow(WRONG, f", topic: {bench.topic}-dead")
    bench.produce(good + bad)
    produce(bench.kafka, bench.topic, GARBAGE)
    bench.produce(newer)
    run_here(bench.flow, spark)
    listed = bench.letters("list")
    assert listed["sums"] == {
        "letters": 153, "waiting": 153, "replayed": 0, "superseded": 0, "dropped": 0, "without_letter": 0, "hold": True,
    }  # fmt: skip
    assert listed["reasons"][0]["code"] == "D108" and listed["reasons"][0]["letters"] == len(bad)
    assert bench.mirrored(good) == final_state(good + newer)
    sent = read_all(bench.kafka, f"{bench.topic}-dead", at_least=153)
    assert len({message.key for message in sent}) == len(sent) == 153
    (view,) = bench.letters("show", listed["letters"][0]["letter"])
    assert view["letter"].encode() in {message.key for message in sent}

    bench.write_flow(RIGHT, f", topic: {bench.topic}-dead")
    assert bench.letters("replay", "--dry-run", status=1)["readable"] == len(bad)
    with FlowProcess(bench.flow) as running:
        running.wait_for(lambda lines: any(line["kind"] == "started" for line in lines), "the flow started")
        later = bench.changes(285, 100, text=True, key="other")
        bench.produce(later)
        for point in ("@replay:mid_sink events=40", "@replay:after_history", "@replay:after_ledger"):
            killed = bench.command("dead-letters", "replay", str(bench.flow), fail=point)
            assert killed.returncode == -signal.SIGKILL, f"{point}: {killed.stdout}\n{killed.stderr}"
        assert bench.letters("list")["in_cut_replay"] == 153
        done = bench.letters("replay", "--why", "text is no integer", status=1)
        assert done["finished_first"] == {"replayed": 25, "superseded": 125, "waiting": 3} and done["letters"] == {"waiting": 3}
        for output in ("mirror", "history"):
            running.wait_for_events(output, len(later))
        running.send(signal.SIGTERM)
        assert running.wait() == 0, running.transcript()

    everything = good + bad + newer + later
    assert bench.mirrored(everything) == final_state(everything)
    positions = bench.history()
    assert len(positions) == len(set(positions)) == len(everything)
    sums = bench.letters("list")["sums"]
    assert sums["hold"] and (sums["waiting"], sums["replayed"] + sums["superseded"]) == (3, len(bad))
    status, ledger = ledger_of(bench.flow)
    assert status == 0 and ledger["balanced"]
    replayed = {total["output"]: total for total in ledger["totals"] if total["lane"] == "@replay"}
    streamed = {total["output"]: total for total in ledger["totals"] if total["lane"] != "@replay"}
    assert replayed["history"]["applied"] == len(bad) and replayed["history"]["duplicate"] == 0, "as if it had run once"
    assert replayed["history"]["applied"] + streamed["history"]["applied"] == len(positions)

    before = bench.history(), bench.mirrored(everything)
    again = bench.letters("replay", "--code", "D108")
    assert again["letters"] == {} and (bench.history(), bench.mirrored(everything)) == before
    dropped = bench.letters("drop", "--all", "--why", "never were events", "--by", "tester")
    assert len(dropped["dropped"]) == 3 and bench.letters("list")["sums"]["waiting"] == 0
    assert reconciled(bench.flow, spark).comparisons[0].compared == len(final_state(everything))


def test_a_flow_stops_at_its_limit_and_goes_on_once_mended(bench: Bench, spark: SparkSession) -> None:
    limits = ", limits: {share: 0.3, share_action: stop, share_min_events: 50}"
    bench.write_flow(WRONG, limits)
    good, bad = bench.changes(0, 60, text=False), bench.changes(60, 60, text=True)
    bench.produce(good + bad)
    with FlowProcess(bench.flow, "--once") as stopped:
        assert stopped.wait() == 4, stopped.transcript()
    for words in ("E450", "60 of 120 events", "D108", f"{bench.topic}[", "text"):
        assert words in stopped.errors, stopped.errors
    assert bench.letters("list")["sums"]["letters"] == 0, "a stopped batch leaves no letters"

    bench.write_flow(RIGHT, limits)
    run_here(bench.flow, spark)
    assert bench.mirrored(good + bad) == final_state(good + bad)
    positions = bench.history()
    assert len(positions) == len(set(positions)) == 120 == sum(end_offsets(bench.kafka, bench.topic).values())
    assert bench.letters("list")["sums"]["letters"] == 0
    assert ledger_of(bench.flow)[1]["balanced"]
