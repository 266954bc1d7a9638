"""A Delta table's own record, read whole: who wrote up to which batch, which table it is, and whether it was ever set back.

delta-rs looks up one application id, but cannot list all, which the start-up guards need. So the log itself is read: the newest
table checkpoint, the commits after it, and as many before it as were not looked at yet (delta: PROTOCOL.md, "Transaction
Identifiers").
"""

import contextlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import fsspec
import pyarrow.parquet as pq

from schemas.errors import Retryable
from sinks.delta.table import is_table

_COMMIT = re.compile(r"^(\d{20})\.json$")
_CHECKPOINT = re.compile(r"^(\d{20})\.checkpoint(?:\.(\d{10})\.(\d{10})|\.[0-9a-f-]{36})?\.(parquet|json)$")
_LOOK_BACK = 50
"""Commits read beside those after the table checkpoint, where it is not known which were looked at before."""


class StoredTxn(NamedTuple):
    """The highest version of one application id a table holds.

    updated_ms: when it was written, by the writer's clock; None when the writer did not say.
    committed:  table version of that commit; None when it is known only to lie in the table checkpoint.
    """

    app_id: str
    version: int
    updated_ms: int | None
    committed: int | None


class SetBack(NamedTuple):
    """A commit that put other contents in the place of a table's: application ids stay, rows do not."""

    version: int
    operation: str


class TableLog(NamedTuple):
    """What a table's log says.

    set_back:    commits that set the table back, ascending, among those looked at.
    version:     newest table version; -1: there is no table.
    looked_from: every commit from this version on was looked at.
    table_id:    made with the table, kept by copies of its folder; None: there is no table.
    properties:  the table's properties.
    """

    stored: dict[str, StoredTxn]
    set_back: tuple[SetBack, ...] = ()
    version: int = -1
    looked_from: int = 0
    table_id: str | None = None
    properties: Mapping[str, str] = {}


def read_log(
    path: str, storage_options: Mapping[str, str] | None = None, *, since: int | None = None, prefix: str | None = None
) -> TableLog:
    """All application ids of the table with their versions, its identity, and who set it back. Empty when there is no table.

    since:  the version up to which commits were looked at before; None: unknown. All later ones are read that are still there.
    prefix: without `since`, commits are read back to the newest of an application id that begins so.
    Raises Retryable E230 when the log cannot be read whole, for instance because it is being cleaned up.
    """
    if not is_table(path, storage_options):
        return TableLog({})
    try:
        return _read_log(path, storage_options, since, prefix)
    except OSError as error:
        raise Retryable("E230", f"the table's log cannot be read: {error}", path=path) from error


def commits_after(path: str, version: int, storage_options: Mapping[str, str] | None = None) -> TableLog:
    """What the commits after `version` say, found by their names alone: for looking often. `version` of the answer is the last.

    Raises Retryable E230 when the storage does not answer.
    """
    stored: dict[str, StoredTxn] = {}
    set_back: list[SetBack] = []
    last, identity, properties = version, None, dict[str, str]()
    try:
        fs, root = fsspec.core.url_to_fs(path, **dict(storage_options or {}))
        fs.invalidate_cache()
        while fs.exists(file := f"{root.rstrip('/')}/_delta_log/{last + 1:020d}.json"):
            actions = list(_actions(fs, file, required=True))
            last += 1
            _take_txns(stored, actions, last)
            set_back += _set_back(actions, last)
            for action in actions:
                if "metaData" in action:
                    identity, properties = action["metaData"].get("id"), dict(action["metaData"].get("configuration") or {})
    except OSError as error:
        raise Retryable("E230", f"the table's log cannot be read: {error}", path=path) from error
    return TableLog(stored, tuple(set_back), last, version + 1, identity, properties)


