"""An output that counts, end to end: killed in the middle of a batch and repeated, its counters are the topic's truth."""

import json
import pickle
import textwrap
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from pipelines.counters_output import CountersOutput, Counting
from pipelines.failpoints import VARIABLE, Victims
from pipelines.outputs import Account
from schemas.errors import InDoubt
from schemas.xdr.options import DecodeOptions, RecordType
from sinks.aerospike import AerospikeCounters
from sinks.aerospike.connection import client_for
from sinks.aerospike.count_plan import CountedBin, CountPlan, KeyRule
from sinks.aerospike.counter_marks import CounterMark
from sinks.aerospike.record_changes import Target
from sinks.contract import Fence
from tests.support.broken import CutCounters, UnfencedCounters, UnfencedCutCounters
from tests.support.counters import counters_config, shown
from tests.support.fixtures_stack import AerospikeUnderTest, KafkaUnderTest
from tests.support.flow_process import FlowProcess, ledger_of, run_once
from tests.support.kafka import produce, read_all
from tests.support.typed_json import Change

pytestmark = [pytest.mark.spark, pytest.mark.stack, pytest.mark.timeout(1200)]
SHOPS = 12
MESSAGES = pa.schema(
    [
        ("topic", pa.string()), ("partition", pa.int32()), ("offset", pa.int64()),
        ("kafka_timestamp", pa.timestamp("us", tz="UTC")), ("key", pa.binary()), ("value", pa.binary()),
        ("headers", pa.string()),
    ]
)  # fmt: skip
PLAN = CountPlan(
    "shops",
    KeyRule("bin", "shop"),
    (
        CountedBin("n", "count"),
        CountedBin("sum", "sum", of="amount"),
        CountedBin("by", "sum", of="amount", by="currency"),
        CountedBin("last", "append", of="id", keep=5),
    ),
)


def payments(run: str, first: int, count: int) -> list[Change]:
    """Payments in a few shops; every ninth is a delete, which is not counted."""
    start_ms = int(time.time() * 1000) - 3_600_000
    made = []
    for number in range(first, first + count):
        currency = ("eur", "usd", "yen")[number % 3]
        shop = f"{run}-{number % SHOPS}"
        bins: dict[str, int | str] = {"shop": shop, "amount": number % 97 - 20, "currency": currency, "id": number}
        made.append(Change(f"{run}-p{number}", start_ms + number, 1, None if number % 9 == 4 else bins, set=run))
    return made


def truth_of(values: Sequence[bytes | None]) -> dict[str, dict[str, Any]]:
    """What the messages say, counted by itself: written apart from the code under test, in the order given."""
    shops: dict[str, dict[str, Any]] = {}
    for value in values:
        message = json.loads(value or b"{}")
        if message["msg"] != "write":
            continue
        bins = {entry["name"]: entry["value"] for entry in message["bins"]}
        shop = shops.setdefault(bins["shop"], {"n": 0, "sum": 0, "by": Counter(), "last": []})
        shop["n"] += 1
        shop["sum"] += bins["amount"]
        shop["by"][bins["currency"]] += bins["amount"]
        shop["last"] = [*shop["last"], bins["id"]][-5:]
    return shops


class Batches:
    """Micro-batches of one output over tables of messages, in this process's Spark."""

    def __init__(self, spark: SparkSession, node: AerospikeUnderTest) -> None:
        self.spark, self.run = spark, uuid4().hex[:8]
        config = counters_config(node.address, node.namespace, writer=f"flow/{self.run}")
        self.sink = AerospikeCounters(config)
        self.mark = CounterMark(config.client, config.namespace, config.mark_set, config.writer, "shops")
        self.values: list[bytes | None] = []

    def batch(self, number: int, sink: AerospikeCounters, messages: Sequence[bytes | None], partitions: int) -> Account:
        rows = [
            {"topic": "t", "partition": 0, "offset": number * 10_000 + at, "value": value} for at, value in enumerate(messages)
        ]
        frame = self.spark.createDataFrame(pa.Table.from_pylist(rows, schema=MESSAGES)).repartition(partitions)
        options = DecodeOptions(records=(RecordType("payments"),))
        output = CountersOutput(Counting(sink, self.mark, PLAN), options, "fast", 60.0, True, Victims(0))
        return output.apply(frame, Fence("epoch", number))

    def shown(self, shops: Sequence[str]) -> dict[str, dict[str, Any] | None]:
        return {shop: shown(self.sink, Target("shops", shop)) for shop in shops}


