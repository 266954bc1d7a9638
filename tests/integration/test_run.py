"""`millrace run` as users start it: a real broker, a real Spark, a real node, the process killed and its servers taken away."""

import signal
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import aerospike
import pytest
from deltalake import DeltaTable
from pyspark.sql import SparkSession

from checkpoints.layout import read_lane
from deploy.local.aerospike import start_node
from deploy.local.kafka import start_broker
from deploy.local.topics import create_topics
from pipelines.flow import load_flow
from pipelines.ledger_check.check import check_ledger
from pipelines.ledger_check.misfit import Misfit
from pipelines.ledger_check.subject import subject_of
from tests.support.fixtures_stack import AerospikeUnderTest, KafkaUnderTest
from tests.support.flow_process import FlowProcess, ledger_of, run_here, run_once, taken_in
from tests.support.kafka import produce
from tests.support.typed_json import Change, final_state

pytestmark = [pytest.mark.spark, pytest.mark.stack, pytest.mark.timeout(2400)]
OUTPUTS = ("mirror", "history")
OUTAGE_S = 20.0


class Bench(NamedTuple):
    """One flow, its addresses and its tables."""

    flow: Path
    kafka: str
    aerospike: str
    namespace: str
    topic: str

    @property
    def checkpoint(self) -> Path:
        return self.flow.parent / "checkpoint"

    def table(self, name: str) -> DeltaTable:
        return DeltaTable(str(self.flow.parent / name))

    def produce(self, changes: list[Change]) -> None:
        produce(self.kafka, self.topic, (change.message() for change in changes))


def bench_at(
    folder: Path, kafka: str, address: str, namespace: str, topic: str, more: str = "", batch_timeout_s: float = 300
) -> Bench:
    """The flow. batch_timeout_s: patience with the node; long, so that a busy machine is no outage where none is the test."""
    flow = folder / "flow.yaml"
    flow.write_text(
        textwrap.dedent(f"""\
        name: run-{topic[-12:].strip("-_").lower()}
        source: {{bootstrap_servers: "{kafka}", topics: {topic}, format: json, max_offsets_per_trigger: 2000}}
        records:
          - {{namespace: payments, sets: [{topic[-40:]}], bins: schemaless}}
        lanes:
          fast:
            trigger: {{interval_ms: 100}}
            outputs:
              mirror: {{type: aerospike, hosts: "{address}", namespace: {namespace}, batch_timeout_s: {batch_timeout_s}}}
          bulk:
            trigger: {{interval_ms: 500}}
            outputs:
              history: {{type: delta_history, path: {folder}/history}}
        dead_letters: {folder}/dead_letters
        checkpoint: {folder}/checkpoint
        """)
        + more
    )
    return Bench(flow, kafka, address, namespace, topic)


def outage_from_now() -> Callable[[], None]:
    """A wait for the end of an outage that begins now."""
    over_at = time.monotonic() + OUTAGE_S
    return lambda: time.sleep(max(0.0, over_at - time.monotonic()))


@pytest.fixture
def bench(tmp_path: Path, kafka_broker: KafkaUnderTest, aerospike_node: AerospikeUnderTest, topic: str) -> Bench:
    return bench_at(tmp_path, kafka_broker.address, aerospike_node.address, aerospike_node.namespace, topic)


def changes_of(bench: Bench, first: int, count: int, records: int = 40) -> list[Change]:
    """`count` changes from number `first` on, over a few records; every seventh is a delete, every fifth comes twice or late."""
    start_ms = int(time.time() * 1000) - 3_600_000
    made = []
    for number in range(first, first + count):
        lut_ms = start_ms + number * 10 - (500 if number % 5 == 0 else 0)
        bins: dict[str, int | str] | None = None if number % 7 == 3 else {"n": number, "text": f"Größe {number}"}
        made.append(Change(f"k{number % records}", lut_ms, 1 + number % 60_000, bins, set=bench.topic[-40:]))
    return made + made[::5]


