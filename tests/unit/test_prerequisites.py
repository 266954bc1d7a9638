"""Set-up says what a machine lacks, what was found, and how to get it; before anything is installed."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.setup import prerequisites

SCRIPT = Path(prerequisites.__file__)


class Machine:
    """A PATH of our own making: only the tools put there exist."""

    def __init__(self, folder: Path) -> None:
        self.bin = folder / "bin"
        self.bin.mkdir()

    def tool(self, name: str, script: str) -> None:
        path = self.bin / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def python(self, name: str, version: str, *, venv: bool = True) -> None:
        """A Python that answers the two questions it is asked."""
        self.tool(name, f'case "$2" in *version_info*) echo {version};; *ensurepip*) exit {0 if venv else 1};; esac')

    def java(self, version: str) -> None:
        self.tool("java", f"echo 'openjdk version \"{version}\" 2025-01-01' >&2")

    def check(self, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-I", str(SCRIPT)],
            capture_output=True,
            text=True,
            env={"PATH": str(self.bin), **environment},
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine with everything."""
    made = Machine(tmp_path)
    made.python("python3", "3.11")
    made.java("17.0.15")
    made.tool("mvn", "exit 0")
    return made


def test_a_machine_with_everything_is_told_its_python(machine: Machine) -> None:
    done = machine.check()
    assert (done.returncode, done.stdout, done.stderr) == (0, "python3\n", "")


def test_an_old_python3_is_passed_over_for_a_newer_one(machine: Machine) -> None:
    machine.python("python3", "3.9")
    machine.python("python3.12", "3.12")
    assert machine.check().stdout == "python3.12\n"


def test_a_python_the_pins_were_tried_with_goes_first(machine: Machine) -> None:
    machine.python("python3", "3.14")
    machine.python("python3.12", "3.12")
    assert machine.check().stdout == "python3.12\n"
    (machine.bin / "python3.12").unlink()
    assert machine.check().stdout == "python3\n"


def test_only_old_pythons_are_named_with_their_versions(machine: Machine) -> None:
    machine.python("python3", "3.9")
    done = machine.check()
    assert done.returncode == 1 and not done.stdout
    assert "missing: Python. Found: python3 is 3.9. Needed: 3.11 or newer." in done.stderr and "apt install" in done.stderr


def test_a_python_without_venv_is_missing_something_else(machine: Machine) -> None:
    machine.python("python3", "3.11", venv=False)
    done = machine.check()
    assert done.returncode == 1 and "missing: Python's venv module" in done.stderr and "python3-venv" in done.stderr


@pytest.mark.parametrize(("version", "found"), [("11.0.2", "11.0.2"), ("1.8.0_422", "1.8.0_422")])
def test_an_old_java_is_missing(machine: Machine, version: str, found: str) -> None:
    machine.java(version)
    done = machine.check()
    assert done.returncode == 1 and f"missing: Java. Found: {found}. Needed: 17." in done.stderr


def test_a_newer_java_is_a_warning(machine: Machine) -> None:
    machine.java("21.0.4")
    done = machine.check()
    assert done.returncode == 0 and done.stdout == "python3\n"
    assert "warning: Java 21.0.4" in done.stderr


def test_java_home_wins_over_path(machine: Machine, tmp_path: Path) -> None:
    done = machine.check(JAVA_HOME=str(tmp_path / "nowhere"))
    assert done.returncode == 1 and f"JAVA_HOME={tmp_path / 'nowhere'} has no working bin/java" in done.stderr


def test_everything_missing_is_told_at_once(machine: Machine) -> None:
    for tool in machine.bin.iterdir():
        tool.unlink()
    done = machine.check()
    assert done.returncode == 1
    assert [line.split(".")[0] for line in done.stderr.splitlines() if line.startswith("missing")] == [
        "missing: Python",
        "missing: Java",
        "missing: Maven",
    ]


def test_without_maven_the_jars_cannot_be_fetched(machine: Machine) -> None:
    (machine.bin / "mvn").unlink()
    done = machine.check()
    assert done.returncode == 1 and "missing: Maven" in done.stderr


def test_an_old_python_can_read_the_check() -> None:
    """It must say that Python is too old, not stumble over its own syntax."""
    tree = ast.parse(SCRIPT.read_text(), feature_version=(3, 7))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module == "__future__"]
    assert [name.name for node in imports for name in node.names] == ["annotations"], "`str | None` is no value before 3.10"
