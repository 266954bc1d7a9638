"""Where a flow's messages come from: topics, format, first offsets, and what Spark's Kafka source is told."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, PlainValidator
from pydantic_core import PydanticCustomError

from pipelines.flow.avro import Avro
from pipelines.flow.base import Int, StrictModel, Text, Texts
from pipelines.flow.registry import Registry
from pipelines.flow.secrets import Secret, is_sensitive, secret_from

FAST_ROWS = 20_000
SLOW_ROWS = 200_000
SLOW_TRIGGER_MS = 2_000
"""Rows per micro-batch when the flow names none: a second or two of work for a fast lane; a lane that looks only every few
seconds needs more per look to keep up."""

READ_COMMITTED = "read_committed"
"""The isolation level unless the flow names one: events of a transaction that was aborted never happened."""

REFUSED_OPTIONS: dict[str, str] = {
    "key.deserializer": "Spark reads bytes; Millrace decodes them",
    "value.deserializer": "Spark reads bytes; Millrace decodes them",
    "key.serializer": "nothing is produced to this broker",
    "value.serializer": "nothing is produced to this broker",
    "enable.auto.commit": "offsets are kept in the checkpoint",
    "auto.offset.reset": "use source.starting_offsets",
    "interceptor.classes": "an interceptor could drop or change messages unseen",
    "group.id": "lanes that share a consumer group take each other's partitions",
    "bootstrap.servers": "use source.bootstrap_servers",
}
"""Kafka options that Spark refuses or that would break a promise, and why."""


def _option_value(value: Any) -> str | Secret:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, str):
        return str(value)
    if isinstance(value, (Secret, dict)):
        return secret_from(value)
    raise PydanticCustomError("option_value", "expected text, a number, true or false, or {file: /path}")


def _hide(options: dict[str, str | Secret]) -> dict[str, str | Secret]:
    return {k: secret_from(v) if is_sensitive(k) or (isinstance(v, str) and is_sensitive(v)) else v for k, v in options.items()}


Options = Annotated[dict[Text, Annotated[str | Secret, PlainValidator(_option_value)]], AfterValidator(_hide)]
"""Names to values handed on as they are. A name that sounds secret makes its value a Secret, and so does `{file: /path}`."""


def revealed(options: dict[str, str | Secret]) -> dict[str, str]:
    """Options as plain text, secrets included: only for the call that needs them."""
    return {name: value.reveal() if isinstance(value, Secret) else value for name, value in options.items()}


class Source(StrictModel):
    """Kafka topics that hold XDR change events."""

    summary: ClassVar[str] = "Where messages come from. Every lane reads these topics on its own."

    bootstrap_servers: Texts = Field(min_length=1, description="Kafka brokers, host:port.", examples=[["127.0.0.1:9092"]])
    topics: Texts = Field(min_length=1, description="Topics to read, by name.", examples=[["xdr.payments"]])
    format: Literal["json", "flat-json", "message-pack", "avro", "kafka-avro", "auto"] = Field(
        default="json",
        description="Encoding of the messages, as the connector is set; auto decides for each message by its bytes.",
    )
    metadata_key: Text | None = Field(
        default=None,
        description="Name of the metadata object in flat JSON and Avro, as the connector is set; `metadata` when absent. "
        "flat-json, avro, kafka-avro and auto only.",
    )
    wrapped_in: Text | None = Field(
        default=None,
        description="Member of a JSON object in which a custom formatter has put the message as text; absent: messages are not "
        "wrapped. json, flat-json and auto only.",
    )
    avro: Avro | None = Field(default=None, description="Writer schemas, for avro and auto; see their own table.")
    registry: Registry | None = Field(default=None, description="Schema registry, for kafka-avro and auto; see its own table.")
    image: Literal["full", "partial", "none"] = Field(
        default="full",
        description="What XDR ships of a record: all its bins, changed ones (which a mirror then merges), or none, only that it "
        "changed.",
    )
    starting_offsets: Literal["earliest", "latest"] = Field(
        default="earliest", description="Where a new checkpoint begins. An existing checkpoint goes on where it was."
    )
    max_offsets_per_trigger: Int | None = Field(
        default=None,
        ge=1,
        le=10_000_000,
        description="Messages a lane takes per micro-batch at most. "
        f"When absent: {FAST_ROWS:,}, and {SLOW_ROWS:,} in lanes that trigger every {SLOW_TRIGGER_MS // 1000} s or slower.",
    )
    compacted: Literal["refuse", "accept"] = Field(
        default="refuse",
        description="What to do when a topic is compacted and an output needs every event (a history, or a mirror of partial "
        "images): refuse the start, or accept that events removed before they were read are missing.",
    )
    options: Options = Field(
        default_factory=dict,
        description="Options of the Kafka client without the prefix `kafka.`, such as `security.protocol`. "
        "Values may be secrets.",
    )

    @property
    def servers(self) -> str:
        """The brokers as Kafka clients take them."""
        return ",".join(self.bootstrap_servers)

    @property
    def committed(self) -> bool:
        """Whether only messages of committed transactions are read: unless `isolation.level` says otherwise."""
        return self.options.get("isolation.level", READ_COMMITTED) != "read_uncommitted"

    def client_options(self) -> dict[str, str]:
        """Kafka client options with secrets revealed, `bootstrap.servers` included: for Spark with the prefix `kafka.`."""
        return {"bootstrap.servers": self.servers, **revealed(self.options)}


__all__ = ["FAST_ROWS", "Options", "READ_COMMITTED", "REFUSED_OPTIONS", "SLOW_ROWS", "SLOW_TRIGGER_MS", "Source", "revealed"]