def mirrored(bench: Bench, changes: list[Change]) -> dict[bytes, dict[str, int | str]]:
    """What a reader of the mirror sees of the records that `changes` touch."""
    host, port = bench.aerospike.rsplit(":", 1)
    patient = {"batch": {"total_timeout": 60_000, "socket_timeout": 30_000}}  # a busy machine is no missing record
    client = aerospike.client({"hosts": [(host, int(port))], "policies": patient})
    try:
        digests = sorted({change.digest for change in changes})
        rows = client.batch_read([(bench.namespace, None, None, bytearray(digest)) for digest in digests]).batch_records
        assert {row.result for row in rows} <= {0, 2}
        return {
            digest: {name: value for name, value in row.record[2].items() if not name.startswith("_mr_")}
            for digest, row in zip(digests, rows, strict=True)
            if row.result == 0
        }
    finally:
        client.close()


def assert_exact(bench: Bench, changes: list[Change], dead: int = 0, *, transactional: bool = False) -> None:
    """Nothing lost, doubled or different: mirror, history, ledger and dead letters against what was sent.

    transactional: offsets without a message are counted as gaps, as many by each output; else there are none.
    """
    assert mirrored(bench, changes) == final_state(changes)
    history = bench.table("history").to_pyarrow_table(columns=["partition", "offset", "element", "digest"])
    positions = list(zip(*(history[name].to_pylist() for name in ("partition", "offset", "element")), strict=True))
    assert len(positions) == len(set(positions)) == len(changes)
    assert sorted(history["digest"].to_pylist()) == sorted(change.digest for change in changes)
    status, ledger = ledger_of(bench.flow)
    assert status == 0 and ledger["balanced"]
    assert {total["output"]: total["events_in"] for total in ledger["totals"]} == dict.fromkeys(OUTPUTS, len(changes) + dead)
    assert {total["output"]: total["dead"] for total in ledger["totals"]} == dict.fromkeys(OUTPUTS, dead)
    by_output = {total["output"]: total for total in ledger["totals"]}
    assert by_output["history"]["applied"] == len(changes)
    for output in OUTPUTS:
        ids = [row["batch_id"] for row in ledger["batches"] if row["output"] == output]
        assert ids == sorted(set(ids)), "one account per batch, however often it ran"
    (gaps,) = {total["gaps"] for total in ledger["totals"]}
    assert misfits(bench) == [] and (gaps > 0) is transactional


def misfits(bench: Bench) -> list[Misfit]:
    """What `millrace ledger --check` finds."""
    proof = check_ledger(subject_of(load_flow(bench.flow)))
    assert proof.parts, "nothing was looked at"
    return proof.misfits.ordered


@pytest.fixture
def overloaded(aerospike_node: AerospikeUnderTest) -> Iterator[bool]:
    """The node refuses the first four batch calls; False for a real server, which cannot be told to."""
    if aerospike_node.node is None:
        yield False
        return
    client = aerospike.client({"hosts": [(aerospike_node.host, aerospike_node.port)]})
    try:
        client.info_all(f"millrace-fault:name=overload;namespace={aerospike_node.namespace};kind=batch;times=4")
        yield True
    finally:
        client.info_all("millrace-fault:clear=overload")
        client.close()


def test_folders_may_be_symbolic_links(bench: Bench, spark: SparkSession, tmp_path: Path) -> None:
    """Spark's local file system lists a folder that is itself a link as one file: nothing may hang on listing one of these."""
    links = ("checkpoint", "checkpoint/fast", "checkpoint/bulk", "history", "dead_letters")
    for number, name in enumerate(links):
        elsewhere = tmp_path / f"disk-{number}"
        elsewhere.mkdir()
        (tmp_path / name).symlink_to(elsewhere)
    changes = changes_of(bench, 0, 100)
    bench.produce(changes)
    run_here(bench.flow, spark)
    more = changes_of(bench, 100, 50)
    bench.produce(more)
    run_here(bench.flow, spark)
    assert_exact(bench, changes + more)
    assert all((tmp_path / name).is_symlink() for name in links)
    reader = spark.read.format("delta")
    assert reader.load(str(tmp_path / "history")).count() == len(changes + more)


