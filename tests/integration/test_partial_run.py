"""Flows over changed bins only, and over no bins: shipped late, twice and out of order, and the copy is right in the end."""

import json
import random
import time
from collections.abc import Iterator
from pathlib import Path

import aerospike
import pytest
from aerospike import exception as client_errors
from aerospike_helpers.operations import operations
from pyspark.sql import SparkSession

from deploy.local.aerospike import Node, start_node
from deploy.local.topics import create_topics
from deploy.local.xdr import control
from pipelines.flow.model import Flow
from pipelines.reconcile.report import reconcile
from pipelines.table_guards import TableGuards
from pipelines.wiring import FlowParts
from tests.bench.jobs import run_lanes
from tests.support.fixtures_stack import KafkaUnderTest
from tests.support.kafka import read_all

pytestmark = [pytest.mark.spark, pytest.mark.stack]
ROAD = "hot_key_ms=10,duplicates=0.2,reorder=0.3,reorder_window_ms=800,seed=5"
POLICIES = {"partial": "only-changed", "none": "no-bins"}


@pytest.fixture
def node(kafka_broker: KafkaUnderTest, topic: str, tmp_path: Path) -> Iterator[Node]:
    """A source whose changes go to one topic per image, and a namespace for the mirror of each."""
    create_topics(kafka_broker.address, [f"{topic}-{image}" for image in POLICIES], partitions=2)
    namespaces = tuple(f"{name},nsup-period=1" for name in ("payments", *POLICIES))
    xdr = [f"namespace=payments,topic={topic}-{image},bin_policy={policy},{ROAD}" for image, policy in POLICIES.items()]
    node = start_node(tmp_path / "node", namespaces, kafka=kafka_broker.address, xdr=xdr)
    yield node
    node.stop()


def work(client: aerospike.Client, rng: random.Random, changes: int) -> None:
    """Bins set and removed one by one, deletes, touches, and lives that end by themselves and begin again."""
    for _ in range(changes):
        number = rng.randrange(40)
        key = ("payments", "carts", f"cart-{number}")
        # Some records expire after two seconds unless they are written again; all others never do.
        policy = {"key": aerospike.POLICY_KEY_SEND, "ttl": 2 if number % 8 == 0 else aerospike.TTL_NEVER_EXPIRE}
        choice = rng.random()
        try:
            if choice < 0.06:
                client.remove(key)
            elif choice < 0.12:
                client.operate(key, [operations.touch()], policy=policy)
            elif choice < 0.25:
                client.operate(key, [operations.write(rng.choice("abcd"), None)], policy=policy)
            else:
                bins = {name: rng.randrange(1_000) for name in rng.sample("abcd", rng.randint(1, 2))}
                client.put(key, bins, policy=policy)
        except client_errors.RecordNotFound:
            pass
        time.sleep(0.004)


def flow_of(image: str, node: Node, kafka: str, topic: str, folder: Path) -> Flow:
    cluster = {"hosts": [node.address]}
    return Flow.model_validate(
        {
            "name": f"carts-{image}",
            "source": {
                "bootstrap_servers": kafka,
                "topics": [f"{topic}-{image}"],
                "image": image,
                "max_offsets_per_trigger": 300,
            },
            "records": [{"namespace": "payments", "sets": ["carts"], "bins": {"a": "int", "b": "int"}}],
            "lanes": {
                "fast": {"outputs": {"mirror": {"type": "aerospike", **cluster, "namespace": image}}},
                "bulk": {"outputs": {"history": {"type": "delta_history", "path": str(folder / image / "history")}}},
            },
            "dead_letters": {"path": str(folder / image / "dead_letters")},
            "checkpoint": str(folder / image / "checkpoint"),
            "reconcile": {"source": {**cluster, "namespace": "payments"}},
        }
    )


def test_a_copy_made_of_changed_bins_is_the_source(
    spark: SparkSession, kafka_broker: KafkaUnderTest, topic: str, node: Node, tmp_path: Path
) -> None:
    client = aerospike.client({"hosts": [(node.host, node.port)]}).connect()
    rng = random.Random(11)
    flows = {image: flow_of(image, node, kafka_broker.address, topic, tmp_path) for image in POLICIES}
    try:
        for _ in range(2):  # the second time as after a restart
            work(client, rng, 700)
            control.flush(node.address)
            for flow in flows.values():
                parts = FlowParts(flow)
                TableGuards(parts.flow, parts.tables).require()
                run_lanes(spark, parts, ["fast", "bulk"])
    finally:
        client.close()

    for row in control.shipped(node.address):
        assert int(row["reordered"]) > 20 and int(row["duplicates"]) > 20 and int(row["overtaken"]) > 5, row
    messages = [json.loads(message.value) for message in read_all(kafka_broker.address, f"{topic}-partial") if message.value]
    shipped = [{entry["name"]: entry["value"] for entry in one["bins"]} for one in messages if one["msg"] == "write"]
    assert any(None in bins.values() for bins in shipped) and {1, 2} <= {len(bins) for bins in shipped}
    for image, flow in flows.items():
        found = reconcile(flow, spark, 3.0)
        assert found.good, f"{image}: {json.dumps(found.as_dict())}"
        assert all(one.equal > 20 for one in found.comparisons) and len(found.comparisons) == 2, image
