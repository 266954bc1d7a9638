"""The numbered micro-batch of a lane: the only function with side effects, in a fixed order.

Spark writes `offsets/<n>` before it and `commits/<n>` after it. A kill anywhere repeats the batch with the same id and the same
messages. What a kill right after each step leaves, and what the replay does:

    1 gate      nothing                                       runs the batch
    2 outputs   some or all events in some outputs            a mirror answers "applied by this very batch" for what the killed
                                                              attempt wrote; Delta sees its own transaction and appends nothing
    3 letters   outputs written, dead letters appended        as above; the dead-letter table sees its own transaction
    4 journal   everything, and the batch's account           as above; the account that is there stays
    5 progress  everything; only Spark's commit file missing  as above

Before step 3 too many dead letters may stop the flow: the batch is then repeated after the repair, as after a kill.
Each output of the lane is one step 2, in the flow's order. Nothing is skipped on a replay because of the batch id alone.

Before every step the driver looks whether it still holds its lease. One that was paused and replaced stops there; what it wakes
up in the middle of, the output has to stand (docs/guarantees.md, "Two drivers").
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from pyspark.sql import DataFrame
from pyspark.storagelevel import StorageLevel

from checkpoints.journal import Journal
from checkpoints.layout import end_offsets, read_epoch, start_offsets
from pipelines.failpoints import Failpoints
from pipelines.gate import Gate, StopRequested
from pipelines.horizon_alarm import HorizonAlarm
from pipelines.kafka_offsets import Offsets, count
from pipelines.letters import LaneLetters
from pipelines.outputs import Account, BatchOutput
from pipelines.pressure import Pressure
from pipelines.progress import BatchReport, Report
from schemas.errors import Terminal
from schemas.lateness import as_text
from schemas.ledger import LedgerRow
from sinks.contract import Fence


class Done(NamedTuple):
    """The last batch that returned, and when (monotonic clock, seconds)."""

    batch_id: int
    at: float


class MicroBatch:
    """One lane's foreachBatch function. Called by Spark on a thread of the lane's query, one batch at a time.

    require_lease: raises Terminal E424 once another driver has the checkpoint; asked before every step.
    newest: the broker's newest offsets, or None when not known; for lag.
    error:  what the last failed batch raised, as the object it was. done: batches finished. last_done: the last of them.
    """

    def __init__(
        self,
        flow: str,
        lane: str,
        checkpoint: str,
        outputs: Sequence[BatchOutput],
        letters: LaneLetters,
        journal: Journal,
        require_lease: Callable[[], None],
        report: Report,
        newest: Callable[[], Offsets | None],
        failpoints: Failpoints,
    ) -> None:
        self.gate = Gate()
        self.error: BaseException | None = None
        self.done = 0
        self.last_done: Done | None = None
        self._flow = flow
        self._lane = lane
        self._checkpoint = checkpoint
        self._outputs = outputs
        self._letters = letters
        self._journal = journal
        self._require_lease = require_lease
        self._report = report
        self._newest = newest
        self._failpoints = failpoints
        self._alarm = HorizonAlarm(lane, report)
        self._epoch: str | None = None

    def __call__(self, frame: DataFrame, batch_id: int) -> None:
        """Run the batch. Raises StopRequested when the flow is stopping, else what a step raised; the batch is then repeated."""
        try:
            with self.gate.batch():
                self._run(frame, batch_id)
        except StopRequested as stop:
            self.error = stop
            raise
        except BaseException as error:
            self.error = error
            if isinstance(error, Exception):
                self._blame_a_lost_lease(error)
            raise

    def _blame_a_lost_lease(self, error: Exception) -> None:
        """Raise Terminal E424 in place of what a driver that was replaced runs into: refused commits, a JVM that was ended."""
        try:
            self._require_lease()
        except Terminal as lost:
            self.error = lost
            raise lost from error

    def _run(self, frame: DataFrame, batch_id: int) -> None:
        started = time.monotonic()
        self._require_lease()
        fence = Fence(self._identity(), batch_id)
        start, end = start_offsets(self._checkpoint, batch_id), end_offsets(self._checkpoint, batch_id)
        self._failpoints.hit(f"{self._lane}:before_sink", batch_id=batch_id)
        # Few messages are one task's work, in order as before: less to start for a mirror, and one file less for a history.
        frame = frame.coalesce(tasks_for(count(end, since=start), min(output.messages_per_task for output in self._outputs)))
        keep = len(self._outputs) > 1  # every output reads the batch once; without keeping it, once more from Kafka each
        if keep:
            frame = frame.persist(StorageLevel.MEMORY_AND_DISK)
        try:
            accounts = {output.name: self._apply(output, frame, fence) for output in self._outputs}
            self._failpoints.hit(f"{self._lane}:after_sink", batch_id=batch_id)
            self._require_lease()
            self._letters.require_few(frame, fence, accounts)
            self._letters.append(frame, fence, accounts)
            self._failpoints.hit(f"{self._lane}:after_letters", batch_id=batch_id)
        finally:
            if keep:
                frame.unpersist()
        rows = [self._row(name, account, fence, start, end) for name, account in accounts.items()]
        for row in rows:
            row.require_balance()
        self._require_lease()
        self._journal.put(self._lane, rows)
        self._failpoints.hit(f"{self._lane}:after_journal", batch_id=batch_id)
        self._require_lease()  # returning lets Spark write the commit
        pressures = {name: account.pressure for name, account in accounts.items() if account.pressure is not None}
        self._tell(rows, pressures, batch_id, end, time.monotonic() - started)

    def _apply(self, output: BatchOutput, frame: DataFrame, fence: Fence) -> Account:
        self._failpoints.hit(f"{self._lane}:before_{output.name}", batch_id=fence.batch_id)
        self._require_lease()
        account = output.apply(frame, fence)
        self._failpoints.hit(f"{self._lane}:after_{output.name}", batch_id=fence.batch_id)
        return account

    def _identity(self) -> str:
        """The checkpoint's identity. Spark has written it before the first batch, and it never changes."""
        if self._epoch is None:
            self._epoch = read_epoch(self._checkpoint)
        if self._epoch is None:
            raise Terminal(
                "E421", "`metadata` is missing while the query runs: the checkpoint was removed", file=self._checkpoint
            )
        return self._epoch

    def _row(self, output: str, account: Account, fence: Fence, start: Offsets, end: Offsets) -> LedgerRow:
        return LedgerRow(
            flow=self._flow,
            lane=self._lane,
            output=output,
            epoch=fence.epoch,
            batch_id=fence.batch_id,
            committed_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
            messages=account.messages,
            rows_read=account.rows,
            unselected=account.unselected,
            events_in=account.rows - account.unselected,
            applied=account.applied,
            superseded=account.superseded,
            duplicate=account.duplicate,
            dead=account.dead,
            past_horizon=account.past_horizon,
            unversioned=account.unversioned,
            seconds=round(account.seconds, 4),
            max_lut_ms=account.max_lut_ms,
            start_offsets=json.dumps(start),
            end_offsets=json.dumps(end),
            gaps=count(end, since=start) - account.messages,
            lateness=as_text(account.lateness),
        )

    def _tell(
        self, rows: Sequence[LedgerRow], pressures: Mapping[str, Pressure], batch_id: int, end: Offsets, seconds: float
    ) -> None:
        self.done += 1
        self.last_done = Done(batch_id, time.monotonic())
        newest = self._newest()
        luts = [row.max_lut_ms for row in rows if row.max_lut_ms is not None]
        self._report.batch(
            BatchReport(
                lane=self._lane,
                batch_id=batch_id,
                outputs=tuple(rows),
                seconds=seconds,
                lag_events=None if newest is None else count(newest, since=end),
                newest_lut_ms=max(luts, default=None),
                seen_at_s=time.time(),
                pressures=pressures,
            )
        )
        self._alarm.look(rows)


def tasks_for(messages: int, messages_per_task: int) -> int:
    """Tasks a batch is worth; Spark makes no more than the topics have partitions."""
    return max(1, -(-messages // messages_per_task))


__all__ = ["Done", "MicroBatch", "tasks_for"]
