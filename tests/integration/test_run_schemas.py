"""`millrace run` with schema files: names, policies and user keys end to end; source, mirror and history are the same then."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import aerospike
import pytest
from deltalake import DeltaTable
from pyspark.sql import SparkSession

from schemas.digest import digest_of
from schemas.errors import Terminal
from schemas.events import ChangeEvent
from tests.support.events import write
from tests.support.fixtures_stack import AerospikeUnderTest, KafkaUnderTest
from tests.support.flow_process import ledger_of, reconciled, run_here
from tests.support.kafka import produce
from tests.support.spark import ROOT
from tests.support.xdr_encode import typed

pytestmark = [pytest.mark.spark, pytest.mark.stack, pytest.mark.timeout(1800)]
NAMES = ["dot.ted", "$dollar", "née", "namespace", "_rescued", "bin_types", "digest", "a b", "a=b", "Case", "CASE", "case", "`"]
SENT_AS = {"ORDER_TOTAL_OF_ALL_LINES": "total", "CASE": "cased"}


@pytest.fixture
def flow(tmp_path: Path, kafka_broker: KafkaUnderTest, aerospike_node: AerospikeUnderTest, topic: str) -> Path:
    (tmp_path / "orders.yaml").write_text(
        textwrap.dedent(f"""\
        namespace: payments
        sets: [{topic[-30:]}-o]
        bins: {{id: int, total: {{type: float, nullable: false}}, case: int}}
        rename: {{{", ".join(f"{given}: {name}" for given, name in SENT_AS.items())}}}
        policies: {{new_bin: add, type_change: widen, user_key: drop}}
        """)
    )
    path = tmp_path / "flow.yaml"
    path.write_text(
        textwrap.dedent(f"""\
        name: schemas-{topic[-12:].strip("-_").lower()}
        source: {{bootstrap_servers: "{kafka_broker.address}", topics: {topic}}}
        records:
          - schema: orders.yaml
          - {{namespace: payments, sets: [{topic[-30:]}-i], bins: {{id: int}}, policies: {{new_bin: ignore, user_key: trust}}}}
          - {{namespace: payments, sets: [{topic[-30:]}-s], bins: {{id: int}}, policies: {{new_bin: stop}}}}
        outputs:
          mirror: {{type: aerospike, hosts: "{aerospike_node.address}", namespace: {aerospike_node.namespace}}}
          history: {{type: delta_history, path: {tmp_path}/history}}
        dead_letters: {tmp_path}/dead_letters
        checkpoint: {tmp_path}/checkpoint
        reconcile: {{source: {{hosts: "{aerospike_node.address}", namespace: payments}}}}
        """)
    )
    return path


def stored(event: ChangeEvent, key: Any, bins: dict[str, Any], node: AerospikeUnderTest) -> ChangeEvent:
    """The event, with its record in the source as it is there: its own user key and the bins' own names."""
    client = aerospike.client({"hosts": [(node.host, node.port)]})
    try:
        held = bytearray(key) if isinstance(key, bytes) else key
        client.put(("payments", event.set, held), bins, policy={"key": aerospike.POLICY_KEY_SEND})
    finally:
        client.close()
    return event


