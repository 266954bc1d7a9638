"""The comparisons as Spark jobs: each task takes a range of Aerospike partitions on both sides, nothing is shuffled but history.

A digest decides its partition, and the same in every cluster, so source and mirror are scanned range by range side by side.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pipelines.reconcile.compare import Finding, Form, compare
from pipelines.reconcile.state import bins_in_normal_form, merged_per_record, newest_per_record
from pipelines.worker_errors import packed
from schemas.digest import KeyMismatch, resolve_user_key
from schemas.errors import MillraceError
from schemas.events import EVENT_COLUMNS, WRITE, ChangeEvent
from schemas.xdr.arrow import events_from_arrow
from schemas.xdr.options import Image, RecordType
from sinks.aerospike.config import ClientConfig
from sinks.aerospike.scan import PARTITIONS, StoredRecord, scan_partitions

BUCKETS = 64
_ERROR = "struct<code:string,detail:string>"
REPORTED_PER_BUCKET = 20
RESULT_DDL = (
    "bucket INT, compared BIGINT, equal BIGINT, form_limited BIGINT, differing BIGINT, "
    "findings ARRAY<STRUCT<kind: STRING, digest: STRING, `set`: STRING, detail: STRING>>, error BINARY"
)
_FINDING = pa.struct([("kind", pa.string()), ("digest", pa.string()), ("set", pa.string()), ("detail", pa.string())])
_RESULT = pa.schema(
    [
        ("bucket", pa.int32()),
        ("compared", pa.int64()),
        ("equal", pa.int64()),
        ("form_limited", pa.int64()),
        ("differing", pa.int64()),
        ("findings", pa.list_(_FINDING)),
        ("error", pa.binary()),
    ]
)
"""RESULT_DDL in Arrow. A bucket that could not be compared has nothing but its `error` (pipelines.worker_errors)."""


class Namespace(NamedTuple):
    """A namespace of a cluster, and the set in it that is nobody's data."""

    client: ClientConfig
    name: str
    ignored_set: str | None = None


@dataclass(frozen=True, slots=True)
class Scope:
    """What is compared, and how: the flow's selection, the message form, and the tolerance for expiries in seconds.

    image: what events carry of a record; without bins, bins are not compared.
    """

    records: tuple[RecordType, ...]
    source_namespace: str
    form: Form
    tolerance_s: float
    image: Image = "full"

    def type_of(self, set_name: str | None) -> RecordType | None:
        """The record type of this set's records; None when they do not belong to the flow."""
        return next((record for record in self.records if record.fits(self.source_namespace, set_name)), None)

    def as_asked(self, row: StoredRecord) -> StoredRecord:
        """The record without what its type's policies leave out: ignored bins, and user keys that need not be there."""
        known = self.type_of(row.set)
        if known is None:
            return row
        if known.policies.new_bin == "ignore" and known.bins is not None:
            row = row._replace(bins={name: value for name, value in row.bins.items() if name in known.bins})
        return row if known.policies.user_key == "check" else row._replace(user_key=None)


def compare_namespaces(spark: SparkSession, expected: Namespace, found: Namespace, scope: Scope) -> DataFrame:
    """Rows of RESULT_DDL, one per bucket: every selected record of two namespaces, compared."""

    def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for bucket in batch.column("id").to_pylist():
                yield _compared(bucket, partial(_scan, expected, bucket, scope), found, scope)

    return spark.range(0, BUCKETS, 1, _tasks(spark)).mapInArrow(run, RESULT_DDL)


def _tasks(spark: SparkSession) -> int:
    """Two for each core of one machine, since a task costs more to start than a bucket to scan; on a cluster one per bucket."""
    return min(BUCKETS, 2 * (os.cpu_count() or 1)) if str(spark.sparkContext.master).startswith("local") else BUCKETS


