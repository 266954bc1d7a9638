"""What every output to Aerospike is told about its calls: their size, their time, and how they are repeated."""

from pydantic import Field

from pipelines.flow.aerospike import AerospikeCluster
from pipelines.flow.base import Float, Int


class AerospikeWrites(AerospikeCluster):
    """A namespace that is written to."""

    batch_timeout_s: Float = Field(
        default=30.0,
        gt=0,
        le=3_600,
        description="Time for all attempts of one micro-batch in one worker; then the batch is repeated. One that was only slow "
        "has twice the time at each repetition, up to sixteen times.",
    )
    max_batch_records: Int = Field(default=2_000, ge=1, le=5_000, description="Records in one call.")
    max_batch_bytes: Int = Field(default=8 << 20, ge=64 << 10, le=128 << 20, description="Size of one call, estimated.")
    batches_in_flight: Int = Field(default=2, ge=1, le=32, description="Calls under way at once in one worker.")
    first_backoff_ms: Int = Field(
        default=20, ge=1, le=60_000, description="Pause before the first repetition of what is safe to repeat."
    )
    max_backoff_ms: Int = Field(default=1_000, ge=1, le=600_000, description="Longest pause; pauses double, with jitter.")


__all__ = ["AerospikeWrites"]
