"""A flow's parts, put together once per run: tables, sinks, journal, and for each lane its micro-batch and its query."""

from collections.abc import Callable, Collection

from pyspark.sql import SparkSession
from pyspark.sql.streaming.query import StreamingQuery

from checkpoints.journal import Journal
from checkpoints.layout import last_kafka_offsets, read_lane
from checkpoints.lease_check import LeaseCheck
from pipelines.counters_output import CountersOutput, Counting
from pipelines.failpoints import Failpoints
from pipelines.flow.dead_letters import topic_client
from pipelines.flow.model import Flow
from pipelines.flow.outputs import AerospikeCounters as CounterOptions
from pipelines.flow.outputs import AerospikeMirror as MirrorOptions
from pipelines.flow.records import user_keys
from pipelines.kafka_offsets import Broker, Offsets, client_settings
from pipelines.letter_limits import LetterLimits
from pipelines.letters import LaneLetters
from pipelines.micro_batch import MicroBatch
from pipelines.mirror_identity import MirrorIdentity
from pipelines.outputs import BatchOutput, HistoryOutput, MirrorOutput
from pipelines.pressure import SharedPressure
from pipelines.progress import Report
from pipelines.source import kafka_stream
from pipelines.table_guards import Tables
from schemas.errors import ConfigError
from sinks.aerospike.config import ClientConfig
from sinks.aerospike.counter_marks import CounterMark
from sinks.aerospike.counters import AerospikeCounters
from sinks.aerospike.mirror import AerospikeMirror
from sinks.delta.dead_letters import DeadLetters
from sinks.delta.history import DeltaHistory
from sinks.delta.ledger import LedgerTable
from sinks.kafka_letters import LetterTopic

AVAILABLE_NOW = {"availableNow": True}
LETTERS_WRITER = "#letters"
"""Behind an output's name in the fences of records that replays of dead letters changed: they number their parts, not batches."""


