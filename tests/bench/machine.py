"""How much of the machine was away: time in which its processors had work and the host ran somebody else's."""

import threading
import time
from pathlib import Path
from typing import NamedTuple

WINDOW_S = 10.0
"""What `worst` is looked for in."""


class Away(NamedTuple):
    """Shares of all processors' time, 0 to 1. worst: of the worst WINDOW_S seconds."""

    mean: float
    worst: float


class Reading(NamedTuple):
    """Ticks of all processors since the machine was started."""

    at: float
    stolen: int
    all: int


class Steal(threading.Thread):
    """A context that looks once a second. Source: `steal` of the first line of /proc/stat, proc(5)."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._readings = [read()]
        self._over = threading.Event()

    def __enter__(self) -> "Steal":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()
        self._readings.append(read())

    def run(self) -> None:
        """Until the context ends."""
        while not self._over.wait(1.0):
            self._readings.append(read())

    def since(self, at: float) -> Away:
        """From a time on the monotonic clock to the end of the context."""
        return away([reading for reading in self._readings if reading.at >= at])


def read() -> Reading:
    """The machine now."""
    user, nice, system, idle, io, hard, soft, stolen = map(int, Path("/proc/stat").read_text().split(maxsplit=9)[1:9])
    return Reading(time.monotonic(), stolen, user + nice + system + idle + io + hard + soft + stolen)


def away(readings: list[Reading]) -> Away:
    """Of readings in order of time. With less than WINDOW_S between first and last, `worst` is the mean."""
    if len(readings) < 2:
        return Away(0.0, 0.0)
    mean = _between(readings[0], readings[-1])
    worst = mean
    first = 0
    for last in readings:
        while first + 1 < len(readings) and last.at - readings[first + 1].at >= WINDOW_S:
            first += 1
        if last.at - readings[first].at >= WINDOW_S:
            worst = max(worst, _between(readings[first], last))
    return Away(mean, worst)


def _between(one: Reading, other: Reading) -> float:
    return (other.stolen - one.stolen) / max(1, other.all - one.all)


__all__ = ["Away", "Reading", "Steal", "WINDOW_S", "away", "read"]
