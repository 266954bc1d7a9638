"""Every table of a flow judged before a start, on real Delta tables and checkpoints that Spark wrote; no Spark here."""

import json
import re
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import CommitProperties, DeltaTable, write_deltalake

from checkpoints.journal import Journal
from checkpoints.known_tables import TABLES_FILE
from checkpoints.layout import read_epoch
from pipelines.dead_letters.job import _outputs
from pipelines.flow import Flow
from pipelines.table_guards import TableGuards
from pipelines.wiring import FlowParts
from schemas.errors import Terminal
from schemas.ledger import LedgerRow
from sinks.delta.ddl import delta_schema
from sinks.delta.retention import PROPERTY
from sinks.delta.transactions import Txn, app_id, dead_letters_writer, ledger_writer
from tests.unit.flow.flows import HISTORY, MIRROR

GOLDEN = Path(__file__).parents[1] / "checkpoints/golden"


def flow_in(folder: Path, **lanes: dict[str, object]) -> Flow:
    usual = {
        "fast": {"outputs": {"mirror": MIRROR}},
        "bulk": {"outputs": {"history": HISTORY | {"path": str(folder / "history")}}},
    }
    return Flow.model_validate(
        {
            "name": "f",
            "source": {"bootstrap_servers": "127.0.0.1:9092", "topics": ["done"]},
            "records": [{"namespace": "payments"}],
            "lanes": lanes or usual,
            "dead_letters": {"path": str(folder / "dead_letters")},
            "checkpoint": str(folder / "checkpoint"),
        }
    )


def commit(path: Path, writer: str, epoch: str, batch: int) -> None:
    """What a writer leaves in a table's log for a batch without rows."""
    schema = DeltaTable(str(path)).schema().to_arrow()
    empty = pa.Table.from_batches([], pa.schema(schema))
    properties = CommitProperties(app_transactions=[Txn(app_id("f", writer, epoch), batch).for_delta_rs()])
    write_deltalake(str(path), empty, mode="append", commit_properties=properties)


def guards(flow: Flow, *, adopt: bool = False, added: tuple[str, ...] = ()) -> TableGuards:
    return TableGuards(flow, FlowParts(flow).tables, adopt=adopt, added=added)


