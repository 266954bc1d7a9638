"""Flows in Avro, and in all forms at once: shipped, mirrored and kept as history, and reconcile finds no difference."""

import json
import signal
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import aerospike
import pytest
from pyspark.sql import SparkSession

from deploy.local.aerospike import Node, start_node
from deploy.local.xdr import control
from tests.support.avro_messages import DELETE_SCHEMA, framed, metadata, record, written
from tests.support.events import delete, write
from tests.support.fixtures_stack import AerospikeUnderTest, KafkaUnderTest, RegistryUnderTest
from tests.support.flow_process import FlowProcess, ledger_of, reconciled, run_here
from tests.support.kafka import produce
from tests.support.registry_server import Said, registry_server

pytestmark = [pytest.mark.spark, pytest.mark.stack, pytest.mark.timeout(1800)]
EXAMPLES = Path(__file__).parents[2] / "examples" / "avro"
RECORDS = 60
POINT = {"type": "Point", "coordinates": [8.5, 47.4]}


@contextmanager
def shipping(folder: Path, kafka: str, topic: str, more: str) -> Iterator[tuple[Node, aerospike.Client]]:
    """A node that ships the namespace `payments`, and a client of it."""
    xdr = f"namespace=payments,topic={topic},hot-key-ms=0,duplicates=0.1,reorder=0.1,{more}"
    node = start_node(folder, ("payments,nsup-period=1", "mirror,nsup-period=1"), kafka=kafka, xdr=[xdr])
    try:
        client = aerospike.client({"hosts": [(node.host, node.port)], "policies": {"total_timeout": 10_000}}).connect()
        try:
            yield node, client
        finally:
            client.close()
    finally:
        node.stop()


def work(client: aerospike.Client, nested: float = float("nan")) -> None:
    """Records of every bin type, changed, and some of them removed. nested: a double inside a list."""
    for number in range(RECORDS):
        key = ("payments", ["cards", None][number % 2], [f"k{number}", number, bytearray(b"\xff%d" % number)][number % 3])
        bins = {
            "n": (-1) ** number * (2**63 - 1 - number),
            "f": [0.1, -0.0, float("inf"), 5e-324][number % 4],
            "s": f"Größe {number} 🦀",
            "ok": number % 2 == 0,
            "raw": b"\0\xff",
            "list": [1, "x", None, {"k": [b"\1", 1.5, nested]}],
            "map": {7: "seven", 8: [True]},
            "pos": aerospike.GeoJSON(POINT),
        }
        policy = {"key": aerospike.POLICY_KEY_SEND} if number % 4 else {}
        client.put(key, bins, policy=policy)
        if number % 3 == 0:
            client.put(key, {"s": "later", "raw": aerospike.null()}, policy={**policy, "ttl": 86_400})
        if number % 7 == 0:
            client.remove(key)


def flow_at(folder: Path, kafka: str, address: str, topic: str, source: str, mirror: str = "mirror") -> Path:
    path = folder / "flow.yaml"
    path.write_text(
        textwrap.dedent(f"""\
        name: avro-{topic[-8:].lower()}
        source: {{bootstrap_servers: "{kafka}", topics: {topic}, {source}}}
        records:
          - {{namespace: payments, bins: {{pos: geojson}}}}
        lanes:
          fast:
            trigger: {{interval_ms: 100}}
            outputs:
              mirror: {{type: aerospike, hosts: "{address}", namespace: {mirror}}}
          bulk:
            trigger: {{interval_ms: 500}}
            outputs:
              history: {{type: delta_history, path: {folder}/history}}
        dead_letters: {folder}/dead_letters
        checkpoint: {folder}/checkpoint
        restart: {{first_delay_ms: 200, max_delay_ms: 1000}}
        """)
    )
    return path


