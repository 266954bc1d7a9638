"""Blows that fall on files: a disk that is full, a checkpoint that is damaged, a table that somebody else maintains meanwhile."""

import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from tests.chaos.matrix.running import DidNotHappen, Evidence, NotDefended, Running

SMALL_MB = 256
BALLAST = "ballast"
DECIDE = 4
"""Exit status of a start that a person has to decide about."""


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of its own in `folder`, of SMALL_MB in memory. Raises DidNotHappen where this process may not mount one."""
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SMALL_MB}m", "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise DidNotHappen(f"a small disk cannot be mounted here, which needs root: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)


@dataclass(frozen=True)
class FullDisk:
    """The small disk of the scenario is filled to the last byte for a while, then there is room again. No kill.

    A driver may live through it or stop; stopped, it is started again once there is room, as a person would.
    """

    for_s: float

    @property
    def name(self) -> str:
        """How long."""
        return f"disk full for {self.for_s:.0f} s"

    def strike(self, run: Running) -> Evidence:
        """Fill it, wait until the flow has noticed, make room."""
        driver = run.warm()
        assert run.small is not None, "the scenario has no small disk"
        ballast = run.small / BALLAST
        said = len(driver.of_kind("restart")) + len(driver.of_kind("ledger_waits"))
        began = time.monotonic()
        _fill(ballast)
        left = shutil.disk_usage(run.small).free
        noticed = ""
        give_up = began + 120
        while not noticed or time.monotonic() - began < self.for_s:
            _fill(ballast)
            now = [*driver.of_kind("restart"), *driver.of_kind("ledger_waits")]
            if not driver.running:
                noticed = f"the driver ended with status {driver.wait()}: {driver.errors[-300:]}"
                break
            if len(now) > said:
                noticed = str(now[-1].get("message", now[-1]))[:300]
            if time.monotonic() > give_up:
                raise DidNotHappen(f"nobody noticed the full disk\n{driver.transcript()}")
            time.sleep(0.1)
        ballast.unlink()
        if not driver.running:
            run.forget_driver()
            run.require_driver()
        run.warm()
        return {"free_bytes": left, "noticed": noticed}


@dataclass(frozen=True)
class DamagedCheckpoint:
    """A lane's checkpoint, or a file of it, is damaged while no driver runs. The start must be refused; then all is put back.

    what: `metadata`, `offsets` or `commits`, the newest file there, or `all`. how: remove, truncate.
    code, status: of the refusal, and what the start ends with.
    """

    lane: str
    what: str
    how: str
    code: str = "E4"
    status: int = DECIDE

    @property
    def name(self) -> str:
        """What is damaged."""
        return f"{self.lane}: {self.how} {'all of the checkpoint' if self.what == 'all' else f'the last {self.what}'}"

    def strike(self, run: Running) -> Evidence:
        """Kill the driver between two batches, do the damage, see the refusal, undo the damage."""
        run.warm()
        run.require_driver(f"{self.lane}:{'after_plan' if self.what == 'offsets' and self.how == 'truncate' else 'after_commit'}")
        run.await_death(self.name)
        run.kills += 1
        damaged, undo = self._damage(run.site.checkpoint / self.lane)
        before, replayed = _tree(run.site.tables), run.replayed
        refused = run.require_driver()
        try:
            refused.wait_for(lambda lines: any(line["kind"] == "started" for line in lines), "a start or its end")
        except AssertionError:
            if refused.running:
                raise
        if refused.running:
            raise NotDefended(f"{self.name}: not refused, the flow runs")
        status = refused.wait()
        run.replayed = replayed  # this start repeats nothing
        found = re.search(r"\[(E\d{3})\]", refused.errors)
        run.forget_driver()
        if status != self.status or found is None or not found[1].startswith(self.code):
            raise DidNotHappen(f"{self.name}: not refused: status {status}\n{refused.transcript()}")
        if _tree(run.site.tables) != before:
            raise DidNotHappen(f"{self.name}: the refused start wrote to a table")
        undo()
        return {"file": str(damaged.relative_to(run.site.checkpoint)), "refused": found[1]}

    def _damage(self, folder: Path) -> tuple[Path, Callable[[], None]]:
        """Do it; what was damaged, and the function that makes it good again."""
        if self.what == "all":
            aside = folder.parent.with_name(f"{folder.name}-aside")
            folder.rename(aside)

            def bring_back() -> None:
                shutil.rmtree(folder, ignore_errors=True)
                aside.rename(folder)

            return folder, bring_back
        file = folder / self.what
        if self.what != "metadata":
            file /= str(max(int(path.name) for path in (folder / self.what).iterdir() if path.name.isdigit()))
        kept = {path: path.read_bytes() for path in (file, file.with_name(f".{file.name}.crc")) if path.exists()}
        for path in kept:
            path.unlink()
        if self.how == "truncate":
            file.write_bytes(kept[file][: len(kept[file]) // 2])

        def write_back() -> None:
            for path, content in kept.items():
                path.write_bytes(content)

        return file, write_back


@dataclass(frozen=True)
class Maintenance:
    """Somebody compacts and vacuums the history again and again while the lane appends. No kill."""

    for_s: float

    @property
    def name(self) -> str:
        """How long."""
        return f"OPTIMIZE and VACUUM for {self.for_s:.0f} s"

    def strike(self, run: Running) -> Evidence:
        """Go on for a while, and until something was really compacted while batches came."""
        driver = run.warm()
        began, said = time.monotonic(), len(driver.of_kind("batch"))
        compacted = conflicts = 0
        give_up = began + 180
        while time.monotonic() - began < self.for_s or not compacted or len(driver.of_kind("batch")) == said:
            if time.monotonic() > give_up or not driver.running:
                raise DidNotHappen(f"{compacted} compactions in {self.name}\n{driver.transcript()}")
            try:
                table = DeltaTable(str(run.site.tables / "history"))
                compacted += table.optimize.compact()["numFilesRemoved"] > 0
                table.vacuum(dry_run=False)
            except DeltaError:
                conflicts += 1
            time.sleep(0.2)
        return {"compacted": compacted, "conflicts": conflicts}


def _fill(ballast: Path) -> None:
    with ballast.open("ab", buffering=0) as file:
        for size in (1 << 20, 4096, 1):
            try:
                while file.write(b"\0" * size) == size:
                    pass
            except OSError:
                continue


def _tree(folder: Path) -> set[tuple[str, int]]:
    return {(str(path.relative_to(folder)), path.stat().st_size) for path in folder.rglob("*") if path.is_file()}


__all__ = ["DamagedCheckpoint", "FullDisk", "Maintenance", "SMALL_MB", "small_disk"]
