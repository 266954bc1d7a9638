"""Everything `millrace reconcile` finds about one flow, as plain data."""

from dataclasses import asdict, dataclass
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from checkpoints.journal import Journal
from checkpoints.layout import committed_kafka_offsets, initial_offsets, read_epoch
from pipelines.dead_letters.plan import PlanFile
from pipelines.flow.model import Flow
from pipelines.flow.outputs import AerospikeMirror, DeltaHistory
from pipelines.kafka_offsets import client_settings
from pipelines.reconcile.compare import Form
from pipelines.reconcile.gaps import KafkaTopics, account_gaps
from pipelines.reconcile.jobs import Namespace, Scope, compare_history, compare_namespaces
from pipelines.reconcile.offsets import LateAccount, account_late, account_offsets
from pipelines.worker_errors import raise_worst
from schemas.errors import ConfigError
from sinks.aerospike.connection import client_for
from sinks.delta.ledger import LedgerTable
from sinks.delta.letter_states import LetterStates
from sinks.delta.table import is_table


@dataclass(frozen=True, slots=True)
class Comparison:
    """One comparison, record by record.

    expected, found: what was compared, in words. compared = equal + differing; of the equal, `form_limited` are equal as far
    as the message form carries their values. findings: the first differences of each part of the key space.
    """

    expected: str
    found: str
    compared: int
    equal: int
    form_limited: int
    differing: int
    findings: tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True)
class OffsetCheck:
    """A history's account of Kafka's offsets; see `pipelines.reconcile.offsets.OffsetAccount`.

    gaps, unconfirmed: offsets without a message, as `pipelines.reconcile.gaps.Gaps` tells them; no part of `events`.
    """

    output: str
    events: int
    doubled: int
    lost: int
    gaps: int = 0
    unconfirmed: int = 0


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """What a reconciliation found. `good` when nothing differs, is lost or stands twice."""

    flow: str
    comparisons: tuple[Comparison, ...]
    offsets: tuple[OffsetCheck, ...]

    @property
    def differing(self) -> int:
        """Differing records over all comparisons."""
        return sum(comparison.differing for comparison in self.comparisons)

    @property
    def lost(self) -> int:
        """Offsets no history accounts for, over all histories."""
        return sum(abs(check.lost) for check in self.offsets)

    @property
    def doubled(self) -> int:
        """Offsets a history holds more than once, over all histories."""
        return sum(check.doubled for check in self.offsets)

    @property
    def good(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.differing or self.lost or self.doubled)

    def as_dict(self) -> dict[str, Any]:
        """For `--output json`."""
        totals = {"good": self.good, "differing": self.differing, "lost": self.lost, "doubled": self.doubled}
        return {**asdict(self), **totals}


def require_reachable(flow: Flow) -> None:
    """Ask every cluster a comparison would scan, from this process, before anything is started.

    Raises: Retryable E210 when no node answers, ConfigError E120 for refused credentials or TLS.
    """
    mirrors = [output.client() for output in flow.all_outputs().values() if isinstance(output, AerospikeMirror)]
    source = [flow.reconcile.source.client()] if mirrors and flow.reconcile is not None else []
    for config in (*source, *mirrors):
        client_for(config)


def reconcile(flow: Flow, spark: SparkSession, tolerance_s: float) -> Reconciliation:
    """Compare source with mirrors, histories with mirrors, and account for every offset the histories have read.

    tolerance_s: how far expiries may be apart, in seconds.
    Raises: ConfigError E160 when there is nothing to compare, Retryable E210, Terminal E440 from scans, Retryable E220 when Kafka
            is needed to tell gaps from losses and does not answer.
    """
    mirrors = {name: out for name, out in flow.all_outputs().items() if isinstance(out, AerospikeMirror)}
    histories = {name: out for name, out in flow.all_outputs().items() if isinstance(out, DeltaHistory)}
    comparisons: list[Comparison] = []
    for name, mirror in mirrors.items():
        found = Namespace(mirror.client(), mirror.namespace, mirror.tombstone_set)
        title = f"mirror {name!r}"
        if flow.reconcile is not None:
            source = flow.reconcile.source
            wanted = Namespace(source.client(), source.namespace)
            rows = compare_namespaces(spark, wanted, found, _scope(flow, source.namespace, tolerance_s))
            comparisons.append(_summed(f"source namespace {source.namespace!r}", title, rows))
        for history_name, history in histories.items():
            for namespace in sorted({entry.namespace for entry in flow.records}):
                rows = compare_history(spark, _read(spark, history.path), found, _scope(flow, namespace, tolerance_s))
                comparisons.append(_summed(f"state from history {history_name!r}", title, rows))
    offsets = tuple(_offset_check(flow, spark, name, history) for name, history in histories.items())
    if not comparisons and not offsets:
        raise ConfigError("E160", "the flow has neither a history nor a mirror with a source to compare it with", flow=flow.name)
    return Reconciliation(flow.name, tuple(comparisons), offsets)


