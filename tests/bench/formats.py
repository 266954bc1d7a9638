"""Messages of each format read into events, beside Spark's plain `from_json` of the same records: from Kafka to nowhere.

`from_json` reads the very messages where they are JSON, and the flat JSON of the same records beside the other formats. Ours ends
with ChangeEvents in Spark's Python workers, where a mirror takes them; Spark's with typed columns in the JVM.
"""

import io
import json
import pickle
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from random import Random
from typing import NamedTuple

import fastavro
import pyarrow as pa
from confluent_kafka import Producer
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from deploy.local.topics import create_topics
from pipelines.decoding import MESSAGE, collector_paused, reader_of
from pipelines.source import messages
from schemas.events import WRITE, ChangeEvent
from schemas.xdr.options import AvroSchemas, DecodeOptions
from schemas.xdr.registry_options import RegistryOptions
from tests.bench.cpu import cpu_spent, cpu_times
from tests.bench.jobs import Run
from tests.bench.workload import message
from tests.support.avro_messages import METADATA, framed
from tests.support.avro_messages import metadata as avro_metadata
from tests.support.message_pack import message_pack
from tests.support.registry_server import registry_server
from tests.support.xdr_encode import flat, typed

FLAT_DDL = (
    "metadata STRUCT<namespace: STRING, `set`: STRING, userKey: BIGINT, digest: STRING, msg: STRING, gen: INT, lut: BIGINT, "
    "exp: BIGINT>, amount BIGINT, balance BIGINT, seq BIGINT, rate DOUBLE, city STRING, note STRING"
)
TYPED_DDL = (
    "msg STRING, key ARRAY<STRING>, gen INT, exp BIGINT, lut BIGINT, "
    "bins ARRAY<STRUCT<name: STRING, type: STRING, value: STRING>>"
)
SPARK = "from_json"
_KINDS = {"amount": "long", "balance": "long", "seq": "long", "rate": "double", "city": "string", "note": "string"}
AVRO_WRITE = {
    "type": "record",
    "name": "Order",
    "fields": [
        *({"name": name, "type": ["null", kind], "default": None} for name, kind in _KINDS.items()),
        {"name": "metadata", "type": METADATA},
    ],
}
_PARSED = fastavro.parse_schema(AVRO_WRITE)
_SCHEMA_ID = 7


def _avro(event: ChangeEvent) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, _PARSED, {**event.bins, "metadata": avro_metadata(event)})
    return out.getvalue()


ENCODERS: dict[str, Callable[[ChangeEvent], bytes]] = {
    "json": typed,
    "flat-json": flat,
    "message-pack": message_pack,
    "avro": _avro,
    "kafka-avro": lambda event: framed(_SCHEMA_ID, _avro(event)),
}


class Pair(NamedTuple):
    """A run of a format and the run of `from_json` beside it: a machine that others use, too, changes its speed in seconds."""

    ours: Run
    theirs: Run


AIMS = {"json": 0.8, "flat-json": 0.8, "avro": 0.8, "message-pack": 0.5, "kafka-avro": 0.5}


@dataclass(frozen=True, slots=True)
class CountEvents:
    """The function given to `mapInArrow`: messages in, the partition's number of events out. options: pickled DecodeOptions."""

    options: bytes

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Read everything as a mirror's worker does."""
        reader, events = reader_of(self.options), 0
        with collector_paused():
            for batch in batches:
                events += len(reader.events(batch).events)
        yield pa.RecordBatch.from_pydict({"events": pa.array([events], pa.int64())})


def measure(session: SparkSession, kafka: str, count: int, rounds: int, say: Callable[[str], None]) -> dict[str, list[Pair]]:
    """Runs of each format by name, each with a run of `from_json` right before it; `rounds` of them after one that warms up."""
    events = _events(count)
    create_topics(kafka, [_topic(name) for name in ENCODERS], partitions=2)
    for name, encode in ENCODERS.items():
        _produce(kafka, _topic(name), events, encode)
    runs: dict[str, list[Pair]] = {name: [] for name in ENCODERS}
    with ExitStack() as stack:
        registry = stack.enter_context(registry_server())
        registry.schema(_SCHEMA_ID, json.dumps(AVRO_WRITE), schemaType="AVRO")
        options = {name: DecodeOptions(name) for name in ENCODERS}
        options["avro"] = replace(options["avro"], avro=AvroSchemas(json.dumps(AVRO_WRITE)))
        options["kafka-avro"] = replace(options["kafka-avro"], registry=RegistryOptions((registry.url,)))
        for number in range(rounds + 1):
            for name in ENCODERS:
                beside, ddl = ("json", TYPED_DDL) if name == "json" else ("flat-json", FLAT_DDL)
                theirs = _spark(_source(session, kafka, _topic(beside)), ddl, count)
                ours = _ours(_source(session, kafka, _topic(name)), options[name], count)
                if number:
                    say(f"  {name:<12} {ours.rate:>9,.0f} messages/s, {ours.rate / theirs.rate:.2f} of from_json beside it")
                    runs[name].append(Pair(ours, theirs))
    return runs


def _events(count: int) -> list[ChangeEvent]:
    """The events of the bench's workload."""
    random = Random(5)
    read = reader_of(pickle.dumps(DecodeOptions("json")))
    luts = range(1_764_633_600_000, 1_764_633_600_000 + count)
    values = [message(random, random.randrange(100_000), lut_ms, 1 + lut_ms % 60_000) for lut_ms in luts]
    found = read.events(
        pa.table(
            {
                "topic": pa.array(["t"] * count), "partition": pa.array([0] * count, pa.int32()),
                "offset": pa.array(range(count), pa.int64()), "key": pa.array([key for key, _ in values], pa.binary()),
                "value": pa.array([value for _, value in values], pa.binary()),
            }
        )
    )  # fmt: skip
    assert all(event.op == WRITE for event in found.events) and len(found.events) == count
    return found.events


def _topic(name: str) -> str:
    return f"format-{name}"


def _produce(kafka: str, topic: str, events: list[ChangeEvent], encode: Callable[[ChangeEvent], bytes]) -> None:
    producer = Producer(
        {"bootstrap.servers": kafka, "linger.ms": 50, "batch.size": 1 << 20, "queue.buffering.max.messages": 500_000}
    )
    for number, event in enumerate(events):
        producer.produce(topic, encode(event), event.digest)
        if number % 5_000 == 0:
            producer.poll(0)
    producer.flush()


def _source(session: SparkSession, kafka: str, topic: str) -> DataFrame:
    read = session.read.format("kafka").option("kafka.bootstrap.servers", kafka).option("subscribe", topic)
    return read.option("includeHeaders", "true").load()


def _ours(source: DataFrame, options: DecodeOptions, count: int) -> Run:
    work = CountEvents(pickle.dumps(options))
    before, began = cpu_times(), time.monotonic()
    events = sum(row["events"] for row in messages(source).select(*MESSAGE).mapInArrow(work, "events BIGINT").collect())
    run = Run(events, time.monotonic() - began, cpu_spent(before, cpu_times()))
    if events != count:
        raise AssertionError(f"{options.format}: {events} events of {count} messages")
    return run


def _spark(source: DataFrame, ddl: str, count: int) -> Run:
    before, began = cpu_times(), time.monotonic()
    parsed = source.select(F.from_json(F.col("value").cast("string"), ddl).alias("o")).select("o.*")
    parsed.write.format("noop").mode("overwrite").save()
    return Run(count, time.monotonic() - began, cpu_spent(before, cpu_times()))


__all__ = ["AIMS", "ENCODERS", "Pair", "SPARK", "measure"]
