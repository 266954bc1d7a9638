"""The account of a micro-batch: every event in ends as applied, superseded, duplicate or dead."""

from dataclasses import asdict, dataclass, fields
from typing import Any

from schemas.errors import Terminal

LEDGER_DDL = (
    "flow STRING, lane STRING, output STRING, epoch STRING, batch_id BIGINT, committed_at TIMESTAMP, "
    "messages BIGINT, rows_read BIGINT, unselected BIGINT, events_in BIGINT, "
    "applied BIGINT, superseded BIGINT, duplicate BIGINT, dead BIGINT, "
    "past_horizon BIGINT, unversioned BIGINT, seconds DOUBLE, max_lut_ms BIGINT, start_offsets STRING, end_offsets STRING, "
    "gaps BIGINT, lateness STRING"
)
LEDGER_ADDED = frozenset({"gaps", "lateness"})
"""Columns that tables of earlier releases lack; null in their rows."""


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """One output's account of one micro-batch.

    epoch:         identity of the checkpoint (the id in Spark's `metadata` file); a new checkpoint is a new epoch.
    messages:      Kafka messages read.
    rows_read:     the same, but of a message that holds several events each of them; unselected: of these, events of namespaces
                   and sets the flow does not name.
    events_in:     rows_read - unselected = applied + superseded + duplicate + dead.
    past_horizon:  of the applied, events older than the tombstone horizon that created a record (alarm, not a sum).
    unversioned:   events that were read, selected and carry no version (servers before 5.0): Kafka's order counts for them.
    seconds:       wall time of the batch in this output. committed_at: ISO 8601 UTC.
    max_lut_ms:    newest last-update time seen, or None; the base of lag in time.
    start_offsets, end_offsets: JSON {topic: {partition: offset}}; end is exclusive.
    gaps:          offsets between start and end that hold no message for a reader: ends of transactions, aborted messages, what
                   compaction took. end - start = messages + gaps. None: written by an earlier release.
    lateness:      how late events came (`schemas.lateness.as_text`). None: not measured, as in a history.
    """

    flow: str
    lane: str
    output: str
    epoch: str
    batch_id: int
    committed_at: str
    messages: int
    rows_read: int
    unselected: int
    events_in: int
    applied: int
    superseded: int
    duplicate: int
    dead: int
    past_horizon: int
    unversioned: int
    seconds: float
    max_lut_ms: int | None
    start_offsets: str
    end_offsets: str
    gaps: int | None = None
    lateness: str | None = None

    def require_balance(self) -> None:
        """Raise Terminal E410 unless the sums hold. Called for every batch before it is committed."""
        out = self.applied + self.superseded + self.duplicate + self.dead
        if self.events_in != out or self.rows_read != self.events_in + self.unselected or self.messages > self.rows_read:
            raise Terminal(
                "E410",
                f"events in {self.events_in} (read {self.rows_read} of {self.messages} messages, unselected {self.unselected}) "
                f"but applied {self.applied} "
                f"+ superseded {self.superseded} + duplicate {self.duplicate} + dead {self.dead} = {out}",
                flow=self.flow,
                lane=self.lane,
                output=self.output,
                batch_id=self.batch_id,
            )
        if self.gaps is not None and self.gaps < 0:
            raise Terminal(
                "E410",
                f"{self.messages} messages were read of {self.messages + self.gaps} offsets, {-self.gaps} of them twice",
                flow=self.flow,
                lane=self.lane,
                output=self.output,
                batch_id=self.batch_id,
            )

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for JSON and tables."""
        return asdict(self)


LEDGER_COLUMNS = tuple(column.name for column in fields(LedgerRow))

__all__ = ["LEDGER_ADDED", "LEDGER_COLUMNS", "LEDGER_DDL", "LedgerRow"]
