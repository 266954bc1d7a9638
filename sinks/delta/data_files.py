"""A batch's rows as data files of a Delta table, written by Spark's Python workers where the rows are made.

So the rows need not go back to the JVM, which takes ten times as long to write them. A file is nothing to readers until the
driver commits its name (`sinks.delta.append.append_files`); what a killed worker leaves, VACUUM removes with all files a
table does not know.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sinks.delta.ddl import delta_schema
from sinks.delta.history_columns import ArrowStep, Batches

FILE_DDL = "path STRING, size_bytes BIGINT, modified_ms BIGINT, partition STRING, stats STRING"
"""A data file: its path below the table's, its size, its value of the partition column, its statistics as JSON."""
_FILES: pa.Schema = pa.schema(delta_schema(FILE_DDL).to_arrow())
MOST_BYTES = 128 << 20
"""Rows a worker holds before it writes them, as Arrow counts them; a tenth of it on the disk."""


@dataclass(frozen=True)
class DataFiles:
    """The function given to `mapInArrow`: rows in, a row of FILE_DDL for each data file out.

    rows:      what makes the table's rows of what comes in.
    folder:    the table's, on a disk that workers and driver share.
    partition: the partition column, a date; a file holds the rows of one.
    stats:     columns whose minima, maxima and nulls the log is to know.
    """

    rows: ArrowStep
    folder: str
    partition: str
    stats: tuple[str, ...]

    def __call__(self, batches: Batches) -> Batches:
        """A file for each partition, more of them only where there are more than MOST_BYTES."""
        written: list[dict[str, Any]] = []
        waiting: list[pa.RecordBatch] = []
        held_bytes = 0
        try:
            for batch in self.rows(batches):
                if not batch.num_rows:
                    continue
                waiting.append(batch)
                held_bytes += batch.nbytes
                if held_bytes >= MOST_BYTES:
                    written += self._write(waiting)
                    waiting, held_bytes = [], 0
            written += self._write(waiting)
        except Exception:
            for file in written:
                (Path(self.folder) / file["path"]).unlink(missing_ok=True)
            raise
        yield pa.RecordBatch.from_pylist(written, schema=_FILES)

    def _write(self, batches: Sequence[pa.RecordBatch]) -> list[dict[str, Any]]:
        if not batches:
            return []
        rows = pa.Table.from_batches(batches)
        dates = rows.column(self.partition)
        values = pc.unique(dates).to_pylist()
        without = rows.drop_columns([self.partition])
        return [
            self._file(without if len(values) == 1 else without.filter(pc.equal(dates, pa.scalar(value))), value.isoformat())
            for value in values
        ]

    def _file(self, rows: pa.Table, partition: str) -> dict[str, Any]:
        path = Path(f"{self.partition}={partition}") / f"part-{uuid4()}.zstd.parquet"
        file = Path(self.folder) / path
        file.parent.mkdir(exist_ok=True)
        pq.write_table(
            rows,
            file,
            row_group_size=rows.num_rows,
            compression="zstd",
            use_dictionary=_repeating(rows.schema),
            store_schema=False,
        )
        there = file.stat()
        return {
            "path": path.as_posix(),
            "size_bytes": there.st_size,
            "modified_ms": there.st_mtime_ns // 1_000_000,
            "partition": partition,
            "stats": statistics(rows, self.stats),
        }


def statistics(rows: pa.Table, columns: Sequence[str]) -> str:
    """What the log says of a data file: rows; by column least, greatest, nulls (delta: PROTOCOL.md, "Per-file Statistics").

    columns: integers, texts (never cut: ours are short) and timestamps, whose greatest is rounded up to the millisecond.
    """
    least: dict[str, Any] = {}
    greatest: dict[str, Any] = {}
    nulls: dict[str, int] = {}
    for name in columns:
        column = rows.column(name)
        nulls[name] = column.null_count
        if column.null_count < len(column):
            found: Mapping[str, Any] = pc.min_max(column).as_py()
            least[name], greatest[name] = _told(found["min"], up=False), _told(found["max"], up=True)
    return json.dumps({"numRecords": rows.num_rows, "minValues": least, "maxValues": greatest, "nullCount": nulls})


def _told(value: Any, *, up: bool) -> Any:
    if not isinstance(value, datetime):
        return value
    micros = pa.scalar(value, pa.timestamp("us", "UTC")).cast(pa.int64()).as_py()
    millis = -(-micros // 1000) if up else micros // 1000
    text = pa.scalar(millis, pa.int64()).cast(pa.timestamp("ms", "UTC")).as_py().isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def _repeating(schema: pa.Schema) -> list[str]:
    """Columns worth a dictionary: texts that many rows share. Identities are not, and numbers are as short as its codes."""
    return [path for field in schema if field.name != "user_key" for path in _texts(field.name, field.type)]


def _texts(path: str, kind: pa.DataType) -> Iterator[str]:
    if pa.types.is_string(kind):
        yield path
    elif pa.types.is_struct(kind):
        for field in kind:
            yield from _texts(f"{path}.{field.name}", field.type)
    elif pa.types.is_map(kind):
        yield from _texts(f"{path}.key_value.key", kind.key_type)
        yield from _texts(f"{path}.key_value.value", kind.item_type)


__all__ = ["DataFiles", "FILE_DDL", "statistics"]
