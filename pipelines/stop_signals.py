"""SIGINT and SIGTERM as a flag: the first asks for a graceful stop, the second for a stop now.

A handler runs between two steps of the main thread, wherever that is, perhaps with the very lock in hand that the handler wants:
it would wait for itself, for ever. So ours only counts and writes a byte to a pipe, and a thread that reads there does the rest.
"""

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Self

SIGNALS = (signal.SIGINT, signal.SIGTERM)
_END = b"\0"


class StopSignals:
    """The signals of this process while the context is open. Handlers exist in the main thread; elsewhere none are installed.

    As process 1 of a container a signal without a handler is ignored, not deadly: enter this before anything that takes time.

    told: called once per signal with its name and how many there have been, in a thread of its own.
    """

    def __init__(self, told: Callable[[str, int], None] = lambda name, times: None) -> None:
        self.count = 0
        self.told = told
        self._told = 0
        self._asked = threading.Event()
        self._before: dict[signal.Signals, signal.Handlers | Callable[[int, FrameType | None], object] | int | None] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.getsignal(number) for number in SIGNALS}
            self._read, self._write = os.pipe()
            self._teller = threading.Thread(target=self._tell_all, name="stop-signals", daemon=True)
            self._teller.start()
            self.install()
        return self

    def install(self) -> None:
        """Put the handlers in place, again if need be: starting Spark replaces the one for SIGINT."""
        if self._before:
            for number in SIGNALS:
                signal.signal(number, self._handle)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._before:
            for number, handler in self._before.items():
                signal.signal(number, handler)
            self._before = {}
            os.write(self._write, _END)
            self._teller.join()
            os.close(self._write)
            os.close(self._read)

    @property
    def asked(self) -> bool:
        """Whether a stop was asked for."""
        return self.count > 0

    @property
    def forced(self) -> bool:
        """Whether it was asked for twice."""
        return self.count > 1

    def wait(self, seconds: float) -> bool:
        """Wait at most that long for the first signal; whether it has come."""
        return self._asked.wait(seconds)

    def ask(self, name: str) -> None:
        """As if the signal of that name had come: for those who are told of it in another way. Not for a handler of signals."""
        self.count += 1
        self._tell(name)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.count += 1
        os.write(self._write, bytes([number]))

    def _tell_all(self) -> None:
        while (number := os.read(self._read, 1)) != _END:
            self._tell(signal.Signals(number[0]).name)

    def _tell(self, name: str) -> None:
        self._told += 1
        self._asked.set()
        self.told(name, self._told)


__all__ = ["SIGNALS", "StopSignals"]
