"""Run a flow: every lane a query of one Spark application, watched, restarted, and stopped without cutting a batch.

Order of a start, cheapest refusal first: lease, checkpoint guards, table guards, Kafka guards, a trial write to every record
sink; only then the JVM. Nothing is read or written before all of them have passed.
"""

import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial

from py4j.protocol import Py4JError
from pyspark.sql import SparkSession

from checkpoints.guards import KEPT, require_startable
from checkpoints.holder import end_jvm
from checkpoints.layout import committed_kafka_offsets, last_kafka_offsets
from checkpoints.lease import Lease, Replaced, current_holder
from pipelines.backoff import Backoff
from pipelines.clock import judge_clock
from pipelines.compaction import judge_compaction
from pipelines.failpoint_files import FileWatch
from pipelines.failpoint_names import require_known, watched_by
from pipelines.failpoints import Failpoints, Victims, armed_file
from pipelines.fingerprint import PlanGuard
from pipelines.flow.model import Flow
from pipelines.gate import StopRequested
from pipelines.guards import LanePosition, check_kafka
from pipelines.kafka_offsets import Broker, client_settings
from pipelines.kafka_watch import KafkaWatch
from pipelines.lanes import LaneRun, LaneState, describe, first_cause
from pipelines.ledger_keeper import LedgerKeeper
from pipelines.progress import Report, duration
from pipelines.session import build_session, close_session, jvm_is_gone, jvm_pid
from pipelines.spark_submit import shutdown_held
from pipelines.stop_signals import StopSignals
from pipelines.table_guards import TableGuards
from pipelines.table_watch import TableWatch
from pipelines.wiring import FlowParts
from schemas.errors import MillraceError, Retryable, Terminal
from sinks.aerospike.mirror import AerospikeMirror
from sinks.delta.table_lock import sign_locks

TICK_S = 0.1
START_PATIENCE_S = 60.0
"""How long a start waits for Kafka or Aerospike to answer before it gives up."""
LEASE_PATIENCE_S = 30.0
"""How long a start waits for the JVM of a killed driver to go; longer where the lease is."""


def run_flow(
    flow: Flow,
    report: Report,
    *,
    once: bool = False,
    adopt_tables: bool = False,
    accept: Sequence[str] = (),
    drain_timeout_s: float | None = None,
    stop: StopSignals | None = None,
) -> None:
    """Run `flow` until it is stopped by SIGINT or SIGTERM, or, with `once`, until everything there now is written.

    adopt_tables:    take Delta tables and counters as they are, instead of refusing E124, E125, E423, E426, E441 and E442.
    accept:          changes of the flow since it last ran that are accepted, by the names E443 gives them.
    drain_timeout_s: time for running micro-batches after a signal; None: the flow's own.
    stop:            signals that are caught already; None: caught from here on.
    Returns when every lane has stopped in order and the ledger is flushed.
    Raises: what a guard refused; Terminal or ConfigError of a lane that cannot go on (the others are stopped in order first);
            Retryable when a start got no answer, when a lane used up its restarts, when Spark died, or when a stop had to cut a
            batch (E242); Terminal E424 when another driver has taken the checkpoint over.
    """
    drain_s = flow.stop.drain_timeout_s if drain_timeout_s is None else drain_timeout_s

    def told(name: str, times: int) -> None:
        again = "" if times > 1 else "; once more stops at once"
        report.event(
            "stopping", f"{name}: {'stopping now' if times > 1 else 'every lane finishes its batch'}{again}", signal=name
        )

    require_known(armed_file(), flow)
    with ExitStack() as stack:
        stop = stop or stack.enter_context(StopSignals())
        stop.told = told
        lease = stack.enter_context(_patient_lease(flow, report, stop))
        sign_locks(lease.replaced_when)
        parts = FlowParts(flow, adopt_tables=adopt_tables)
        try:
            _require_startable(flow, parts, report, stop, adopt_tables, accept)
        except StopRequested:
            report.event("stopped", f"flow {flow.name} stopped before it began", flow=flow.name)
            return
        if stop.asked:
            report.event("stopped", f"flow {flow.name} stopped before it began", flow=flow.name)
            return
        session = build_session(
            f"millrace-{flow.name}",
            flow.spark.overrides(),
            flow.spark.master,
            local_checkpoint=flow.local_checkpoint,
            inherit_fds=lease.fds,
        )
        stack.callback(close_session, session)
        pid = jvm_pid(session)
        if pid is not None:
            lease.note_jvm(pid)
        stop.install()  # Spark has put its own handler for SIGINT in place
        stack.enter_context(shutdown_held(session, stop.ask, drain_s))
        _Application(flow, parts, session, lease, report, stop, once=once, drain_s=drain_s).run()


