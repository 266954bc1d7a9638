"""The normal form of a change event: what every XDR encoding is decoded into, and every output reads.

As Spark columns (one row per Kafka message, or per element of one that holds several, in this order):

    topic STRING, partition INT, offset BIGINT, kafka_timestamp TIMESTAMP, key BINARY, value BINARY, element INT,
    namespace STRING, set STRING, digest BINARY, user_key STRUCT<type STRING, value STRING>, op STRING, durable BOOLEAN,
    gen INT, lut_ms BIGINT, exp_s BIGINT, bins ARRAY<STRUCT<name STRING, type STRING, value STRING>>,
    error STRUCT<code STRING, detail STRING>

`element` is the place in a message that holds several, from 0; 0 in any other. `error` is null for a decoded event; else the row
is a dead letter, `code` is a reason of `schemas.reasons` and every column from `namespace` to `bins` may be null. `set` is null
when the record has none (never ""). `user_key` is null when unknown; its type is `int`, `str`, `blob` (Base64) or `float`; in
JSON a blob is a `str`, too: whoever knows the digest decides. `exp_s` is null for "never". `gen` and `lut_ms` are both null when
the server sent no ordering data. `bins` is null in deletes; names are unique (last wins).
Types and value texts are those of `schemas.bins`.
"""

from typing import Any, NamedTuple

WRITE = "write"
DELETE = "delete"

POSITION_DDL = "topic STRING, partition INT, offset BIGINT, kafka_timestamp TIMESTAMP"
EVENT_DDL = (
    f"{POSITION_DDL}, key BINARY, value BINARY, element INT, namespace STRING, `set` STRING, digest BINARY, "
    "user_key STRUCT<type: STRING, value: STRING>, op STRING, durable BOOLEAN, gen INT, lut_ms BIGINT, exp_s BIGINT, "
    "bins ARRAY<STRUCT<name: STRING, type: STRING, value: STRING>>, error STRUCT<code: STRING, detail: STRING>"
)

EVENT_COLUMNS = (
    *("topic", "partition", "offset", "kafka_timestamp", "key", "value", "element"),
    *("namespace", "set", "digest", "user_key", "op", "durable", "gen", "lut_ms", "exp_s", "bins", "error"),
)
"""The columns of EVENT_DDL, in order."""

UserKey = int | str | bytes | float


class ChangeEvent(NamedTuple):
    """One change of one record, in Python, as sinks take it.

    digest:   20 bytes; with the namespace it is the record's identity. Set and user key may be absent.
    user_key: int, str, bytes or float as the source stored it, or None when unknown.
    lut_ms:   last-update time, milliseconds since 1970, or None without ordering data (then gen is None too).
    exp_s:    expiry, seconds since 1970, or None for never. Always None for deletes.
    bins:     the record's whole image by bin name, values as the Aerospike client takes them; empty for deletes.
    topic, partition, offset, element: where the event stood in Kafka; element is its place in a message that holds several.
    """

    namespace: str
    set: str | None
    digest: bytes
    user_key: UserKey | None
    op: str
    gen: int | None
    lut_ms: int | None
    exp_s: int | None
    bins: dict[str, Any]
    topic: str
    partition: int
    offset: int
    element: int = 0


__all__ = ["ChangeEvent", "DELETE", "EVENT_COLUMNS", "EVENT_DDL", "POSITION_DDL", "UserKey", "WRITE"]
