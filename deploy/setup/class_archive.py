"""Make the archive of the driver's classes: `python -m deploy.setup.class_archive`. See `pipelines.session.CLASS_ARCHIVE`.

A driver does once what flows do (a Delta table written, a stream over it read in Python workers, a query), and at its end the JVM
keeps the classes it has loaded. Everything works without the archive, so a failure is told and is no failure of the set-up.
"""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pipelines.session import CLASS_ARCHIVE, build_session, close_session, jar_paths

_DUMP_S = 600.0


def make_archive() -> Path:
    """Make the archive anew; returns where it is. Raises whatever stops a session, ConfigError E110 without jars."""
    archive = jar_paths()[0].with_name(CLASS_ARCHIVE)
    draft = archive.with_suffix(".draft")  # half an archive would crash a JVM
    draft.unlink(missing_ok=True)
    options = f"-Xss16m -XX:TieredStopAtLevel=1 -XX:ArchiveClassesAtExit={draft} -Xlog:disable"
    with tempfile.TemporaryDirectory() as folder:
        session = build_session("class archive", {"spark.driver.extraJavaOptions": options}, "local[1]")
        try:
            _work(session, Path(folder))
        finally:
            close_session(session, _DUMP_S)
    draft.replace(archive)
    return archive


def _work(session: SparkSession, folder: Path) -> None:
    def same(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        yield from batches

    def append(frame: DataFrame, batch_id: int) -> None:
        rows = frame.mapInArrow(same, "id BIGINT, day STRING, bins MAP<STRING, STRING>")
        writer = rows.write.format("delta").mode("append").partitionBy("day")
        writer.option("txnAppId", "archive").option("txnVersion", batch_id).save(str(folder / "history"))

    columns = [F.lit("2026-01-01").alias("day"), F.create_map(F.lit("a"), F.lit("b")).alias("bins")]
    session.range(0, 100, 1, 2).select("id", *columns).write.format("delta").save(str(folder / "source"))
    stream = session.readStream.format("delta").load(str(folder / "source")).writeStream
    query = stream.foreachBatch(append).trigger(availableNow=True).option("checkpointLocation", str(folder / "checkpoint"))
    query.start().awaitTermination()
    history = session.read.format("delta").load(str(folder / "history"))
    newest = history.groupBy("day").agg(F.max_by("id", "id"), F.count("*")).collect()
    assert newest[0][2] == 100, newest


def main() -> int:
    """Make it, and say so; status 1 when it could not be made."""
    try:
        made = make_archive()
    except Exception as error:  # a set-up without it is slower, not broken
        print(f"No class archive: {error}. Drivers will start more slowly.", file=sys.stderr)
        return 1
    print(f"Wrote {made.name} ({made.stat().st_size >> 20} MB).")
    return 0


if __name__ == "__main__":
    sys.exit(main())

__all__ = ["make_archive"]
