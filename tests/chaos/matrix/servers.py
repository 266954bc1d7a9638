"""Blows that fall on servers: killed, stopped for a while, emptied, at fault; each comes back, and leaves its evidence."""

import re
import shutil
import signal
import time
from dataclasses import dataclass

from deploy.local.node_info import ask, rows
from tests.chaos.matrix.blows import KillDriver, await_state, await_stopped, wake
from tests.chaos.matrix.running import DidNotHappen, Evidence, Running

REFUSED = (2, 4)
"""Exit statuses: the flow does not fit what is there; a person has to decide."""


@dataclass(frozen=True)
class KillServer:
    """SIGKILL for a server, which comes back with its data after a while. which: broker, source or mirror (nodes)."""

    which: str
    down_s: float = 1.0

    @property
    def name(self) -> str:
        """Which server."""
        return f"{self.which}, down for {self.down_s:.0f} s"

    def strike(self, run: Running) -> Evidence:
        """Kill it under load, and wait until it answers again."""
        run.warm()
        time.sleep(run.rng.uniform(0.0, 1.5))
        server = getattr(run.site, self.which)
        pid = server.process.pid
        if pid is None or not server.kill():
            raise DidNotHappen(f"{self.which} did not run")
        run.kills += 1
        time.sleep(self.down_s)
        setattr(run.site, self.which, server.restart())
        return {"killed": self.which, "pid": pid, "pid_after": getattr(run.site, self.which).process.pid}


@dataclass(frozen=True)
class KillBehind:
    """SIGKILL for the driver; once it is some seconds behind, SIGKILL for a server, which comes back; then a driver again."""

    which: str

    @property
    def name(self) -> str:
        """Which server."""
        return f"{self.which}, while the flow is behind"

    def strike(self, run: Running) -> Evidence:
        """Two kills."""
        first = KillDriver("fast:after_sink").strike(run)
        time.sleep(3.0)
        server = getattr(run.site, self.which)
        if not server.kill():
            raise DidNotHappen(f"{self.which} did not run")
        run.kills += 1
        run.require_driver()
        time.sleep(1.0)
        setattr(run.site, self.which, server.restart())
        run.warm()
        return {**first, "killed": self.which}


@dataclass(frozen=True)
class FreezeServer:
    """SIGSTOP for a server, and SIGCONT after a while: it keeps every connection and answers nobody. No kill."""

    which: str
    seconds: float

    @property
    def name(self) -> str:
        """Which server, how long."""
        return f"{self.which}, stopped for {self.seconds:.0f} s"

    def strike(self, run: Running) -> Evidence:
        """Stop it under load, wake it, and see a batch done."""
        driver = run.warm()
        time.sleep(run.rng.uniform(0.0, 1.5))
        server = getattr(run.site, self.which)
        pid = server.process.pid
        if pid is None or not server.process.signal(signal.SIGSTOP):
            raise DidNotHappen(f"{self.which} did not run")
        await_state([pid], "T")
        time.sleep(self.seconds)
        if self.which == "mirror":
            run.mirror_held_s = max(run.mirror_held_s, self.seconds)
        said = len(driver.lines)
        server.process.signal(signal.SIGCONT)
        driver.wait_for(lambda lines: any(line["kind"] == "batch" for line in lines[said:]), "a batch after the wake")
        return {"stopped": self.which, "pid": pid, "stopped_s": self.seconds}


@dataclass(frozen=True)
class EmptyNode:
    """SIGKILL for the mirror's node, which comes back without its data. The driver must end by itself and say so.

    Then the node gets its data back, as from a backup that lacks nothing, and the flow goes on.
    """

    @property
    def name(self) -> str:
        """What happens."""
        return "the mirror's node comes back empty"

    def strike(self, run: Running) -> Evidence:
        """Between two batches of the mirror's lane, so that no batch counts as done that was written to the empty node."""
        since = len(run.fired())
        driver = run.warm()
        run.require_driver("fast:before_sink action=stop")
        record = run.await_fired("fast:before_sink", since)
        pids = await_stopped(record)
        node = run.site.mirror
        data, kept = node.data / "data", node.data / "data.kept"
        if not node.kill():
            raise DidNotHappen("the mirror's node did not run")
        run.kills += 1
        data.rename(kept)
        empty = node.restart()
        wake(pids)
        status = driver.wait()
        found = re.search(r"\[(E436|E125)\]", driver.errors)
        run.forget_driver()
        if found is None or status not in REFUSED:
            raise DidNotHappen(f"nobody noticed that the node was empty: status {status}\n{driver.transcript()}")
        empty.stop()
        shutil.rmtree(data)
        kept.rename(data)
        run.site.mirror = empty.restart()
        run.warm()
        return {**record, "refused": found[1], "status": status}


@dataclass(frozen=True)
class NodeFault:
    """A fault of the mirror's node for some seconds, as `millrace local fault` sets it. order: arguments of the info command."""

    order: str
    for_s: float = 4.0
    least: int = 1

    @property
    def name(self) -> str:
        """The fault."""
        return self.order.partition("name=")[2].replace(";", " ")

    def strike(self, run: Running) -> Evidence:
        """Set the fault, wait until it has fired, take it back."""
        run.warm()
        address, fault = run.site.mirror.address, self.order.partition("name=")[2].partition(";")[0]
        before = _fired(address, fault)
        ask(address, f"millrace-fault:{self.order}")
        time.sleep(self.for_s)
        give_up = time.monotonic() + 60
        while _fired(address, fault) - before < self.least:
            if time.monotonic() > give_up:
                raise DidNotHappen(f"fault {fault} never fired")
            time.sleep(0.1)
        ask(address, f"millrace-fault:clear={fault}")
        return {"fault": self.order, "fired": _fired(address, fault) - before}


def _fired(address: str, fault: str) -> int:
    return sum(int(row["fired"]) for row in rows(ask(address, "millrace-fault:stats")) if row["name"] == fault)


__all__ = ["EmptyNode", "FreezeServer", "KillBehind", "KillServer", "NodeFault"]
