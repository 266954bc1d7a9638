"""SIGINT and SIGTERM as a flag: the first asks for a graceful stop, the second for a stop now."""

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Self

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopSignals:
    """The signals of this process while the context is open. Handlers exist in the main thread; elsewhere none are installed.

    As process 1 of a container a signal without a handler is ignored, not deadly: enter this before anything that takes time.

    told: called once per signal with its name and how many there have been; runs in the handler, so it must be short.
    """

    def __init__(self, told: Callable[[str, int], None] = lambda name, times: None) -> None:
        self.count = 0
        self.told = told
        self._asked = threading.Event()
        self._before: dict[signal.Signals, signal.Handlers | Callable[[int, FrameType | None], object] | int | None] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.getsignal(number) for number in SIGNALS}
            self.install()
        return self

    def install(self) -> None:
        """Put the handlers in place, again if need be: starting Spark replaces the one for SIGINT."""
        if self._before:
            for number in SIGNALS:
                signal.signal(number, self._handle)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    @property
    def asked(self) -> bool:
        """Whether a stop was asked for."""
        return self._asked.is_set()

    @property
    def forced(self) -> bool:
        """Whether it was asked for twice."""
        return self.count > 1

    def wait(self, seconds: float) -> bool:
        """Wait at most that long for the first signal; whether it has come."""
        return self._asked.wait(seconds)

    def ask(self, name: str) -> None:
        """As if the signal of that name had come: for those who are told of it in another way."""
        self.count += 1
        self._asked.set()
        self.told(name, self.count)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.ask(signal.Signals(number).name)


__all__ = ["SIGNALS", "StopSignals"]
