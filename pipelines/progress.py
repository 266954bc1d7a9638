"""What a running flow shows: one line per micro-batch and lane, and what the runner has to say, as text or as JSON lines."""

import json
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal, Protocol, TextIO

from pipelines.pressure import Pressure
from schemas.lateness import NOTHING_LATE, Lateness, added, as_text, from_text, latest_step
from schemas.ledger import LedgerRow

OutputFormat = Literal["text", "json"]


@dataclass(frozen=True, slots=True)
class BatchReport:
    """One micro-batch of one lane, as shown. `batches` > 1 when text lines were merged.

    outputs:        the ledger rows, one per output.
    seconds:        wall time from the batch's start to its journal entry.
    lag_events:     messages at the broker that the lane has not finished, or None before the first answer of the broker.
    newest_lut_ms:  newest last-update time seen in the batch, or None without ordering data.
    seen_at_s:      wall clock when the batch ended; lag in time is `seen_at_s` - `newest_lut_ms`.
    pressures:      how the clusters took it, by output, where that is known.
    """

    lane: str
    batch_id: int
    outputs: tuple[LedgerRow, ...]
    seconds: float
    lag_events: int | None
    newest_lut_ms: int | None
    seen_at_s: float
    batches: int = 1
    pressures: Mapping[str, Pressure] = field(default_factory=dict)

    @property
    def lag_s(self) -> float | None:
        """How old the newest change of the batch was when it was done, in seconds; never negative (clocks differ)."""
        return None if self.newest_lut_ms is None else max(0.0, self.seen_at_s - self.newest_lut_ms / 1000)


class Report(Protocol):
    """Where a runner says what happens. Called from several threads."""

    def batch(self, report: BatchReport) -> None:
        """A micro-batch is done."""

    def event(self, kind: str, message: str, **fields: object) -> None:
        """Something else a person wants to know. `kind` is stable: started, restart, recovered, stopping, stopped, waiting ..."""

    def flush(self) -> None:
        """Show what is still held back."""

    def tick(self) -> None:
        """Called several times a second: show what was held back for long enough."""


def merge(first: BatchReport, second: BatchReport) -> BatchReport:
    """Two successive batches of one lane as one line: counts and seconds added, the rest from the second."""
    outputs = tuple(
        replace(
            b,
            messages=a.messages + b.messages,
            rows_read=a.rows_read + b.rows_read,
            unselected=a.unselected + b.unselected,
            events_in=a.events_in + b.events_in,
            applied=a.applied + b.applied,
            superseded=a.superseded + b.superseded,
            duplicate=a.duplicate + b.duplicate,
            dead=a.dead + b.dead,
            past_horizon=a.past_horizon + b.past_horizon,
            unversioned=a.unversioned + b.unversioned,
            gaps=None if a.gaps is None or b.gaps is None else a.gaps + b.gaps,
            lateness=as_text(_together(from_text(a.lateness), from_text(b.lateness))),
        )
        for a, b in zip(first.outputs, second.outputs, strict=True)
    )
    luts = [lut for lut in (first.newest_lut_ms, second.newest_lut_ms) if lut is not None]
    pressures = {
        name: first.pressures[name].and_then(later) if name in first.pressures else later
        for name, later in second.pressures.items()
    }
    return replace(
        second,
        outputs=outputs,
        pressures=pressures,
        seconds=first.seconds + second.seconds,
        batches=first.batches + second.batches,
        newest_lut_ms=max(luts, default=None),
    )


def _together(a: Lateness | None, b: Lateness | None) -> Lateness | None:
    return None if a is None or b is None else added((a, b))


def text_lines(report: BatchReport) -> list[str]:
    """The report as a person reads it: one line per output, nearly always one."""
    first = report.batch_id - report.batches + 1
    batch = f"{first}" if report.batches == 1 else f"{first}-{report.batch_id}"
    lines = []
    for row in report.outputs:
        name = report.lane if len(report.outputs) == 1 else f"{report.lane}/{row.output}"
        counts = f"in {row.events_in:,} = {row.applied:,} applied + {row.superseded:,} superseded + {row.duplicate:,} duplicate"
        parts = [f"{name:<12} batch {batch:<9} {counts} + {row.dead:,} dead", f"{report.seconds:.2f} s"]
        if row.unselected:
            parts.append(f"{row.unselected:,} not selected")
        if row.past_horizon:
            parts.append(f"PAST HORIZON {row.past_horizon:,}")
        lateness = from_text(row.lateness) or NOTHING_LATE
        if any(lateness):
            parts.append(f"{sum(lateness):,} late by up to {latest_step(lateness)}")
        if row.unversioned:
            parts.append(f"{row.unversioned:,} without version")
        pressure = report.pressures.get(row.output)
        if pressure is not None and pressure.felt:
            parts.append(pressure.words())
        lag = "" if report.lag_events is None else f"{report.lag_events:,} events"
        if report.lag_s is not None:
            lag += f"{' ' if lag else ''}{duration(report.lag_s)}"
        parts.append(f"lag {lag or 'unknown'}")
        lines.append("  ".join(parts))
    return lines


