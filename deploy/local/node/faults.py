"""Faults on demand: what the node shall do wrong, to which commands, how often, and how often it really did.

The board is told by the info command `millrace-fault:` and asked by the node about each command. Choices are drawn from a seed,
one per matching command, so the same commands in the same order meet the same faults. Fired means handed to the node.
"""

import difflib
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from deploy.local.node.hooks import CommandInfo, Fault, NodeControl

FaultName = Literal["latency", "timeout-after-effect", "overload", "hot-key", "quota", "reset", "partial-batch", "down"]
Target = Literal["any", "read", "write", "batch", "query", "info"]

CODES: dict[str, int] = {
    "server-error": 1,
    "not-found": 2,
    "generation": 3,
    "timeout": 9,
    "record-too-big": 13,
    "hot-key": 14,
    "device-overload": 18,
    "forbidden": 22,
    "filtered-out": 27,
    "lost-conflict": 28,
    "quota": 83,
}
"""Result codes by name, for `code`; a number from 1 to 255 will do too. (wire protocol reference, section 9)"""

_COMMON = frozenset({"name", "namespace", "kind", "share", "times", "after", "for_s", "seed"})
_OWN: dict[str, frozenset[str]] = {
    "latency": frozenset({"ms"}),
    "timeout-after-effect": frozenset(),
    "overload": frozenset({"row_share", "per_s"}),
    "hot-key": frozenset({"row_share"}),
    "quota": frozenset({"row_share", "per_s"}),
    "reset": frozenset({"rows"}),
    "partial-batch": frozenset({"row_share", "code"}),
    "down": frozenset(),
}
_CODE_OF = {"overload": 18, "hot-key": 14, "quota": 83}
_KIND_OF: dict[str, Target] = {"timeout-after-effect": "write", "reset": "batch", "partial-batch": "batch"}
DEFAULT_DOWN_S = 5.0


class FaultOrder(BaseModel):
    """What was asked for. Options that a fault does not have are refused by `read_order`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: FaultName
    namespace: str | None = Field(None, description="Only commands of this namespace.")
    kind: Target = Field("any", description="Which commands: write and read include batches that write or only read.")
    share: float = Field(1.0, gt=0.0, le=1.0, description="Share of the matching commands.")
    times: int = Field(0, ge=0, description="Fire at most so often, then end; 0 without limit.")
    after: int = Field(0, ge=0, description="Let so many matching commands pass first.")
    for_s: float = Field(0.0, ge=0.0, description="End after so many seconds; 0 when cleared. `down`: how long, 5 unless told.")
    seed: int = Field(0, description="Decides which commands and rows.")
    ms: int = Field(100, ge=1, le=600_000, description="latency: how long the command waits.")
    rows: int | None = Field(None, ge=0, description="reset: rows answered before it; half of them unless told.")
    row_share: float | None = Field(None, gt=0.0, le=1.0, description="Share of a batch's rows that fail.")
    per_s: int | None = Field(None, ge=1, description="overload, quota: rows a second that are still taken; what is more fails.")
    code: int = Field(18, ge=1, le=255, description="partial-batch: the result code of rows that fail.")

    def matches(self, command: CommandInfo) -> bool:
        """Whether the fault is meant for commands of this kind and namespace."""
        if self.namespace is not None and command.namespace != self.namespace:
            return False
        if self.kind == "write":
            return command.writes
        if self.kind == "read":
            return not command.writes and command.kind in ("read", "batch")
        if self.kind == "any":
            # The client's own upkeep is left alone unless asked for: without it no command would come.
            return command.kind != "info"
        return command.kind == self.kind


@dataclass(slots=True)
class Armed:
    """A fault that is set, and what became of it."""

    number: int
    order: FaultOrder
    until_s: float | None
    random: random.Random
    matched: int = 0
    fired: int = 0
    rows: int = 0
    room: float = 0.0
    room_at_s: float | None = None

    def rows_taken(self, rows: int, now_s: float) -> int:
        """How many of `rows` are taken although the fault is set: none, or what `per_s` leaves room for, a second's at most."""
        per_s = self.order.per_s
        if per_s is None:
            return 0
        since_s = 0.0 if self.room_at_s is None else now_s - self.room_at_s
        self.room, self.room_at_s = min(float(per_s), self.room + since_s * per_s), now_s
        taken = min(rows, int(self.room))
        self.room -= taken
        return taken

    def spent(self, now_s: float) -> bool:
        """Whether it can fire no more."""
        return (self.until_s is not None and now_s >= self.until_s) or 0 < self.order.times <= self.fired


