"""The flow: what is read, which records, where they go, and what is kept about it. The same object from YAML or from Python."""

import posixpath
from typing import Any, ClassVar, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from pipelines.flow.aerospike import AerospikeCluster
from pipelines.flow.base import Float, Int, Name, StrictModel, Text
from pipelines.flow.dead_letters import DeadLettersField, Table, TableField
from pipelines.flow.lanes import Lane, usual_lanes
from pipelines.flow.outputs import AnyOutput, Output
from pipelines.flow.records import Records, one_type_each
from pipelines.flow.rule import require_whole
from pipelines.flow.rules import broken_rules
from pipelines.flow.source import FAST_ROWS, READ_COMMITTED, SLOW_ROWS, SLOW_TRIGGER_MS, Options, Source, revealed
from schemas.bins import BinType
from schemas.xdr.options import DecodeOptions


class Spark(StrictModel):
    """The Spark application that runs the flow."""

    summary: ClassVar[str] = "The Spark application that runs the flow."

    master: Text = Field(
        default="local[4]",
        description="Spark master URL. More local slots than cores let one lane's tasks start while another's run.",
    )
    driver_memory: Text | None = Field(
        default=None,
        pattern=r"^[1-9][0-9]*[kmgtKMGT]$",
        description="Memory of the driver, such as `2g`; Spark setting spark.driver.memory.",
    )
    conf: Options = Field(
        default_factory=dict, description="Spark settings by name; each replaces the setting Millrace would choose."
    )

    def overrides(self) -> dict[str, str]:
        """The flow's Spark settings as text, secrets revealed."""
        memory = {"spark.driver.memory": self.driver_memory} if self.driver_memory else {}
        return memory | revealed(self.conf)


class Restart(StrictModel):
    """How a failed lane is started again."""

    summary: ClassVar[str] = (
        "A failed lane is started again after a pause that doubles, with jitter, unless repeating cannot help."
    )

    first_delay_ms: Int = Field(default=500, ge=1, le=3_600_000, description="First pause.")
    max_delay_ms: Int = Field(default=30_000, ge=1, le=3_600_000, description="Longest pause.")
    reset_after_s: Float = Field(
        default=60.0, gt=0, le=86_400, description="A lane that ran this long begins with the first pause again."
    )
    max_restarts: Int | None = Field(
        default=None, ge=0, description="Failures in a row after which the flow stops; never when absent."
    )


class Stop(StrictModel):
    """How the flow stops on SIGINT or SIGTERM."""

    summary: ClassVar[str] = "On SIGINT or SIGTERM every lane finishes its micro-batch; nothing new is begun."

    drain_timeout_s: Float = Field(
        default=60.0,
        gt=0,
        le=86_400,
        description="Time for running micro-batches. After it they are cut, and repeated at the next start.",
    )


class Lease(StrictModel):
    """How one driver at a time is made sure of."""

    summary: ClassVar[str] = "One driver at a time runs a checkpoint, by a lease in it with a heartbeat."

    expiry_s: Float = Field(
        default=30.0,
        ge=1,
        le=3_600,
        description="A driver whose heartbeat is older may be replaced: it is paused or cut off. A dead one is replaced at once.",
    )


class ReconcileSource(AerospikeCluster):
    """The source cluster, as `millrace reconcile` reads it."""

    summary: ClassVar[str] = "The source cluster as `millrace reconcile` scans it; needs the read privilege only."


class Reconcile(StrictModel):
    """What `millrace reconcile` compares the outputs with."""

    summary: ClassVar[str] = "What `millrace reconcile` compares the outputs with."

    source: ReconcileSource = Field(description="The source cluster and namespace; see its own table.", examples=[{}])


def _beside_dead_letters(fields: dict[str, Any]) -> Table:
    letters = fields.get("dead_letters")
    return Table(path=posixpath.join(posixpath.dirname(letters.path.rstrip("/")), "ledger") if letters else "ledger")


