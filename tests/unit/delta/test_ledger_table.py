"""Accounts go from the journal to the ledger table exactly once, whatever is killed in between."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from checkpoints.journal import Journal
from schemas.errors import ConfigError, Retryable, Terminal
from schemas.ledger import LedgerRow
from sinks.delta import ledger as module
from sinks.delta.ledger import LedgerTable

ROW = LedgerRow(
    flow="f", lane="fast", output="mirror", epoch="e1", batch_id=0, committed_at="2026-01-01T00:00:00.123+00:00", messages=3,
    rows_read=3,
    unselected=1, events_in=2, applied=1, superseded=0, duplicate=0, dead=1, past_horizon=0,
    unversioned=0, seconds=0.5, max_lut_ms=None,
    start_offsets='{"t": {"0": 0}}', end_offsets='{"t": {"0": 3}}',
)  # fmt: skip


def row(batch_id: int, **changes: object) -> LedgerRow:
    return replace(ROW, batch_id=batch_id, committed_at=f"2026-01-01T00:00:{batch_id:02d}.123+00:00", **changes)  # type: ignore[arg-type]


class Killed(BaseException):
    pass


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(str(tmp_path / "ck"))


@pytest.fixture
def ledger(tmp_path: Path) -> LedgerTable:
    table = LedgerTable("f", f"file://{tmp_path}/ledger")
    table.prepare()
    return table


def test_rows_move_and_read_back_equal(journal: Journal, ledger: LedgerTable) -> None:
    rows = [row(0), row(0, output="second", max_lut_ms=9), row(1)]
    journal.put("fast", rows[:2])
    journal.put("fast", rows[2:])
    assert ledger.read(journal) == rows, "readers see what is not flushed yet"
    assert ledger.flush_all(journal) == 3
    assert journal.pending("fast") == []
    assert ledger.read() == ledger.read(journal) == rows
    assert ledger.flush_all(journal) == 0
    assert DeltaTable(ledger.path).version() == 1, "an empty flush commits nothing"


def test_a_kill_between_append_and_drop(journal: Journal, ledger: LedgerTable, monkeypatch: pytest.MonkeyPatch) -> None:
    journal.put("fast", [row(0)])
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "drop_through", lambda *_: (_ for _ in ()).throw(Killed()))
        with pytest.raises(Killed):
            ledger.flush(journal, "fast")
    assert len(journal.pending("fast")) == 1, "else this proves nothing"
    assert ledger.read(journal) == [row(0)]
    journal.put("fast", [row(1)])
    assert ledger.flush(journal, "fast") == 1
    assert ledger.read(journal) == [row(0), row(1)]
    assert DeltaTable(ledger.path).to_pyarrow_table().num_rows == 2


def test_a_kill_before_the_append_loses_nothing(journal: Journal, ledger: LedgerTable, monkeypatch: pytest.MonkeyPatch) -> None:
    journal.put("fast", [row(0)])
    with monkeypatch.context() as patch:
        patch.setattr(module, "append_rows", lambda *_, **__: (_ for _ in ()).throw(Retryable("E230", "away")))
        with pytest.raises(Retryable):
            ledger.flush(journal, "fast")
    assert ledger.read(journal) == [row(0)]
    assert ledger.flush(journal, "fast") == 1


def test_a_batch_that_ends_during_a_flush_waits_for_the_next(
    journal: Journal, ledger: LedgerTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    append_rows = module.append_rows

    def meanwhile(*arguments: object, **options: object) -> None:
        append_rows(*arguments, **options)  # type: ignore[arg-type]
        journal.put("fast", [row(1)])

    journal.put("fast", [row(0)])
    with monkeypatch.context() as patch:
        patch.setattr(module, "append_rows", meanwhile)
        ledger.flush(journal, "fast")
    assert [entry.batch_id for entry in journal.pending("fast")] == [1]
    assert ledger.flush(journal, "fast") == 1
    assert ledger.read() == [row(0), row(1)]


def test_small_files_are_merged_and_nothing_changes(
    journal: Journal, ledger: LedgerTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LOOK_EVERY", 3)
    monkeypatch.setattr(module, "_MANY_FILES", 5)
    for batch_id in range(12):
        journal.put("fast", [row(batch_id)])
        assert ledger.flush(journal, "fast") == 1
    table = DeltaTable(ledger.path)
    assert len(table.file_uris()) < 8
    assert "OPTIMIZE" in {entry["operation"] for entry in table.history()}
    assert [one.batch_id for one in ledger.read()] == list(range(12))
    journal.put("fast", [row(11)])
    assert LedgerTable("f", ledger.path).flush(journal, "fast") == 0, "merging keeps the transaction"


def test_a_batch_replayed_after_its_flush_has_one_account(journal: Journal, ledger: LedgerTable) -> None:
    journal.put("fast", [row(0)])
    ledger.flush(journal, "fast")
    journal.put("fast", [row(0, seconds=9.0)])
    assert ledger.read(journal) == [row(0)], "what is in the table stands"
    assert ledger.flush(journal, "fast") == 0
    assert journal.pending("fast") == [] and ledger.read(journal) == [row(0)]


def test_lanes_and_epochs_are_kept_apart(journal: Journal, ledger: LedgerTable) -> None:
    rows = [row(5), row(0, epoch="e2"), row(0, lane="bulk", output="history")]
    for one in rows:
        journal.put(one.lane, [one])
    assert ledger.flush_all(journal) == 3
    assert len(ledger.read()) == 3
    assert ledger.read(epoch="e2") == [rows[1]]
    assert ledger.read(lane="bulk") == ledger.read(output="history") == [rows[2]]
    assert ledger.read(since=datetime(2026, 1, 1, 0, 0, 5, tzinfo=UTC)) == [rows[0]]
    journal.put("fast", [row(6)])
    assert ledger.read(journal, epoch="e1", lane="fast") == [row(5), row(6)], "filters hold for the journal too"


def test_lanes_may_flush_at_once(journal: Journal, ledger: LedgerTable) -> None:
    lanes = [f"lane{number}" for number in range(4)]
    for lane in lanes:
        for batch_id in range(3):
            journal.put(lane, [row(batch_id, lane=lane)])
    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(lambda lane: ledger.flush(journal, lane), lanes)) == 12
    assert len(ledger.read()) == 12


def test_two_flows_may_share_a_table(tmp_path: Path, ledger: LedgerTable) -> None:
    other = LedgerTable("g", ledger.path)
    for table, name in ((ledger, "f"), (other, "g")):
        waiting = Journal(str(tmp_path / name))
        waiting.put("fast", [row(0, flow=name)])
        table.flush_all(waiting)
    assert [one.flow for one in ledger.read()] == ["f"] and [one.flow for one in other.read()] == ["g"]


def test_a_ledger_not_made_yet_reads_as_the_journal(tmp_path: Path, journal: Journal) -> None:
    table = LedgerTable("f", str(tmp_path / "none"))
    assert table.read() == []
    journal.put("fast", [row(0)])
    assert table.read(journal) == [row(0)]
    with pytest.raises(ConfigError, match="E121"):
        table.flush(journal, "fast")
    assert len(journal.pending("fast")) == 1


def test_a_table_of_an_earlier_release_gets_the_columns_it_lacks(tmp_path: Path, journal: Journal) -> None:
    from schemas.ledger import LEDGER_DDL

    before = module.TableContract(LEDGER_DDL.partition(", gaps")[0], "as it was", "flow,lane,output,epoch,batch_id")
    module.create_if_absent(str(tmp_path / "old"), before)
    at = datetime(2025, 1, 1, tzinfo=UTC)
    columns = {name: [value] for name, value in row(0).as_dict().items() if name not in ("gaps", "lateness")}
    columns |= {"committed_at": pa.array([at], pa.timestamp("us", "UTC")), "max_lut_ms": pa.array([None], pa.int64())}
    write_deltalake(tmp_path / "old", pa.table(columns), mode="append")
    table = LedgerTable("f", str(tmp_path / "old"))
    assert [(one.batch_id, one.gaps, one.lateness) for one in table.read()] == [(0, None, None)]
    table.prepare()
    journal.put("fast", [row(1, gaps=3, lateness="[1]")])
    assert table.flush(journal, "fast") == 1
    assert [(one.batch_id, one.gaps, one.lateness) for one in table.read()] == [(0, None, None), (1, 3, "[1]")]


def test_a_damaged_journal_stops_the_flush(tmp_path: Path, journal: Journal, ledger: LedgerTable) -> None:
    journal.put("fast", [row(0)])
    file = next((tmp_path / "ck").rglob("*.json"))
    file.write_text(file.read_text()[:-10])
    for call in (lambda: ledger.flush(journal, "fast"), lambda: ledger.read(journal)):
        with pytest.raises(Terminal, match="E425"):
            call()
    assert file.exists()