def duration(seconds: float) -> str:
    """Seconds as people say them: 0.12 s, 14 s, 3 min 20 s, 5 h 02 min, 3 d 4 h."""
    if seconds < 10:
        return f"{seconds:.2f} s"
    whole = round(seconds)
    if whole < 120:
        return f"{whole} s"
    if whole < 7200:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 172_800:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def as_json(report: BatchReport) -> dict[str, Any]:
    """The report as plain data: kind `batch`, one entry per output with all the ledger's columns; pressure by output."""
    return {
        "kind": "batch",
        "at": _iso(report.seen_at_s),
        "lane": report.lane,
        "batch_id": report.batch_id,
        "seconds": round(report.seconds, 4),
        "lag_events": report.lag_events,
        "lag_s": None if report.lag_s is None else round(report.lag_s, 3),
        "outputs": [row.as_dict() for row in report.outputs],
        "pressure": {name: pressure.as_dict() for name, pressure in report.pressures.items()},
    }


class JsonReport:
    """Every batch and every event as one JSON object per line on `stream`, as it happens."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        self._lock = threading.Lock()

    def batch(self, report: BatchReport) -> None:
        """One line, at once."""
        self._write(as_json(report))

    def event(self, kind: str, message: str, **fields: object) -> None:
        """One line, at once."""
        self._write({"kind": kind, "at": _iso(time.time()), "message": message, **fields})

    def flush(self) -> None:
        """Nothing is held back."""

    def tick(self) -> None:
        """Nothing is held back."""

    def _write(self, line: Mapping[str, object]) -> None:
        with self._lock:
            self._stream.write(json.dumps(line, default=str) + "\n")
            self._stream.flush()


class TextReport:
    """Lines for people on `stream`, at most one line per lane and output in `every_s`.

    A lane that is done in 80 ms would print a dozen lines a second: batches that end within `every_s` of the last line are added
    up and shown as one line that names the range. `flush` shows what is held back; so does every event.
    """

    def __init__(self, stream: TextIO | None = None, every_s: float = 1.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream or sys.stdout
        self._every_s = every_s
        self._clock = clock
        self._lock = threading.RLock()
        self._held: dict[str, BatchReport] = {}
        self._shown_at: dict[str, float] = {}

    def batch(self, report: BatchReport) -> None:
        """Show the batch, or hold it back for a moment."""
        with self._lock:
            held = self._held.pop(report.lane, None)
            if held is not None and held.batch_id + 1 == report.batch_id:
                report = merge(held, report)
            elif held is not None:
                self._show(held)
            last = self._shown_at.get(report.lane)
            if last is not None and self._clock() - last < self._every_s:
                self._held[report.lane] = report
            else:
                self._show(report)

    def event(self, kind: str, message: str, **fields: object) -> None:
        """Show the message; `fields` are for machines and are in its words already."""
        with self._lock:
            self.flush()
            self._print([message])

    def flush(self) -> None:
        """Show every batch held back."""
        with self._lock:
            for report in [self._held.pop(lane) for lane in list(self._held)]:
                self._show(report)

    def tick(self) -> None:
        """Show batches held back longer than `every_s`; called now and then, so that the last line before a pause appears."""
        with self._lock:
            for lane in [lane for lane in self._held if self._clock() - self._shown_at[lane] >= self._every_s]:
                self._show(self._held.pop(lane))

    def _show(self, report: BatchReport) -> None:
        self._shown_at[report.lane] = self._clock()
        self._print(text_lines(report))

    def _print(self, lines: list[str]) -> None:
        stamp = datetime.now(UTC).strftime("%H:%M:%S")
        self._stream.write("".join(f"{stamp}  {line}\n" for line in lines))
        self._stream.flush()


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


__all__ = ["BatchReport", "JsonReport", "OutputFormat", "Report", "TextReport", "as_json", "duration", "merge", "text_lines"]
