"""One `millrace run` as a process of its own: heard line by line, killed where a failpoint says, or stopped in order."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

from pipelines.failpoints import VARIABLE as FAILPOINTS
from schemas.errors import Terminal

Line = dict[str, Any]


class Driver:
    """A driver process.

    flow: the flow file; folder: its working directory; environment: on top of this process's.
    failpoint: where it is to be killed, armed in `armed`, or None. heard: called with every JSON line it prints.
    """

    def __init__(
        self,
        flow: Path,
        folder: Path,
        environment: Mapping[str, str],
        armed: Path,
        failpoint: str | None,
        heard: Callable[[Line], None],
    ) -> None:
        armed.write_text(f"{failpoint}\n" if failpoint else "")
        self.failpoint = failpoint
        self._log = folder / "driver.log"
        self._heard = heard
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "deploy.cli", "run", str(flow), "--output", "json"],
                cwd=folder,
                env={**os.environ, **environment, FAILPOINTS: str(armed)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        assert self._process.stdout is not None
        self._reader = threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True)
        self._reader.start()

    def _read(self, stream: IO[bytes]) -> None:
        for raw in stream:
            try:
                line = json.loads(raw)
            except ValueError:
                continue  # the last line of a killed driver may be torn
            self._heard(line)

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._process.poll() is None

    def wait_killed(self, timeout_s: float) -> None:
        """Return when the failpoint has killed the driver. Raises Terminal E490 when it ended otherwise, or not in time."""
        try:
            code = self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise Terminal("E490", f"failpoint {self.failpoint!r} was not reached in {timeout_s:.0f} s", log=self._log) from None
        self._reader.join()
        if code != -signal.SIGKILL:
            raise Terminal("E490", f"the driver ended with status {code} instead of being killed", log=self._log)

    def stop(self, timeout_s: float = 60.0) -> None:
        """SIGTERM, and wait for the ordered end. Raises Terminal E490 when its status is not 0."""
        self._process.terminate()
        code = self._process.wait(timeout_s)
        self._reader.join()
        if code:
            raise Terminal("E490", f"the driver stopped with status {code}", log=self._log)

    def kill(self) -> None:
        """End it at once, whatever it does. Its JVM goes with it: its standard input closes."""
        if self.running:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


__all__ = ["Driver", "Line"]
