"""Read messages every way there is and insist that all ways agree; golden cases of messages and what must become of them."""

import json
import math
from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from schemas.bins import BinType
from schemas.events import ChangeEvent
from schemas.tables import TYPED_COLUMN, bin_columns
from schemas.xdr import DecodeOptions, RecordType
from schemas.xdr.arrow import events_from_arrow
from schemas.xdr.columns import DECODED, apart_column, apart_of
from schemas.xdr.normal_form import Read
from schemas.xdr.options import AvroSchemas
from schemas.xdr.reader import Events, Reader
from schemas.xdr.schema_source import SchemaSource
from sinks.delta.history_columns import HistoryRows
from tests.support.avro_messages import MemorySchemas

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "xdr"
FIELDS = ("namespace", "set", "digest", "user_key", "op", "durable", "gen", "lut_ms", "exp_s", "bins")


@dataclass(frozen=True)
class Case:
    """One message: `event` as FIELDS, or `dead` as (code, words of the detail). key: its Kafka key, where it matters."""

    name: str
    message: bytes | None
    event: dict[str, Any] | None
    dead: tuple[str, str] | None
    key: bytes | None = None


def golden(name: str) -> tuple[DecodeOptions, list[Case]]:
    """The options and cases of tests/golden/xdr/<name>.json."""
    document = json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))
    given = dict(document["options"])
    records = tuple(
        RecordType(entry["namespace"], tuple(entry["sets"]), {bin: BinType(kind) for bin, kind in entry["bins"].items()})
        for entry in given.pop("records", ())
    )
    avro = given.pop("avro", None)
    schemas = avro and AvroSchemas(**{name: json.dumps(schema) for name, schema in avro.items()})
    return DecodeOptions(**given, avro=schemas, records=records), [_case(row) for row in document["cases"]]


def golden_readings(name: str) -> tuple[list[Case], list[Read]]:
    """The cases of tests/golden/xdr/<name>.json and what is read of each, every way there is."""
    options, cases = golden(name)
    schemas = json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8")).get("schemas")
    source = schemas and MemorySchemas({int(schema_id): schema for schema_id, schema in schemas.items()})
    readings, _ = read_all_ways([case.message for case in cases], options, [case.key for case in cases], source)
    return cases, readings


def _case(row: dict[str, Any]) -> Case:
    if "message_base64" in row:
        message: bytes | None = b64decode(row["message_base64"])
    else:
        message = None if row["message"] is None else row["message"].encode("utf-8")
    dead = tuple(row["dead"]) if "dead" in row else None
    key = b64decode(row["key_base64"]) if "key_base64" in row else None
    return Case(f"{row['case']} {row['about']}", message, row.get("event"), dead, key)


def as_messages(values: Sequence[bytes | None], keys: Sequence[bytes | None] | None = None) -> pa.Table:
    """Values as a window of messages; the offset is the place in the list."""
    rows = range(len(values))
    names = {"topic": pa.string(), "partition": pa.int32(), "offset": pa.int64(), "key": pa.binary(), "value": pa.binary()}
    columns = (["xdr"] * len(values), [3] * len(values), list(rows), list(keys or [None] * len(values)), list(values))
    return pa.table(dict(zip(names, columns, strict=True)), pa.schema(names))


def read_all_ways(
    values: Sequence[bytes | None],
    options: DecodeOptions,
    keys: Sequence[bytes | None] | None = None,
    schemas: SchemaSource | None = None,
) -> tuple[list[Read], Events]:
    """What the thorough reader says of each message, and the events; asserts that events and table say just that, too."""
    reader = Reader(options, schemas)
    messages = as_messages(values, keys)
    apart = [reader.read(value, key) for value, key in zip(values, messages.column("key").to_pylist(), strict=True)]
    readings = [reading for several in apart for reading in several]
    placed = [(row, element) for row, several in enumerate(apart) for element in range(len(several))]
    columns, rows, taken = reader.table(messages)
    table = pa.Table.from_arrays(columns, schema=DECODED)
    table.validate(full=True)
    _same_history(reader, messages, readings)
    assert list(zip(rows or range(len(values)), table.column("element").to_pylist(), strict=True)) == placed
    for (place, element), row, reading, take in zip(placed, table.to_pylist(), readings, taken, strict=True):
        said = _row(reading if take else reading._replace(bins=None), element)
        if not take:
            row["bins"] = None
        assert row == said, f"message {place}, {values[place]!r}: the table says otherwise"
    events = reader.events(messages)
    messages = messages if rows is None else messages.take(pa.array(rows))
    for name in DECODED.names:
        messages = messages.append_column(name, table.column(name))
    wanted = events_from_arrow(messages.filter(pa.array(taken, pa.bool_())))
    assert list(map(comparable, events.events)) == [comparable(event) for event in wanted.events if event is not None]
    refused = [(found.code, found.detail, found.decoded) for found in events.rejections]
    assert refused == [(found.code, found.detail, found.decoded) for found in wanted.rejections]
    assert events.total == len(readings)
    assert [event.offset for event in events.events] == events.rows
    return readings, events


