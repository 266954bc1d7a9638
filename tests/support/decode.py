"""Decode a list of messages in one Spark job, and golden cases of messages and what must become of them."""

import json
from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame, SparkSession

from schemas.bins import BinType
from schemas.events import EVENT_DDL
from schemas.xdr import DecodeOptions, RecordType
from schemas.xdr.decode import decode

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "xdr"
KAFKA_DDL = "key BINARY, value BINARY, topic STRING, partition INT, offset BIGINT, timestamp TIMESTAMP, timestampType INT"
FIELDS = ("namespace", "set", "digest", "user_key", "op", "durable", "gen", "lut_ms", "exp_s", "bins")


@dataclass(frozen=True)
class Case:
    """One message: `event` as FIELDS, or `dead` as (code, words of the detail)."""

    name: str
    message: bytes | None
    event: dict[str, Any] | None
    dead: tuple[str, str] | None


def golden(name: str) -> tuple[DecodeOptions, list[Case]]:
    """The options and cases of tests/golden/xdr/<name>.json."""
    document = json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))
    given = dict(document["options"])
    records = tuple(
        RecordType(entry["namespace"], tuple(entry["sets"]), {bin: BinType(kind) for bin, kind in entry["bins"].items()})
        for entry in given.pop("records", ())
    )
    return DecodeOptions(**given, records=records), [_case(row) for row in document["cases"]]


def _case(row: dict[str, Any]) -> Case:
    if "message_base64" in row:
        message: bytes | None = b64decode(row["message_base64"])
    else:
        message = None if row["message"] is None else row["message"].encode("utf-8")
    dead = tuple(row["dead"]) if "dead" in row else None
    return Case(f"{row['case']} {row['about']}", message, row.get("event"), dead)


def as_kafka(spark: SparkSession, messages: Sequence[bytes | None]) -> DataFrame:
    """Messages as Spark's Kafka source gives them; the offset is the place in the list."""
    return spark.createDataFrame([(b"k", value, "xdr", 3, offset, None, 0) for offset, value in enumerate(messages)], KAFKA_DDL)


def decoded(spark: SparkSession, messages: Sequence[bytes | None], options: DecodeOptions) -> list[dict[str, Any]]:
    """Each message as `plain` tells it, in the order given."""
    frame = decode(as_kafka(spark, messages), options)
    assert frame.schema == spark.createDataFrame([], EVENT_DDL).schema
    return [plain(row.asDict(recursive=True)) for row in sorted(frame.collect(), key=lambda row: row.offset)]


def plain(row: dict[str, Any]) -> dict[str, Any]:
    """A decoded row in the spelling of the golden files."""
    key, bins = row["user_key"], row["bins"]
    return {
        **row,
        "digest": row["digest"] and b64encode(row["digest"]).decode(),
        "user_key": key and [key["type"], key["value"]],
        "bins": None if bins is None else [[bin["name"], bin["type"], bin["value"]] for bin in bins],
        "error": row["error"] and (row["error"]["code"], row["error"]["detail"]),
    }


def differences(cases: Sequence[Case], rows: Sequence[dict[str, Any]]) -> list[str]:
    """What was decoded otherwise than the cases say; empty when nothing was."""
    found = []
    for case, row in zip(cases, rows, strict=True):
        got = {name: row[name] for name in FIELDS}
        if case.dead is None:
            if row["error"] is not None or got != case.event:
                wrong = {
                    name: (got[name], (case.event or {}).get(name))
                    for name in FIELDS
                    if got[name] != (case.event or {}).get(name)
                }
                found.append(f"{case.name}: {row['error'] or f'(got, want) {wrong}'}")
        elif row["error"] is None:
            found.append(f"{case.name}: not a dead letter, want {case.dead}, got {got}")
        elif not row["error"][0].startswith(case.dead[0]) or case.dead[1] not in row["error"][1]:
            found.append(f"{case.name}: {row['error']}, want {case.dead}")
        elif row["bins"] is not None:
            found.append(f"{case.name}: a dead letter carries bins")
    return found
