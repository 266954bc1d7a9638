"""What the demo measures from the drivers' progress lines: counts, lag percentiles, rate."""

import threading
from collections.abc import Iterable
from typing import Any, NamedTuple


class Lag(NamedTuple):
    """How long changes took to be visible, in seconds, over events: each counts with its batch's lag."""

    p50_s: float
    p99_s: float
    max_s: float


class Progress:
    """Every batch line heard from any driver. Lines come from reader threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._batches: list[tuple[int, dict[str, Any]]] = []
        self.driver = 0

    def heard(self, line: dict[str, Any]) -> None:
        """Take one line of the current driver."""
        if line.get("kind") == "batch":
            with self._lock:
                self._batches.append((self.driver, line))

    def batches(self, lane: str, driver: int | None = None) -> list[dict[str, Any]]:
        """The lane's batches, of one driver or of all."""
        with self._lock:
            return [line for number, line in self._batches if line["lane"] == lane and driver in (None, number)]

    def last(self, lane: str) -> dict[str, Any] | None:
        """The lane's newest batch."""
        found = self.batches(lane)
        return found[-1] if found else None


def rows(batch: dict[str, Any]) -> int:
    """Messages a batch read."""
    return int(batch["outputs"][0]["rows_read"])


def lag(batches: Iterable[dict[str, Any]]) -> Lag | None:
    """Percentiles over events, each with the lag its batch reported; None without any."""
    weighted = sorted((batch["lag_s"], rows(batch)) for batch in batches if batch["lag_s"] is not None)
    total = sum(weight for _, weight in weighted)
    if not total:
        return None
    return Lag(_at(weighted, total * 0.50), _at(weighted, total * 0.99), weighted[-1][0])


def caught_up(batches: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The batches after the first that left little behind: what a flow shows that is not busy with a backlog."""
    for number, batch in enumerate(batches):
        if batch["lag_s"] is not None and batch["lag_s"] < 1.0:
            return batches[number:]
    return []


def _at(weighted: list[tuple[float, int]], wanted: float) -> float:
    passed = 0.0
    for value, weight in weighted:
        passed += weight
        if passed >= wanted:
            return value
    return weighted[-1][0]


__all__ = ["Lag", "Progress", "caught_up", "lag", "rows"]