class Flow(StrictModel):
    """One flow. Checked as a whole when built, from YAML (`load_flow`) or in Python; raises ConfigError E101 with all problems.

    `lanes` always holds the lanes that run: outputs given without lanes are put into the usual ones.
    Relative paths are relative to the folder the driver is started in.
    """

    summary: ClassVar[str] = "A flow file is one mapping with these options."

    name: Name = Field(
        description="Name of the flow in ledger and transaction ids: lower-case letters, digits, `_`, `-`. Renaming starts over.",
        examples=["payments"],
    )
    source: Source = Field(description="Where messages come from; see its own table.", examples=[{}])
    records: tuple[Records, ...] = Field(
        min_length=1, description="Which events the flow takes; see its own table.", examples=[[{}]]
    )
    outputs: dict[Name, Output] = Field(
        default_factory=dict,
        description="Outputs without lanes: Aerospike outputs run in lane `fast`, Delta outputs in lane `bulk`.",
    )
    lanes: dict[Name, Lane] = Field(default_factory=dict, description="Lanes by name, instead of `outputs`; see their own table.")
    dead_letters: DeadLettersField = Field(
        description="Messages that could not be decoded or written: their table and its limits; see its own table.", examples=[{}]
    )
    ledger: TableField = Field(
        default_factory=_beside_dead_letters, description="Table of accounts per micro-batch; `ledger` beside the dead letters."
    )
    checkpoint: Text = Field(
        description="Folder of the checkpoints, one folder in it per lane.", examples=[".millrace/checkpoints/payments"]
    )
    reconcile: Reconcile | None = Field(default=None, description="For `millrace reconcile`; see its own table.")
    spark: Spark = Field(default_factory=Spark, description="The Spark application; see its own table.")
    restart: Restart = Field(default_factory=Restart, description="Restarts of a failed lane; see its own table.")
    stop: Stop = Field(default_factory=Stop, description="Stopping; see its own table.")
    lease: Lease = Field(default_factory=Lease, description="One driver at a time; see its own table.")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        require_whole("Flow", broken_rules(self))
        if not self.lanes:
            self.__dict__["lanes"] = usual_lanes(self.outputs)
            self.__dict__["outputs"] = {}
        return self

    @property
    def decode_owner(self) -> str:
        """The lane that writes decode failures to the dead letters: the first with a Delta output, else the first."""
        return next((name for name, lane in self.lanes.items() if lane.writes_delta), next(iter(self.lanes)))

    def all_outputs(self) -> dict[str, AnyOutput]:
        """Outputs of all lanes by name; names are unique in a flow."""
        return {name: output for lane in self.lanes.values() for name, output in lane.outputs.items()}

    def lane_checkpoint(self, lane: str) -> str:
        """The checkpoint folder of a lane."""
        return f"{self.checkpoint.rstrip('/')}/{lane}"

    @property
    def local_checkpoint(self) -> bool:
        """Whether the checkpoint is on a plain file system: no scheme, or file:."""
        return urlsplit(self.checkpoint).scheme in ("", "file")

    def max_offsets_per_trigger(self, lane: str) -> int:
        """Messages `lane` takes per micro-batch: its own limit, else the source's, else by its trigger. Always a number."""
        given = self.lanes[lane].max_offsets_per_trigger or self.source.max_offsets_per_trigger
        return given or (SLOW_ROWS if (self.lanes[lane].trigger.interval_ms or 0) >= SLOW_TRIGGER_MS else FAST_ROWS)

    def declared_bins(self) -> dict[str, BinType] | None:
        """Bins that have one declared type in all entries that declare them: the typed columns of history tables.

        None when the flow declares no bins at all.
        """
        return one_type_each(self.records)

    def decode_options(self) -> DecodeOptions:
        """What the decoder is told about the messages."""
        return DecodeOptions(
            format=self.source.format,
            metadata_key=self.source.metadata_key or DecodeOptions().metadata_key,
            wrapped_in=self.source.wrapped_in,
            image=self.source.image,
            avro=None if self.source.avro is None else self.source.avro.schemas(),
            records=tuple(entry.record_type() for entry in self.records),
            registry=self.source.registry.client_options() if self.source.registry else None,
        )

    def reader_options(self, lane: str) -> dict[str, str]:
        """Every option of Spark's Kafka source for `lane`, secrets revealed.

        Data loss fails the query, never skips; what a transaction aborted is never read; the lookup of offsets is patient enough
        for a broker's restart.
        """
        return {
            "kafka.isolation.level": READ_COMMITTED,
            **{f"kafka.{name}": value for name, value in self.source.client_options().items()},
            "subscribe": ",".join(self.source.topics),
            "startingOffsets": self.source.starting_offsets,
            "maxOffsetsPerTrigger": str(self.max_offsets_per_trigger(lane)),
            "failOnDataLoss": "true",
            "fetchOffset.numRetries": "20",
            "fetchOffset.retryIntervalMs": "500",
        }


__all__ = ["Flow", "Lease", "Reconcile", "ReconcileSource", "Restart", "Spark", "Stop", "Table"]