def _read_log(path: str, storage_options: Mapping[str, str] | None, since: int | None, prefix: str | None) -> TableLog:
    fs, root = fsspec.core.url_to_fs(path, **dict(storage_options or {}))
    fs.invalidate_cache()
    log = f"{root.rstrip('/')}/_delta_log"
    names = {str(found).rsplit("/", 1)[-1] for found in fs.ls(log, detail=False)}
    commits = sorted(int(match[1]) for name in names if (match := _COMMIT.match(name)))
    version, parts = _newest_checkpoint(names)
    newest = max(commits, default=version)
    after = range(version + 1, newest + 1)
    missing = set(after) - set(commits)
    if missing:
        raise Retryable("E230", f"commit {min(missing)} of the table's log is missing", path=path)
    stored: dict[str, StoredTxn] = {}
    metadata: dict[str, Any] = {}
    for part in parts:
        for action in _checkpointed(fs, f"{log}/{part}"):
            if action.get("txn"):
                kept = action["txn"]
                stored[kept["appId"]] = StoredTxn(kept["appId"], int(kept["version"]), kept.get("lastUpdated"), None)
            metadata = action.get("metaData") or metadata
    set_back: list[SetBack] = []
    for commit in after:
        actions = list(_actions(fs, f"{log}/{commit:020d}.json", required=True))
        _take_txns(stored, actions, commit)
        set_back += _set_back(actions, commit)
        metadata = next((action["metaData"] for action in actions if "metaData" in action), metadata)
    looked_from = version + 1
    for commit in sorted((number for number in commits if number <= version), reverse=True):
        ours = [txn.committed is None for txn in stored.values() if prefix and txn.app_id.startswith(prefix)]
        far = commit <= newest - _LOOK_BACK
        if commit != looked_from - 1 or (far and (commit <= since if since is not None else not (ours and all(ours)))):
            break
        actions = list(_actions(fs, f"{log}/{commit:020d}.json", required=False))
        if not actions:
            break
        for txn in _txns(actions, commit):
            held = stored.get(txn.app_id)
            if held is not None and held.committed is None and held.version == txn.version:
                stored[txn.app_id] = txn
        set_back += _set_back(actions, commit)
        looked_from = commit
    properties = metadata.get("configuration") or {}
    return TableLog(stored, tuple(sorted(set_back)), newest, looked_from, metadata.get("id"), dict(properties))


def _txns(actions: Iterable[Mapping[str, Any]], commit: int) -> Iterator[StoredTxn]:
    for txn in (action["txn"] for action in actions if action.get("txn")):
        yield StoredTxn(txn["appId"], int(txn["version"]), txn.get("lastUpdated"), commit)


def _take_txns(stored: dict[str, StoredTxn], actions: Iterable[Mapping[str, Any]], commit: int) -> None:
    for txn in _txns(actions, commit):
        if txn.version >= getattr(stored.get(txn.app_id), "version", -1):
            stored[txn.app_id] = txn


def _set_back(actions: Iterable[Mapping[str, Any]], commit: int) -> Iterator[SetBack]:
    """RESTORE always; CLONE, REPLACE TABLE and an overwrite of everything when they took rows away."""
    actions = list(actions)
    said: Mapping[str, Any] = next((action["commitInfo"] for action in actions if action.get("commitInfo")), {})
    operation = str(said.get("operation", ""))
    parameters = said.get("operationParameters") or {}
    takes_rows = any(action["remove"].get("dataChange", True) for action in actions if action.get("remove"))
    overwrites = operation == "WRITE" and parameters.get("mode") == "Overwrite" and not parameters.get("predicate")
    if operation == "RESTORE" or (takes_rows and (overwrites or operation == "CLONE" or "REPLACE TABLE" in operation)):
        yield SetBack(commit, "an overwrite of the whole table" if overwrites else f"a {operation}")


def _newest_checkpoint(names: set[str]) -> tuple[int, list[str]]:
    """Version and files of the newest checkpoint that is complete; (-1, []) without one."""
    found: dict[tuple[int, int], list[str]] = {}
    for name in names:
        match = _CHECKPOINT.match(name)
        if match:
            found.setdefault((int(match[1]), int(match[3] or 1)), []).append(name)
    whole = [(version, parts, sorted(files)) for (version, parts), files in found.items() if len(files) >= parts]
    if not whole:
        return -1, []
    version, parts, files = max(whole)
    return version, files if parts > 1 else files[:1]


def _checkpointed(fs: Any, file: str) -> Iterator[dict[str, Any]]:
    """The actions `txn` and `metaData` of a table checkpoint's file."""
    if file.endswith(".json"):
        yield from _actions(fs, file, required=True)
        return
    with fs.open(file, "rb") as source:
        parquet = pq.ParquetFile(source)
        columns = [name for name in ("txn", "metaData") if name in parquet.schema_arrow.names]
        for batch in parquet.iter_batches(columns=columns):
            for row in batch.to_pylist():
                txn, metadata = row.get("txn"), row.get("metaData")
                if txn is not None and txn.get("appId") is not None:
                    yield {"txn": txn}
                if metadata is not None and metadata.get("id") is not None:
                    yield {"metaData": metadata}


def _actions(fs: Any, file: str, *, required: bool) -> Iterator[dict[str, Any]]:
    text = b""
    with contextlib.ExitStack() as stack:
        if not required:  # an old commit may be cleaned up between listing and reading
            stack.enter_context(contextlib.suppress(FileNotFoundError))
        text = fs.cat_file(file)
    yield from (json.loads(line) for line in text.splitlines() if line.strip())


__all__ = ["SetBack", "StoredTxn", "TableLog", "commits_after", "read_log"]
