"""Data files that workers write and a driver commits: what is in them, what the log says of them, and who is refused."""

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from schemas.errors import Retryable
from sinks.delta import append, data_files
from sinks.delta.append import append_files, takes_files
from sinks.delta.data_files import DataFiles, statistics
from sinks.delta.ddl import delta_schema
from sinks.delta.transactions import Txn

DDL = "topic STRING, `offset` BIGINT, at TIMESTAMP, bins MAP<STRING, STRUCT<type: STRING, value: STRING>>, day DATE"
NOON = datetime(2026, 3, 1, 12, 0, 0, 1, UTC)
TXN = Txn("millrace/f/o/e", 1)


@pytest.fixture
def path(tmp_path: Path) -> str:
    DeltaTable.create(str(tmp_path / "rows"), delta_schema(DDL), partition_by=["day"])
    return str(tmp_path / "rows")


def rows(*days: int, first: int = 0) -> pa.RecordBatch:
    """A row for each day of March."""
    return pa.RecordBatch.from_pylist(
        [
            {
                "topic": "t", "offset": first + number, "at": NOON + timedelta(microseconds=number),
                "bins": [("a", {"type": "int", "value": str(day)})], "day": date(2026, 3, day),
            }
            for number, day in enumerate(days)
        ],
        schema=pa.schema(delta_schema(DDL).to_arrow()),
    )  # fmt: skip


def written(path: str, *batches: pa.RecordBatch, step: Any = iter) -> pa.Table:
    """The files a worker makes of the batches."""
    made = list(DataFiles(step, path, "day", ("topic", "offset", "at"))(iter(batches)))
    return pa.Table.from_batches(made)


def stored(path: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = DeltaTable(path).to_pyarrow_table().sort_by("offset").to_pylist()
    return found


def test_every_row_is_there_once_in_a_file_for_each_date(path: str) -> None:
    batches = [rows(1, 2, 1), rows(), rows(2, 2, first=3)]
    files = written(path, *batches)
    assert stored(path) == [], "nothing is there before the commit"
    assert append_files(files, path, TXN)
    assert stored(path) == [row for batch in batches for row in batch.to_pylist()]
    assert sorted(files.column("partition").to_pylist()) == ["2026-03-01", "2026-03-02"]
    assert not append_files(files, path, TXN) and not append_files(files, path, Txn(TXN.app_id, 0))
    assert len(stored(path)) == 5, "the second time it is there already"


def test_a_batch_without_rows_is_remembered_too(path: str) -> None:
    files = written(path, rows())
    assert files.num_rows == 0 and append_files(files, path, TXN) and not append_files(files, path, TXN)
    assert DeltaTable(path).transaction_version(TXN.app_id) == 1


def test_what_the_log_says_of_a_file(path: str) -> None:
    append_files(written(path, rows(1, 1)), path, TXN)
    (line,) = (
        json.loads(line)["add"]
        for line in (Path(path) / "_delta_log" / f"{1:020d}.json").read_text().splitlines()
        if "add" in line
    )
    file = Path(path) / line["path"]
    assert (line["size"], line["partitionValues"], line["dataChange"]) == (file.stat().st_size, {"day": "2026-03-01"}, True)
    assert json.loads(line["stats"]) == {
        "numRecords": 2,
        "minValues": {"topic": "t", "offset": 0, "at": "2026-03-01T12:00:00.000Z"},
        "maxValues": {"topic": "t", "offset": 1, "at": "2026-03-01T12:00:00.001Z"},
        "nullCount": {"topic": 0, "offset": 0, "at": 0},
    }
    assert "day" not in pq.read_schema(file).names


def test_a_column_without_values_has_no_least_and_no_greatest() -> None:
    said = json.loads(statistics(pa.table({"a": pa.array([None, None], pa.int64()), "b": [None, 3]}), ("a", "b")))
    assert said == {"numRecords": 2, "minValues": {"b": 3}, "maxValues": {"b": 3}, "nullCount": {"a": 2, "b": 1}}


def test_times_before_1970_are_rounded_outwards() -> None:
    before = datetime(1969, 12, 31, 23, 59, 59, 999_500, UTC)
    said = json.loads(statistics(pa.table({"at": pa.array([before], pa.timestamp("us", "UTC"))}), ("at",)))
    assert (said["minValues"]["at"], said["maxValues"]["at"]) == ("1969-12-31T23:59:59.999Z", "1970-01-01T00:00:00.000Z")


def test_a_worker_does_not_hold_more_than_it_may(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_files, "MOST_BYTES", rows(1, 2).nbytes)
    files = written(path, *(rows(1, 2, first=2 * number) for number in range(3)))
    assert files.num_rows == 6 and append_files(files, path, TXN)
    assert [row["offset"] for row in stored(path)] == list(range(6))


def test_a_worker_that_fails_takes_its_files_with_it(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_files, "MOST_BYTES", 1)
    seen = []

    def fails(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        yield next(batches)
        seen.extend(Path(path).rglob("*.parquet"))
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        written(path, rows(1), step=fails)
    assert len(seen) == 1 and not list(Path(path).rglob("*.parquet"))


@pytest.mark.parametrize("lost", ["gone", "cut"])
def test_a_file_the_driver_does_not_see_is_not_committed(path: str, lost: str) -> None:
    """Workers on another machine's disk, or a VACUUM that takes young files: else the commit would name what nobody can read."""
    files = written(path, rows(1, 2))
    file = Path(path) / files.column("path")[1].as_py()
    if lost == "gone":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(Retryable, match=r"E230.*must share the table's disk"):
        append_files(files, path, TXN)
    assert DeltaTable(path).version() == 0 and stored(path) == []


@pytest.mark.parametrize("again", [False, True], ids=["refused", "would double with a table opened anew"])
def test_a_driver_paused_between_look_and_commit(path: str, monkeypatch: pytest.MonkeyPatch, again: bool) -> None:
    """Its replacement writes the batch meanwhile. The second case is the defence switched off."""
    ours, theirs = written(path, rows(1)), written(path, rows(1))
    intact = DeltaTable.create_write_transaction

    def late(table: DeltaTable, *given: Any, **more: Any) -> None:
        monkeypatch.setattr(DeltaTable, "create_write_transaction", intact)
        assert append_files(theirs, path, TXN)
        intact(DeltaTable(path) if again else table, *given, **more)

    monkeypatch.setattr(DeltaTable, "create_write_transaction", late)
    if again:
        append_files(ours, path, TXN)
        assert len(stored(path)) == 2
        return
    with pytest.raises(Retryable, match="E230"):
        append_files(ours, path, TXN)
    assert len(stored(path)) == 1
    assert not append_files(ours, path, TXN), "asked again it finds the batch there"


def test_only_tables_on_a_disk_that_ask_nothing_more_of_writers_take_files(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    table = DeltaTable(path)
    assert takes_files(path, table) and not takes_files(f"s3://bucket{path}", table)
    files = written(path, rows(1))
    table.alter.add_constraint({"few": "offset < 100"})
    assert not takes_files(path, DeltaTable(path))
    with pytest.raises(Retryable, match=r"E230.*features"):
        append_files(files, path, TXN)
    monkeypatch.setattr(append, "takes_files", lambda *_: True)
    assert append_files(files, path, TXN), "nothing else keeps such a file out"