@dataclass(slots=True)
class Fired:
    """Evidence: what faults of one name did since the node started."""

    armed: int = 0
    matched: int = 0
    fired: int = 0
    rows: int = 0
    kinds: Counter[str] = field(default_factory=Counter)


class FaultBoard:
    """The node's fault injector (`deploy.local.node.hooks.FaultInjector`), an extension of the node.

    clock_s: a monotonic clock, in seconds.
    """

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._armed: list[Armed] = []
        self._fired: dict[str, Fired] = {}
        self._count = 0
        self._go_down: Callable[[float], None] | None = None

    def attach(self, node: NodeControl) -> None:
        """Become the node's injector and answer `millrace-fault`."""
        self._go_down = node.go_down
        node.faults = self
        node.register_info("millrace-fault", self.command)

    async def close(self) -> None:
        """Nothing is kept."""

    @property
    def active(self) -> bool:
        """Whether some fault is set."""
        return bool(self._armed)

    def decide(self, command: CommandInfo) -> Fault | None:
        """The fault for this command: delays add up, of the rest the one set first wins."""
        now_s = self._clock_s()
        self._armed = [armed for armed in self._armed if not armed.spent(now_s)]
        delay_ms, decided = 0, None
        for armed in self._armed:
            order = armed.order
            if not order.matches(command) or (decided is not None and order.name != "latency"):
                continue
            armed.matched += 1
            evidence = self._fired[order.name]
            evidence.matched += 1
            if armed.matched <= order.after or armed.random.random() >= order.share:
                continue
            rows = command.rows
            taken = armed.rows_taken(rows, now_s)
            if order.per_s is not None and rows <= taken:
                continue
            if order.name == "latency":
                delay_ms += order.ms
            else:
                decided = self._effect(armed, command, taken)
                rows = rows if decided.rows is None else len(decided.rows)
            armed.fired += 1
            armed.rows += rows
            evidence.fired += 1
            evidence.rows += rows
            evidence.kinds[command.kind] += 1
        if decided is None:
            return Fault(delay_ms=delay_ms) if delay_ms else None
        return decided._replace(delay_ms=delay_ms)

    def arm(self, order: FaultOrder) -> Armed:
        """Set a fault. `down` without `after` takes the node down at once."""
        self._count += 1
        # `for_s` of a fault that takes the node down is how long it stays down, not how long it waits to happen.
        until_s = self._clock_s() + order.for_s if order.for_s and order.name != "down" else None
        if order.name == "down" and not order.times:
            order = order.model_copy(update={"times": 1})
        armed = Armed(self._count, order, until_s, random.Random(order.seed))
        evidence = self._fired.setdefault(order.name, Fired())
        evidence.armed += 1
        if order.name == "down" and not order.after:
            self._take_down(order)
            armed.fired = 1
            evidence.fired += 1
        else:
            self._armed.append(armed)
        return armed

    def clear(self, which: str = "") -> int:
        """Take faults back: all, or those of a name or number. Answers how many were set. Evidence stays."""
        now_s = self._clock_s()
        live = [armed for armed in self._armed if not armed.spent(now_s)]
        gone = [armed for armed in live if which in ("", "true", armed.order.name, str(armed.number))]
        self._armed = [armed for armed in live if armed not in gone]
        return len(gone)

    def command(self, arguments: Mapping[str, str]) -> str:
        """The info command: `name=...` sets a fault; `list`, `stats`, `clear[=name|number]`. Raises ValueError (ERROR:4)."""
        if "clear" in arguments:
            return f"cleared={self.clear(arguments['clear'])}"
        if "stats" in arguments:
            return ";".join(_evidence_row(name, evidence) for name, evidence in sorted(self._fired.items()))
        if "list" in arguments:
            now_s = self._clock_s()
            return ";".join(_armed_row(armed, now_s) for armed in self._armed if not armed.spent(now_s))
        return _armed_row(self.arm(read_order(arguments)), self._clock_s())

    def _effect(self, armed: Armed, command: CommandInfo, taken: int) -> Fault:
        order = armed.order
        if order.name == "down":
            self._take_down(order)
            return Fault(action="drop_before")
        if order.name == "timeout-after-effect":
            return Fault(action="no_reply")
        if order.name == "reset":
            return Fault(action="reset_mid_batch", rows_before_reset=command.rows // 2 if order.rows is None else order.rows)
        if order.name == "partial-batch":
            return Fault(result_code=order.code, rows=_some_rows(armed.random, command.rows, order.row_share or 0.5))
        rows = None
        if taken:
            rows = frozenset(range(taken, command.rows))
        elif order.row_share is not None and command.kind == "batch":
            rows = _some_rows(armed.random, command.rows, order.row_share)
        return Fault(result_code=_CODE_OF[order.name], rows=rows)

    def _take_down(self, order: FaultOrder) -> None:
        if self._go_down is None:
            raise ValueError("no node is attached")
        self._go_down(order.for_s or DEFAULT_DOWN_S)


def read_order(arguments: Mapping[str, str]) -> FaultOrder:
    """An order from the arguments of the info command. Raises ValueError that says what is wrong and what may be meant."""
    given: dict[str, Any] = {name.replace("-", "_"): value for name, value in arguments.items()}
    name = str(given.get("name", ""))
    if name not in get_args(FaultName):
        near = difflib.get_close_matches(name, get_args(FaultName), n=1)
        meant = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(get_args(FaultName))}"
        raise ValueError(f"unknown fault {name!r}, {meant}" if name else f"name is missing, {meant}")
    known = _COMMON | _OWN[name]
    for option in sorted(given.keys() - known):
        near = difflib.get_close_matches(option, known, n=1)
        meant = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(sorted(known))}"
        raise ValueError(f"{name} has no option {option!r}, {meant}")
    code = given.get("code")
    if code in CODES:
        given["code"] = CODES[code]
    elif code is not None and not str(code).isdecimal():
        near = difflib.get_close_matches(str(code), CODES, n=1)
        raise ValueError(f"unknown code {code!r}, " + (f"did you mean {near[0]!r}?" if near else f"known: {', '.join(CODES)}"))
    given.setdefault("kind", _KIND_OF.get(name, "any"))
    try:
        order = FaultOrder.model_validate(given)
    except ValidationError as error:
        raise ValueError(
            ", ".join(
                f"{'.'.join(map(str, issue['loc']))} {given.get(str(issue['loc'][0]))!r}: {issue['msg']}"
                for issue in error.errors()
            )
        ) from None
    if order.per_s is not None and order.row_share is not None:
        raise ValueError("per_s and row_share both say which rows fail: give one")
    if name == "partial-batch" and order.kind != "batch":
        raise ValueError("partial-batch is for batches, kind must be 'batch'")
    return order


