"""CPU seconds of this process and everything it has started: driver, JVM, Python workers. Servers are started elsewhere."""

import os
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_times(root: int | None = None) -> dict[int, float]:
    """User and system seconds by process of the tree under `root` (default: this process), without what ended children used."""
    root = os.getpid() if root is None else root
    times: dict[int, float] = {}
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        pid = int(entry.name)
        parents[pid] = int(fields[1])
        times[pid] = sum(int(field) for field in fields[11:13]) / _TICKS
    return {pid: seconds for pid, seconds in times.items() if _below(pid, root, parents)}


def cpu_spent(before: dict[int, float], after: dict[int, float]) -> float:
    """Seconds between two looks. What a process used that ended meanwhile is missing, never counted twice."""
    return sum(max(0.0, seconds - before.get(pid, 0.0)) for pid, seconds in after.items())


def _below(pid: int, root: int, parents: dict[int, int]) -> bool:
    while pid > 1:
        if pid == root:
            return True
        pid = parents.get(pid, 0)
    return False


__all__ = ["cpu_spent", "cpu_times"]
