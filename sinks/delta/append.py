"""Append a batch to a Delta table once, however often it is asked for.

Spark and delta-rs commit to a local disk in different ways (Spark looks, then renames; delta-rs links), so that one could
overwrite the other's commit; and Spark looks and renames under a lock of its own JVM only. A table is therefore written by one
driver's Spark alone, or under the lock of its path, which on a local disk other processes see, too.
"""

import fcntl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

import pyarrow as pa
from deltalake import CommitProperties, write_deltalake
from deltalake.exceptions import DeltaError
from pyspark.sql import DataFrame

from schemas.errors import Retryable
from sinks.delta.table import said
from sinks.delta.transactions import Txn

_LOCKS: dict[str, Lock] = {}
_LOCKS_LOCK = Lock()
_CONFLICTS = ("DELTA_CONCURRENT", "DELTA_METADATA_CHANGED", "DELTA_PROTOCOL_CHANGED", "ConcurrentModificationException")


LOCK_FILE = "_millrace/lock"
"""In a local table's folder; names that begin with `_` are nothing to Delta."""


@contextmanager
def path_lock(path: str) -> Iterator[None]:
    """Be the only writer of a table: in this process, and where it lies on a local disk among all processes."""
    with _LOCKS_LOCK:
        lock = _LOCKS.setdefault(path, Lock())
    with lock:
        folder = Path(path)
        if "://" in path or not folder.is_dir():
            yield
            return
        file = folder / LOCK_FILE
        file.parent.mkdir(exist_ok=True)
        with file.open("a") as held:
            fcntl.flock(held, fcntl.LOCK_EX)  # gone with the descriptor, also after a kill
            yield


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


def append_rows(
    rows: pa.Table, path: str, txn: Txn, storage_options: Mapping[str, str] | None = None, *, grow: bool = False
) -> None:
    """Append by delta-rs in one commit that carries `txn`: for few rows, in tens of milliseconds and without Spark.

    grow: add columns and fields the table lacks.
    delta-rs does not look at the stored version: ask `stored_version` first. Raises Retryable E230 when the commit failed.
    """
    try:
        write_deltalake(
            path,
            rows,
            mode="append",
            schema_mode="merge" if grow else None,
            storage_options=dict(storage_options or {}),
            commit_properties=CommitProperties(app_transactions=[txn.for_delta_rs()]),
        )
    except (DeltaError, OSError) as error:
        raise Retryable("E230", f"the table cannot be appended to: {said(error)}", path=path) from error


__all__ = ["LOCK_FILE", "append_frame", "append_rows", "path_lock"]
