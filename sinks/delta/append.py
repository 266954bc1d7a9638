"""Append a batch to a Delta table once, however often it is asked for.

Spark and delta-rs commit to a local disk in different ways (Spark looks, then renames; delta-rs links), so that one could
overwrite the other's commit; and Spark looks and renames under a lock of its own JVM only. A table is therefore written by one
driver's Spark alone, or under the lock of its path, which on a local disk other processes see, too (`sinks.delta.table_lock`).
"""

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, write_deltalake
from deltalake.exceptions import DeltaError
from pyspark.sql import DataFrame

from schemas.errors import Retryable
from sinks.delta.table import said
from sinks.delta.table_lock import path_lock
from sinks.delta.transactions import Txn

_CONFLICTS = ("DELTA_CONCURRENT", "DELTA_METADATA_CHANGED", "DELTA_PROTOCOL_CHANGED", "ConcurrentModificationException")


def append_frame(rows: DataFrame, path: str, txn: Txn, *, grow: bool = False) -> None:
    """Append by Spark in one commit that carries `txn`. Delta writes nothing when the table holds that version already.

    grow: add columns the table lacks. Raises Retryable E230 when another writer won the commit; else whatever Spark raises.
    """
    writer = rows.write.format("delta").mode("append")
    writer = writer.option("txnAppId", txn.app_id).option("txnVersion", txn.version)
    if grow:
        writer = writer.option("mergeSchema", "true")
    try:
        writer.save(path)
    except Exception as error:
        # Raised as plain Java errors or as delta.exceptions, depending on what was imported first: only the text is stable.
        if any(mark in str(error) for mark in _CONFLICTS):
            raise Retryable("E230", "another writer changed the table during the commit", path=path) from error
        raise


def append_rows(rows: pa.Table, table: DeltaTable, txn: Txn, *, grow: bool = False) -> None:
    """Append by delta-rs in one commit that carries `txn`: for few rows, in tens of milliseconds and without Spark.

    table: as it was when the caller looked at its stored version, which delta-rs does not do. Should another driver write under
           this application id between that look and the commit, however long that takes, the commit is refused.
    grow:  add columns and fields the table lacks.
    Raises Retryable E230 when the commit failed or was refused.
    """
    try:
        write_deltalake(
            table,
            rows,
            mode="append",
            schema_mode="merge" if grow else None,
            commit_properties=CommitProperties(app_transactions=[txn.for_delta_rs()]),
        )
    except (DeltaError, OSError) as error:
        raise Retryable("E230", f"the table cannot be appended to: {said(error)}", path=table.table_uri) from error


__all__ = ["append_frame", "append_rows", "path_lock"]
