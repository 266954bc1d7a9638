"""A flow in message-pack, end to end: the node ships what the official client wrote, mirror and history hold the very same."""

import math
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aerospike
import pytest
from aerospike_helpers import HyperLogLog
from aerospike_helpers.operations import list_operations, map_operations
from deltalake import DeltaTable
from pyspark.sql import SparkSession

from deploy.local.aerospike import Node, start_node
from deploy.local.xdr import control
from pipelines.reconcile.compare import same_value
from schemas.digest import digest_of
from schemas.events import DELETE, WRITE
from schemas.xdr import DecodeOptions
from schemas.xdr.keys import read_key
from schemas.xdr.reader import Reader
from tests.support.fixtures_stack import KafkaUnderTest
from tests.support.flow_process import ledger_of, reconciled, run_here
from tests.support.kafka import Message, read_all

pytestmark = [pytest.mark.spark, pytest.mark.stack, pytest.mark.timeout(1200)]

SOURCE, MIRROR = "payments", "mirror"
POINT = {"type": "Point", "coordinates": [8.5, 47.4]}
KEYS: tuple[Any, ...] = ("A-1001", 77, bytearray(b"\x00\xff"), "77")


@pytest.fixture
def node(tmp_path: Path, kafka_broker: KafkaUnderTest, topic: str) -> Iterator[Node]:
    options = "format=message-pack,duplicates=0.2,reorder=0.3,reorder_window_ms=300,seed=7,hot_key_ms=5"
    namespaces = (f"{SOURCE},nsup-period=1", f"{MIRROR},nsup-period=1")
    xdr = [f"namespace={SOURCE},topic={topic},{options}"]
    started = start_node(tmp_path / "node", namespaces, kafka=kafka_broker.address, xdr=xdr)
    try:
        yield started
    finally:
        started.stop()


def client_of(node: Node) -> aerospike.Client:
    return aerospike.client({"hosts": [(node.host, node.port)], "policies": {"total_timeout": 5000}}).connect()


def write_every_type(client: aerospike.Client) -> None:
    """Records with every type a client can write, such as JSON would lose inside lists and maps."""
    ordered = aerospike.KeyOrderedDict({7: "seven", "w": [b"\x02", None], b"\x01": {-1: 1.25}})
    bins: dict[str, Any] = {
        "qty": 2**63 - 1,
        "price": -0.0,
        "nan": math.nan,
        "note": "läuft 💳",
        "paid": True,
        "sig": b"\x00\xff\x10",
        "seen": HyperLogLog(bytes(range(16))),
        "pos": aerospike.GeoJSON(POINT),
        "tags": ["x", 1, None, {"k": [2, b"\xac\xed"]}, math.inf, aerospike.GeoJSON(POINT)],
        "plain": {"b": 1, 3: b"\x00"},
        "attr": ordered,
    }
    for key in KEYS:
        place = (SOURCE, "orders", key)
        client.put(place, bins, policy={"key": aerospike.POLICY_KEY_SEND, "ttl": 100_000})
        client.operate(
            place,
            [
                list_operations.list_append_items("sorted", [3, 1, 2]),
                list_operations.list_set_order("sorted", aerospike.LIST_ORDERED),
                map_operations.map_put_items("kv", {"b": 1, "a": 2}, {"map_order": aerospike.MAP_KEY_VALUE_ORDERED}),
            ],
            policy={"ttl": 100_000},
        )


def last_of(messages: list[Message]) -> dict[bytes, Any]:
    """Per record the newest event, and the proof that every Kafka key names the record of its message."""
    reader = Reader(DecodeOptions("message-pack"))
    newest: dict[bytes, Any] = {}
    for message in messages:
        (read,) = reader.read(message.value)
        said = read.metadata
        assert read.error is None and message.value is not None and message.value[0] == 0x93
        assert read_key(message.key).digest == said.digest and said.digest is not None
        seen = newest.get(said.digest)
        if seen is None or (seen.lut_ms, seen.gen, seen.op) <= (said.lut_ms, said.gen, said.op):
            newest[said.digest] = said
    return newest


def flow_at(folder: Path, kafka: str, topic: str, node: Node) -> Path:
    flow = folder / "flow.yaml"
    flow.write_text(
        textwrap.dedent(f"""\
        name: packed
        source: {{bootstrap_servers: "{kafka}", topics: {topic}, format: message-pack}}
        records:
          - {{namespace: {SOURCE}, bins: schemaless}}
        lanes:
          fast:
            trigger: {{interval_ms: 100}}
            outputs:
              mirror: {{type: aerospike, hosts: "{node.address}", namespace: {MIRROR}}}
          bulk:
            trigger: {{interval_ms: 500}}
            outputs:
              history: {{type: delta_history, path: {folder}/history}}
        dead_letters: {folder}/dead_letters
        checkpoint: {folder}/checkpoint
        reconcile:
          source: {{hosts: "{node.address}", namespace: {SOURCE}}}
        """)
    )
    return flow


def test_a_flow_in_message_pack_ends_with_source_mirror_and_history_alike(
    tmp_path: Path, kafka_broker: KafkaUnderTest, topic: str, node: Node, spark: SparkSession
) -> None:
    client = client_of(node)
    try:
        write_every_type(client)
        for number in range(120):
            client.put((SOURCE, "many", number % 30), {"n": number, "m": {number: b"\x00"}})
            if number % 7 == 0:
                client.remove((SOURCE, "many", number % 30))
        control.flush(node.address)
        messages = read_all(kafka_broker.address, topic)
        newest = last_of(messages)
        assert {said.op for said in newest.values()} == {WRITE, DELETE}
        (shipped,) = control.shipped(node.address)
        assert shipped["skipped"] == "0" and int(shipped["duplicates"]) > 0

        flow = flow_at(tmp_path, kafka_broker.address, topic, node)
        run_here(flow, spark)
        status, ledger = ledger_of(flow)
        assert status == 0 and {total["dead"] for total in ledger["totals"]} == {0}
        reconciled(flow, spark)

        for key in KEYS:
            _, _, source = client.get((SOURCE, "orders", key))
            _, _, mirror = client.get((MIRROR, "orders", key))
            mirror = {name: value for name, value in mirror.items() if not name.startswith("_mr_")}
            assert isinstance(source["seen"], HyperLogLog) and len(source) == 13
            assert mirror.keys() == source.keys()
            assert [name for name in source if not same_value(source[name], mirror[name])] == []
            digest = digest_of("orders", bytes(key) if isinstance(key, bytearray) else key)
            assert newest[digest].user_key is not None and newest[digest].exp_s is not None
    finally:
        client.close()
    history = DeltaTable(str(tmp_path / "history")).to_pyarrow_table(columns=["offset", "partition", "durable", "op", "bins"])
    assert len(history) == len(messages)
    assert {row["durable"] for row in history.to_pylist() if row["op"] == DELETE} == {False}
    entries = {name: entry for row in history.to_pylist() if row["op"] == WRITE for name, entry in dict(row["bins"]).items()}
    assert (entries["sorted"]["type"], entries["kv"]["type"], entries["attr"]["type"]) == (
        "list:ordered",
        "map:key-value",
        "map:key",
    )
    assert entries["tags"]["value"].endswith(',{"$float":"Infinity"},{"$geojson":{"type":"Point","coordinates":[8.5,47.4]}}]')
    assert '{"$blob":"rO0="}' in entries["tags"]["value"] and entries["seen"]["type"] == "hll"
