"""Where a flow's dead letters go, whom else they are told, and how many of them are too many."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from pipelines.flow.base import Float, Int, StrictModel, Text, Texts
from pipelines.flow.source import Options, revealed

Action = Literal["off", "warn", "stop"]


class Table(StrictModel):
    """A Delta table Millrace keeps for the flow."""

    summary: ClassVar[str] = "A Delta table kept for the flow."

    path: Text = Field(
        description="Folder of the table; a path or a URL Spark can write.", examples=[".millrace/data/dead_letters"]
    )


class LettersTopic(StrictModel):
    """A Kafka topic that gets every dead letter, too."""

    summary: ClassVar[str] = (
        "A Kafka topic that gets every dead letter, too, before its batch counts as done. A repeated batch may send a letter "
        "again, under the same key. Nothing is read back from it: the table is what counts."
    )

    name: Text = Field(description="Name of the topic; it must exist.", examples=["xdr.payments.dead"])
    bootstrap_servers: Texts | None = Field(
        default=None, min_length=1, description="Kafka brokers, host:port; the source's, with the source's options, when absent."
    )
    options: Options = Field(
        default_factory=dict,
        description="Options of the Kafka client that differ from the source's, or all of them for brokers of their own. "
        "Values may be secrets.",
    )
    timeout_s: Float = Field(
        default=30.0, gt=0, le=3_600, description="Time for the letters of one micro-batch; then the batch is repeated."
    )


class LetterLimits(StrictModel):
    """How many dead letters are too many."""

    summary: ClassVar[str] = (
        "How many dead letters are too many: a person should look before a bad deployment becomes a million of them. `stop` ends "
        "the flow before the batch is committed and before its letters are written (E450); mended and started again, the batch "
        "is repeated."
    )

    share: Float = Field(
        default=0.5, gt=0, le=1, description="Share of dead letters among the events of one micro-batch in one output, 0 to 1."
    )
    share_action: Action = Field(default="warn", description="What happens when a batch holds a larger share.")
    share_min_events: Int = Field(
        default=1_000, ge=1, le=100_000_000, description="Batches of fewer events are not judged by their share."
    )
    per_hour: Int = Field(
        default=100_000,
        ge=1,
        description="Dead letters of one lane in an hour, counted since the flow was started and over its last hour at most.",
    )
    per_hour_action: Action = Field(default="warn", description="What happens when there are more.")


class DeadLetters(Table):
    """The table of dead letters, and what belongs to it."""

    summary: ClassVar[str] = "What could not be decoded or written. A path alone may stand here, too."

    states: Text = Field(
        default_factory=lambda fields: str(fields.get("path", "")).rstrip("/") + "_states",
        description="Table of what was done about letters (replayed, dropped); the letters' path with `_states` when absent.",
    )
    topic: Annotated[LettersTopic | None, BeforeValidator(lambda value: {"name": value} if isinstance(value, str) else value)] = (
        Field(default=None, description="Topic that gets every letter, too; see its own table.")
    )
    limits: LetterLimits = Field(default_factory=LetterLimits, description="How many are too many; see its own table.")


def _path_alone(value: Any) -> Any:
    if isinstance(value, str):
        return {"path": value}
    return {"path": value.path} if type(value) is Table else value


TableField = Annotated[Table, BeforeValidator(_path_alone)]
DeadLettersField = Annotated[DeadLetters, BeforeValidator(_path_alone)]


def topic_client(topic: LettersTopic, source_options: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """Brokers and client options of a letters' topic, secrets revealed.

    source_options: the source's client options, `bootstrap.servers` included; they are the topic's, too, unless it names brokers.
    """
    options = {} if topic.bootstrap_servers else dict(source_options)
    servers = ",".join(topic.bootstrap_servers) if topic.bootstrap_servers else options["bootstrap.servers"]
    options.pop("bootstrap.servers", None)
    return servers, options | revealed(topic.options)


__all__ = [
    "Action",
    "DeadLetters",
    "DeadLettersField",
    "LetterLimits",
    "LettersTopic",
    "Table",
    "TableField",
    "topic_client",
]
