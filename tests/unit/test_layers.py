"""Layers point one way: schemas <- sinks <- pipelines; checkpoints uses schemas only; deploy and tests use anything."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ALLOWED: dict[str, set[str]] = {
    "schemas": set(),
    "sinks": {"schemas"},
    "checkpoints": {"schemas"},
    "pipelines": {"schemas", "sinks", "checkpoints"},
}
PACKAGES = {*ALLOWED, "deploy", "tests"}


def imported_names(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


def violations(package: str, path: Path) -> set[str]:
    used = {name.split(".")[0] for name in imported_names(path)} & PACKAGES
    return used - ALLOWED[package] - {package}


@pytest.mark.parametrize("package", ALLOWED)
def test_layers_point_one_way(package: str) -> None:
    paths = list((ROOT / package).rglob("*.py"))
    assert paths, f"{package} has no modules: the test would prove nothing"
    for path in paths:
        assert not violations(package, path), f"{path.relative_to(ROOT)} imports {violations(package, path)}"


def test_checkpoints_need_no_spark() -> None:
    for path in (ROOT / "checkpoints").rglob("*.py"):
        assert "pyspark" not in {name.split(".")[0] for name in imported_names(path)}, path


def test_a_wrong_import_is_noticed(tmp_path: Path) -> None:
    bad = tmp_path / "bad.py"
    bad.write_text("from pipelines.runner import run\n")
    assert violations("sinks", bad) == {"pipelines"}
