"""An output that counts, on the driver: the mark moved, the batch folded and applied, its account and its dead letters."""

import pickle
import time
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import pyarrow as pa
from pyspark.sql import DataFrame

from checkpoints.lease_check import LeaseCheck
from pipelines.counters_worker import FOLDED_DDL, REFUSED, Applying, Folding, FoldingAndApplying, refused_in
from pipelines.failpoints import Victims
from pipelines.mirror_worker import REPORT_DDL, Report, read_report, seen_by_writers
from pipelines.outputs import Account
from pipelines.pressure import Patience, SharedPressure
from pipelines.worker_errors import workers_errors_raised
from schemas.errors import ConfigError
from schemas.xdr.options import DecodeOptions
from sinks.aerospike.count_plan import CountPlan
from sinks.aerospike.counter_marks import CounterMark
from sinks.aerospike.counters import AerospikeCounters
from sinks.aerospike.fences import WriterFence
from sinks.contract import Fence


class Counting(NamedTuple):
    """The parts of an output that counts: what writes, the mark of how far, and what an event contributes."""

    sink: AerospikeCounters
    mark: CounterMark
    plan: CountPlan


@dataclass(frozen=True, slots=True)
class CountersOutput:
    """A step of a lane that counts: one Spark action per batch, with a small shuffle when the batch has several partitions.

    budget_s: time for one batch in one worker; Patience makes it more. pressure: shared by all outputs to the same cluster.
    """

    counting: Counting
    options: DecodeOptions
    lane: str
    budget_s: float
    keeps_undecoded: bool
    victims: Victims
    lease: LeaseCheck | None = None
    messages_per_task: int = 5_000
    pressure: SharedPressure = field(default_factory=SharedPressure)
    patience: Patience = field(default_factory=Patience)

    @property
    def name(self) -> str:
        """The output's name in the flow."""
        return self.counting.sink.name

    def apply(self, frame: DataFrame, fence: Fence) -> Account:
        """Count the batch's messages. Raises ConfigError E124 to E126 when another driver counts, and what a worker raised."""
        started = time.monotonic()
        turn = self.counting.mark.begin(fence)
        sink = self.counting.sink
        folding = Folding(
            pickle.dumps(self.options),
            pickle.dumps(self.counting.plan),
            self.lane,
            fence.batch_id,
            self.keeps_undecoded,
            self.victims,
        )
        writer = WriterFence(sink.config.writer, turn, fence.batch_id)
        budget_s, allowance = self.patience.budget_s(fence, self.budget_s), self.pressure.allowance(self.name)
        applying = Applying(pickle.dumps(sink), self.lane, writer, budget_s, self.victims, self.lease, allowance)
        with workers_errors_raised():
            if frame.rdd.getNumPartitions() <= 1:
                said = frame.mapInArrow(FoldingAndApplying(folding, applying), REPORT_DDL).toArrow()
            else:
                folded = frame.mapInArrow(folding, FOLDED_DDL).repartition("target")
                said = folded.mapInArrow(applying, REPORT_DDL).toArrow()
        writers = seen_by_writers(said)
        self.patience.attempted(writers)
        pressure = self.pressure.learn(self.name, writers)
        report = self._report(said)
        letters = self._letters(frame, folding, said, report)
        return Account(
            **report.counts,
            max_lut_ms=report.max_lut_ms,
            seconds=time.monotonic() - started,
            lateness=None,
            letters=letters,
            pressure=pressure,
        )

    def _report(self, said: pa.Table) -> Report:
        """The workers' account. Raises the gravest of their errors; E126 when records hold a later batch than this one."""
        kinds = said.column("kind").to_pylist()
        report = read_report(said.filter(pa.array([kind != REFUSED for kind in kinds])))
        if report.counts["superseded"]:
            raise ConfigError(
                "E126",
                f"{report.counts['superseded']} events are for records that a later batch has changed",
                output=self.name,
                lane=self.lane,
            )
        return report

    def _letters(self, frame: DataFrame, folding: Folding, said: pa.Table, report: Report) -> pa.Table | None:
        """The batch's letters; where whole changes were refused, their events are looked up by reading the batch once more."""
        refused = refused_in(said)
        if not refused:
            return report.letters
        again = replace(folding, refused=refused)
        with workers_errors_raised():
            rows = frame.mapInArrow(again, FOLDED_DDL).select("kind", "content").toArrow()
        more = read_report(rows).letters
        found = [letters for letters in (report.letters, more) if letters is not None]
        return pa.concat_tables(found) if found else None


__all__ = ["Counting", "CountersOutput"]