@pytest.mark.parametrize("partitions", [1, 3])
@pytest.mark.parametrize("fenced", [True, False])
def test_a_batch_that_was_cut_is_finished_by_its_replay_and_only_the_fence_makes_it_exact(
    spark: SparkSession, aerospike_node: AerospikeUnderTest, partitions: int, fenced: bool
) -> None:
    flow = Batches(spark, aerospike_node)
    config = flow.sink.config
    cut, whole = (CutCounters(config), flow.sink) if fenced else (UnfencedCutCounters(config), UnfencedCounters(config))
    values: list[bytes | None] = []
    for number in range(2):
        part = [change.message()[1] for change in payments(flow.run, number * 200, 200)]
        values += part
        with pytest.raises(InDoubt, match="cut by the test"):
            flow.batch(number, cut, part, partitions)
        account = flow.batch(number, whole, [*part, b"no message"], partitions)
        again = flow.batch(number, whole, [*part, b"no message"], partitions)
        deletes = sum(b'"delete"' in (value or b"") for value in part)
        for one in (account, again):
            assert (one.messages, one.rows, one.unselected) == (201, 201, deletes)
            assert (one.applied, one.superseded, one.duplicate, one.dead, one.undecoded) == (200 - deletes, 0, 0, 1, 1)
            assert one.letters is not None and one.letters.num_rows == 1
    truth = truth_of(values)
    assert len(truth) == SHOPS
    assert (flow.shown(list(truth)) == truth) is fenced


def test_counters_slow_down_with_the_cluster_and_count_the_same(spark: SparkSession, aerospike_node: AerospikeUnderTest) -> None:
    if aerospike_node.node is None:
        pytest.skip("a real server cannot be told to refuse")
    flow = Batches(spark, aerospike_node)
    values = [change.message()[1] for change in payments(flow.run, 0, 200)]
    client = client_for(flow.sink.config.client)
    client.info_all(f"millrace-fault:name=overload;namespace={aerospike_node.namespace};kind=batch;times=3")
    try:
        account = flow.batch(0, flow.sink, values, 1)
    finally:
        client.info_all("millrace-fault:clear=overload")
    felt = account.pressure
    assert felt is not None and felt.refused > 0 and felt.refused == felt.again and felt.smallest < 0.5, felt
    truth = truth_of(values)
    assert flow.shown(list(truth)) == truth


def test_events_of_a_record_that_cannot_be_changed_are_letters_and_the_others_count(
    spark: SparkSession, aerospike_node: AerospikeUnderTest
) -> None:
    flow = Batches(spark, aerospike_node)
    bad, good = f"{flow.run}-bad", f"{flow.run}-good"
    start_ms = int(time.time() * 1000)

    def payment(shop: str | int, amount: int | str, number: int) -> bytes:
        bins: dict[str, int | str] = {"shop": shop, "amount": amount, "currency": "eur", "id": number}
        return Change(f"{flow.run}-{number}", start_ms, number, bins).message()[1]

    spoilt = replace(PLAN, bins=(CountedBin("n", "last", of="id"), CountedBin("sum", "last", of="currency")))
    options = DecodeOptions(records=(RecordType("payments"),))
    row = {"topic": "t", "partition": 0, "offset": 0, "value": payment(bad, 1, 0)}
    frame = spark.createDataFrame(pa.Table.from_pylist([row], schema=MESSAGES))
    CountersOutput(Counting(flow.sink, flow.mark, spoilt), options, "fast", 60.0, True, Victims(0)).apply(
        frame, Fence("epoch", 0)
    )

    messages = [payment(bad, 5, 1), payment(good, 7, 2), payment(bad, 5, 3), payment(good, "much", 4), payment(good, 1, 5)]
    for _ in range(2):
        account = flow.batch(1, flow.sink, messages, 2)
        assert (account.applied, account.dead, account.undecoded) == (2, 3, 0)
        assert account.letters is not None
        letters = sorted((row["offset"], row["code"], row["rejected"]) for row in account.letters.to_pylist())
        assert letters == [(10_000, "D205", True), (10_002, "D205", True), (10_003, "D211", True)]
        assert all(row["value"] == messages[row["offset"] - 10_000] for row in account.letters.to_pylist())
    assert flow.shown([good])[good] == {"n": 2, "sum": 8, "by": {"eur": 8}, "last": [2, 5]}
    assert flow.shown([bad])[bad] == {"n": 0, "sum": "eur"}


