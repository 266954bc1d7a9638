"""All application ids of a table, read from its log: commits, table checkpoints, and what lies between."""

import json
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake

from schemas.errors import Retryable
from sinks.delta.transactions import StoredTxn, read_log, stored_version

ROWS = pa.table({"id": pa.array([1], pa.int64())})


def append(path: Path, app: str, version: int, at_ms: int = 5) -> None:
    write_deltalake(
        str(path), ROWS, mode="append", commit_properties=CommitProperties(app_transactions=[Transaction(app, version, at_ms)])
    )


def remove_commits(path: Path, *versions: int) -> None:
    for version in versions:
        (path / "_delta_log" / f"{version:020d}.json").unlink()


def test_no_table(tmp_path: Path) -> None:
    assert read_log(str(tmp_path / "none")).stored == {}


def test_commits_only(tmp_path: Path) -> None:
    append(tmp_path, "a", 0)
    append(tmp_path, "b", 7, at_ms=9)
    append(tmp_path, "a", 1)
    assert read_log(str(tmp_path)).stored == {"a": StoredTxn("a", 1, 5, 2), "b": StoredTxn("b", 7, 9, 1)}
    assert stored_version(str(tmp_path), "a") == 1
    assert stored_version(str(tmp_path), "c") is None


def test_table_checkpoint_and_later_commits(tmp_path: Path) -> None:
    append(tmp_path, "a", 0)
    append(tmp_path, "b", 7)
    DeltaTable(str(tmp_path)).create_checkpoint()
    append(tmp_path, "a", 1)
    remove_commits(tmp_path, 0, 1)
    assert read_log(str(tmp_path)).stored == {"a": StoredTxn("a", 1, 5, 2), "b": StoredTxn("b", 7, 5, None)}


def test_table_checkpoint_alone(tmp_path: Path) -> None:
    append(tmp_path, "a", 3)
    DeltaTable(str(tmp_path)).create_checkpoint()
    remove_commits(tmp_path, 0)
    assert read_log(str(tmp_path)).stored == {"a": StoredTxn("a", 3, 5, None)}


def test_a_checkpoint_in_parts_counts_only_when_whole(tmp_path: Path) -> None:
    """The two parts come from two tables of one commit each: part 1 knows only `a`, part 2 only `b`."""
    table, other = tmp_path / "table", tmp_path / "other"
    name = f"{0:020d}.checkpoint"
    for path, app in ((table, "a"), (other, "b")):
        append(path, app, 3)
        DeltaTable(str(path)).create_checkpoint()
    log = table / "_delta_log"
    first = (log / f"{name}.parquet").rename(tmp_path / "first")
    (other / "_delta_log" / f"{name}.parquet").rename(log / f"{name}.{2:010d}.{2:010d}.parquet")
    assert read_log(str(table)).stored == {"a": StoredTxn("a", 3, 5, 0)}, "half a checkpoint must not be used"
    remove_commits(table, 0)
    first.rename(log / f"{name}.{1:010d}.{2:010d}.parquet")
    assert set(read_log(str(table)).stored) == {"a", "b"}


def test_a_json_checkpoint(tmp_path: Path) -> None:
    append(tmp_path, "a", 3)
    name = f"{0:020d}.checkpoint.80a083e8-7026-4e79-81be-64bd76c43a11.json"
    (tmp_path / "_delta_log" / name).write_text((tmp_path / "_delta_log" / f"{0:020d}.json").read_text())
    remove_commits(tmp_path, 0)
    assert read_log(str(tmp_path)).stored == {"a": StoredTxn("a", 3, 5, None)}


def test_a_gap_in_the_log_is_not_read_over(tmp_path: Path) -> None:
    for version in range(3):
        append(tmp_path, "a", version)
    (tmp_path / "_delta_log" / f"{1:020d}.json").unlink()
    with pytest.raises(Retryable, match="E230"):
        read_log(str(tmp_path))


def test_a_restore_is_seen_and_keeps_the_ids(tmp_path: Path) -> None:
    append(tmp_path, "a", 0)
    append(tmp_path, "a", 1)
    assert read_log(str(tmp_path)).restored is None
    DeltaTable(str(tmp_path)).restore(0)
    log = read_log(str(tmp_path))
    assert (log.restored, log.stored["a"]) == (2, StoredTxn("a", 1, 5, 1))
    assert stored_version(str(tmp_path), "a") == 1, "delta-rs agrees: the id survives a restore"


def test_a_restore_covered_by_the_table_checkpoint_is_seen(tmp_path: Path) -> None:
    append(tmp_path, "a", 0)
    append(tmp_path, "a", 1)
    table = DeltaTable(str(tmp_path))
    table.restore(0)
    DeltaTable(str(tmp_path)).create_checkpoint()
    log = read_log(str(tmp_path))
    assert (log.restored, log.stored["a"].committed) == (2, 1)


def test_unknown_lines_do_not_matter(tmp_path: Path) -> None:
    append(tmp_path, "a", 0)
    commit = tmp_path / "_delta_log" / f"{0:020d}.json"
    commit.write_text(commit.read_text() + "\n\n" + json.dumps({"later": {"txn": 1}}) + "\n")
    assert read_log(str(tmp_path)).stored["a"].version == 0