class _Application:
    """The running part: lanes, keeper and broker watch of one started session."""

    def __init__(
        self,
        flow: Flow,
        parts: FlowParts,
        session: SparkSession,
        lease: Lease,
        report: Report,
        stop: StopSignals,
        *,
        once: bool,
        drain_s: float,
    ) -> None:
        self._flow = flow
        self._lease = lease
        self._drain_s = drain_s
        self._report = report
        self._session = session
        self._stop = stop
        self._once = once
        self._kafka = KafkaWatch(broker_of(flow), flow.source.topics, report.event)
        failpoints = Failpoints(armed_file(), Victims(os.getpid(), jvm_pid(session)))
        self._struck_files = FileWatch(failpoints, watched_by(flow))
        self._keeper = LedgerKeeper(parts.journal, parts.ledger, report, failpoints, require_lease=lease.require_held)
        self._watch = TableWatch(flow.checkpoint, parts.tables.paths(), lease.require_held)
        self._lanes = [
            LaneRun(
                name,
                flow.lane_checkpoint(name),
                start=parts.starter(name, session, batch, once=once, before=self._check_lane(name, parts)),
                batch=batch,
                restart=flow.restart,
                report=report,
            )
            for name in flow.lanes
            for batch in [parts.micro_batch(name, lease.require_held, report, lambda: self._kafka.value, failpoints, lease.check)]
        ]

    def run(self) -> None:
        """Start the lanes, tend them until the end, stop them in order, flush the ledger."""
        self._struck_files.start()
        self._keeper.start()
        self._kafka.start()
        self._watch.start()
        started = time.monotonic()
        cut: list[str] = []
        try:
            self._tend()
            cut = self._drain()
        except Terminal:  # the lease is lost: what runs is another driver's to do
            with suppress(Py4JError, ConnectionError):
                for lane in self._lanes:
                    lane.cut()
            raise
        except (Py4JError, ConnectionError) as error:
            self._lease.require_held()  # whoever takes over ends the JVM
            if not jvm_is_gone(self._session):
                raise
            raise Retryable("E241", f"the driver's JVM ended: {describe(error)}", flow=self._flow.name) from error
        finally:
            self._kafka.stop()
            self._keeper.stop()
            self._watch.stop()  # after the last of our own commits
            self._struck_files.stop()
            self._report.flush()
        for lane in self._lanes:
            if lane.state is LaneState.FAILED:
                self._lease.require_held()
                assert lane.error is not None
                raise self._final(lane) from lane.error
        for found in (self._kafka.error, self._keeper.error, self._watch.error):
            if found is not None:
                raise found
        if cut:
            why = "a second signal came" if self._stop.forced else f"they were not done after {duration(self._drain_s)}"
            raise Retryable("E242", f"lanes {', '.join(cut)} were stopped in the middle of a batch: {why}", flow=self._flow.name)
        seconds = time.monotonic() - started
        self._report.event("stopped", f"flow {self._flow.name} stopped after {duration(seconds)}", flow=self._flow.name)

    def _tend(self) -> None:
        names = ", ".join(f"{name} ({', '.join(lane.outputs)})" for name, lane in self._flow.lanes.items())
        self._report.event("started", f"flow {self._flow.name} runs lanes {names}", flow=self._flow.name, pid=os.getpid())
        while not self._stop.asked:
            self._lease.require_held()
            for lane in self._lanes:
                lane.tend()
            if all(lane.over for lane in self._lanes) or any(lane.state is LaneState.FAILED for lane in self._lanes):
                return
            if any(one.error is not None for one in (self._kafka, self._keeper, self._watch)):
                return
            self._report.tick()
            self._stop.wait(TICK_S)

    def _drain(self) -> list[str]:
        """Let every lane finish its batch. The lanes for which time ran out: they are cut."""
        for lane in self._lanes:
            lane.begin_stop()
        deadline = time.monotonic() + self._drain_s
        while unfinished := [lane for lane in self._lanes if not lane.try_finish()]:
            if self._stop.forced or time.monotonic() > deadline:
                cut = [lane.name for lane in unfinished]
                self._report.event(
                    "cut", f"lanes {', '.join(cut)} stopped in the middle of a batch; it runs again next time", lanes=cut
                )
                for lane in unfinished:
                    lane.cut()
                return cut
            time.sleep(TICK_S / 2)
        return []

    def _final(self, lane: LaneRun) -> MillraceError:
        error = lane.error
        assert error is not None
        known = first_cause(error)
        if known is not None:
            return known
        return Retryable("E240", f"lane {lane.name}: {describe(error)}", lane=lane.name)

    def _check_lane(self, lane: str, parts: FlowParts) -> Callable[[], None]:
        """The guards of Kafka and mirrors once more before a start: a server that was away may come back without what it had.

        What Spark says of lost messages in its own words, they say with numbers.
        """

        def check() -> None:
            flow = self._flow
            check_kafka(broker_of(flow), flow.source.topics, [lane_position(flow, lane)], flow.checkpoint)
            parts.require_mirrors(lane)

        return check


