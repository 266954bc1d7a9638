"""The oracle must be able to say no: one lost, doubled or wrong record, and every defence switched off, make it differ."""

import json
import random
import time
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest
from confluent_kafka import Producer
from pyspark.sql import SparkSession

from pipelines.flow.model import Flow
from pipelines.reconcile.report import Reconciliation, reconcile
from pipelines.table_guards import TableGuards
from pipelines.wiring import FlowParts
from sinks.aerospike import AerospikeMirror
from sinks.aerospike.connection import client_for
from tests.bench.jobs import run_lanes
from tests.support.broken import ForgetfulMirror, UnguardedMirror, without_transactions
from tests.support.fixtures_stack import AerospikeUnderTest, KafkaUnderTest
from tests.support.typed_json import Change

pytestmark = [pytest.mark.spark, pytest.mark.stack]
START_MS = int(time.time() * 1000) - 3_600_000


def changes(set_name: str) -> list[Change]:
    """Some records' lives: of every record the last version comes first, older ones in later micro-batches, the first twice."""
    lives = []
    for number in range(30):
        key = f"k{number}"
        life = [Change(key, START_MS + step * 10, step, {"step": step, "who": key}, set=set_name) for step in range(1, 5)]
        if number % 3 == 0:
            life.append(Change(key, START_MS + 50, 5, None, set=set_name))
        lives.append(life)
    random.Random(3).shuffle(lives)
    return [life[-1] for life in lives] + [change for life in lives for change in [*life[:-1], life[0]]]


@pytest.fixture
def written(
    spark: SparkSession, kafka_broker: KafkaUnderTest, aerospike_node: AerospikeUnderTest, topic: str, tmp_path: Path
) -> Callable[[type[AerospikeMirror]], Flow]:
    """A function that sends the changes one per micro-batch of ten through a flow with the mirror class given."""

    def run(mirror: type[AerospikeMirror]) -> Flow:
        set_name = uuid4().hex[:12]
        producer = Producer({"bootstrap.servers": kafka_broker.address})
        for change in changes(set_name):
            key, value = change.message()
            producer.produce(topic, value, key)
        producer.flush()
        flow = Flow.model_validate(
            {
                "name": "oracle",
                "source": {"bootstrap_servers": kafka_broker.address, "topics": [topic], "max_offsets_per_trigger": 40},
                "records": [{"namespace": "payments", "sets": [set_name]}],
                "lanes": {
                    "fast": {
                        "outputs": {
                            "mirror": {
                                "type": "aerospike",
                                "hosts": [aerospike_node.address],
                                "namespace": aerospike_node.namespace,
                            }
                        }
                    },
                    "bulk": {"outputs": {"history": {"type": "delta_history", "path": str(tmp_path / "history")}}},
                },
                "dead_letters": {"path": str(tmp_path / "dead_letters")},
                "checkpoint": str(tmp_path / "checkpoint"),
            }
        )
        parts = FlowParts(flow)
        TableGuards(parts.flow, parts.tables).require()
        intact = parts.sinks["mirror"]
        assert isinstance(intact, AerospikeMirror)
        parts.sinks["mirror"] = mirror(intact.config)
        run_lanes(spark, parts, ["fast", "bulk"])
        return flow

    return run


def repeat_last_batch(flow: Flow, spark: SparkSession) -> None:
    """As after a kill right before Spark's commit of the history's last batch."""
    commits = Path(flow.lane_checkpoint("bulk")) / "commits"
    last = max(int(path.name) for path in commits.iterdir() if path.name.isdigit())
    for path in (commits / str(last), commits / f".{last}.crc"):
        path.unlink(missing_ok=True)
    parts = FlowParts(flow)
    TableGuards(parts.flow, parts.tables).require()
    run_lanes(spark, parts, ["bulk"])


def kinds(found: Reconciliation) -> list[str]:
    return sorted(finding["kind"] for comparison in found.comparisons for finding in comparison.findings)


def test_a_right_mirror_passes_and_one_wrong_record_does_not(
    written: Callable[[type[AerospikeMirror]], Flow], spark: SparkSession, tmp_path: Path
) -> None:
    flow = written(AerospikeMirror)
    good = reconcile(flow, spark, 3.0)
    assert good.good, json.dumps(good.as_dict())
    assert good.comparisons[0].compared == 20
    assert good.offsets[0].events == len(changes("any"))

    output = flow.lanes["fast"].outputs["mirror"]
    client, (set_name,) = client_for(output.client()), flow.records[0].sets or ()  # type: ignore[union-attr]
    namespace = output.namespace  # type: ignore[union-attr]
    client.remove((namespace, set_name, "k1"))
    client.put((namespace, set_name, "k2"), {"step": 99})
    client.put((namespace, set_name, "k0"), {"back": 1})
    client.touch((namespace, set_name, "k4"), 5_000)
    assert kinds(reconcile(flow, spark, 3.0)) == ["bins", "expiry", "extra", "missing"]

    history = spark.read.format("delta").load(str(tmp_path / "history"))
    history.limit(1).write.format("delta").mode("append").save(str(tmp_path / "history"))
    assert reconcile(flow, spark, 3.0).doubled == 1


def test_a_lost_event_is_noticed(written: Callable[[type[AerospikeMirror]], Flow], spark: SparkSession, tmp_path: Path) -> None:
    flow = written(AerospikeMirror)
    spark.sql(f"DELETE FROM delta.`{tmp_path / 'history'}` WHERE `partition` = 0 AND `offset` = 2")
    assert reconcile(flow, spark, 3.0).lost == 1


def test_a_batch_repeated_without_its_transaction_is_noticed(
    written: Callable[[type[AerospikeMirror]], Flow], spark: SparkSession
) -> None:
    flow = written(AerospikeMirror)
    repeat_last_batch(flow, spark)
    assert reconcile(flow, spark, 3.0).good
    with without_transactions():
        repeat_last_batch(flow, spark)
    assert reconcile(flow, spark, 3.0).doubled >= 1


@pytest.mark.parametrize(("broken", "at_least"), [(UnguardedMirror, 10), (ForgetfulMirror, 5)])
def test_a_defence_switched_off_is_noticed(
    written: Callable[[type[AerospikeMirror]], Flow], spark: SparkSession, broken: type[AerospikeMirror], at_least: int
) -> None:
    found = reconcile(written(broken), spark, 3.0)
    assert not found.good
    assert found.differing >= at_least