def test_a_flow_killed_in_mid_batch_and_its_checkpoint_deleted(
    tmp_path: Path, kafka_broker: KafkaUnderTest, aerospike_node: AerospikeUnderTest, topic: str
) -> None:
    run = uuid4().hex[:8]
    flow = tmp_path / "flow.yaml"
    flow.write_text(
        textwrap.dedent(f"""\
        name: count-{run}
        source: {{bootstrap_servers: "{kafka_broker.address}", topics: {topic}, format: json, max_offsets_per_trigger: 300}}
        records: [{{namespace: payments, sets: [{run}]}}]
        outputs:
          shops:
            type: aerospike_counters
            hosts: "{aerospike_node.address}"
            namespace: {aerospike_node.namespace}
            set: shops
            key: {{bin: shop}}
            batch_timeout_s: 300
            bins:
              n: count
              sum: {{do: sum, of: amount}}
              by: {{do: sum, of: amount, by: currency}}
              last: {{do: append, of: id, keep: 5}}
        dead_letters: {tmp_path}/dead_letters
        checkpoint: {tmp_path}/checkpoint
        """)
    )
    changes = payments(run, 0, 1_000)
    # One partition, so that its order is the order of all.
    produce(kafka_broker.address, topic, [change.message() for change in changes], partition=0)
    armed = tmp_path / "armed"
    for points in ("fast:mid_shops events=40", "fast:after_shops after=1"):
        armed.write_text(points + "\n")
        with FlowProcess(flow, environment={VARIABLE: str(armed)}) as process:
            assert process.wait() == -9, process.transcript()
    fired = [json.loads(line) for line in Path(f"{armed}.fired").read_text().splitlines()]
    assert [one["point"] for one in fired] == ["fast:mid_shops", "fast:after_shops"]
    assert 0 < fired[0]["records"] < fired[0]["of"], "some records were changed and some were not"
    produce(kafka_broker.address, topic, [(b"x", b"no message")], partition=0)
    run_once(flow)

    values = [message.value for message in read_all(kafka_broker.address, topic) if message.value != b"no message"]
    truth = truth_of(values)
    sink = AerospikeCounters(counters_config(aerospike_node.address, aerospike_node.namespace))
    assert {shop: shown(sink, Target("shops", shop)) for shop in truth} == truth
    status, ledger = ledger_of(flow)
    deletes = sum(change.bins is None for change in changes)
    total = ledger["totals"][0]
    assert status == 0 and ledger["balanced"]
    assert (total["events_in"], total["applied"], total["dead"]) == (1_001 - deletes, 1_000 - deletes, 1)

    (tmp_path / "checkpoint").rename(tmp_path / "gone")
    (tmp_path / "ledger").rename(tmp_path / "gone-ledger")
    (tmp_path / "dead_letters").rename(tmp_path / "gone-letters")
    with FlowProcess(flow, "--once") as anew:
        assert anew.wait() == 2 and "E124" in anew.errors, anew.transcript()
    assert {shop: shown(sink, Target("shops", shop)) for shop in truth} == truth


def test_the_output_travels_to_workers() -> None:
    sink = AerospikeCounters(counters_config("127.0.0.1:3000", "test"))
    assert pickle.loads(pickle.dumps((sink, PLAN)))[1] == PLAN
