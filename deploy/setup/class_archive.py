"""Make the archives of the driver's and the broker's classes: `python -m deploy.setup.class_archive`.

A driver does once what flows do (a Delta table written, a stream over Kafka read in Python workers, a query), and at their ends
the JVMs of driver and broker keep the classes they have loaded. Everything works without the archives, so a failure is told and
is no failure of the set-up. See `pipelines.session.CLASS_ARCHIVE` and `deploy.local.kafka.CLASS_ARCHIVE`.
"""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
from confluent_kafka import Producer
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from deploy.local.kafka import class_archive, start_broker
from deploy.local.topics import create_topics
from pipelines.session import CLASS_ARCHIVE, build_session, close_session, jar_paths
from pipelines.source import messages

_DUMP_S = 600.0
_MESSAGES = 100


def make_archives() -> list[Path]:
    """Make both anew; returns where they are. Raises whatever stops a session or a broker, ConfigError E110 without jars."""
    archives = [jar_paths()[0].with_name(CLASS_ARCHIVE), class_archive()]
    drafts = [archive.with_suffix(".draft") for archive in archives]  # half an archive would crash a JVM
    for draft in drafts:
        draft.unlink(missing_ok=True)
    options = f"-Xss16m -XX:TieredStopAtLevel=1 -XX:ArchiveClassesAtExit={drafts[0]} -Xlog:disable"
    with tempfile.TemporaryDirectory() as folder:
        broker = start_broker(Path(folder) / "kafka", archive_to=drafts[1])
        try:
            session = build_session("class archive", {"spark.driver.extraJavaOptions": options}, "local[1]")
            try:
                _work(session, broker.address, Path(folder))
            finally:
                close_session(session, _DUMP_S)
        finally:
            broker.stop(_DUMP_S)
    for draft, archive in zip(drafts, archives, strict=True):
        draft.replace(archive)
    return archives


def _work(session: SparkSession, bootstrap: str, folder: Path) -> None:
    def same(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        yield from batches

    def append(frame: DataFrame, batch_id: int) -> None:
        rows = frame.mapInArrow(same, "id BIGINT, day STRING, bins MAP<STRING, STRING>")
        writer = rows.write.format("delta").mode("append").partitionBy("day")
        writer.option("txnAppId", "archive").option("txnVersion", batch_id).save(str(folder / "history"))

    create_topics(bootstrap, ["archive"], partitions=2)
    producer = Producer({"bootstrap.servers": bootstrap})
    for number in range(_MESSAGES):
        producer.produce("archive", b"{}", str(number).encode())
    producer.flush()
    stream = session.readStream.format("kafka").option("kafka.bootstrap.servers", bootstrap).option("subscribe", "archive")
    kafka = messages(stream.option("startingOffsets", "earliest").option("includeHeaders", "true").load())
    columns = [F.lit("2026-01-01").alias("day"), F.create_map(F.lit("a"), F.lit("b")).alias("bins")]
    writer = kafka.select(F.col("offset").alias("id"), *columns).writeStream.foreachBatch(append).trigger(availableNow=True)
    writer.option("checkpointLocation", str(folder / "checkpoint")).start().awaitTermination()
    history = session.read.format("delta").load(str(folder / "history"))
    newest = history.groupBy("day").agg(F.max_by("id", "id"), F.count("*")).collect()
    assert newest[0][2] == _MESSAGES, newest


def main() -> int:
    """Make them, and say so; status 1 when they could not be made."""
    try:
        made = make_archives()
    except Exception as error:  # a set-up without them is slower, not broken
        print(f"No class archives: {error}. Drivers and local brokers will start more slowly.", file=sys.stderr)
        return 1
    for archive in made:
        print(f"Wrote {archive.name} ({archive.stat().st_size >> 20} MB).")
    return 0


if __name__ == "__main__":
    sys.exit(main())

__all__ = ["make_archives"]
