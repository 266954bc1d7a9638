"""The output that counts: which records it changes, and what each event adds to them."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from pipelines.flow.aerospike_writes import AerospikeWrites
from pipelines.flow.base import Int, StrictModel, Text
from sinks.aerospike.config import CountersConfig
from sinks.aerospike.count_plan import CountedBin, CountPlan, Doing, Events, KeyKind, KeyRule, Number

MAX_TTL_S = 315_360_000


class Counted(StrictModel):
    """What one bin of the target records holds."""

    summary: ClassVar[str] = (
        "What a bin of the target records holds. `payments: count` is short for `payments: {do: count}`. An event without the "
        "bin `of` or `by` adds nothing to this bin."
    )

    do: Doing = Field(
        description="Count events (count), add up a bin (sum), append a bin's value to a list (append), or keep the last value "
        "of a bin, last in Kafka (last).",
        examples=["count"],
    )
    of: Text | None = Field(
        default=None, description="Bin of the event that is summed, appended or kept; with count: only events that have it."
    )
    by: Text | None = Field(
        default=None,
        description="Bin of the event whose value names an entry: the target bin is then a map, with one count or sum per value.",
    )
    number: Number = Field(
        default="int", description="sum only: whether whole numbers or floats are added; floats take whole numbers, too."
    )
    keep: Int | None = Field(default=None, ge=1, le=10_000, description="append only: the list keeps this many last elements.")


def _counted(value: Any) -> Any:
    return {"do": value} if isinstance(value, str) else value


class TargetKey(StrictModel):
    """Which record an event adds to."""

    summary: ClassVar[str] = (
        "Which record an event adds to. Exactly one of the options. An event without such a key is a dead letter (D210)."
    )

    bin: Text | None = Field(default=None, description="The record whose user key is this bin's value: an int, string or blob.")
    record: Literal["user_key", "digest"] | None = Field(
        default=None, description="The record with the source record's own user key, or with its digest, which every event has."
    )
    constant: Text | None = Field(default=None, description="One record for all events, with this user key.")

    def rule(self) -> KeyRule:
        """The same for the sink."""
        if self.bin is not None:
            return KeyRule("bin", self.bin)
        if self.constant is not None:
            return KeyRule("constant", self.constant)
        kind: KeyKind = self.record or "digest"
        return KeyRule(kind)


class AerospikeCounters(AerospikeWrites):
    """Counts, sums, lists and last values in records of Aerospike, each message exactly once."""

    summary: ClassVar[str] = (
        "Counts, sums, lists and last values in records of an Aerospike namespace; each Kafka message, and each element of one "
        "that holds several, adds to them exactly once."
    )

    type: Literal["aerospike_counters"] = Field(default="aerospike_counters", description="Kind of output.")
    set: Text = Field(max_length=63, description="Set of the target records.", examples=["merchants"])
    key: TargetKey = Field(description="Which record an event adds to; see its own table.", examples=[{"bin": "merchant"}])
    bins: dict[Text, Annotated[Counted, BeforeValidator(_counted)]] = Field(
        min_length=1, description="Bins of the target records by name; see their own table.", examples=[{"payments": "count"}]
    )
    events: Events = Field(
        default="writes", description="Which changes are counted; others are counted as unselected. A delete has no bins."
    )
    ttl_s: Int | None = Field(
        default=None,
        ge=1,
        le=MAX_TTL_S,
        description="Time to live that every change gives its record; when absent records never expire. An expired one begins "
        "anew.",
    )
    mark_set: Text = Field(
        default="_mr_counted",
        max_length=63,
        description="Side set of the namespace that remembers which checkpoint has counted, and how far.",
    )

    def plan(self) -> CountPlan:
        """What an event contributes."""
        bins = (CountedBin(name, c.do, c.of, c.by, c.number, c.keep) for name, c in self.bins.items())
        return CountPlan(self.set, self.key.rule(), tuple(bins), self.events)

    def counters(self, flow: str, name: str, *, suffix: str = "", adopt: bool = False) -> CountersConfig:
        """The sink's configuration for the output called `name` of `flow`, secrets revealed. suffix: behind the writer's name."""
        return CountersConfig(
            name=name,
            writer=f"{flow}/{name}{suffix}",
            client=self.client(),
            namespace=self.namespace,
            mark_set=self.mark_set,
            ttl_s=self.ttl_s,
            adopt=adopt,
            batch_timeout_s=self.batch_timeout_s,
            max_batch_records=self.max_batch_records,
            max_batch_bytes=self.max_batch_bytes,
            batches_in_flight=self.batches_in_flight,
            first_backoff_ms=self.first_backoff_ms,
            max_backoff_ms=self.max_backoff_ms,
        )


__all__ = ["AerospikeCounters", "Counted", "TargetKey"]
