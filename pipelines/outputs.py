"""What a micro-batch hands to an output and what it wants back: the counts of its account and the dead letters it owes."""

import pickle
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import pyarrow as pa
from pyspark.sql import DataFrame

from checkpoints.lease_check import LeaseCheck
from pipelines.decoding import Decoding
from pipelines.failpoint_rows import StruckStep
from pipelines.failpoints import Failpoints, Victims
from pipelines.mirror_worker import REPORT_DDL, MirrorWorker, read_report, seen_by_writers
from pipelines.pressure import Patience, Pressure, SharedPressure
from pipelines.worker_errors import workers_errors_raised
from schemas.lateness import Lateness
from schemas.xdr.options import DecodeOptions
from sinks.contract import Fence, RecordSink
from sinks.delta.history import DeltaHistory
from sinks.delta.history_columns import ArrowStep


@dataclass(frozen=True, slots=True)
class Account:
    """What became of a batch in one output; the sums of schemas.ledger.LedgerRow. `dead` includes what could not be decoded.

    undecoded: messages that could not be decoded, part of `dead`; the same in every output of the batch.
    lateness:  how late events came (`schemas.lateness`), None where that is not measured.
    letters:   dead letters that came back with the account (columns of mirror_worker.LETTERS), or None.
    pressure:  how the destination took it, None where nobody asks.
    """

    messages: int
    rows: int
    unselected: int
    applied: int
    superseded: int
    duplicate: int
    dead: int
    undecoded: int
    past_horizon: int
    unversioned: int
    max_lut_ms: int | None
    seconds: float
    lateness: Lateness | None = None
    letters: pa.Table | None = None
    pressure: Pressure | None = None


class BatchOutput(Protocol):
    """One numbered step of a lane: an output that takes a whole micro-batch."""

    @property
    def name(self) -> str:
        """The output's name in the flow."""

    @property
    def keeps_undecoded(self) -> bool:
        """Whether its account brings the messages that could not be decoded as letters."""

    @property
    def messages_per_task(self) -> int:
        """So many messages are worth a task of their own; fewer are put together with those of other partitions."""

    def apply(self, frame: DataFrame, fence: Fence) -> Account:
        """Write the batch's messages. Safe under repetition. Raises a Millrace error, or what Spark raises."""


@dataclass(frozen=True, slots=True)
class MirrorOutput:
    """A record sink fed by Spark's Python workers: one Spark action per batch.

    budget_s: time for one batch in one worker; Patience makes it more. pressure: shared by all outputs to the same cluster.
    horizon_ms: how long the sink remembers deletes.
    require_same_mirror: raises when what was written to is no longer the mirror it was; called after every batch.
    """

    sink: RecordSink
    options: DecodeOptions
    lane: str
    budget_s: float
    keeps_undecoded: bool
    victims: Victims
    horizon_ms: int
    window_rows: int = 10_000
    window_bytes: int = 32 << 20
    messages_per_task: int = 1_000
    lease: LeaseCheck | None = None
    require_same_mirror: Callable[[], None] = lambda: None
    pressure: SharedPressure = field(default_factory=SharedPressure)
    patience: Patience = field(default_factory=Patience)

    @property
    def name(self) -> str:
        """The output's name in the flow."""
        return self.sink.name

    def apply(self, frame: DataFrame, fence: Fence) -> Account:
        """Write the batch through the sink. Raises what the sink raised in whichever worker, the gravest first."""
        started = time.monotonic()
        worker = MirrorWorker(
            sink=pickle.dumps(self.sink),
            options=pickle.dumps(self.options),
            lane=self.lane,
            fence=fence,
            budget_s=self.patience.budget_s(fence, self.budget_s),
            window_rows=self.window_rows,
            window_bytes=self.window_bytes,
            return_undecoded=self.keeps_undecoded,
            victims=self.victims,
            horizon_ms=self.horizon_ms,
            lease=self.lease,
            allowance=self.pressure.allowance(self.name),
        )
        rows = frame.mapInArrow(worker, REPORT_DDL).toArrow()
        writers = seen_by_writers(rows)
        self.patience.attempted(writers)
        pressure = self.pressure.learn(self.name, writers)
        report = read_report(rows)
        self.require_same_mirror()
        return Account(
            **report.counts,
            max_lut_ms=report.max_lut_ms,
            seconds=time.monotonic() - started,
            lateness=report.lateness,
            letters=report.letters,
            pressure=pressure,
        )


@dataclass(frozen=True, slots=True)
class HistoryOutput:
    """A Delta history: one Spark action per batch, counted in the same pass. lane, failpoints: for drills."""

    table: DeltaHistory
    options: DecodeOptions
    lane: str
    failpoints: Failpoints
    keeps_undecoded: bool = False
    messages_per_task: int = 20_000

    @property
    def name(self) -> str:
        """The output's name in the flow."""
        return self.table.name

    def apply(self, frame: DataFrame, fence: Fence) -> Account:
        """Append the batch's events. Raises as DeltaHistory.write, and what a worker raised."""
        started = time.monotonic()
        read: ArrowStep = Decoding(pickle.dumps(self.options), self.table.apart)
        if self.failpoints.file is not None:
            read = StruckStep(read, self.lane, self.name, self.failpoints.victims, fence.batch_id)

        def passed(place: str) -> None:
            self.failpoints.hit(f"{self.lane}:{place}_{self.name}", batch_id=fence.batch_id)

        with workers_errors_raised():
            counts = self.table.write(frame, fence, read, passed)
        return Account(
            messages=counts.messages,
            rows=counts.rows_read,
            unselected=counts.unselected,
            applied=counts.applied,
            superseded=0,
            duplicate=0,
            dead=counts.dead,
            undecoded=counts.dead,
            past_horizon=0,
            unversioned=counts.unversioned,
            max_lut_ms=counts.max_lut_ms,
            seconds=time.monotonic() - started,
        )


__all__ = ["Account", "BatchOutput", "HistoryOutput", "MirrorOutput"]
