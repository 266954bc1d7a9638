"""Lanes: a lane is one query, one checkpoint folder and one trigger, with the outputs it feeds."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from pipelines.flow.base import Bool, Int, Name, StrictModel
from pipelines.flow.outputs import AnyOutput, DeltaHistory, Output

FAST = "fast"
BULK = "bulk"
FAST_INTERVAL_MS = 100
BULK_INTERVAL_MS = 10_000
"""An idle trigger of 0 asks the broker 50 times a second; 100 ms costs at most that in latency. A Delta commit takes most of
a second and is a table version each: every 10 s is 8,640 a day."""


class Trigger(StrictModel):
    """When a lane looks for new messages."""

    summary: ClassVar[str] = "When a lane looks for new messages: `{interval_ms: N}`, or `available_now`. Exactly one of the two."

    interval_ms: Int | None = Field(
        default=None,
        ge=10,
        le=3_600_000,
        description=f"Time between micro-batches; {FAST_INTERVAL_MS}, or {BULK_INTERVAL_MS:,} with a Delta output.",
    )
    available_now: Bool = Field(
        default=False, description="Take what is there now, in as many micro-batches as needed, then stop."
    )

    def for_spark(self) -> dict[str, Any]:
        """The arguments of Spark's `trigger`."""
        return {"availableNow": True} if self.available_now else {"processingTime": f"{self.interval_ms} milliseconds"}


def _trigger(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if value == "available_now":
        return {"available_now": True}
    raise PydanticCustomError("trigger", "expected {interval_ms: N} or available_now")


def _usual_trigger(fields: dict[str, Any]) -> Trigger:
    bulk = any(isinstance(output, DeltaHistory) for output in fields.get("outputs", {}).values())
    return Trigger(interval_ms=BULK_INTERVAL_MS if bulk else FAST_INTERVAL_MS)


class Lane(StrictModel):
    """One query over the flow's source. Its checkpoint is `<checkpoint>/<lane name>`; renaming a lane starts it over."""

    summary: ClassVar[str] = "One query with its own checkpoint. A slow or failing lane holds up no other."

    outputs: dict[Name, Output] = Field(
        min_length=1,
        description="Outputs by name. With several, each batch is written to them in this order.",
        examples=[{"history": {"type": "delta_history"}}],
    )
    trigger: Annotated[Trigger, BeforeValidator(_trigger)] = Field(
        default_factory=_usual_trigger, description="When the lane looks for new messages; see its own table."
    )
    max_offsets_per_trigger: Int | None = Field(
        default=None,
        ge=1,
        le=10_000_000,
        description="Messages this lane takes per micro-batch at most; the source's when absent.",
    )

    @property
    def writes_delta(self) -> bool:
        """Whether one of its outputs is a Delta table."""
        return any(isinstance(output, DeltaHistory) for output in self.outputs.values())


def usual_lanes(outputs: Mapping[str, AnyOutput]) -> dict[str, Lane]:
    """The lanes of a flow that names outputs only: Aerospike as soon as data is there, Delta every 10 s."""
    parts: dict[str, dict[str, AnyOutput]] = {FAST: {}, BULK: {}}
    for name, output in outputs.items():
        parts[BULK if isinstance(output, DeltaHistory) else FAST][name] = output
    return {lane: Lane(outputs=part) for lane, part in parts.items() if part}


__all__ = ["BULK", "BULK_INTERVAL_MS", "FAST", "FAST_INTERVAL_MS", "Lane", "Trigger", "usual_lanes"]
