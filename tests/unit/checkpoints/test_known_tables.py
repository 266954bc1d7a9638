"""What a flow remembers of its tables."""

from pathlib import Path

import pytest

from checkpoints.known_tables import TABLES_FILE, KnownTable, read_tables, write_tables
from schemas.errors import Terminal


def test_the_record_comes_back_as_it_was(tmp_path: Path) -> None:
    assert read_tables(str(tmp_path)) == {}
    tables = {"history": KnownTable("/t", "id", 4, {"bulk": 3}), "@ledger": KnownTable("/l", "id2", 0)}
    write_tables(str(tmp_path), tables)
    assert read_tables(str(tmp_path)) == tables


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 1, "tables": {"t": {}}}', '{"format": 1, "tables": []}'])
def test_a_damaged_record_is_refused(tmp_path: Path, text: str) -> None:
    write_tables(str(tmp_path), {})
    (tmp_path / TABLES_FILE).write_text(text)
    with pytest.raises(Terminal, match=r"E421.*not a record of tables.*tables\.json"):
        read_tables(str(tmp_path))


def test_a_newer_record_is_not_called_damaged(tmp_path: Path) -> None:
    write_tables(str(tmp_path), {})
    (tmp_path / TABLES_FILE).write_text('{"format": 7}')
    with pytest.raises(Terminal, match=r"E445.*format 7"):
        read_tables(str(tmp_path))
