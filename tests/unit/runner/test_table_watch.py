"""Tables that change under a running flow."""

from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from checkpoints.known_tables import KnownTable, read_tables, write_tables
from pipelines.table_watch import TableWatch
from schemas.errors import Terminal

ROWS = pa.table({"id": pa.array([1], pa.int64())})


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A table at version 1, looked at up to 0."""
    path = tmp_path / "t"
    for _ in range(2):
        write_deltalake(str(path), ROWS, mode="append")
    write_tables(str(tmp_path), {"t": KnownTable(str(path), str(DeltaTable(str(path)).metadata().id), 0, {"bulk": 3})})
    return path


def looked(table: Path) -> int:
    return read_tables(str(table.parent))["t"].version


def test_a_look_goes_as_far_as_the_table_and_keeps_the_rest(table: Path) -> None:
    watch = TableWatch(str(table.parent), ["t"], lambda: None)
    watch.look()
    assert watch.error is None and looked(table) == 1
    assert read_tables(str(table.parent))["t"].accepted == {"bulk": 3}
    watch.look()
    assert looked(table) == 1
    DeltaTable(str(table)).restore(0)
    watch = TableWatch(str(table.parent), ["another"], lambda: None)
    watch.look()
    assert watch.error is None, "the table of an output that was removed is nothing to us"


def test_a_restore_stops_the_flow_and_is_still_news_at_the_next_start(table: Path) -> None:
    DeltaTable(str(table)).restore(0)
    watch = TableWatch(str(table.parent), ["t"], lambda: None, every_s=0.01)
    watch.start()
    watch._thread.join(20)
    watch.stop()
    assert watch.error is not None and watch.error.code == "E426"
    assert "table version 2 is a RESTORE, while the flow was running" in str(watch.error)
    assert looked(table) == 0


def test_a_table_that_becomes_another_stops_the_flow(table: Path) -> None:
    known = read_tables(str(table.parent))["t"]
    write_tables(str(table.parent), {"t": KnownTable(known.path, "other", -1)})
    watch = TableWatch(str(table.parent), ["t"], lambda: None)
    watch.look()
    assert watch.error is not None and watch.error.code == "E441"


def test_a_storage_that_is_away_is_asked_again(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*given: object) -> bool:
        raise OSError("away")

    watch = TableWatch(str(table.parent), ["t"], lambda: None)
    with monkeypatch.context() as patched:
        patched.setattr("fsspec.implementations.local.LocalFileSystem.exists", away)
        watch.stop()
    assert watch.error is None and looked(table) == 0
    watch.look()
    assert looked(table) == 1


def test_a_driver_that_was_replaced_leaves_the_record_alone(table: Path) -> None:
    def lost() -> None:
        raise Terminal("E424", "taken over")

    watch = TableWatch(str(table.parent), ["t"], lost)
    watch.look()
    assert watch.error is not None and watch.error.code == "E424"
    assert looked(table) == 0