@pytest.mark.parametrize("form", ["avro", "kafka-avro", "auto"])
def test_mirror_and_history_hold_what_the_source_holds(
    form: str, tmp_path: Path, kafka_broker: KafkaUnderTest, topic: str, spark: SparkSession, request: pytest.FixtureRequest
) -> None:
    if form == "avro":
        ship = "format=avro"
        files = {name: str(EXAMPLES / f"{name}.avsc") for name in ("write", "delete", "key")}
        source = f"format: avro, avro: {json.dumps(files)}"
    else:
        registry: RegistryUnderTest = request.getfixturevalue("schema_registry")
        ship = f"format={form},registry={registry.address}"
        source = f"format: {form}, registry: {{urls: {registry.address}}}"
    with shipping(tmp_path / "node", kafka_broker.address, topic, ship) as (node, client):
        work(client, 2.5 if form == "auto" else float("nan"))  # JSON, one of a mixed topic's, has no NaN inside a list
        control.flush(node.address)
        (status,) = control.shipped(node.address)
        assert status["skipped"] == "0"
        flow = flow_at(tmp_path, kafka_broker.address, node.address, topic, source)
        with flow.open("a") as more:
            more.write(f'reconcile: {{source: {{hosts: "{node.address}", namespace: payments}}}}\n')
        run_here(flow, spark)
        balance, ledger = ledger_of(flow)
        assert balance == 0 and ledger["balanced"]
        assert {total["dead"] for total in ledger["totals"]} == {0}
        assert {total["events_in"] for total in ledger["totals"]} == {int(status["shipped"]) + int(status["duplicates"])}
        found = reconciled(flow, spark)
        assert found.comparisons and all(one.compared >= RECORDS * 6 // 7 for one in found.comparisons), found.as_dict()


def test_a_flow_waits_for_its_registry_and_gives_no_message_up(
    tmp_path: Path, kafka_broker: KafkaUnderTest, aerospike_node: AerospikeUnderTest, topic: str
) -> None:
    schema = record("Write", {"n": ["null", "long"]})
    events = [write(f"{topic}{number}", number, bins={"n": number}, namespace="payments") for number in range(40)]
    values = [framed(7, written(schema, {**event.bins, "metadata": metadata(event)})) for event in events]
    gone = delete(f"{topic}0", 1000, namespace="payments")
    values += [framed(8, written(DELETE_SCHEMA, {"metadata": metadata(gone)})), framed(9, b"\0")]
    produce(kafka_broker.address, topic, ((value[-20:], value) for value in values))
    with registry_server() as registry:
        texts = {7: schema, 8: DELETE_SCHEMA}
        for schema_id in (7, 8, 9):
            registry.answer(f"/schemas/ids/{schema_id}", Said(503, {"error_code": 503, "message": "starting"}))
        source = f"format: kafka-avro, registry: {{urls: {registry.url}, retry_for_ms: 300}}"
        flow = flow_at(tmp_path, kafka_broker.address, aerospike_node.address, topic, source, mirror=aerospike_node.namespace)
        with FlowProcess(flow) as process:
            for lane in ("fast", "bulk"):
                process.wait_for(
                    lambda lines, lane=lane: any(  # type: ignore[misc]
                        line["kind"] == "restart" and line["lane"] == lane and line["code"] == "E221" for line in lines
                    ),
                    f"lane {lane} wait for the registry",
                )
            for schema_id, text in texts.items():
                registry.answer(f"/schemas/ids/{schema_id}", Said(200, {"schema": json.dumps(text)}))
            registry.answer("/schemas/ids/9", Said(404, {"error_code": 40403, "message": "Schema not found"}))
            for output in ("mirror", "history"):
                process.wait_for_events(output, len(values))
            process.send(signal.SIGTERM)
            assert process.wait() == 0, process.transcript()
    balance, ledger = ledger_of(flow)
    assert balance == 0 and {total["output"]: total["dead"] for total in ledger["totals"]} == {"mirror": 1, "history": 1}
