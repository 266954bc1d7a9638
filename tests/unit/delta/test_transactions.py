"""All application ids of a table, read from its log: commits, table checkpoints, and what lies between."""

import json
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake

from schemas.errors import Retryable
from sinks.delta.table_log import StoredTxn, commits_after, read_log
from sinks.delta.transactions import stored_version

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
    assert read_log(str(tmp_path)).set_back == ()
    DeltaTable(str(tmp_path)).restore(0)
    log = read_log(str(tmp_path))
    assert (log.set_back, log.stored["a"]) == (((2, "a RESTORE"),), StoredTxn("a", 1, 5, 1))
    assert stored_version(str(tmp_path), "a") == 1, "delta-rs agrees: the id survives a restore"


def test_a_restore_covered_by_the_table_checkpoint_is_seen(tmp_path: Path) -> None:
    append(tmp_path, "a", 0)
    append(tmp_path, "a", 1)
    table = DeltaTable(str(tmp_path))
    table.restore(0)
    DeltaTable(str(tmp_path)).create_checkpoint()
    log = read_log(str(tmp_path))
    assert ([one.version for one in log.set_back], log.stored["a"].committed) == ([2], 1)


def test_unknown_lines_do_not_matter(tmp_path: Path) -> None:
    append(tmp_path, "a", 0)
    commit = tmp_path / "_delta_log" / f"{0:020d}.json"
    commit.write_text(commit.read_text() + "\n\n" + json.dumps({"later": {"txn": 1}}) + "\n")
    assert read_log(str(tmp_path)).stored["a"].version == 0


def grow(path: Path, commits: int) -> None:
    """Commits of others, and a table checkpoint over all of them."""
    newest = DeltaTable(str(path)).version()
    for version in range(newest + 1, newest + 1 + commits):
        (path / "_delta_log" / f"{version:020d}.json").write_text('{"commitInfo":{"operation":"OPTIMIZE","timestamp":1}}')
    DeltaTable(str(path)).create_checkpoint()


def test_a_restore_far_back_is_seen_by_whoever_remembers_where_it_looked_last(tmp_path: Path) -> None:
    append(tmp_path, "millrace/f/o/e", 0)
    append(tmp_path, "millrace/f/o/e", 1)
    DeltaTable(str(tmp_path)).restore(0)
    grow(tmp_path, 60)
    assert read_log(str(tmp_path)).set_back == (), "63 commits ago: beyond what is looked at without more knowledge"
    log = read_log(str(tmp_path), since=1)
    assert (log.set_back, log.looked_from) == (((2, "a RESTORE"),), 2)
    log = read_log(str(tmp_path), prefix="millrace/f/")
    assert (log.set_back, log.stored["millrace/f/o/e"].committed) == (((2, "a RESTORE"),), 1)
    assert read_log(str(tmp_path), since=2).set_back == ()


def test_looking_back_ends_where_the_log_was_cleaned(tmp_path: Path) -> None:
    append(tmp_path, "millrace/f/o/e", 0)
    grow(tmp_path, 60)
    remove_commits(tmp_path, *range(7))
    assert read_log(str(tmp_path), since=3).looked_from == 7
    log = read_log(str(tmp_path), prefix="millrace/f/")
    assert (log.looked_from, log.stored["millrace/f/o/e"].committed) == (7, None)
    remove_commits(tmp_path, 40)
    assert read_log(str(tmp_path), since=3).looked_from == 41, "a gap: what lies before is not known"


def test_the_table_says_who_it_is_and_how_it_is_set(tmp_path: Path) -> None:
    DeltaTable.create(str(tmp_path), ROWS.schema, configuration={"delta.logRetentionDuration": "interval 1 days"})
    identity = str(DeltaTable(str(tmp_path)).metadata().id)
    for version in range(2):  # from commits, then from the table checkpoint
        log = read_log(str(tmp_path))
        assert (log.table_id, log.properties) == (identity, {"delta.logRetentionDuration": "interval 1 days"})
        assert log.version == version
        append(tmp_path, "a", version)
        if not version:
            DeltaTable(str(tmp_path)).create_checkpoint()
            remove_commits(tmp_path, 0)


def test_an_overwrite_of_everything_sets_a_table_back_and_one_of_a_part_does_not(tmp_path: Path) -> None:
    append(tmp_path, "a", 0)
    write_deltalake(str(tmp_path), ROWS, mode="overwrite", predicate="id = 1")
    DeltaTable(str(tmp_path)).delete("id = 1")
    append(tmp_path, "a", 1)
    DeltaTable(str(tmp_path)).optimize.compact()
    assert read_log(str(tmp_path)).set_back == ()
    write_deltalake(str(tmp_path), ROWS, mode="overwrite")
    newest = DeltaTable(str(tmp_path)).version()
    assert read_log(str(tmp_path)).set_back == ((newest, "an overwrite of the whole table"),)


@pytest.mark.parametrize(
    ("operation", "removes", "told"),
    [
        ("CLONE", True, ["a CLONE"]),
        ("CLONE", False, []),
        ("CREATE OR REPLACE TABLE AS SELECT", True, ["a CREATE OR REPLACE TABLE AS SELECT"]),
        ("REPLACE TABLE", True, ["a REPLACE TABLE"]),
        ("MERGE", True, []),
        ("RESTORE", False, ["a RESTORE"]),
    ],
)
def test_other_ways_to_set_a_table_back(tmp_path: Path, operation: str, removes: bool, told: list[str]) -> None:
    append(tmp_path, "a", 0)
    actions: list[dict[str, object]] = [{"commitInfo": {"operation": operation}}]
    if removes:
        actions.append({"remove": {"path": "x", "dataChange": True, "deletionTimestamp": 1}})
    commit = tmp_path / "_delta_log" / f"{1:020d}.json"
    commit.write_text("\n".join(map(json.dumps, actions)))
    assert [one.operation for one in read_log(str(tmp_path)).set_back] == told
    assert [one.operation for one in commits_after(str(tmp_path), 0).set_back] == told


def test_later_commits_are_found_by_name_alone(tmp_path: Path) -> None:
    append(tmp_path, "a", 0)
    assert commits_after(str(tmp_path), 0).version == 0
    append(tmp_path, "a", 1)
    DeltaTable(str(tmp_path)).restore(0)
    log = commits_after(str(tmp_path), 0)
    assert (log.version, log.looked_from, log.set_back) == (2, 1, ((2, "a RESTORE"),))
    assert log.stored["a"] == StoredTxn("a", 1, 5, 1)
    assert commits_after(str(tmp_path), 2).set_back == ()