def test_once_writes_everything_and_then_nothing(bench: Bench, overloaded: bool) -> None:
    ancient = Change("ancient", 1_600_000_000_000, 1, {"n": 1}, set=bench.topic[-40:])
    changes = [*changes_of(bench, 0, 700), ancient]
    bench.produce(changes)
    produce(bench.kafka, bench.topic, [(b"x", b"not json"), (b"y", b'{"msg":"write"}'), (b"z", None)])
    together = changes_of(
        bench, 700, 2
    )  # three messages, one of them repeated, and something else, as a batch formatter sends them
    array = b"[" + b",".join([together[0].message()[1], b"7", *(change.message()[1] for change in together[1:])]) + b"]"
    produce(bench.kafka, bench.topic, [(None, array)])
    changes += together
    bench.produce([Change("elsewhere", 1_700_000_000_000, 1, {"n": 1}, set="another")])
    first = run_once(bench.flow)
    assert first.of_kind("stopped") and not first.of_kind("restart")
    pressures = [line["pressure"]["mirror"] for line in first.of_kind("batch") if line["lane"] == "fast"]
    assert (sum(seen["refused"] for seen in pressures) > 0) is overloaded
    assert sum(seen["refused"] for seen in pressures) == sum(seen["sent_again"] for seen in pressures)
    assert min(seen["smallest_share"] for seen in pressures) < 0.2 or not overloaded
    assert_exact(bench, changes, dead=4)
    letters = bench.table("dead_letters").to_pyarrow_table()
    assert sorted(letters["value"].to_pylist(), key=str) == sorted([b"not json", b'{"msg":"write"}', None, array], key=str)
    assert sorted(zip(letters["element"].to_pylist(), letters["code"].to_pylist(), strict=True))[-1] == (1, "D102")
    assert set(letters["output"].to_pylist()) == {None} and set(letters["lane"].to_pylist()) == {"bulk"}
    _, ledger = ledger_of(bench.flow)
    assert {total["unselected"] for total in ledger["totals"]} == {1}
    by_output = {total["output"]: total for total in ledger["totals"]}
    assert by_output["history"]["lateness"] is None and sum(by_output["mirror"]["lateness"].values()) > 0
    told = first.of_kind("past_horizon")
    assert [(line["code"], line["past_horizon"]) for line in told] == [("E414", 1)], "2020 is beyond the horizon"
    assert by_output["mirror"]["past_horizon"] == 1
    assert {total["rows_read"] - total["messages"] for total in ledger["totals"]} == {3}
    history = bench.table("history")
    assert len(set(history.to_pyarrow_table(columns=["partition"])["partition"].to_pylist())) == 2
    written = history.to_pyarrow_table(columns=["batch_id", "lut_date"]).to_pylist()
    assert len(history.file_uris()) == len({tuple(row.values()) for row in written}), "a small batch is one file a day"
    before = bench.table("history").version(), bench.table("ledger").version(), mirrored(bench, changes)

    second = run_once(bench.flow)
    assert not second.of_kind("batch")
    assert (bench.table("history").version(), bench.table("ledger").version(), mirrored(bench, changes)) == before