def _scope(flow: Flow, namespace: str, tolerance_s: float) -> Scope:
    image = flow.source.image
    written = flow.source.format
    form = Form(
        written == "json",
        flow.declared_bins(),
        bins=image != "none",
        avro=written in ("avro", "kafka-avro"),
        exact=written == "message-pack",
        mixed=written == "auto",
    )
    return Scope(flow.decode_options().records, namespace, form, tolerance_s, image)


def _read(spark: SparkSession, path: str) -> DataFrame:
    if not is_table(path):
        raise ConfigError("E160", "there is no table yet: the flow has not written any", path=path)
    return spark.read.format("delta").load(path)


def _summed(expected: str, found: str, rows: DataFrame) -> Comparison:
    parts = rows.toArrow().to_pylist()
    raise_worst(part["error"] for part in parts if part["error"] is not None)
    totals = {name: sum(part[name] for part in parts) for name in ("compared", "equal", "form_limited", "differing")}
    findings = tuple(finding for part in parts for finding in part["findings"])
    return Comparison(expected, found, **totals, findings=findings)


def _offset_check(flow: Flow, spark: SparkSession, name: str, history: DeltaHistory) -> OffsetCheck:
    """Of the current checkpoint's epoch: what an earlier checkpoint wrote has offsets of its own."""
    lane = next(lane for lane, options in flow.lanes.items() if name in options.outputs)
    checkpoint = flow.lane_checkpoint(lane)
    end = committed_kafka_offsets(checkpoint) or {}
    epoch = read_epoch(checkpoint)
    ledger = LedgerTable(flow.name, flow.ledger.path).read(Journal(flow.checkpoint), lane=lane, output=name, epoch=epoch)
    owner = read_epoch(flow.lane_checkpoint(flow.decode_owner))
    start = initial_offsets(checkpoint) if end else {}
    account = account_offsets(
        _read(spark, history.path).where(_epoch_is(epoch)),
        _read(spark, flow.dead_letters.path).where(_epoch_is(owner)),
        ledger,
        start,
        end,
        account_gaps(ledger, start, end, lambda: _kafka(flow)),
    )
    late = _late(flow, spark, name, history)
    lost, doubled = account.lost + late.lost, account.doubled + late.doubled
    return OffsetCheck(name, account.events, doubled, lost, account.gaps.empty, account.gaps.unconfirmed)


def _kafka(flow: Flow) -> KafkaTopics:
    options = flow.source.client_options()
    return KafkaTopics(client_settings(options.pop("bootstrap.servers"), options), committed=flow.source.committed)


def _late(flow: Flow, spark: SparkSession, name: str, history: DeltaHistory) -> LateAccount:
    """The account of what replays of dead letters have given to a history."""
    states = LetterStates(flow.name, flow.dead_letters.states)
    if not is_table(states.path):
        return LateAccount(0, 0)
    plan = PlanFile(states.path).read()
    told = _read(spark, states.path).where(F.col("flow") == flow.name)
    acts = [row["act_id"] for row in told.where("act = 'replay'").select("act_id").distinct().collect()]
    acts += [plan.act.id] if plan else []
    rows = _read(spark, history.path).where((F.col("flow") == flow.name) & (F.col("output") == name))
    return account_late(rows, rows.where(F.col("epoch").isin(acts)), told, name)


def _epoch_is(epoch: str | None) -> str:
    return f"epoch = '{epoch}'" if epoch else "false"


__all__ = ["Comparison", "OffsetCheck", "Reconciliation", "reconcile", "require_reachable"]