def compare_history(spark: SparkSession, history: DataFrame, found: Namespace, scope: Scope) -> DataFrame:
    """Rows of RESULT_DDL, one per bucket: the state the history implies against a namespace."""
    rows = history.where(F.col("namespace") == scope.source_namespace)
    if scope.image == "partial":
        events = merged_per_record(_as_events(rows, scope))
    else:
        events = _as_events(newest_per_record(rows).where(F.col("op") == WRITE), scope)
    first, second = (F.conv(F.hex(F.substring("digest", place, 1)), 16, 10).cast("int") for place in (1, 2))
    partition = (first + second * 256).bitwiseAND(F.lit(PARTITIONS - 1))
    events = events.withColumn("bucket", F.floor(partition / (PARTITIONS // BUCKETS)).cast("int"))
    buckets = spark.range(0, BUCKETS, 1, 1).select(F.col("id").cast("int").alias("bucket"))

    def run(one_bucket: pa.Table, rows: pa.Table) -> pa.Table:
        bucket = one_bucket.column("bucket")[0].as_py()
        return pa.Table.from_batches(
            [_compared(bucket, lambda: _records(rows.drop_columns(["bucket"]), scope, time.time()), found, scope)]
        )

    return buckets.groupBy("bucket").cogroup(events.groupBy("bucket")).applyInArrow(run, RESULT_DDL)


def _as_events(state: DataFrame, scope: Scope) -> DataFrame:
    """Rows of a history table as the normal form of events, original bytes left out."""
    absent = {"key": F.lit(None).cast("binary"), "value": F.lit(None).cast("binary"), "error": F.lit(None).cast(_ERROR)}
    given = state.withColumn("bins", bins_in_normal_form(scope.form.declared, state.schema)).withColumns(absent)
    return given.select(*EVENT_COLUMNS)


def _scan(namespace: Namespace, bucket: int, scope: Scope) -> dict[bytes, StoredRecord]:
    width = PARTITIONS // BUCKETS
    rows = scan_partitions(namespace.client, namespace.name, bucket * width, width)
    kept = (row for row in rows if not _ignored(row, namespace) and scope.type_of(row.set) is not None)
    return {row.digest: scope.as_asked(row) for row in kept}


def _ignored(row: StoredRecord, namespace: Namespace) -> bool:
    """Whether the record is in the set that is nobody's data. Records without a set never are."""
    return row.set is not None and row.set == namespace.ignored_set


def _records(rows: pa.Table, scope: Scope, now_s: float) -> dict[bytes, StoredRecord]:
    found: dict[bytes, StoredRecord] = {}
    for batch in rows.to_batches():
        events, _ = events_from_arrow(batch)
        for event in events:
            if event is not None and (event.exp_s is None or event.exp_s > now_s):
                found[event.digest] = scope.as_asked(_record(event))
    return found


def _record(event: ChangeEvent) -> StoredRecord:
    bins = {name: value for name, value in event.bins.items() if value is not None}
    return StoredRecord(event.digest, event.set, _user_key(event), bins, event.exp_s)


def _user_key(event: ChangeEvent) -> int | str | bytes | None:
    """The user key a mirror has: none for a double, which the client cannot send."""
    if event.user_key is None or isinstance(event.user_key, float):
        return None
    try:
        found = resolve_user_key(event.set, event.user_key, event.digest)
    except KeyMismatch:
        return event.user_key
    return None if isinstance(found, float) else found


def _compared(bucket: int, wanted: Callable[[], dict[bytes, StoredRecord]], found: Namespace, scope: Scope) -> pa.RecordBatch:
    try:
        tally, findings = compare(wanted(), _scan(found, bucket, scope), scope.form, time.time(), scope.tolerance_s)
    except MillraceError as error:
        return pa.RecordBatch.from_pylist([{"bucket": bucket, "error": packed(error)}], schema=_RESULT)
    row: dict[str, Any] = {
        "bucket": bucket,
        **tally._asdict(),
        "differing": len(findings),
        "findings": [_row(finding) for finding in findings[:REPORTED_PER_BUCKET]],
    }
    return pa.RecordBatch.from_pylist([row], schema=_RESULT)


def _row(finding: Finding) -> dict[str, Any]:
    return {"kind": finding.kind.value, "digest": finding.digest.hex(), "set": finding.set, "detail": finding.detail}


__all__ = ["BUCKETS", "Namespace", "RESULT_DDL", "Scope", "compare_history", "compare_namespaces"]
