"""Who writes a flow's tables."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipelines.claims import ID_FILE, checkpoint_id, claim_tables
from schemas.errors import Terminal


@pytest.fixture
def tables(tmp_path: Path) -> list[str]:
    paths = [tmp_path / "history", tmp_path / "ledger"]
    for path in paths:
        path.mkdir()
    return [str(path) for path in paths]


def test_a_checkpoint_keeps_its_id_and_its_tables(tmp_path: Path, tables: list[str]) -> None:
    ours = str(tmp_path / "ck")
    identity = checkpoint_id(ours)
    claim_tables("f", ours, tables)
    claim_tables("f", f"{ours}/", tables)
    claim_tables("f", f"file://{ours}", tables)
    assert checkpoint_id(ours) == identity != checkpoint_id(str(tmp_path / "other"))


def test_two_flows_of_one_name_are_refused_and_two_names_are_not(tmp_path: Path, tables: list[str]) -> None:
    claim_tables("f", str(tmp_path / "a"), tables[:1])
    with pytest.raises(Terminal, match=rf"E442.*from checkpoint {tmp_path}/a, another one.*path={tables[0]}"):
        claim_tables("f", str(tmp_path / "b"), tables)
    claim_tables("g", str(tmp_path / "b"), tables)
    claim_tables("f", str(tmp_path / "b"), tables, adopt=True)
    with pytest.raises(Terminal, match=r"E442.*/b, another one"):
        claim_tables("f", str(tmp_path / "a"), tables)


def test_of_two_that_begin_at_once_one_is_refused(tmp_path: Path, tables: list[str]) -> None:
    """And so it is with a table by two spellings: a link to it is the same folder."""
    link = tmp_path / "link"
    link.symlink_to(tables[0])
    checkpoints = [str(tmp_path / f"ck{number}") for number in range(8)]

    def begin(number: int) -> bool:
        try:
            claim_tables("f", checkpoints[number], [tables[0] if number % 2 else str(link)])
        except Terminal:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(begin, range(8))) == 1


def test_a_copy_of_a_checkpoint_is_refused_and_a_moved_one_is_not(tmp_path: Path, tables: list[str]) -> None:
    claim_tables("f", str(tmp_path / "ck"), tables)
    shutil.copytree(tmp_path / "ck", tmp_path / "copy")
    with pytest.raises(Terminal, match=r"E442.*/ck, a copy of this one"):
        claim_tables("f", str(tmp_path / "copy"), tables)
    shutil.rmtree(tmp_path / "ck")
    claim_tables("f", str(tmp_path / "copy"), tables)


def test_a_checkpoint_that_is_gone_claims_nothing(tmp_path: Path, tables: list[str]) -> None:
    claim_tables("f", str(tmp_path / "ck"), tables)
    shutil.rmtree(tmp_path / "ck")
    claim_tables("f", str(tmp_path / "new"), tables)
    (tmp_path / "history/_millrace/claims/f").write_text('{"check')
    claim_tables("f", str(tmp_path / "another"), tables[:1])


def test_a_flow_copied_with_its_tables_is_another_flow(tmp_path: Path, tables: list[str]) -> None:
    claim_tables("f", str(tmp_path / "ck"), tables)
    shutil.copytree(tmp_path / "ck", tmp_path / "staging/ck")
    shutil.copytree(tables[0], tmp_path / "staging/history")
    for _ in range(2):
        claim_tables("f", str(tmp_path / "staging/ck"), [str(tmp_path / "staging/history")])
        claim_tables("f", str(tmp_path / "ck"), tables)


def test_an_empty_id_is_refused(tmp_path: Path) -> None:
    checkpoint_id(str(tmp_path))
    (tmp_path / ID_FILE).write_text("")
    with pytest.raises(Terminal, match=r"E421.*id is empty"):
        checkpoint_id(str(tmp_path))
