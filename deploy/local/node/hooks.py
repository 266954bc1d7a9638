"""Where faults, info commands and background work attach to the node."""

from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

from deploy.local.node.changes import ChangeSource

CommandKind = Literal["read", "write", "batch", "query", "info"]
"""`write` includes removes and touches; `query` includes scans and background operations."""

FaultAction = Literal["none", "drop_before", "drop_after", "no_reply", "reset_mid_batch"]


class CommandInfo(NamedTuple):
    """One command as the fault injector sees it, before it runs.

    digests: of every row, in request order; empty for `query` and `info`.
    rows:    1 for a single-record command, the row count of a batch, 0 for `query` and `info`.
    writes:  whether some row may change a record.
    text:    the info command's name; empty for the others.
    """

    kind: CommandKind
    namespace: str
    digests: Sequence[bytes]
    rows: int
    writes: bool
    text: str = ""


class Fault(NamedTuple):
    """What shall happen to one command.

    delay_ms:    the command waits before it runs; other connections go on.
    action:      `drop_before` closes the connection before the command runs; `drop_after` runs it, then closes without a reply;
                 `no_reply` runs it and stays silent (the client times out, in doubt); `reset_mid_batch` runs the first
                 `rows_before_reset` rows, sends their replies, then resets the connection (other commands: as `drop_after`).
    result_code: not 0: answered instead of running (18 device overload, 14 hot key, 83 quota exceeded ...).
    rows:        batch only: positions of the rows that get `result_code`, the others run; None for all.
    """

    delay_ms: int = 0
    action: FaultAction = "none"
    result_code: int = 0
    rows: frozenset[int] | None = None
    rows_before_reset: int = 0


class FaultInjector(Protocol):
    """Decides about each command, one at a time, on the event loop."""

    @property
    def active(self) -> bool:
        """False when `decide` would answer None for everything: the node then does not ask."""

    def decide(self, command: CommandInfo) -> Fault | None:
        """The fault for this command, or None to run it as usual. Commands beginning with `millrace-` are never asked about."""


InfoHandler = Callable[[Mapping[str, str]], str]
"""Takes the arguments of `name:k=v;k=v`, gives the answer's text. A ValueError becomes `ERROR:4:<text>`."""


class NodeControl(Protocol):
    """The running node, as an extension sees it."""

    data: Path
    faults: FaultInjector | None

    @property
    def namespaces(self) -> Mapping[str, ChangeSource]:
        """By name."""

    def register_info(self, name: str, handler: InfoHandler) -> None:
        """Answer the info command `name`, which begins with `millrace-`."""

    def every(self, seconds: float, work: Callable[[], Awaitable[None] | None]) -> None:
        """Call `work` again and again until shutdown, `seconds` after it last ended; an exception in it stops the node."""

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine until shutdown cancels it; an exception in it stops the node."""

    def go_down(self, seconds: float) -> None:
        """Reset every connection and refuse new ones for a time; data stays."""


class Extension(Protocol):
    """Something that lives in the node's process: the change shipper, the fault injector."""

    def attach(self, node: NodeControl) -> None:
        """Called once, after the data was loaded and before the node listens. May register handlers, listeners and tasks."""

    async def close(self) -> None:
        """Called once at a clean shutdown, after the node stopped listening; never after a kill."""


__all__ = [
    "CommandInfo",
    "CommandKind",
    "Extension",
    "Fault",
    "FaultAction",
    "FaultInjector",
    "InfoHandler",
    "NodeControl",
]
