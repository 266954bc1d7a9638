"""Pages made from the code say what the code does now; every link between pages leads somewhere."""

import re
from pathlib import Path

import pytest

from deploy.docs import pages
from deploy.paths import PROJECT
from schemas.error_codes import CATALOGUE
from schemas.reasons import REASONS
from schemas.tables import DEAD_LETTERS_DDL


@pytest.mark.parametrize("path", pages.PAGES, ids=str)
def test_page_is_up_to_date(path: Path) -> None:
    assert (PROJECT / path).read_text() == pages.PAGES[path](), f"{path} does not say what the code does: run `make docs`"


def test_a_changed_page_is_written_and_named_once(tmp_path: Path) -> None:
    assert set(pages.write_pages(tmp_path)) == set(pages.PAGES)
    assert pages.write_pages(tmp_path) == []
    stale = tmp_path / "docs" / "errors.md"
    stale.write_text("old")
    assert pages.write_pages(tmp_path) == [Path("docs/errors.md")]
    assert stale.read_text() == pages.errors_page()


def test_every_code_is_explained_once() -> None:
    errors, letters = pages.errors_page(), pages.dead_letters_page()
    for code, kind in CATALOGUE.items():
        assert errors.count(f"### {code}: {kind.title}\n") == 1 and kind.remedy in errors
    for code, reason in REASONS.items():
        assert letters.count(f"| {code} |") == 1
        assert reason.remedy.endswith(".") and f"| {reason.meaning} | {reason.remedy} |\n" in letters


def test_nested_column_types_stay_whole() -> None:
    letters, states = pages.dead_letters_page().split("## Columns of the table of states")
    assert "| `headers` | ARRAY<STRUCT<key: STRING, value: BINARY>> |" in letters
    assert "| `fates` | MAP<STRING, STRING> |" in states
    names = re.findall(r"^\| `(\w+)` \|", letters, flags=re.MULTILINE)
    assert names[:3] == ["flow", "lane", "output"] and len(names) == len(set(names)) and names[-1] == "seen_at"
    assert all(name in DEAD_LETTERS_DDL for name in names)


def test_catalogues_are_sorted_by_code() -> None:
    assert list(CATALOGUE) == sorted(CATALOGUE)
    assert list(REASONS) == sorted(REASONS)


def test_no_page_depends_on_this_machine() -> None:
    for path, page in pages.PAGES.items():
        assert str(PROJECT) not in page() and str(Path.home()) not in page(), path


def test_links_between_pages_lead_somewhere() -> None:
    texts = [*PROJECT.glob("*.md"), *(PROJECT / "docs").rglob("*.md")]
    assert texts
    broken = [
        f"{page.relative_to(PROJECT)}: {target}"
        for page in texts
        for target in re.findall(r"\]\((?!https?:|mailto:|#)([^)#\s]+)", page.read_text())
        if not (page.parent / target).exists()
    ]
    assert not broken
