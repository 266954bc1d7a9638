"""Events older than the tombstone horizon: told at once, and then at most once a minute; the ledger counts every one.

Deletes are remembered for the horizon. An event that comes later than that can no longer be told from news by a delete that is
forgotten, so a person has to know: either the horizon is too short for this stream, or something old is being read again.
"""

import time
from collections.abc import Callable, Sequence

from pipelines.progress import Report
from schemas.lateness import BEYOND, from_text
from schemas.ledger import LedgerRow

CODE = "E414"
TOLD_EVERY_S = 60.0


class HorizonAlarm:
    """The alarm of one lane; asked after each of its batches, by one thread."""

    def __init__(self, lane: str, report: Report, clock: Callable[[], float] = time.monotonic) -> None:
        self._lane = lane
        self._report = report
        self._clock = clock
        self._told_at: float | None = None
        self._untold: dict[str, tuple[int, int]] = {}

    def look(self, rows: Sequence[LedgerRow]) -> None:
        """Tell when a batch, or one since the last telling, held such events. rows: the batch's accounts, one per output."""
        for row in rows:
            lateness = from_text(row.lateness)
            late = lateness[BEYOND] if lateness else 0
            if late or row.past_horizon:
                before = self._untold.get(row.output, (0, 0))
                self._untold[row.output] = before[0] + row.past_horizon, before[1] + late
        now = self._clock()
        if not self._untold or (self._told_at is not None and now - self._told_at < TOLD_EVERY_S):
            return
        for output, (created, late) in self._untold.items():
            told = [
                f"{created:,} made a record that a delete, forgotten by now, may have removed" if created else "",
                f"{late:,} came that much later than a newer version of the record and were left out" if late else "",
            ]
            self._report.event(
                "past_horizon",
                f"[{CODE}] lane {self._lane}, output {output}, batch {rows[0].batch_id}: older than the tombstone horizon: "
                + "; ".join(part for part in told if part),
                code=CODE,
                lane=self._lane,
                output=output,
                batch_id=rows[0].batch_id,
                past_horizon=created,
                later_than_horizon=late,
            )
        self._untold = {}
        self._told_at = now


__all__ = ["CODE", "HorizonAlarm", "TOLD_EVERY_S"]
