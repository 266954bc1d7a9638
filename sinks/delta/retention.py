"""How long a table remembers which batches it holds: `delta.setTransactionRetentionDuration`, for ever unless somebody sets it.

A batch that was appended and not yet counted as done is appended again after a restart unless the table still knows its id. So a
retention is a danger to a flow that stands still for longer. Measured with Spark 4.2 and Delta 4.4: past the retention the same
id is appended twice, without an error.
"""

import re
from collections.abc import Mapping
from typing import Any

from schemas.errors import Terminal

PROPERTY = "delta.setTransactionRetentionDuration"
SHORTEST_S = 30 * 86_400.0
"""Shorter than this is refused in any case: long enough for an outage over holidays, longer than most topics keep messages."""
_UNIT_S = {
    "week": 604_800.0, "day": 86_400.0, "hour": 3_600.0, "minute": 60.0, "second": 1.0, "millisecond": 1e-3, "microsecond": 1e-6,
}  # fmt: skip
_PART = re.compile(r"(-?\d+(?:\.\d+)?)\s+([a-z]+?)s?(?=\s|$)")


def retention_s(properties: Mapping[str, str]) -> float | None:
    """The retention in seconds; None when the table forgets nothing. Text that cannot be understood counts as 0."""
    text = properties.get(PROPERTY)
    if text is None:
        return None
    body = text.strip().lower().removeprefix("interval").strip()
    parts = _PART.findall(body)
    if not parts or _PART.sub("", body).strip() or any(unit not in _UNIT_S for _, unit in parts):
        return 0.0
    return sum(float(number) * _UNIT_S[unit] for number, unit in parts)


def require_memory(properties: Mapping[str, str], stood_still_s: float | None, path: str, **where: Any) -> None:
    """Refuse (Terminal E444) a table that forgets too soon.

    stood_still_s: how long ago the last batch was planned that is not counted as done; None when there is none.
    """
    kept_s = retention_s(properties)
    if kept_s is None:
        return
    said = f"{PROPERTY} is {properties[PROPERTY]!r}"
    if kept_s < SHORTEST_S:
        raise Terminal(
            "E444",
            f"{said}: a flow that stands still for longer than {_days(kept_s)} appends its last batch twice; "
            f"at least {_days(SHORTEST_S)} are asked for",
            path=path,
            **where,
        )
    if stood_still_s is not None and stood_still_s >= kept_s:
        raise Terminal(
            "E444",
            f"{said}, and a batch that is not counted as done was planned {_days(stood_still_s)} ago: "
            "the table may hold it and have forgotten so",
            path=path,
            remedy="Look whether the table holds rows of this batch (columns epoch and batch_id). If it does, delete them, or "
            "start with a fresh checkpoint folder and a new table. Then unset the property and start again.",
            **where,
        )


def _days(seconds: float) -> str:
    return f"{seconds / 86_400:.1f} days" if seconds >= 86_400 else f"{seconds:,.0f} s"


__all__ = ["PROPERTY", "SHORTEST_S", "require_memory", "retention_s"]