def test_sigterm_finishes_the_batches_and_a_second_driver_is_refused(bench: Bench) -> None:
    sent: list[Change] = []
    enough = threading.Event()

    def keep_producing() -> None:
        while not enough.wait(0.2):
            more = changes_of(bench, len(sent), 40)
            bench.produce(more)
            sent.extend(more)

    producer = threading.Thread(target=keep_producing)
    producer.start()
    try:
        with FlowProcess(bench.flow) as first:
            first.wait_for(
                lambda lines: all(
                    sum(line["kind"] == "batch" and line["lane"] == lane for line in lines) >= 3 for lane in ("fast", "bulk")
                ),
                "three batches in each lane",
            )
            with FlowProcess(bench.flow) as second:
                assert second.wait() == 4, second.transcript()
                assert "E420" in second.errors and f"process {first.pid} " in second.errors
            assert misfits(bench) == [], "a running flow may be checked"
            first.send(signal.SIGTERM)
            assert first.wait() == 0, first.transcript()
            assert not first.of_kind("cut") and not first.of_kind("restart"), first.transcript()
    finally:
        enough.set()
        producer.join()
    _, ledger = ledger_of(bench.flow)
    for lane, output in (("fast", "mirror"), ("bulk", "history")):
        accounts = [row["batch_id"] for row in ledger["batches"] if row["output"] == output]
        assert max(accounts) == read_lane(str(bench.checkpoint / lane)).last_commit, (
            f"{lane}: a batch was written but not committed"
        )
    assert not list((bench.checkpoint / "_millrace" / "journal").rglob("*.json")), "the ledger was not flushed at the stop"
    run_once(bench.flow)
    assert_exact(bench, sent)


def test_broker_and_node_may_go_away_for_a_while(tmp_path: Path) -> None:
    """Twenty seconds each: longer than every patience of a client, so that a flow has really given up and begun anew."""
    broker = start_broker(tmp_path / "kafka")
    node = start_node(tmp_path / "aerospike", ("mirror,nsup-period=1",))
    try:
        create_topics(broker.address, ["outage"], partitions=2)
        bench = bench_at(tmp_path, broker.address, node.address, "mirror", "outage", batch_timeout_s=5)
        changes = changes_of(bench, 0, 200)
        bench.produce(changes)
        with FlowProcess(bench.flow) as process:
            for output in OUTPUTS:
                process.wait_for_events(output, len(changes))

            broker.kill()
            outage_over = outage_from_now()
            process.wait_for(lambda lines: any(line["kind"] == "kafka_away" for line in lines), "the broker missed")
            outage_over()
            broker = broker.restart()
            process.wait_for(lambda lines: any(line["kind"] == "kafka_back" for line in lines), "the broker found again")
            more = changes_of(bench, 200, 200)
            bench.produce(more)
            changes += more
            for output in OUTPUTS:
                process.wait_for_events(output, len(changes))

            node.kill()
            outage_over = outage_from_now()
            more = changes_of(bench, 400, 200)
            bench.produce(more)
            changes += more
            process.wait_for(
                lambda lines: any(
                    line["kind"] == "restart" and line["lane"] == "fast" and line["code"] in ("E210", "E310") for line in lines
                ),
                "the lane of the mirror tried again",
            )
            process.wait_for_events("history", len(changes))
            assert taken_in(process.lines, "mirror") == len(changes) - len(more), "the mirror counts what no server has taken"
            outage_over()
            node = node.restart()
            for output in OUTPUTS:
                process.wait_for_events(output, len(changes))
            process.send(signal.SIGINT)
            assert process.wait() == 0, process.transcript()
        assert_exact(bench, changes)
    finally:
        node.stop()
        broker.stop()


def test_a_topic_created_again_is_refused(bench: Bench) -> None:
    from confluent_kafka.admin import AdminClient

    changes = changes_of(bench, 0, 50)
    bench.produce(changes)
    run_once(bench.flow)
    admin = AdminClient({"bootstrap.servers": bench.kafka})
    for future in admin.delete_topics([bench.topic]).values():
        future.result()
    with FlowProcess(bench.flow, "--once") as gone:
        assert gone.wait() == 4 and "E430" in gone.errors, gone.transcript()
    create_topics(bench.kafka, [bench.topic], partitions=2)
    bench.produce(changes)
    bench.produce(changes)
    with FlowProcess(bench.flow, "--once") as again:
        assert again.wait() == 4 and "E432" in again.errors and "created again" in again.errors, again.transcript()
    assert_exact(bench, changes)
