"""What the workload knows it wrote: of each record the last acknowledged state, and how often it did what."""

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from deploy.simulate.payments import KEEP_TTL, NEVER_TTL_S, Kind, Operation

RecordName = tuple[str | None, int | str | bytes]


@dataclass(slots=True)
class Expected:
    """A record as last written. expiry_s: seconds since 1970 by this machine's clock, or None for never."""

    bins: dict[str, Any]
    expiry_s: float | None

    def alive(self, now_s: float, margin_s: float = 0.0) -> bool:
        """Whether it has not expired `margin_s` from now."""
        return self.expiry_s is None or self.expiry_s > now_s + margin_s


@dataclass
class Account:
    """One worker's account. A record's operations all go through the same worker, so no lock is needed."""

    done: Counter[str] = field(default_factory=Counter)
    records: dict[RecordName, Expected] = field(default_factory=dict)

    def acknowledged(self, operation: Operation, found: bool, now_s: float) -> None:
        """`operation` succeeded; `found` is False for a delete or touch of a record that was not there."""
        name = (operation.set, operation.key)
        before = self.records.get(name)
        if before is not None and not before.alive(now_s):
            before = None
        self._count(operation, before, found)
        match operation.kind:
            case Kind.DELETE:
                self.records.pop(name, None)
            case Kind.TOUCH:
                if found and before is not None:
                    before.expiry_s = _expiry(operation, before, now_s)
            case Kind.PUT | Kind.REPLACE:
                merged = dict(before.bins) if before is not None and operation.kind is Kind.PUT else {}
                merged.update(operation.bins)
                bins = {bin_name: value for bin_name, value in merged.items() if value is not None}
                self.records[name] = Expected(bins, _expiry(operation, before, now_s))
                if not bins:
                    del self.records[name]

    def resolved(self, operation: Operation, state: Expected | None) -> None:
        """The outcome was in doubt, and `state` is what was read back."""
        self.done["in_doubt"] += 1
        name = (operation.set, operation.key)
        if state is None:
            self.records.pop(name, None)
        else:
            self.records[name] = state

    def _count(self, operation: Operation, before: Expected | None, found: bool) -> None:
        self.done["operations"] += 1
        match operation.kind:
            case Kind.DELETE:
                self.done["deletes" if found else "deletes_of_nothing"] += 1
            case Kind.TOUCH:
                self.done["touches" if found else "touches_of_nothing"] += 1
            case _:
                self.done["creates" if before is None else "updates"] += 1
        if operation.ttl_s > 0 and operation.kind is not Kind.DELETE:
            self.done["expiring"] += 1


def _expiry(operation: Operation, before: Expected | None, now_s: float) -> float | None:
    if operation.ttl_s == NEVER_TTL_S:
        return None
    if operation.ttl_s == KEEP_TTL:
        return before.expiry_s if before else None
    return now_s + operation.ttl_s


def totals(accounts: list[Account]) -> dict[str, int]:
    """Counts over all workers, and how many records should be there now."""
    done: Counter[str] = Counter()
    for account in accounts:
        done.update(account.done)
    now_s = time.time()
    done["records"] = sum(state.alive(now_s) for account in accounts for state in account.records.values())
    return dict(sorted(done.items()))


__all__ = ["Account", "Expected", "RecordName", "totals"]
