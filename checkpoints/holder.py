"""Who holds a lease, so exactly that a process can be recognised again: pids are used anew, boots and start times are not."""

import json
import os
import signal
import socket
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

_BOOT = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a lease. token: 1 for the first driver ever, one more for each next one. started_at: ISO 8601 UTC.

    expiry_s: how old its heartbeat may grow; 0 when it did not say.
    machine:  which boot of which machine, and which of its process trees; "" where that cannot be known.
    jvm, jvm_born: the driver's JVM and when it started (clock ticks since boot); 0 before there is one.
    """

    token: int
    pid: int
    host: str
    flow: str
    started_at: str
    expiry_s: float = 0.0
    machine: str = ""
    jvm: int = 0
    jvm_born: int = 0

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, flow {self.flow}, since {self.started_at}"


def this_process(flow: str, token: int, expiry_s: float) -> Holder:
    """This process as the holder of a lease."""
    return Holder(token, os.getpid(), socket.gethostname(), flow, utc_now(), expiry_s, this_machine())


def utc_now() -> str:
    """The time of day as lease files write it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def as_text(holder: Holder, **more: object) -> str:
    """The holder as a lease file has it."""
    return json.dumps({**asdict(holder), **more})


def parsed(text: str | None) -> dict[str, Any] | None:
    """A lease file's record; None when there is none or it is torn: it then names nobody, and lets nobody in by itself."""
    try:
        record = json.loads(text or "")
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def holder_of(record: dict[str, Any] | None) -> Holder | None:
    """The holder a record names; what it leaves out is unknown."""
    if record is None:
        return None
    return Holder(
        number(record, "token"),
        number(record, "pid"),
        str(record.get("host", "?")),
        str(record.get("flow", "?")),
        str(record.get("started_at", "?")),
        float(record.get("expiry_s", 0.0)),
        str(record.get("machine", "")),
        number(record, "jvm"),
        number(record, "jvm_born"),
    )


def number(record: dict[str, Any] | None, name: str) -> int:
    """A whole number of a record, 0 when it is not there."""
    return int((record or {}).get(name, 0))


def this_machine() -> str:
    """This boot of this machine and this process tree (containers have their own); "" where the kernel does not tell."""
    try:
        return f"{_BOOT.read_text().strip()}/{Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def born(pid: int) -> int:
    """When a process started, in clock ticks since boot; 0 when it is gone. A process that only waits to be reaped is gone."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return 0 if state in "ZX" else int(fields[18])


def end_jvm(holder: Holder, patience_s: float = 10.0) -> bool:
    """Kill the JVM of a driver that lost its lease, paused or not. Whether it is gone, or was; False where it cannot be reached.

    Only the very process the holder wrote down is ended: same boot, same process tree, same start.
    """
    if not holder.jvm or not holder.machine or holder.machine != this_machine():
        return False
    deadline = time.monotonic() + patience_s
    while born(holder.jvm) == holder.jvm_born:
        try:
            os.kill(holder.jvm, signal.SIGKILL)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


__all__ = ["Holder", "as_text", "born", "end_jvm", "holder_of", "number", "parsed", "this_machine", "this_process", "utc_now"]