def start(folder: Path, *, adopt: bool = False, added: tuple[str, ...] = ()) -> None:
    judged = guards(flow_in(folder), adopt=adopt, added=added)
    judged.require()
    judged.remember()


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A flow that has finished batches 0 to 2 in both lanes."""
    folder = tmp_path_factory.mktemp("template")
    start(folder)
    for lane in ("fast", "bulk"):
        shutil.copytree(GOLDEN / "done", folder / "checkpoint" / lane)
        epoch = read_epoch(str(folder / "checkpoint" / lane))
        assert epoch is not None
        commit(folder / "ledger", ledger_writer(lane), epoch, 2)
    commit(folder / "history", "history", epoch, 2)
    commit(folder / "dead_letters", dead_letters_writer("bulk", None), epoch, 1)
    return folder


@pytest.fixture
def folder(template: Path, tmp_path: Path) -> Path:
    """A copy of it, which has started once more since."""
    place = tmp_path / "flow"
    shutil.copytree(template, place)
    start(place)
    return place


def refused(code: str, told: str, folder: Path) -> None:
    with pytest.raises(Terminal, match=rf"{code}.*{told}") as error:
        start(folder)
    assert error.value.code == code


def epoch_of(folder: Path) -> str:
    epoch = read_epoch(str(folder / "checkpoint/bulk"))
    assert epoch is not None
    return epoch


def test_a_flow_in_order_starts_again_and_again(folder: Path) -> None:
    start(folder)
    assert set(json.loads((folder / "checkpoint" / TABLES_FILE).read_text())["tables"]) == {"history", "@dead_letters", "@ledger"}


@pytest.mark.parametrize("table", ["history", "dead_letters", "ledger"])
def test_a_table_that_was_deleted_is_refused_and_so_is_one_made_anew(folder: Path, table: str) -> None:
    shutil.rmtree(folder / table)
    refused("E441", "there is no table any more", folder)
    assert not (folder / table).exists(), "nothing is made before the refusal"
    start(folder, adopt=True)
    start(folder)  # no second adoption is needed
    shutil.rmtree(folder / table)
    parts = FlowParts(flow_in(folder)).tables
    {"history": parts.histories["history"], "dead_letters": parts.letters, "ledger": parts.ledger}[table].prepare()
    refused("E441", "this is another table", folder)


def test_a_history_that_lacks_finished_batches_is_refused_without_any_memory(folder: Path) -> None:
    (folder / "checkpoint" / TABLES_FILE).unlink()
    shutil.rmtree(folder / "history")
    refused("E441", "finished batches up to 2, and the table holds none of them.*lane=bulk", folder)


def test_a_ledger_that_lacks_accounts_is_refused_unless_they_wait_in_the_journal(folder: Path) -> None:
    (folder / "checkpoint" / TABLES_FILE).unlink()
    shutil.rmtree(folder / "ledger")
    refused("E441", "finished batches up to 2, and the table holds none of them.*lane=fast", folder)
    journal = Journal(str(folder / "checkpoint"))
    for batch in range(3):
        for lane in ("fast", "bulk"):
            journal.put(lane, [row(lane, epoch_of(folder), batch)])
    start(folder)


def row(lane: str, epoch: str, batch: int) -> LedgerRow:
    numbers = dict.fromkeys(
        ("messages", "rows_read", "unselected", "events_in", "applied", "superseded", "duplicate", "dead", "past_horizon"), 0
    )
    return LedgerRow(
        flow="f", lane=lane, output="o", epoch=epoch, batch_id=batch, committed_at="2026-01-01T00:00:00.000+00:00", **numbers,
        unversioned=0, seconds=0.0, max_lut_ms=None, start_offsets="{}", end_offsets="{}",
    )  # fmt: skip


@pytest.mark.parametrize("table", ["history", "dead_letters", "ledger"])
def test_an_older_copy_of_a_table_is_refused(folder: Path, table: str) -> None:
    shutil.copytree(folder / table, folder / "copy")
    commit(folder / table, "somebody", "else", 1)
    start(folder)
    shutil.rmtree(folder / table)
    (folder / "copy").rename(folder / table)
    refused("E441", "an older copy is in its place", folder)


@pytest.mark.parametrize("table", ["history", "dead_letters", "ledger"])
def test_a_restored_table_is_refused_also_when_the_flow_has_gone_on_since(folder: Path, table: str) -> None:
    DeltaTable(str(folder / table)).restore(0)
    writers = {"history": "history", "dead_letters": dead_letters_writer("bulk", None), "ledger": ledger_writer("bulk")}
    commit(folder / table, writers[table], epoch_of(folder), 2)
    refused("E426", "is a RESTORE, after version", folder)
    start(folder, adopt=True)
    start(folder)


def test_a_restore_that_many_commits_have_buried_is_refused(folder: Path) -> None:
    """Without memory of where it looked last, a start looks back some fifty commits and no further."""
    DeltaTable(str(folder / "history")).restore(0)
    newest = DeltaTable(str(folder / "history")).version()
    for version in range(newest + 1, newest + 61):
        commit_file = folder / "history/_delta_log" / f"{version:020d}.json"
        commit_file.write_text('{"commitInfo":{"operation":"OPTIMIZE","timestamp":1}}')
    commit(folder / "history", "history", epoch_of(folder), 2)
    DeltaTable(str(folder / "history")).create_checkpoint()
    refused("E426", f"table version {newest} is a RESTORE, after version", folder)


@pytest.mark.parametrize(
    ("table", "writer"),
    [
        ("history", "history"),
        ("dead_letters", dead_letters_writer("bulk", None)),
        ("dead_letters", dead_letters_writer("fast", "mirror")),
        ("dead_letters", dead_letters_writer("bulk", "history")),
        ("ledger", ledger_writer("fast")),
        ("ledger", ledger_writer("bulk")),
    ],
)
def test_a_checkpoint_older_than_any_of_its_tables_is_refused(folder: Path, table: str, writer: str) -> None:
    commit(folder / table, writer, epoch_of(folder), 3)
    refused("E422", "batches up to 3 of checkpoint .*planned batches up to 2", folder)


def test_a_deleted_checkpoint_is_refused_by_a_history_and_harmless_without_one(folder: Path) -> None:
    shutil.rmtree(folder / "checkpoint")
    refused("E423", "this checkpoint is new", folder)
    mirror_only = flow_in(folder, fast={"outputs": {"mirror": MIRROR}})
    guards(mirror_only).require()


def test_an_output_accepted_to_begin_in_the_middle_needs_no_earlier_batches(folder: Path) -> None:
    lane = {
        "outputs": {
            "history": HISTORY | {"path": str(folder / "history")},
            "more": HISTORY | {"path": str(folder / "more")},
        }
    }
    flow = flow_in(folder, fast={"outputs": {"mirror": MIRROR}}, bulk=lane)
    with pytest.raises(Terminal, match=r"E441.*the table holds none of them.*output=more"):
        guards(flow).require()
    accepted = guards(flow, added=("more",))
    accepted.require()
    accepted.remember()
    guards(flow).require()
    for name in ("offsets", "commits"):
        shutil.copy(folder / "checkpoint/bulk" / name / "2", folder / "checkpoint/bulk" / name / "3")
    commit(folder / "history", "history", epoch_of(folder), 3)
    commit(folder / "ledger", ledger_writer("bulk"), epoch_of(folder), 3)
    with pytest.raises(Terminal, match=r"E441.*output=more"):
        guards(flow).require()  # what it has taken since counts as ever
    commit(folder / "more", "more", epoch_of(folder), 3)
    guards(flow).require()


@pytest.mark.parametrize("table", ["history", "ledger"])
def test_a_replay_of_dead_letters_does_not_write_into_another_table(folder: Path, table: str) -> None:
    shutil.rmtree(folder / table)
    with pytest.raises(Terminal, match="E441"):
        _outputs(flow_in(folder))
    assert not (folder / table).exists()


def test_tables_no_batch_was_written_to_may_be_deleted(tmp_path: Path) -> None:
    start(tmp_path)
    shutil.rmtree(tmp_path / "history")
    shutil.rmtree(tmp_path / "ledger")
    start(tmp_path)


@pytest.mark.parametrize("table", ["history", "dead_letters", "ledger"])
def test_a_table_that_forgets_its_batches_is_refused(folder: Path, table: str) -> None:
    remember_for(folder / table, "interval 7 days")
    refused("E444", "longer than 7.0 days", folder)
    remember_for(folder / table, "interval 60 days")
    start(folder)
    (folder / "checkpoint/bulk/commits/2").unlink()
    offsets = folder / "checkpoint/bulk/offsets/2"
    planned = f'"batchTimestampMs":{int((time.time() - 61 * 86_400) * 1000)}'
    offsets.write_text(re.sub(r'"batchTimestampMs":[0-9]+', planned, offsets.read_text()))
    refused("E444", "planned 61.0 days ago", folder)


def remember_for(table: Path, retention: str) -> None:
    DeltaTable(str(table)).alter.set_table_properties({PROPERTY: retention}, raise_if_not_exists=False)


def unguarded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every judgement of the tables off."""
    for name in ("require_same_table", "require_finished_batches", "require_not_set_back", "require_checkpoint_not_older"):
        monkeypatch.setattr(f"pipelines.table_guards.{name}", lambda *given, **also: None)


