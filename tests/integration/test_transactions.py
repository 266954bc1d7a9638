"""Topics with transactions, and topics that change under a flow: a real transactional producer, a real broker, a real flow."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aerospike
import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
)
from pyspark.sql import SparkSession

from deploy import findings
from deploy.doctor import Check
from pipelines.flow import load_flow
from pipelines.guards import TOPICS_FILE
from pipelines.kafka_watch import KafkaWatch
from pipelines.mirror_identity import MIRRORS_FILE
from pipelines.runner import broker_of, lane_position
from tests.integration.test_run import OUTPUTS, Bench, assert_exact, bench_at, changes_of, mirrored
from tests.support.fixtures_stack import AerospikeUnderTest, KafkaUnderTest
from tests.support.flow_process import FlowProcess, reconciled
from tests.support.kafka import produce
from tests.support.typed_json import Change

pytestmark = [pytest.mark.spark, pytest.mark.stack, pytest.mark.timeout(2400)]


@pytest.fixture
def bench(tmp_path: Path, kafka_broker: KafkaUnderTest, aerospike_node: AerospikeUnderTest, topic: str) -> Bench:
    return bench_at(tmp_path, kafka_broker.address, aerospike_node.address, aerospike_node.namespace, topic)


@contextmanager
def transaction(bench: Bench, name: str, changes: Sequence[Change]) -> Iterator[Producer]:
    """The changes written and acknowledged inside a transaction of a producer of its own; the caller ends it, or nobody does."""
    producer = Producer(
        {"bootstrap.servers": bench.kafka, "transactional.id": f"{bench.topic}-{name}", "transaction.timeout.ms": 600_000}
    )
    producer.init_transactions(60)
    producer.begin_transaction()
    for change in changes:
        key, value = change.message()
        producer.produce(bench.topic, key=key, value=value)
    assert producer.flush(60) == 0
    yield producer


def told_by(bench: Bench) -> list[tuple[str, str, dict[str, Any]]]:
    """What the watch of a running flow tells at first sight when it is told to be impatient."""
    told: list[tuple[str, str, dict[str, Any]]] = []

    def tell(kind: str, message: str, **fields: object) -> None:
        told.append((kind, message, fields))

    KafkaWatch(broker_of(load_flow(bench.flow)), [bench.topic], tell, transactions_after_s=0).look()
    return told


def written(bench: Bench) -> dict[int, int]:
    """Where each partition ends, whatever a reader may see of it."""
    broker = broker_of(load_flow(bench.flow))
    return broker.newest(broker.partitions([bench.topic]))[bench.topic]


def refused(bench: Bench) -> str:
    with FlowProcess(bench.flow, "--once") as process:
        assert process.wait() == 4, process.transcript()
        return process.errors


def doctor_says(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> dict[str, Check]:
    """What `millrace doctor` finds at the flow's servers, by row; open transactions at once, not after a minute."""
    monkeypatch.setattr(findings, "TOLD_AFTER_S", 0.0)
    flow = load_flow(bench.flow)
    return {check.name: check for check in (*findings.kafka_findings(flow, 10.0), *findings.mirror_findings(flow))}


