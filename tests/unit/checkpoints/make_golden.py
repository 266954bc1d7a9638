"""Writes the checkpoints in golden/: run by hand (`python -m tests.unit.checkpoints.make_golden`) when Spark changes.

Each is what Spark itself left behind, reading a real broker: `done` three finished batches; `planned` the third batch planned and
failed; `first` the very first batch planned and failed; `named` a named source, offset log format 2. Hidden files are left out.
"""

import json
import shutil
import tempfile
from pathlib import Path

from confluent_kafka.admin import AdminClient, NewTopic
from pyspark.sql import DataFrame, SparkSession

from deploy.local.kafka import start_broker
from tests.support.kafka import produce
from tests.support.spark import start_session

GOLDEN = Path(__file__).with_name("golden")


def run(
    session: SparkSession, address: str, checkpoint: Path, batches: int, fails_at: int | None, *, named: bool = False
) -> None:
    def body(frame: DataFrame, batch_id: int) -> None:
        frame.write.format("noop").mode("append").save()
        if batch_id == fails_at:
            raise RuntimeError("this batch stays planned")

    topic = checkpoint.name
    admin = AdminClient({"bootstrap.servers": address})  # kept: its futures end with it
    for future in admin.create_topics([NewTopic(topic, 2, 1)]).values():
        future.result(10)
    for batch in range(batches):
        for partition in range(2):
            produce(address, topic, [(b"k", b"v")] * (batch + 1 + partition), partition=partition)
        reader = session.readStream.format("kafka").option("kafka.bootstrap.servers", address)
        reader = reader.option("subscribe", topic).option("startingOffsets", "earliest")
        stream = (reader.name("events") if named else reader).load()
        query = (
            stream.writeStream.foreachBatch(body).option("checkpointLocation", str(checkpoint)).trigger(availableNow=True).start()
        )
        try:
            query.awaitTermination()
        except Exception:
            if batch != fails_at:
                raise


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        broker = start_broker(scratch / "kafka")
        session = start_session(scratch)
        try:
            run(session, broker.address, scratch / "done", 3, None)
            run(session, broker.address, scratch / "planned", 3, 2)
            run(session, broker.address, scratch / "first", 1, 0)
            session.conf.set("spark.sql.streaming.queryEvolution.enableSourceEvolution", "true")
            session.conf.set("spark.sql.streaming.offsetLog.formatVersion", "2")
            run(session, broker.address, scratch / "named", 2, None, named=True)
            shutil.rmtree(GOLDEN, ignore_errors=True)
            for case in ("done", "planned", "first", "named"):
                shutil.copytree(scratch / case, GOLDEN / case, ignore=shutil.ignore_patterns(".*"))
            origin = {
                "made_by": "tests/unit/checkpoints/make_golden.py",
                "spark": session.version,
                "source": "kafka, 2 partitions",
            }
            (GOLDEN / "origin.json").write_text(json.dumps(origin, indent=2) + "\n")
        finally:
            session.stop()
            broker.stop()


if __name__ == "__main__":
    main()
