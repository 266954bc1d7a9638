"""docs/guarantees.md names tests; each must exist, and each refusal of a start must have its row."""

import re
from pathlib import Path

import pytest

from schemas.error_codes import CATALOGUE

PROJECT = Path(__file__).resolve().parents[2]
PAGE = (PROJECT / "docs/guarantees.md").read_text()
REFUSALS = PAGE.split("## Start-up refusals")[1].split("\n## ")[0]
OF_A_START = ("E420", "E421", "E422", "E423", "E426", "E430", "E431", "E432", "E433", "E441", "E442", "E443", "E444", "E445")


def test_every_test_named_in_the_table_exists() -> None:
    named = re.findall(r"\[(test_\w+)\]\(\.\./(tests/[\w/]+\.py)\)", REFUSALS)
    assert len(named) >= 20
    for name, path in named:
        assert f"def {name}(" in (PROJECT / path).read_text(), f"{path} has no {name}"


@pytest.mark.parametrize("code", OF_A_START)
def test_every_refusal_of_a_start_has_a_row_with_a_test(code: str) -> None:
    rows = [line for line in REFUSALS.splitlines() if line.startswith("| ") and code in line.split("|")[3]]
    assert rows and all("(../tests/" in row for row in rows)


def test_every_code_of_the_page_is_in_the_catalogue() -> None:
    assert set(re.findall(r"\bE[1-4][0-9]{2}\b", PAGE)) <= set(CATALOGUE)
