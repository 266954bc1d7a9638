"""What one namespace ships and how badly the road treats it: the options of `--xdr`.

Names, defaults and limits follow the server's XDR configuration where it has the option (`hot-key-ms`, `delay-ms`,
`ship-nsup-deletes`, `bin-policy`) and the connector's where that has it (`metadata-key`, `stringify-map-keys`).
"""

import difflib
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from schemas.errors import ConfigError


class XdrSettings(BaseModel):
    """How the changes of one namespace reach Kafka. Closed and frozen; dashes and underscores in names mean the same."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    namespace: str = Field(min_length=1, max_length=31, description="Namespace whose changes are shipped.")
    topic: str = Field(min_length=1, pattern=r"^[A-Za-z0-9._-]+$", description="Kafka topic; created when it does not exist.")
    partitions: int = Field(3, ge=1, le=1000, description="Partitions of a topic that has to be created.")
    format: str = Field("json", description="Value encoding: json, flat-json, message-pack, avro, kafka-avro; auto mixes them.")
    metadata_key: str = Field(
        "metadata", description="flat-json, avro, kafka-avro: member that holds the metadata; empty in Avro: values carry none."
    )
    stringify_map_keys: bool = Field(True, description="Numeric map keys become strings; off, such a record is skipped.")
    nonfinite: Literal["token", "string", "skip"] = Field(
        "token", description="NaN and infinities: bare token, JSON string, or skip the record. No source shows the real form."
    )
    bin_policy: Literal["all", "only-changed", "no-bins"] = Field("all", description="Which bins a write carries.")
    ship_nsup_deletes: bool = Field(False, description="Ship expirations as deletes.")
    durable_flag: Literal["when-durable", "always", "never"] = Field(
        "when-durable", description="When a delete carries `durable`; real non-durable deletes have no such field."
    )
    delete_versions: bool = Field(
        True, description="message-pack: deletes carry gen and lut; in the documented form they do not."
    )
    schema_file: str | None = Field(None, description="avro, kafka-avro: schema of writes; one for any record when absent.")
    delete_schema_file: str | None = Field(None, description="avro, kafka-avro: schema of deletes.")
    key_schema_file: str | None = Field(None, description="avro, kafka-avro: schema of Kafka keys.")
    registry: str | None = Field(None, description="kafka-avro, auto: address of the schema registry's API, its path included.")
    subjects: Literal["record-name", "topic-record-name"] = Field(
        "topic-record-name", description="kafka-avro: how subjects are named in the registry."
    )
    registry_topic: str | None = Field(None, description="kafka-avro: topic in the names of subjects; the topic when absent.")
    hot_key_ms: int = Field(100, ge=0, le=5000, description="Least time between two shipments of one record.")
    delay_ms: int = Field(0, ge=0, le=5000, description="Wait before a change is shipped; at most hot_key_ms.")
    duplicates: float = Field(0.0, ge=0.0, le=1.0, description="Share of messages sent once more, later.")
    reorder: float = Field(0.0, ge=0.0, le=1.0, description="Share of messages held back while later ones pass.")
    reorder_window_ms: int = Field(2000, ge=1, le=600_000, description="Longest time a message is held back or repeated after.")
    seed: int = Field(0, description="Decides which messages are repeated or held back; same seed, same choice.")
    reship_s: float = Field(
        0.0, ge=0.0, description="After a restart, ship once more every record changed in the last seconds before the stop."
    )

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        data = {str(name).replace("-", "_"): value for name, value in data.items()}
        for name in sorted(data.keys() - cls.model_fields.keys()):
            near = difflib.get_close_matches(name, cls.model_fields, n=1)
            raise ValueError(f"unknown option {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
        return data

    @model_validator(mode="after")
    def _fits_together(self) -> "XdrSettings":
        # Imported here: the formats read these settings, so the registry cannot be imported first.
        from deploy.local.xdr.formats import FORMATS

        if self.format not in FORMATS:
            raise ValueError(f"unknown format {self.format!r}; known: {', '.join(sorted(FORMATS))}")
        if not self.metadata_key and self.format not in ("avro", "kafka-avro"):
            raise ValueError("metadata_key is empty: only avro and kafka-avro can do without metadata")
        # The server has the same rule: a delay longer than the throttle would make the throttle meaningless.
        if self.delay_ms > self.hot_key_ms:
            raise ValueError(f"delay_ms ({self.delay_ms}) must not exceed hot_key_ms ({self.hot_key_ms})")
        return self


def parse_settings(text: str) -> XdrSettings:
    """Read `name=value,name=value`, the form `--xdr` takes.

    Raises ConfigError E143 naming the option that is unknown, repeated, missing or out of range.
    """
    values: dict[str, str] = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        name, equals, value = part.partition("=")
        name = name.strip().replace("-", "_")
        if not equals:
            raise ConfigError("E143", f"--xdr: {part!r} is not name=value", option="xdr")
        if name in values:
            raise ConfigError("E143", f"--xdr: option {name!r} is given twice", option="xdr")
        values[name] = value.strip()
    try:
        return XdrSettings.model_validate(values)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, issue['loc'])) + ': ' if issue['loc'] else ''}{issue['msg'].removeprefix('Value error, ')}"
            for issue in error.errors()
        )
        raise ConfigError("E143", f"--xdr: {problems}", option="xdr") from None


__all__ = ["XdrSettings", "parse_settings"]