def broker_of(flow: Flow) -> Broker:
    """Metadata requests to the brokers a flow reads from, with its credentials."""
    options = flow.source.client_options()
    return Broker(client_settings(options.pop("bootstrap.servers"), options), committed=flow.source.committed)


def lane_position(flow: Flow, lane: str) -> LanePosition:
    """Where a lane's checkpoint stands in Kafka."""
    path = flow.lane_checkpoint(lane)
    return LanePosition(lane, committed_kafka_offsets(path), last_kafka_offsets(path))


def _require_startable(
    flow: Flow, parts: FlowParts, report: Report, stop: StopSignals, adopt_tables: bool, accept: Sequence[str]
) -> None:
    kept = int(flow.spark.overrides().get("spark.sql.streaming.minBatchesToRetain", KEPT))
    for lane in flow.lanes:
        require_startable(flow.lane_checkpoint(lane), kept)
    plan = PlanGuard(flow, accept)
    plan.require(report)
    tables = TableGuards(flow, parts.tables, adopt=adopt_tables, added=plan.added_outputs)
    _until_answered(tables.require, report, stop)
    _until_answered(parts.require_letter_topic, report, stop)
    positions = [lane_position(flow, lane) for lane in flow.lanes]
    broker = broker_of(flow)
    _until_answered(lambda: _check_source(flow, broker, positions, report), report, stop)
    for name, sink in parts.sinks.items():
        _until_answered(partial(_check_mirror, name, sink, report), report, stop)
    for lane in flow.lanes:
        _until_answered(partial(parts.require_mirrors, lane), report, stop)
    _until_answered(partial(parts.require_counters, plan.added_outputs), report, stop)
    _until_answered(tables.remember, report, stop)
    plan.remember()


def _check_source(flow: Flow, broker: Broker, positions: Sequence[LanePosition], report: Report) -> None:
    told = partial(report.event, "partitions_added")
    check_kafka(broker, flow.source.topics, positions, flow.checkpoint, told)
    for line in judge_compaction(flow, broker.cleanup_policies(flow.source.topics)):
        report.event("compacted", line)


def _check_mirror(name: str, mirror: AerospikeMirror, report: Report) -> None:
    mirror.check()
    line = judge_clock(name, mirror.clock_lead_s())
    if line:
        report.event("clock", line, output=name)


def _until_answered(check: Callable[[], None], report: Report, stop: StopSignals) -> None:
    """Make a check that needs another server, patiently. Raises its last Retryable when START_PATIENCE_S is over."""
    backoff = Backoff(first_s=0.5, ceiling_s=5.0)
    deadline = time.monotonic() + START_PATIENCE_S
    while True:
        try:
            return check()
        except Retryable as error:
            wait_s = backoff.next_wait_s()
            if time.monotonic() + wait_s > deadline:
                raise
            report.event("waiting", f"{error}; try {backoff.failures} in {duration(wait_s)}", code=error.code)
            if stop.wait(wait_s):
                raise StopRequested from error


@contextmanager
def _patient_lease(flow: Flow, report: Report, stop: StopSignals) -> Iterator[Lease]:
    """The lease of the flow's checkpoint. Waits for a holder whose process is dead: its JVM has a second or two left to live.

    A driver that was replaced, for it gave no sign of life, is told of; its JVM is ended where it can be reached: neither Delta's
    log nor Spark's own files can be written by two on a local disk without the one overwriting the other.
    """
    deadline = time.monotonic() + max(LEASE_PATIENCE_S, flow.lease.expiry_s + 5)  # a JVM that hangs is ended after the expiry
    told = False
    while True:
        lease = Lease(flow.checkpoint, flow.name, expiry_s=flow.lease.expiry_s)
        try:
            lease.__enter__()
            break
        except Terminal as refused:
            holder = current_holder(flow.checkpoint)
            dying = holder is None or (holder.host == socket.gethostname() and not _alive(holder.pid))
            if refused.code != "E420" or not dying or time.monotonic() > deadline:
                raise
            if not told:
                report.event("waiting", "the driver before this one is dead; waiting for its JVM to go")
                told = True
            stop.wait(0.2)
    try:
        if lease.replaced is not None:
            _tell_replaced(lease.replaced, report)
        yield lease
    finally:
        lease.__exit__(None, None, None)


def _tell_replaced(replaced: Replaced, report: Report) -> None:
    holder = replaced.holder
    ended = holder is not None and end_jvm(holder)
    after = "its JVM is ended" if ended else "should it wake up, it stops by itself"
    report.event(
        "took_over",
        f"taking over from {replaced}; {after}",
        pid=holder.pid if holder else None,
        host=holder.host if holder else None,
        token=holder.token if holder else None,
        age_s=round(replaced.age_s, 1),
        jvm_ended=ended,
    )


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


__all__ = ["broker_of", "lane_position", "run_flow"]