def _some_rows(chooser: random.Random, rows: int, share: float) -> frozenset[int]:
    """About `share` of the rows: one at least, and where there are two or more, not all unless the share is 1."""
    count = max(1, round(rows * share))
    if share < 1.0 and rows > 1:
        count = min(count, rows - 1)
    return frozenset(chooser.sample(range(rows), min(count, rows)))


def _armed_row(armed: Armed, now_s: float) -> str:
    shown: dict[str, object] = {"id": armed.number}
    own = _COMMON | _OWN[armed.order.name]
    shown |= {name: value for name, value in armed.order.model_dump(exclude_none=True).items() if name in own}
    if armed.until_s is not None:
        shown["left_s"] = round(max(0.0, armed.until_s - now_s), 1)
    shown |= {"matched": armed.matched, "fired": armed.fired, "rows_hit": armed.rows}
    return ":".join(f"{name}={value}" for name, value in shown.items())


def _evidence_row(name: str, evidence: Fired) -> str:
    kinds = ",".join(f"{kind}/{count}" for kind, count in sorted(evidence.kinds.items())) or "none"
    return (
        f"name={name}:armed={evidence.armed}:matched={evidence.matched}:fired={evidence.fired}:rows={evidence.rows}:kinds={kinds}"
    )


__all__ = ["CODES", "Armed", "FaultBoard", "FaultName", "FaultOrder", "Fired", "Target", "read_order"]
