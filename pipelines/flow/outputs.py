"""What a flow writes: one model per kind of output, told apart by `type`. A new kind is one more model in `Output`."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from pipelines.flow.aerospike_writes import AerospikeWrites
from pipelines.flow.base import Bool, Int, StrictModel, Text
from pipelines.flow.counters import AerospikeCounters
from schemas.xdr.options import Image
from sinks.aerospike.config import MirrorConfig

HOUR_S = 3_600
DAY_S = 24 * HOUR_S


class AerospikeMirror(AerospikeWrites):
    """An exact copy of the selected records, by digest."""

    summary: ClassVar[str] = "An exact copy of the selected records in an Aerospike namespace."

    type: Literal["aerospike"] = Field(default="aerospike", description="Kind of output.")
    tombstone_horizon_s: Int = Field(
        default=7 * DAY_S,
        ge=HOUR_S,
        le=3_650 * DAY_S,
        description="How long a delete is remembered. A write older than its delete that arrives later than this may bring "
        "the record back.",
    )
    tombstone_set: Text = Field(
        default="_mr_tomb", max_length=63, description="Side set of the target namespace that remembers deletes."
    )
    send_key: Bool = Field(default=True, description="Store the user key where the event has it.")

    def mirror(self, name: str, image: Image = "full", user_keys: Literal["check", "proved", "trust"] = "check") -> MirrorConfig:
        """The sink's configuration for the output called `name`, secrets revealed.

        image: what events carry of a record. user_keys: whether the reader has made sure of them, as MirrorConfig says.
        """
        return MirrorConfig(
            name=name,
            client=self.client(),
            namespace=self.namespace,
            tombstone_set=self.tombstone_set,
            tombstone_horizon_s=self.tombstone_horizon_s,
            send_key=self.send_key,
            user_keys=user_keys,
            image=image,
            batch_timeout_s=self.batch_timeout_s,
            max_batch_records=self.max_batch_records,
            max_batch_bytes=self.max_batch_bytes,
            batches_in_flight=self.batches_in_flight,
            first_backoff_ms=self.first_backoff_ms,
            max_backoff_ms=self.max_backoff_ms,
        )


class DeltaHistory(StrictModel):
    """Every selected event once, appended to a Delta table partitioned by the date of its last-update time."""

    summary: ClassVar[str] = "Every selected event once, in a Delta table partitioned by the date of its last-update time (UTC)."

    type: Literal["delta_history"] = Field(default="delta_history", description="Kind of output.")
    path: Text = Field(
        description="Folder of the table; a path or a URL Spark can write.", examples=[".millrace/data/payments/history"]
    )


AnyOutput = AerospikeMirror | AerospikeCounters | DeltaHistory
Output = Annotated[AnyOutput, Field(discriminator="type")]

__all__ = ["AerospikeCounters", "AerospikeMirror", "AnyOutput", "DAY_S", "DeltaHistory", "HOUR_S", "Output"]