class FlowParts:
    """Everything of a flow that lives on the driver. Building it touches nothing.

    adopt_tables: go on with counters that another checkpoint has written.
    """

    def __init__(self, flow: Flow, *, adopt_tables: bool = False) -> None:
        self.flow = flow
        self.journal = Journal(flow.checkpoint)
        self.ledger = LedgerTable(flow.name, flow.ledger.path)
        self.letters = DeadLetters(flow.name, flow.dead_letters.path)
        self.sinks: dict[str, AerospikeMirror] = {}
        self.identities: dict[str, MirrorIdentity] = {}
        self.counters: dict[str, Counting] = {}
        self.histories: dict[str, DeltaHistory] = {}
        self._pressures: dict[str, SharedPressure] = {}  # by output; one object for each cluster
        clusters: dict[ClientConfig, SharedPressure] = {}
        for name, options in flow.all_outputs().items():
            if isinstance(options, MirrorOptions):
                mirror = AerospikeMirror(options.mirror(name, flow.source.image, user_keys(flow.records)))
                self.sinks[name] = mirror
                self._pressures[name] = clusters.setdefault(mirror.config.client, SharedPressure())
                self.identities[name] = MirrorIdentity(mirror, flow.name, name, flow.checkpoint)
            elif isinstance(options, CounterOptions):
                counters = self.counters[name] = counting(flow, name, options, adopt=adopt_tables)
                self._pressures[name] = clusters.setdefault(counters.sink.config.client, SharedPressure())
            else:
                self.histories[name] = DeltaHistory(
                    flow.name, name, options.path, flow.declared_bins(), records=flow.decode_options().records
                )

    @property
    def tables(self) -> Tables:
        """The flow's Delta tables."""
        return Tables(self.histories, self.letters, self.ledger)

    def require_counters(self, added: Collection[str] = ()) -> None:
        """Refuse counters that a start would count twice in, or that lack what was counted; write to each once, as a trial.

        added: outputs that an operator lets begin in the middle. Raises ConfigError E120, E124 to E126; Retryable E210.
        """
        for lane, options in self.flow.lanes.items():
            for name in options.outputs:
                if name in self.counters:
                    state = read_lane(self.flow.lane_checkpoint(lane))
                    self.counters[name].sink.check()
                    self.counters[name].mark.adopt |= name in added
                    self.counters[name].mark.require_start(state.epoch, state.last_offsets, state.last_commit)

    def require_letter_topic(self) -> None:
        """Refuse (ConfigError E150) a topic for dead letters that is not there. Raises Retryable E220, ConfigError E151."""
        topic = self.flow.dead_letters.topic
        if topic is not None and topic.name not in Broker(self._letter_client()).partitions([topic.name]):
            raise ConfigError("E150", f"the topic for dead letters does not exist: {topic.name}", topic=topic.name)

    def require_mirrors(self, lane: str, *, remember: bool = True) -> None:
        """Refuse mirrors of `lane` that are not those its checkpoint has filled. Raises Terminal E436, Retryable, ConfigError.

        remember: False looks only, and writes nothing.
        """
        progressed = last_kafka_offsets(self.flow.lane_checkpoint(lane)) is not None
        for name in self.flow.lanes[lane].outputs:
            if name in self.identities:
                self.identities[name].require_same(progressed=progressed, remember=remember)

    def micro_batch(
        self,
        lane: str,
        require_lease: Callable[[], None],
        report: Report,
        newest: Callable[[], Offsets | None],
        failpoints: Failpoints,
        lease: LeaseCheck | None = None,
    ) -> MicroBatch:
        """The lane's foreachBatch function. lease: what its workers ask before they write."""
        owner = self.flow.decode_owner == lane
        return MicroBatch(
            flow=self.flow.name,
            lane=lane,
            checkpoint=self.flow.lane_checkpoint(lane),
            outputs=self._outputs(lane, owner, failpoints, lease),
            letters=LaneLetters(
                self.letters,
                lane,
                self.flow.decode_options(),
                owner=owner,
                limits=LetterLimits(self.flow.dead_letters.limits, lane, report),
                topic=self._letter_topic(),
                require_lease=require_lease,
            ),
            journal=self.journal,
            require_lease=require_lease,
            report=report,
            newest=newest,
            failpoints=failpoints,
        )

    def starter(
        self, lane: str, session: SparkSession, batch: MicroBatch, *, once: bool, before: Callable[[], None]
    ) -> Callable[[], StreamingQuery]:
        """A function that starts the lane's query, after `before`, in a scheduler pool of its own."""
        trigger = AVAILABLE_NOW if once else self.flow.lanes[lane].trigger.for_spark()

        def start() -> StreamingQuery:
            before()
            session.sparkContext.setLocalProperty("spark.scheduler.pool", lane)
            messages = kafka_stream(session, self.flow, lane)
            writer = messages.writeStream.queryName(query_name(self.flow.name, lane)).foreachBatch(batch)
            return writer.option("checkpointLocation", self.flow.lane_checkpoint(lane)).trigger(**trigger).start()

        return start

    def _letter_client(self) -> dict[str, str]:
        topic = self.flow.dead_letters.topic
        assert topic is not None
        return client_settings(*topic_client(topic, self.flow.source.client_options()))

    def _letter_topic(self) -> LetterTopic | None:
        topic = self.flow.dead_letters.topic
        return None if topic is None else LetterTopic(topic.name, self._letter_client(), topic.timeout_s)

    def _outputs(self, lane: str, owner: bool, failpoints: Failpoints, lease: LeaseCheck | None) -> list[BatchOutput]:
        reading = self.flow.decode_options()
        steps: list[BatchOutput] = []
        for name, options in self.flow.lanes[lane].outputs.items():
            if isinstance(options, MirrorOptions):
                first = owner and not any(step.keeps_undecoded for step in steps)
                sink, patience_s, victims = self.sinks[name], options.batch_timeout_s, failpoints.victims
                horizon_ms, pressure = options.tombstone_horizon_s * 1000, self._pressures[name]
                same = self.identities[name].require_still_same
                steps.append(
                    MirrorOutput(
                        *(sink, reading, lane, patience_s, first, victims, horizon_ms),
                        lease=lease,
                        require_same_mirror=same,
                        pressure=pressure,
                    )
                )
            elif isinstance(options, CounterOptions):
                first = owner and not any(step.keeps_undecoded for step in steps)
                steps.append(
                    CountersOutput(
                        *(self.counters[name], reading, lane, options.batch_timeout_s, first, failpoints.victims, lease),
                        pressure=self._pressures[name],
                    )
                )
            else:
                steps.append(HistoryOutput(self.histories[name], reading, lane, failpoints))
        return steps


def counting(flow: Flow, name: str, options: CounterOptions, *, adopt: bool = False, suffix: str = "") -> Counting:
    """An output that counts, as `flow` runs it. suffix: tells writers apart that number their batches each for itself."""
    config = options.counters(flow.name, name, suffix=suffix, adopt=adopt)
    mark = CounterMark(
        config.client, config.namespace, config.mark_set, config.writer, options.set, adopt=adopt or suffix == LETTERS_WRITER
    )
    return Counting(AerospikeCounters(config), mark, options.plan())


def query_name(flow: str, lane: str) -> str:
    """The query's name in Spark's UI and metrics, which take letters, digits and underscores only."""
    return f"{flow}_{lane}".replace("-", "_")


__all__ = ["AVAILABLE_NOW", "LETTERS_WRITER", "FlowParts", "counting", "query_name"]