def test_transactions_and_a_topic_that_changes_under_the_flow(
    bench: Bench, spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, committed, aborted, open_ = (changes_of(bench, first, 60) for first in (0, 100, 200, 300))
    bench.produce(plain)
    with transaction(bench, "committed", committed) as producer:
        producer.commit_transaction(60)
    with transaction(bench, "aborted", aborted) as producer:
        producer.abort_transaction(60)
    with transaction(bench, "open", open_) as producer, FlowProcess(bench.flow) as process:
        behind = changes_of(bench, 400, 20)
        bench.produce(behind)  # committed at once, and still not readable
        for output in OUTPUTS:
            process.wait_for_events(output, len(plain) + len(committed))
        assert_exact(bench, plain + committed, transactional=True)
        told = [fields for kind, _, fields in told_by(bench) if kind == "transaction_open"]
        ends = written(bench)
        assert sum(fields["waiting"] for fields in told) >= len(open_) + len(behind)
        assert {fields["partition"]: fields["offset"] + fields["waiting"] for fields in told} == {
            fields["partition"]: ends[fields["partition"]] for fields in told
        }
        assert doctor_says(bench, monkeypatch)["transactions"].state == "warn"

        admin = AdminClient({"bootstrap.servers": bench.kafka})  # held: one that is collected takes its requests with it
        admin.create_partitions([NewPartitions(bench.topic, 3)])[bench.topic].result()
        added = changes_of(bench, 500, 30)
        produce(bench.kafka, bench.topic, (change.message() for change in added), partition=2)
        process.wait_for(lambda lines: any(line["kind"] == "partitions_added" for line in lines), "the added partition")
        for output in OUTPUTS:
            process.wait_for_events(output, len(plain) + len(committed) + len(added))
        producer.commit_transaction(60)
        everything = plain + committed + open_ + behind + added
        for output in OUTPUTS:
            process.wait_for_events(output, len(everything))
        assert_exact(bench, everything, transactional=True)
        _reconciled_with_gaps(bench, spark, everything, aborted)
        assert not process.of_kind("restart"), process.transcript()
        assert {name: check.found for name, check in doctor_says(bench, monkeypatch).items() if check.state != "ok"} == {}

        key, bins = _identity(bench)
        with connected(bench) as client:
            client.remove(key)  # as if somebody had truncated the mirror
            bench.produce(changes_of(bench, 600, 1))
            assert process.wait() == 4 and "E436" in process.errors, process.transcript()
            said = refused(bench)
            assert "E436" in said and f"has filled mirror {bins['_mr_id']}, and the one there carries none" in said
            client.put(key, {**bins, "_mr_id": "another"})
            assert "carries another, given at" in refused(bench)
            assert doctor_says(bench, monkeypatch)["mirrors of lane fast"].state == "fail"
            client.put(key, bins)

    _refusals(bench)


def _reconciled_with_gaps(bench: Bench, spark: SparkSession, everything: list[Change], aborted: list[Change]) -> None:
    assert {change.digest for change in aborted} & set(mirrored(bench, everything)), "the aborted changes are of the same records"
    (check,) = reconciled(bench.flow, spark).offsets
    offsets = sum(written(bench).values())
    assert check.events == len(everything)
    assert check.gaps == offsets - len(everything) > len(aborted), "markers of transactions, and what was aborted"
    assert check.unconfirmed == 0


@contextmanager
def connected(bench: Bench) -> Iterator[Any]:
    host, port = bench.aerospike.rsplit(":", 1)
    client = aerospike.client({"hosts": [(host, int(port))]})
    try:
        yield client
    finally:
        client.close()


def _identity(bench: Bench) -> tuple[tuple[str, str, str], dict[str, str]]:
    """Key and bins of the identity that the flow has given the mirror."""
    key = (bench.namespace, "_mr_tomb", f"millrace identity of {load_flow(bench.flow).name}/mirror")
    with connected(bench) as client:
        _, meta, bins = client.get(key)
    assert meta["ttl"] == 0xFFFF_FFFF, "it never expires"
    assert json.loads((bench.checkpoint / MIRRORS_FILE).read_text()) == {"mirror": bins["_mr_id"]}
    return key, bins


def _refusals(bench: Bench) -> None:
    """A start of the same flow is refused before Spark is started when messages are gone, and for other brokers and settings."""
    admin = AdminClient({"bootstrap.servers": bench.kafka})
    cluster = broker_of(load_flow(bench.flow)).cluster_id()
    done = written(bench)

    resource = ConfigResource(ConfigResource.Type.TOPIC, bench.topic)
    for policy in ("compact", "delete"):
        entry = ConfigEntry("cleanup.policy", policy, incremental_operation=AlterConfigOpType.SET)
        change = ConfigResource(ConfigResource.Type.TOPIC, bench.topic, incremental_configs=[entry])
        admin.incremental_alter_configs([change])[resource].result()
        if policy == "compact":
            said = refused(bench)
            assert "E434" in said and f"{bench.topic} (cleanup.policy=compact)" in said and "output history" in said

    known = bench.checkpoint / TOPICS_FILE
    kept = json.loads(known.read_text())
    assert kept["cluster id"] == cluster and bench.topic in kept
    known.write_text(json.dumps({**kept, "cluster id": "AnotherClusterAnother1"}))
    said = refused(bench)
    assert "E435" in said and "AnotherClusterAnother1" in said and str(cluster) in said
    known.write_text(json.dumps(kept))

    for partition in (0, 1):
        produce(bench.kafka, bench.topic, [(b"k", b"unread")] * 10, partition=partition)
        removed = TopicPartition(bench.topic, partition, done[partition] + 10)
        next(iter(admin.delete_records([removed]).values())).result()
    said = " ".join(refused(bench).split())
    assert "E431" in said
    for lane in ("fast", "bulk"):
        needs = (lane_position(load_flow(bench.flow), lane).needs or {})[bench.topic]
        gone = {partition: done[partition] + 10 - needs[partition] for partition in (0, 1)}
        assert min(gone.values()) >= 10
        assert f"lane {lane} has not read {sum(gone.values())} offsets that are gone" in said
        for partition in (0, 1):
            place = f"partition {partition} of topic {bench.topic}: goes on at {needs[partition]:,}"
            assert f"{place}, oldest there is {done[partition] + 10:,} ({gone[partition]} offsets gone)" in said
