"""Append a batch to a Delta table once, however often it is asked for.

Spark and delta-rs commit to a local disk in different ways (Spark looks, then renames; delta-rs links), so that one could
overwrite the other's commit; and Spark looks and renames under a lock of its own JVM only. A table is therefore written by one
driver's Spark alone, or under the lock of its path, which on a local disk other processes see, too (`sinks.delta.table_lock`).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, write_deltalake
from deltalake.exceptions import DeltaError
from deltalake.transaction import AddAction, RemoveAction
from pyspark.sql import DataFrame

from schemas.errors import Retryable
from sinks.delta.table import open_table, said
from sinks.delta.table_lock import path_lock
from sinks.delta.transactions import Txn, version_in

_PLAIN_WRITER = 2
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


def takes_files(path: str, table: DeltaTable) -> bool:
    """Whether `append_files` may be used: on a disk, and while nothing is asked of writers but to append.

    Column mapping, constraints, change feeds and whatever else came later is Spark's to know (delta: PROTOCOL.md, "Writer Version
    Requirements"): such a table is written by `append_frame`.
    """
    plain = table.protocol().min_writer_version <= _PLAIN_WRITER and "delta.invariants" not in table.schema().to_json()
    return "://" not in path and plain


def append_files(files: pa.Table, path: str, txn: Txn) -> bool:
    """Append data files that are there (rows of `sinks.delta.data_files.FILE_DDL`) in one commit that carries `txn`.

    Answers False, and appends nothing, when the table holds that version already. As in `append_rows`, a commit is refused when
    another driver has written under the application id since the table was looked at.
    Raises Retryable E230 when a file is not there, the commit failed or was refused, or the table asks more of its writers now.
    """
    table = open_table(path)
    stored = version_in(table, txn.app_id)
    if stored is not None and stored >= txn.version:
        return False
    if not takes_files(path, table):
        raise Retryable("E230", "the table's features were changed during the batch", path=path)
    for file in files.to_pylist():
        _require_whole(path, file)
    (partition,) = table.metadata().partition_columns
    added: list[AddAction | RemoveAction] = [
        AddAction(file["path"], file["size_bytes"], {partition: file["partition"]}, file["modified_ms"], True, file["stats"])
        for file in files.to_pylist()
    ]
    try:
        table.create_write_transaction(
            added,
            "append",
            table.schema(),
            partition,
            commit_properties=CommitProperties(app_transactions=[txn.for_delta_rs()]),
        )
    except (DeltaError, OSError) as error:
        raise Retryable("E230", f"the table cannot be appended to: {said(error)}", path=path) from error
    return True


def _require_whole(path: str, file: Mapping[str, Any]) -> None:
    """Raise Retryable E230 unless the driver sees the file as its worker left it: a commit must not name what nobody can read."""
    try:
        found = (Path(path) / file["path"]).stat().st_size
    except FileNotFoundError:
        found = None
    if found != file["size_bytes"]:
        raise Retryable(
            "E230",
            f"a worker wrote {file['size_bytes']} bytes, and here {'is no such file' if found is None else f'are {found}'}: "
            "driver and workers must share the table's disk, and no VACUUM may take files that young",
            path=path,
            file=file["path"],
        )


__all__ = ["append_files", "append_frame", "append_rows", "path_lock", "takes_files"]