def test_names_policies_and_keys_end_to_end(
    flow: Path, kafka_broker: KafkaUnderTest, aerospike_node: AerospikeUnderTest, topic: str, spark: SparkSession
) -> None:
    orders, ignoring, stopping = (f"{topic[-30:]}-{kind}" for kind in "ois")

    def order(key: Any, lut: int, source: dict[str, Any], **more: Any) -> ChangeEvent:
        names = {name: given for given, name in SENT_AS.items()}
        sent = {names.get(name, name): value for name, value in source.items()}
        return stored(write(key, lut, bins=sent, set=orders, namespace="payments", **more), key, source, aerospike_node)

    odd = {name: place for place, name in enumerate(NAMES) if name not in ("CASE",)}
    events = [
        order("plain", 1, {"id": 1, "total": 0.5, "cased": "x"}),
        order("odd", 2, {"id": 2, "total": 1.5, **odd}),
        order("widened", 3, {"id": 3, "total": 7}),
        order("changed", 4, {"id": "four", "total": 4.0}),
        order("rewritten", 5, {"id": 5, "total": 5.0}, user_key="by a transformer"),
        order("new", 6, {"id": 6, "total": 6.0, "fresh": [1, {"a": None}]}),
    ]
    blob = write("AP8=", 7, bins={"id": 7}, set=ignoring, namespace="payments", digest=digest_of(ignoring, b"\x00\xff"))
    trusted = write("right", 8, bins={"id": 8, "secret": 1}, set=ignoring, namespace="payments", user_key="wrong")
    events += [
        stored(blob, b"\x00\xff", {"id": 7}, aerospike_node),
        stored(trusted, "right", {"id": 8, "secret": 1}, aerospike_node),
    ]
    without_total = write("dead", 9, bins={"id": 9}, set=orders, namespace="payments")
    produce(kafka_broker.address, topic, ((event.digest, typed(event)) for event in (*events, without_total)))
    run_here(flow, spark)

    letters = DeltaTable(str(flow.parent / "dead_letters")).to_pyarrow_table().to_pylist()
    assert [(letter["code"], letter["digest"]) for letter in letters] == [("D115", without_total.digest)]
    rows = {row["digest"]: row for row in DeltaTable(str(flow.parent / "history")).to_pyarrow_table().to_pylist()}
    assert set(rows) == {event.digest for event in events}
    assert rows[events[0].digest]["bins"]["cased"] == "x"
    assert set(rows[events[1].digest]["bins"]) >= {"dot.ted", "$dollar", "née", "namespace", "fresh", "case"}
    assert {name for name, _ in rows[events[1].digest]["_rescued"]} == {"a b", "a=b", "Case"}
    assert (rows[events[2].digest]["bins"]["total"], rows[events[2].digest]["bin_types"]) == (7.0, [("total", "int")])
    assert rows[events[3].digest]["_rescued"] == [("id", {"type": "str", "value": "four"})]
    keys = [rows[event.digest]["user_key"] for event in events]
    assert keys[4] is None and keys[6] == {"type": "blob", "value": "AP8="} and keys[7] == {"type": "str", "value": "wrong"}
    assert "secret" not in rows[trusted.digest]["bins"] and not rows[trusted.digest]["_rescued"]
    reconciled(flow, spark)
    assert ledger_of(flow)[1]["balanced"]

    produce(
        kafka_broker.address, topic, [(b"k", typed(write("s", 10, bins={"id": 1, "new": 2}, set=stopping, namespace="payments")))]
    )
    with pytest.raises(Terminal, match=r"E460.*bin 'new' is not declared"):
        run_here(flow, spark)


def test_bins_that_change_type_half_way_are_replayed_once_the_schema_allows_it(
    flow: Path, kafka_broker: KafkaUnderTest, aerospike_node: AerospikeUnderTest, topic: str, spark: SparkSession
) -> None:
    schema = flow.parent / "orders.yaml"
    strict = schema.read_text().replace("type_change: widen", "type_change: dead-letter")
    schema.write_text(strict)
    events = []
    for number in range(60):
        after = number >= 30
        source = {"id": f"O-{number}" if after else number, "total": [number] if after else number / 2}
        sent = {{name: given for given, name in SENT_AS.items()}.get(name, name): value for name, value in source.items()}
        event = write(f"k{number % 40}", number, bins=sent, set=f"{topic[-30:]}-o", namespace="payments")
        events.append(stored(event, f"k{number % 40}", source, aerospike_node))
    damaged = [typed(event)[: 40 + number] for number, event in enumerate(events[::20])]
    messages = [(event.digest, typed(event)) for event in events] + [(b"", value) for value in damaged]
    produce(kafka_broker.address, topic, messages, partition=0)
    run_here(flow, spark)
    assert letters(flow, "list")["sums"]["waiting"] == 30 + len(damaged)

    schema.write_text(strict.replace("type_change: dead-letter", "type_change: rescue"))
    letters(flow, "replay", "--why", "the source changed two types", status=1)
    sums = letters(flow, "list")["sums"]
    assert sums["hold"] and (sums["waiting"], sums["replayed"] + sums["superseded"]) == (len(damaged), 30)
    rows = DeltaTable(str(flow.parent / "history")).to_pyarrow_table().to_pylist()
    assert len(rows) == len(events)
    rescued = [dict(row["_rescued"]) for row in rows if row["_rescued"]]
    assert len(rescued) == 30 and {"type": "str", "value": "O-59"} in [row["id"] for row in rescued]
    reconciled(flow, spark)


def millrace(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "deploy.cli", *words], cwd=ROOT, capture_output=True, text=True, timeout=600, check=False
    )


def letters(flow: Path, command: str, *options: str, status: int = 0) -> Any:
    done = millrace("dead-letters", command, str(flow), *options, "--output", "json")
    assert done.returncode == status, f"{done.returncode}: {done.stdout}\n{done.stderr}"
    return json.loads(done.stdout)
