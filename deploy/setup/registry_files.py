"""Fetch the schema registry of the local stack, once, when it is first needed: `python -m deploy.setup.registry_files`.

109 MB, ten to twenty seconds with Maven. Apart from `make setup`, since most flows need no registry.
"""

import fcntl
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy.paths import PROJECT, jars_folder
from deploy.setup.prerequisites import HOW_TO
from schemas.errors import ConfigError, MillraceError

RUNNER = "apicurio-registry-app-3.0.9-runner.jar"
"""The jar that is started; it names the others, which lie in `lib` beside it."""
_JARS = PROJECT / "deploy" / "jars" / "registry"
_POLL_S = 0.2


def registry_files(report: Callable[[str], None] = lambda _: None, tick: Callable[[], None] = lambda: None) -> Path:
    """The folder with the registry's jars, fetched when they are not there as listed. Safe from several processes at once.

    report: told when something is fetched; tick: called again and again meanwhile.
    Raises: ConfigError E110 when Maven is missing or cannot fetch them. Half of them never stand in the folder.
    """
    folder = jars_folder("registry")
    if is_complete(folder):
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _turn(folder.with_name(".registry.lock")):
        if is_complete(folder):  # another process has fetched them meanwhile
            return folder
        report(f"registry: fetching its files with Maven into {folder} (109 MB, once)")
        draft = folder.with_name(".registry.draft")
        shutil.rmtree(draft, ignore_errors=True)
        _fetch(draft, tick)
        if not is_complete(draft):
            raise ConfigError("E110", "Maven fetched other files of the schema registry than deploy/jars/registry lists")
        shutil.rmtree(folder, ignore_errors=True)
        draft.rename(folder)
    return folder


def is_complete(folder: Path) -> bool:
    """Whether the folder holds exactly the jars that were tried."""
    return jars_in(folder) == set((_JARS / "expected.txt").read_text().split())


def jars_in(folder: Path) -> set[str]:
    """Jars at any depth, by their paths from the folder."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*.jar")}


def _fetch(draft: Path, tick: Callable[[], None]) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise ConfigError("E110", "no mvn on PATH, to fetch the schema registry with", remedy=HOW_TO["Maven"])
    command = [maven, "-q", "-B", "-f", str(_JARS / "pom.xml"), "dependency:unpack", f"-DoutputDirectory={draft}"]
    log = draft.with_name("registry-maven.log")
    with log.open("wb") as output:
        running = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
        try:
            while running.poll() is None:
                tick()
                time.sleep(_POLL_S)
        finally:
            if running.poll() is None:
                running.terminate()
                running.wait()
    if running.returncode:
        said = [line for line in log.read_text(errors="replace").splitlines() if "ERROR" in line]
        raise ConfigError("E110", f"Maven cannot fetch the schema registry: {said[0] if said else 'see its log'}", log=log)


@contextmanager
def _turn(lock: Path) -> Iterator[None]:
    """One process at a time; released by the system when its holder dies."""
    handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def main() -> int:
    """Fetch them, with a word about it; status 1 when they cannot be had."""
    try:
        registry_files(report=print)
    except MillraceError as problem:
        print(f"{problem}\n{problem.remedy}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

__all__ = ["RUNNER", "is_complete", "jars_in", "registry_files"]
