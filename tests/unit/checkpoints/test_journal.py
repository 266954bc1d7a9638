"""Ledger rows survive a kill at any point and are never skipped in silence."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import fsspec
import pytest

from checkpoints.journal import Journal
from schemas.errors import Terminal
from schemas.ledger import LedgerRow

ROW = LedgerRow(
    flow="f", lane="fast", output="mirror", epoch="e1", batch_id=0, committed_at="2026-01-01T00:00:00.000+00:00", messages=3,
    rows_read=3,
    unselected=1, events_in=2, applied=1, superseded=0, duplicate=0, dead=1, past_horizon=0,
    unversioned=0, seconds=0.5, max_lut_ms=None,
    start_offsets='{"t": {"0": 0}}', end_offsets='{"t": {"0": 3}}',
)  # fmt: skip


def row(batch_id: int, **changes: object) -> LedgerRow:
    return replace(ROW, batch_id=batch_id, **changes)  # type: ignore[arg-type]


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_rows_come_back_whole_in_order_of_batches(tmp_path: Path) -> None:
    journal = Journal(str(tmp_path))
    for batch_id in (10, 9, 100, 2):
        journal.put("fast", [row(batch_id), row(batch_id, output="second", max_lut_ms=5, seconds=2)])
    entries = Journal(f"file://{tmp_path}").pending("fast")
    assert [entry.batch_id for entry in entries] == [2, 9, 10, 100]
    assert entries[0].rows == (row(2), row(2, output="second", max_lut_ms=5, seconds=2))
    assert journal.lanes() == ["fast"]
    assert journal.pending("bulk") == []


@pytest.mark.parametrize("where", ["local", "memory://bucket/first"])
def test_the_first_account_of_a_batch_stays(tmp_path: Path, where: str) -> None:
    """A driver that wakes up after its replacement has gone on counts the same events as superseded."""
    journal = Journal(str(tmp_path) if where == "local" else where)
    assert journal.put("fast", [row(0)])
    assert not journal.put("fast", [row(0, applied=0, superseded=1)])
    assert [entry.rows for entry in journal.pending("fast")] == [(row(0),)]
    journal.drop_through("fast", "e1", 0)


def test_of_many_that_put_at_once_one_account_stays(tmp_path: Path) -> None:
    journal, gate = Journal(str(tmp_path)), threading.Barrier(8)

    def put(number: int) -> bool:
        gate.wait()
        return journal.put("fast", [row(0, unversioned=number)])

    with ThreadPoolExecutor(8) as pool:
        kept = [number for number, first in enumerate(pool.map(put, range(8))) if first]
    assert [entry.rows for entry in journal.pending("fast")] == [(row(0, unversioned=kept[0]),)] and len(kept) == 1


def test_epochs_do_not_overwrite_each_other(tmp_path: Path) -> None:
    journal = Journal(str(tmp_path))
    journal.put("fast", [row(0)])
    journal.put("fast", [row(0, epoch="e2")])
    assert [(entry.epoch, entry.batch_id) for entry in journal.pending("fast")] == [("e1", 0), ("e2", 0)]
    journal.drop_through("fast", "e1", 5)
    assert [(entry.epoch, entry.batch_id) for entry in journal.pending("fast")] == [("e2", 0)]


def test_dropping_leaves_later_batches_and_may_be_repeated(tmp_path: Path) -> None:
    journal = Journal(str(tmp_path))
    for batch_id in range(12):
        journal.put("fast", [row(batch_id)])
    journal.drop_through("fast", "e1", 9)
    journal.drop_through("fast", "e1", 9)
    assert [entry.batch_id for entry in journal.pending("fast")] == [10, 11]


def test_a_kill_before_the_link_leaves_no_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Killed(BaseException):
        pass

    journal = Journal(str(tmp_path))
    journal.put("fast", [row(0)])
    before = files(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(Killed()))
        patch.setattr(Path, "unlink", lambda *_, **__: None)  # a real kill cleans nothing up
        with pytest.raises(Killed):
            journal.put("fast", [row(1)])
    assert len(files(tmp_path)) == len(before) + 1, "the temporary file must be there, else this proves nothing"
    assert [entry.rows for entry in journal.pending("fast")] == [(row(0),)]
    journal.put("fast", [row(1)])
    assert [entry.batch_id for entry in journal.pending("fast")] == [0, 1]


def test_a_full_disk_leaves_no_temporary_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        Journal(str(tmp_path)).put("fast", [row(0)])
    assert files(tmp_path) == []


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda text: text[: len(text) // 2], "JSONDecodeError"),
        (lambda text: "", "JSONDecodeError"),
        (lambda text: "[]", "TypeError"),
        (lambda text: "{}", "KeyError"),
        (lambda text: '{"rows": []}', "holds no row"),
        (lambda text: text.replace('"applied": 1', '"applied": "1"'), "wrong type of value in applied"),
        (lambda text: text.replace('"applied": 1', '"applied": true'), "wrong type of value in applied"),
        (lambda text: text.replace('"applied": 1, ', ""), "missing 1 required"),
        (lambda text: text.replace('"applied"', '"aplied"'), "aplied"),
        (lambda text: text.replace('"batch_id": 0', '"batch_id": 7'), "batch 7"),
    ],
)
def test_a_damaged_file_is_named_and_nothing_is_skipped(tmp_path: Path, damage: object, told: str) -> None:
    assert callable(damage)
    journal = Journal(str(tmp_path))
    journal.put("fast", [row(0)])
    journal.put("fast", [row(1)])
    file = tmp_path / files(tmp_path)[0]
    damaged = damage(file.read_text())
    assert damaged != file.read_text()
    file.write_text(damaged)
    with pytest.raises(Terminal) as error:
        journal.pending("fast")
    assert error.value.code == "E425"
    assert told in str(error.value) and str(file) in str(error.value)


def test_a_strange_file_is_named_too(tmp_path: Path) -> None:
    journal = Journal(str(tmp_path))
    journal.put("fast", [row(0)])
    (tmp_path / "_millrace/journal/fast/e1/1.json.bak").write_text("x")
    with pytest.raises(Terminal, match=r"E425.*1\.json\.bak"):
        journal.pending("fast")


@pytest.mark.parametrize("rows", [[], [row(0), row(1)], [row(0), row(0, lane="bulk")], [row(0, lane="bulk")]])
def test_rows_of_several_batches_are_refused(tmp_path: Path, rows: list[LedgerRow]) -> None:
    with pytest.raises(ValueError, match="rows of one batch"):
        Journal(str(tmp_path)).put("fast", rows)


def test_an_object_store_does_as_well() -> None:
    fs = fsspec.filesystem("memory")
    journal = Journal("memory://bucket/ck")
    try:
        journal.put("fast", [row(0)])
        journal.put("fast", [row(1)])
        journal.drop_through("fast", "e1", 0)
        assert [entry.batch_id for entry in journal.pending("fast")] == [1]
    finally:
        fs.rm("/bucket", recursive=True)
