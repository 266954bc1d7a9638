import threading
from pathlib import Path
from typing import Any, cast

import pytest

from checkpoints.journal import Journal
from pipelines.failpoints import Failpoints, Victims
from pipelines.ledger_keeper import LedgerKeeper
from schemas.errors import MillraceError, Retryable, Terminal
from schemas.ledger import LedgerRow
from sinks.delta.ledger import LedgerTable

OFF = Failpoints(None, Victims(-1))
ROW = LedgerRow(
    "f", "fast", "mirror", "e1", 0, "2026-01-01T00:00:00.000+00:00", 12, 12, 2, 10, 7, 1, 1, 1, 0, 0, 0.5, None, "{}", "{}"
)


class Table:
    """A ledger table that fails as told and counts its flushes."""

    def __init__(self, *failures: MillraceError | None) -> None:
        self.failures = list(failures)
        self.flushes = 0
        self.changed = threading.Condition()

    def flush_all(self, journal: Journal) -> int:
        with self.changed:
            self.flushes += 1
            self.changed.notify_all()
        failure = self.failures.pop(0) if self.failures else None
        if failure is not None:
            raise failure
        return 0

    def wait_for(self, flushes: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: self.flushes >= flushes, timeout=30)


class Told:
    def __init__(self) -> None:
        self.kinds: list[str] = []

    def event(self, kind: str, message: str, **fields: object) -> None:
        self.kinds.append(kind)


def keeper(table: Any, folder: Path, told: Told, every_s: float) -> LedgerKeeper:
    return LedgerKeeper(Journal(str(folder)), cast(LedgerTable, table), cast(Any, told), OFF, every_s)


def test_it_flushes_at_start_now_and_then_and_at_stop(tmp_path: Path) -> None:
    table, told = Table(), Told()
    keep = keeper(table, tmp_path, told, 0.01)
    keep.start()
    table.wait_for(3)
    keep.stop()
    after = table.flushes
    assert after >= 4 and told.kinds == []


def test_a_table_that_is_away_is_told_once_and_its_return_too(tmp_path: Path) -> None:
    away = Retryable("E230", "away")
    table, told = Table(away, away, away), Told()
    keep = keeper(table, tmp_path, told, 0.01)
    keep.start()
    table.wait_for(5)
    keep.stop()
    assert told.kinds == ["ledger_waits", "ledger_back"] and keep.error is None


def test_a_damaged_journal_is_kept_for_the_runner_to_raise(tmp_path: Path) -> None:
    damaged = Terminal("E425", "torn")
    keep = keeper(Table(damaged), tmp_path, Told(), 60.0)
    keep.start()
    keep.stop()
    assert keep.error is damaged


def test_stop_moves_what_the_last_batches_left(tmp_path: Path) -> None:
    journal = Journal(str(tmp_path / "checkpoint"))
    table = LedgerTable("f", str(tmp_path / "ledger"))
    table.prepare()
    keep = LedgerKeeper(journal, table, cast(Any, Told()), OFF, 60.0)
    keep.start()
    journal.put("fast", [ROW])
    keep.stop()
    assert journal.pending("fast") == [] and [row.batch_id for row in table.read()] == [0]
    assert pytest.approx(0.5) == table.read()[0].seconds
