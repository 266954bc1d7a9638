"""The registry's files are fetched once, whole or not at all, by an `mvn` that each test puts on PATH."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deploy import doctor
from deploy.paths import PROJECT, jars_folder
from deploy.setup.registry_files import RUNNER, is_complete, registry_files
from schemas.errors import ConfigError

EXPECTED = PROJECT / "deploy/jars/registry/expected.txt"
FETCH = f"""
for given in "$@"; do case "$given" in -DoutputDirectory=*) to="${{given#-DoutputDirectory=}}";; esac; done
mkdir -p "$to/lib"
while read -r name; do : > "$to/$name"; done < {EXPECTED}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MILLRACE_REGISTRY_JARS", str(tmp_path / "jars" / "registry"))
    return jars_folder("registry")


@pytest.fixture(autouse=True)
def calls(tmp_path: Path) -> Path:
    """A file with a line per call of `mvn`."""
    return tmp_path / "calls"


def put_maven(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir(exist_ok=True)
    maven = bin_folder / "mvn"
    maven.write_text(f"#!/bin/sh\necho called >> {tmp_path / 'calls'}\n{script}")
    maven.chmod(0o755)
    monkeypatch.setenv("PATH", f"{bin_folder}:{os.environ['PATH']}")


def test_they_are_fetched_once(folder: Path, tmp_path: Path, calls: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_maven(tmp_path, monkeypatch, FETCH)
    told: list[str] = []
    assert not is_complete(folder)
    assert registry_files(told.append) == folder == registry_files(told.append)
    assert is_complete(folder) and (folder / RUNNER).exists()
    assert len(told) == 1 and "109 MB" in told[0] and calls.read_text() == "called\n"


def test_files_of_another_version_are_fetched_anew(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_maven(tmp_path, monkeypatch, FETCH)
    old = registry_files() / "lib" / "old-1.0.jar"
    old.touch()
    registry_files()
    assert is_complete(folder) and not old.exists()


def test_starters_at_the_same_time_fetch_them_once(
    folder: Path, tmp_path: Path, calls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_maven(tmp_path, monkeypatch, f"sleep 0.3\n{FETCH}")
    command = [sys.executable, "-m", "deploy.setup.registry_files"]
    running = [subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.DEVNULL) for _ in range(3)]
    assert [each.wait() for each in running] == [0, 0, 0]
    assert is_complete(folder) and calls.read_text() == "called\n"


def test_a_maven_that_fails_is_told_and_leaves_nothing(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_maven(tmp_path, monkeypatch, f"{FETCH}\necho '[ERROR] no route to it'\nexit 1")
    with pytest.raises(ConfigError, match=r"E110.*no route to it"):
        registry_files()
    assert not folder.exists()


def test_half_of_them_are_not_taken(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_maven(tmp_path, monkeypatch, f'{FETCH}\nrm "$to"/lib/io.quarkus.quarkus-core-*.jar')
    with pytest.raises(ConfigError, match=r"E110.*other files"):
        registry_files()
    assert not folder.exists()
    put_maven(tmp_path, monkeypatch, FETCH)
    assert is_complete(registry_files())


def test_without_maven_it_is_said_how_to_get_it(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="E110") as caught:
        registry_files()
    assert "apt install maven" in caught.value.remedy


def test_doctor_tells_none_whole_and_wrong_apart(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    none = doctor.registry_check()
    assert none.state == "ok" and "--registry" in none.found
    put_maven(tmp_path, monkeypatch, FETCH)
    registry_files()
    whole = doctor.registry_check()
    assert whole.state == "ok" and str(folder) in whole.found
    (folder / RUNNER).unlink()
    assert doctor.registry_check().state == "warn"


def test_the_runner_is_of_the_version_the_pom_asks_for() -> None:
    pom = (PROJECT / "deploy/jars/registry/pom.xml").read_text()
    item = re.search(r"<artifactItem>.*?<artifactId>(.*?)</artifactId>\s*<version>(.*?)</version>", pom, flags=re.DOTALL)
    assert item and f"{item[1]}-{item[2]}-runner.jar" == RUNNER
    names = EXPECTED.read_text().split()
    assert RUNNER in names and names == sorted(names) and shutil.which("sh")