def accounts(folder: Path) -> list[tuple[str, int]]:
    rows = FlowParts(flow_in(folder)).ledger.read()
    return [(row.lane, row.batch_id) for row in rows]


def flush(folder: Path, batch: int) -> None:
    """A batch of lane bulk finished: its account is on its way, and the keeper moves it."""
    journal = Journal(str(folder / "checkpoint"))
    journal.put("bulk", [row("bulk", epoch_of(folder), batch)])
    FlowParts(flow_in(folder)).ledger.flush_all(journal)


def test_without_the_guards_accounts_are_lost(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """E422, E426 and E441 off: what each keeps from happening does happen. The ledger stands for every table with batch ids."""
    unguarded(monkeypatch)
    start(folder)
    flush(folder, 3)
    flush(folder, 4)
    assert accounts(folder) == [("bulk", 3), ("bulk", 4)]
    for batch in (3, 4):  # the checkpoint is set back to batch 2: other messages get the same numbers
        flush(folder, batch)
    assert accounts(folder) == [("bulk", 3), ("bulk", 4)], "E422 off: two accounts are lost without an error"
    newest = DeltaTable(str(folder / "ledger")).version()
    DeltaTable(str(folder / "ledger")).restore(newest - 1)
    start(folder)
    flush(folder, 4)
    flush(folder, 5)
    assert accounts(folder) == [("bulk", 3), ("bulk", 5)], "E426 off: batch 4 was taken away, and its id is spent"
    shutil.rmtree(folder / "ledger")
    start(folder)
    flush(folder, 6)
    assert accounts(folder) == [("bulk", 6)], "E441 off: a new table begins in the middle"


def test_without_the_claim_two_copies_of_a_checkpoint_lose_accounts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """E442 off. Copies have one epoch, so the second batch 3 is taken for the first one."""
    shutil.copytree(folder / "checkpoint", folder / "copy")
    copied = flow_in(folder).model_copy(update={"checkpoint": str(folder / "copy")})
    with pytest.raises(Terminal, match=r"E442.*a copy of this one"):
        guards(copied).require()
    monkeypatch.setattr("pipelines.table_guards.claim_tables", lambda *given, **also: None)
    guards(copied).require()
    flush(folder, 3)
    other = Journal(copied.checkpoint)
    other.put("bulk", [replace(row("bulk", epoch_of(folder), 3), applied=7)])
    assert FlowParts(copied).ledger.flush_all(other) == 0 and not other.pending("bulk"), "its account is gone"
    assert [account.applied for account in FlowParts(copied).ledger.read()] == [0]


def test_the_columns_of_the_helper_are_those_of_the_table(folder: Path) -> None:
    contract = FlowParts(flow_in(folder)).tables.histories["history"].contract
    assert delta_schema(contract.ddl) == DeltaTable(str(folder / "history")).schema()