def _same_history(reader: Reader, messages: pa.Table, readings: Sequence[Read]) -> None:
    """Assert that bins taken apart come to the same rows of a history; of two types a bin comes with the first is declared."""
    declared: dict[str, BinType] = {}
    for name, kind, _ in (entry for reading in readings for entry in reading.bins or ()):
        if kind in TYPED_COLUMN:
            declared.setdefault(name, BinType(kind))
    made = []
    for apart in ((), apart_of(bin_columns(declared).typed)):
        columns, rows, _ = reader.table(messages, apart)
        given = messages if rows is None else messages.take(pa.array(rows, pa.int64()))
        places = [given.column(name).combine_chunks() for name in ("topic", "partition", "offset")]
        times = pa.array([0] * len(given), pa.timestamp("us", tz="UTC"))
        names = ["topic", "partition", "offset", "kafka_timestamp", *DECODED.names, *(apart_column(name) for name, _ in apart)]
        batch = pa.RecordBatch.from_arrays([*places, times, *columns], names)
        origin = {"flow": "f", "output": "o", "epoch": "e", "batch_id": 0}
        made.append([repr(row) for rows in HistoryRows(declared, origin)(iter([batch])) for row in rows.to_pylist()])
    assert made[0] == made[1]


def _row(reading: Read, element: int) -> dict[str, Any]:
    said = reading.metadata
    names = ("namespace", "set", "digest", "op", "durable", "gen", "lut_ms", "exp_s")
    return {
        "element": element,
        **{name: getattr(said, name) for name in names},
        "user_key": said.user_key and dict(zip(("type", "value"), said.user_key, strict=True)),
        "bins": reading.bins and [dict(zip(("name", "type", "value"), entry, strict=True)) for entry in reading.bins],
        "error": reading.error and dict(zip(("code", "detail"), reading.error, strict=True)),
    }


def exact(value: Any) -> Any:
    """A value that compares type by type, and floats bit by bit."""
    if isinstance(value, float):
        return "float", "nan" if math.isnan(value) else value.hex()
    if isinstance(value, list):
        return type(value), [exact(item) for item in value]
    if isinstance(value, dict):
        return type(value), [(key, exact(item)) for key, item in value.items()]
    return type(value), value


def comparable(event: ChangeEvent) -> Any:
    """An event that compares bin by bin, type by type, bit by bit."""
    return event._replace(bins={}), [(name, exact(value)) for name, value in event.bins.items()]


def plain(reading: Read) -> dict[str, Any]:
    """A reading in the spelling of the golden files."""
    said = reading.metadata
    return {
        **{name: getattr(said, name) for name in FIELDS if name != "bins"},
        "digest": said.digest and b64encode(said.digest).decode(),
        "user_key": said.user_key and list(said.user_key),
        "bins": None if reading.bins is None else [list(entry) for entry in reading.bins],
    }


def difference(case: Case, reading: Read) -> str | None:
    """What was read otherwise than the case says; None when nothing was."""
    got = plain(reading)
    if case.dead is None:
        if reading.error is not None:
            return f"{case.name}: {reading.error}"
        wanted = case.event or {}
        wrong = {name: (got[name], wanted.get(name)) for name in FIELDS if got[name] != wanted.get(name)}
        return f"{case.name}: (got, want) {wrong}" if wrong else None
    if reading.error is None:
        return f"{case.name}: not a dead letter, want {case.dead}, got {got}"
    if not reading.error[0].startswith(case.dead[0]) or case.dead[1] not in reading.error[1]:
        return f"{case.name}: {reading.error}, want {case.dead}"
    return None if reading.bins is None else f"{case.name}: a dead letter carries bins"
