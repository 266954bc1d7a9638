"""The promise of the Delta outputs: every event and every dead letter once, whatever is repeated, killed or decoded anew."""

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable
from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql import functions as F

from pipelines.reconcile.state import bins_in_normal_form
from schemas.bins import BinType
from schemas.errors import Retryable, Terminal
from schemas.events import EVENT_DDL
from schemas.ledger import LEDGER_DDL
from schemas.tables import DEAD_LETTERS_DDL, history_ddl
from sinks.contract import Fence
from sinks.delta import history as history_module
from sinks.delta.counts import BatchCounts
from sinks.delta.ddl import delta_schema
from sinks.delta.dead_letters import DeadLetters
from sinks.delta.history import DeltaHistory
from sinks.delta.history_columns import HistoryRows
from sinks.delta.table_log import read_log
from tests.support.delta_rows import stored_rows

pytestmark = pytest.mark.spark

KAFKA_TIME = datetime(2026, 3, 1, 23, 59, 59, 999000, UTC)
LUT = 1_767_225_599_999  # 2025-12-31T23:59:59.999Z
DDL = f"{EVENT_DDL}, selected BOOLEAN, headers ARRAY<STRUCT<key: STRING, value: BINARY>>"
BASE: dict[str, Any] = {
    "topic": "t", "partition": 0, "element": 0, "kafka_timestamp": KAFKA_TIME, "key": b"k", "value": b"v", "namespace": "n",
    "set": "s", "digest": bytes(range(20)), "user_key": ("int", "7"), "op": "write", "durable": None, "gen": 1, "lut_ms": LUT,
    "exp_s": None, "bins": [("a", "int", "1")], "error": None, "selected": True, "headers": None,
}  # fmt: skip
DELETE = {"op": "delete", "bins": None, "user_key": None, "durable": True, "gen": 2}
DEAD = {"error": ("D102", "not JSON at 0"), "namespace": None, "set": None, "digest": None, "op": None, "bins": None, "gen": None,
        "lut_ms": None, "user_key": None, "value": b"\xff{"}  # fmt: skip


def batch(spark: SparkSession, *changes: dict[str, Any], first: int = 0) -> DataFrame:
    """Rows in normal form, offsets counted from `first`."""
    columns = [field.name for field in spark.createDataFrame([], DDL).schema]
    rows = [{**BASE, "offset": first + place, **change} for place, change in enumerate(changes)]
    return spark.createDataFrame([tuple(row[name] for name in columns) for row in rows], DDL)


BOTH_WAYS = pytest.mark.parametrize("table", ["by workers", "by Spark"], indirect=True)


@pytest.fixture(params=["by workers"])
def table(request: pytest.FixtureRequest, spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Makes history outputs of one table; each call is a driver that started anew. By Spark: as where workers may not write."""
    if request.param == "by Spark":
        monkeypatch.setattr(history_module, "takes_files", lambda *_: False)

    def start(declared: dict[str, BinType] | None = None) -> DeltaHistory:
        history = DeltaHistory("f", "o", str(tmp_path / "history"), declared)
        history.prepare()
        return history

    yield start


def rows_of(path: str) -> list[Row]:
    return stored_rows(path, "epoch", "batch_id", "offset")


def seen_by_spark(spark: SparkSession, path: str) -> list[Row]:
    return spark.read.format("delta").load(path).orderBy("epoch", "batch_id", "offset").collect()


@pytest.mark.parametrize(
    "ddl", [LEDGER_DDL, DEAD_LETTERS_DDL, history_ddl(None), history_ddl({}), history_ddl({k.value: k for k in BinType})]
)
def test_the_contracts_mean_the_same_to_spark(spark: SparkSession, tmp_path: Path, ddl: str) -> None:
    DeltaTable.create(str(tmp_path / "t"), delta_schema(ddl))
    assert spark.read.format("delta").load(str(tmp_path / "t")).schema == spark.createDataFrame([], ddl).schema


@BOTH_WAYS
def test_a_batch_is_written_once_and_counts_the_same_every_time(spark: SparkSession, table: Any) -> None:
    frame = batch(
        spark, {}, DELETE, DEAD, {"selected": False, "lut_ms": LUT + 9}, {"selected": None}, {**DEAD, "selected": False}
    )
    first = table().write(frame, Fence("e1", 0))
    assert first == BatchCounts(messages=6, rows_read=6, unselected=2, applied=2, dead=2, unversioned=0, max_lut_ms=LUT)
    assert first.events_in == first.applied + first.dead
    history = table()
    written = rows_of(history.path)
    assert [row.offset for row in written] == [0, 1]
    assert history.write(frame, Fence("e1", 0)) == replace(first, replayed=True), "after a restart"
    assert history.write(frame, Fence("e1", 0)) == replace(first, replayed=True), "without a restart"
    assert rows_of(history.path) == written

    fresh = history.write(frame, Fence("e2", 0))
    assert fresh == first, "batch 0 of a new checkpoint is not batch 0 of the old one"
    assert [(row.epoch, row.batch_id, row.offset) for row in rows_of(history.path)] == [
        ("e1", 0, 0), ("e1", 0, 1), ("e2", 0, 0), ("e2", 0, 1),
    ]  # fmt: skip
    assert {app: txn.version for app, txn in read_log(history.path).stored.items()} == {
        "millrace/f/o/e1": 0,
        "millrace/f/o/e2": 0,
    }


def test_batches_without_events_count_too(spark: SparkSession, table: Any) -> None:
    history = table()
    assert history.write(batch(spark), Fence("e", 0)) == BatchCounts(0, 0, 0, 0, 0, 0, None)
    assert history.write(batch(spark, {"selected": False}), Fence("e", 1)) == BatchCounts(1, 1, 1, 0, 0, 0, None)
    assert history.write(batch(spark, DEAD), Fence("e", 2)) == BatchCounts(1, 1, 0, 0, 1, 0, None)
    assert table().write(batch(spark, DEAD), Fence("e", 2)) == BatchCounts(1, 1, 0, 0, 1, 0, None, replayed=True)
    assert rows_of(history.path) == []


def test_without_a_column_selected_every_event_counts(spark: SparkSession, table: Any) -> None:
    frame = batch(spark, {}, {"selected": False}, DEAD).drop("selected")
    assert table().write(frame, Fence("e", 0)) == BatchCounts(3, 3, 0, 2, 1, 0, LUT)


@BOTH_WAYS
def test_killed_after_the_commit_before_anyone_knew(spark: SparkSession, table: Any) -> None:
    class Killed(BaseException):
        pass

    def kill(*_: object) -> None:
        raise Killed

    frame = batch(spark, {}, DEAD)
    history = table()
    with pytest.raises(Killed):
        history.write(frame, Fence("e", 0), passed=lambda place: kill() if place == "log" else None)
    assert len(rows_of(history.path)) == 1, "the append must have happened, else this proves nothing"
    for driver in (history, table()):
        assert driver.write(frame, Fence("e", 0)) == BatchCounts(2, 2, 0, 1, 1, 0, LUT, replayed=True)
    assert len(rows_of(history.path)) == 1


def test_killed_before_the_commit_when_the_data_files_are_there(spark: SparkSession, table: Any) -> None:
    class Killed(BaseException):
        pass

    def kill(place: str) -> None:
        if place == "files":
            raise Killed

    history = table()
    with pytest.raises(Killed):
        history.write(batch(spark, {}, DEAD), Fence("e", 0), passed=kill)
    left = list(Path(history.path).rglob("*.parquet"))
    assert len(left) == 1 and rows_of(history.path) == []
    for driver in (history, table()):
        assert driver.write(batch(spark, {}, DEAD), Fence("e", 0)).applied == 1
    assert len(rows_of(history.path)) == 1


def test_a_table_whose_features_change_is_left_to_spark(spark: SparkSession, table: Any) -> None:
    """Column mapping: names in the files are others than in the table."""
    history = table()
    history.write(batch(spark, {}), Fence("e", 0))
    spark.sql(
        f"ALTER TABLE delta.`{history.path}` SET TBLPROPERTIES "
        "('delta.columnMapping.mode' = 'name', 'delta.minReaderVersion' = '2', 'delta.minWriterVersion' = '5')"
    )
    later = batch(spark, {}, first=1)
    with pytest.raises(Retryable, match=r"E230.*features were changed"):
        history.write(later, Fence("e", 1))
    assert history.write(later, Fence("e", 1)).applied == 1, "the next attempt is Spark's"
    assert table().write(batch(spark, {}, first=2), Fence("e", 2)).applied == 1
    assert [row.offset for row in seen_by_spark(spark, history.path)] == [0, 1, 2]


@BOTH_WAYS
def test_a_batch_somebody_else_wrote_meanwhile_does_not_hang(
    spark: SparkSession, table: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, zombie = table(), table()
    for driver in (ours, zombie):
        driver.write(batch(spark, {}), Fence("e", 0))
    later = batch(spark, {}, {}, first=5)
    zombie.write(later, Fence("e", 1))
    assert ours.write(later, Fence("e", 1)) == BatchCounts(2, 2, 0, 2, 0, 0, LUT, replayed=True)
    assert [row.offset for row in rows_of(ours.path)] == [0, 5, 6]


def test_a_batch_older_than_the_table_is_refused_not_skipped(spark: SparkSession, table: Any) -> None:
    history = table()
    history.write(batch(spark, {}), Fence("e", 3))
    with pytest.raises(Terminal, match=r"E422.*batch 2 is to be written, but the table holds batches up to 3"):
        table().write(batch(spark, {}, first=9), Fence("e", 2))
    assert len(rows_of(history.path)) == 1


def test_a_replay_that_decodes_more_loses_nothing(spark: SparkSession, table: Any) -> None:
    table().write(batch(spark, {}, DEAD, DEAD), Fence("e", 0))
    cured = batch(spark, {}, {}, DEAD)
    for _ in range(2):
        assert table().write(cured, Fence("e", 0)) == BatchCounts(3, 3, 0, 2, 1, 0, LUT, replayed=True)
    history = table()
    assert history.write(batch(spark, {}, {}, {}), Fence("e", 0)).applied == 3
    assert [(row.batch_id, row.offset) for row in rows_of(history.path)] == [(0, 0), (0, 1), (0, 2)]


def test_schemaless_rows(spark: SparkSession, table: Any) -> None:
    bins = [("a", "int", "9223372036854775807"), ("A", "str", ""), ("naïve $.-", "map:key", '{"k":1}'), ("gone", "null", None)]
    history = table()
    history.write(batch(spark, {"bins": bins, "exp_s": 5, "durable": False}, DELETE, {"bins": []}), Fence("e", 4))
    write, delete, empty = seen_by_spark(spark, history.path)
    assert rows_of(history.path) == [write, delete, empty]
    assert write.asDict() == {
        "namespace": "n", "set": "s", "digest": bytearray(range(20)), "user_key": Row(type="int", value="7"), "op": "write",
        "durable": False, "gen": 1, "lut_ms": LUT, "exp_s": 5,
        "bins": {name: Row(type=kind, value=value) for name, kind, value in bins},
        "topic": "t", "partition": 0, "offset": 0, "element": 0, "kafka_timestamp": KAFKA_TIME.replace(tzinfo=None),
        "flow": "f", "output": "o", "epoch": "e", "batch_id": 4, "lut_date": date(2025, 12, 31),
    }  # fmt: skip
    assert (delete.op, delete.bins, delete.durable, delete.user_key) == ("delete", None, True, None)
    assert empty.bins == {}
    assert normal_bins(spark, history) == [sorted(bins), [], []]


def normal_bins(spark: SparkSession, history: DeltaHistory) -> list[list[tuple[str, str, str | None]]]:
    frame = spark.read.format("delta").load(history.path).orderBy("offset")
    column = F.coalesce(bins_in_normal_form(history.declared, frame.schema), F.array())
    return [sorted(tuple(entry) for entry in row.b) for row in frame.select(column.alias("b")).collect()]


DECLARED = {
    "i": BinType.INT, "f": BinType.FLOAT, "s": BinType.STR, "t": BinType.BOOL, "b": BinType.BLOB, "h": BinType.HLL,
    "l": BinType.LIST, "m": BinType.MAP, "g": BinType.GEOJSON, "dot.ted": BinType.INT, "twin": BinType.INT, "Twin": BinType.INT,
    "sp ace": BinType.STR,
}  # fmt: skip
FITS = [
    ("i", "int", "-9223372036854775808"), ("f", "float", "-0.1"), ("s", "str", "žluť \U0001f40e\x00\n"), ("t", "bool", "false"),
    ("b", "blob", ""), ("h", "hll", "AAH/"), ("l", "list", "[1,2.50,\"x\"]"), ("m", "map", "{\"b\":1,\"a\":null}"),
    ("g", "geojson", '{"type":"Point","coordinates":[1,2]}'), ("dot.ted", "int", "0"),
]  # fmt: skip
ASIDE = [("twin", "int", "1"), ("Twin", "int", "2"), ("sp ace", "str", "x"), ("undeclared", "int", "3")]
OTHER_TYPES = [
    ("i", "str", "1"), ("f", "int", "1"), ("s", "null", None), ("t", "str", "true"), ("b", "str", "AA=="), ("l", "map", "{}"),
    ("I", "int", "5"),
]  # fmt: skip
UNREADABLE = [("i", "int", "9223372036854775808"), ("f", "float", "1e999"), ("t", "bool", "yes"), ("b", "blob", "A")]
FINER = [("l", "list:ordered", "[1]"), ("m", "map:key-value", "{}")]


@BOTH_WAYS
def test_declared_bins_become_columns_and_nothing_else_is_dropped(spark: SparkSession, table: Any) -> None:
    history = table(DECLARED)
    assert set(history.bins_kept_aside) == {"twin", "Twin", "sp ace"}
    images = [[*FITS, *ASIDE], OTHER_TYPES, UNREADABLE, FINER, []]
    history.write(batch(spark, *({"bins": image} for image in images), DELETE), Fence("e", 0))
    rows = seen_by_spark(spark, history.path)
    assert rows_of(history.path) == rows
    assert rows[0].bins.asDict() == {
        "i": -(2**63), "f": -0.1, "s": "žluť \U0001f40e\x00\n", "t": False, "b": bytearray(), "h": bytearray(b"\x00\x01\xff"),
        "l": '[1,2.50,"x"]', "m": '{"b":1,"a":null}', "g": '{"type":"Point","coordinates":[1,2]}', "dot.ted": 0,
    }  # fmt: skip
    assert rows[0]._rescued == {name: Row(type=kind, value=value) for name, kind, value in ASIDE}
    assert rows[0].bin_types is None
    for row, image in ((rows[1], OTHER_TYPES), (rows[2], UNREADABLE)):
        assert set(row.bins.asDict().values()) == {None}
        assert row._rescued == {name: Row(type=kind, value=value) for name, kind, value in image}
    assert (rows[3].bins.l, rows[3].bins.m, rows[3]._rescued) == ("[1]", "{}", None)
    assert rows[3].bin_types == {"l": "list:ordered", "m": "map:key-value"}
    assert set(rows[4].bins.asDict().values()) == {None} and rows[4]._rescued is None
    assert (rows[5].bins, rows[5]._rescued, rows[5].bin_types) == (None, None, None)
    assert normal_bins(spark, history) == [sorted(image, key=lambda entry: entry[:2]) for image in (*images, [])]


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1.7976931348623157E308", "4.9E-324"])
def test_doubles_at_the_edges(spark: SparkSession, text: str) -> None:
    origin = {"flow": "f", "output": "o", "epoch": "e", "batch_id": 0}
    declared = {"f": BinType.FLOAT}
    rows = batch(spark, {"bins": [("f", "float", text)]}).mapInArrow(HistoryRows(declared, origin), history_ddl(declared))
    row = rows.first()
    assert row is not None and row._rescued is None
    assert row.bins.f == float(text) or (text == "NaN" and math.isnan(row.bins.f))


def test_only_bins_that_cannot_be_columns(spark: SparkSession, table: Any) -> None:
    history = table({"a": BinType.INT, "A": BinType.INT})
    history.write(batch(spark, {"bins": [("a", "int", "1"), ("A", "int", "2")]}), Fence("e", 0))
    assert normal_bins(spark, history) == [[("A", "int", "2"), ("a", "int", "1")]]


@BOTH_WAYS
def test_a_newly_declared_bin_becomes_a_column_with_the_next_batch(spark: SparkSession, table: Any) -> None:
    table({"a": BinType.INT}).write(batch(spark, {"bins": [("a", "int", "1"), ("b", "str", "x")]}), Fence("e", 0))
    grown = table({"b": BinType.STR, "a": BinType.INT})
    grown.write(batch(spark, {"bins": [("a", "int", "2"), ("b", "str", "y")]}, first=1), Fence("e", 1))
    table({"b": BinType.STR}).write(batch(spark, {"bins": [("a", "int", "3"), ("b", "str", "z")]}, first=2), Fence("e", 2))
    rows = seen_by_spark(spark, grown.path)
    assert [row.bins.asDict() for row in rows] == [{"a": 1, "b": None}, {"a": 2, "b": "y"}, {"a": None, "b": "z"}]
    assert [row._rescued for row in rows] == [{"b": Row(type="str", value="x")}, None, {"a": Row(type="int", value="3")}]


def test_dates_are_utc_in_any_session_and_fall_back_to_kafkas_time(spark: SparkSession, table: Any) -> None:
    history = table()
    zone = spark.conf.get("spark.sql.session.timeZone")
    spark.conf.set("spark.sql.session.timeZone", "Pacific/Auckland")
    try:
        luts = [LUT, LUT + 1, 0, None]
        history.write(batch(spark, *({"lut_ms": lut, "gen": None if lut is None else 1} for lut in luts)), Fence("e", 0))
    finally:
        spark.conf.set("spark.sql.session.timeZone", zone)
    dates = [row.lut_date for row in rows_of(history.path)]
    assert dates == [date(2025, 12, 31), date(2026, 1, 1), date(1970, 1, 1), date(2026, 3, 1)]


def test_the_log_keeps_statistics_of_what_people_look_up(spark: SparkSession, table: Any) -> None:
    history = table()
    history.write(batch(spark, {}), Fence("e", 0))
    commit = (Path(history.path) / "_delta_log" / f"{1:020d}.json").read_text()
    added = next(action["add"] for action in map(json.loads, commit.splitlines()) if "add" in action)
    assert added["partitionValues"] == {"lut_date": "2025-12-31"}
    least = json.loads(added["stats"])["minValues"]
    assert least["lut_ms"] == LUT and least["batch_id"] == 0 and least["namespace"] == "n" and "bins" not in least


# dead letters


@pytest.fixture
def letters(tmp_path: Path) -> DeadLetters:
    table = DeadLetters("f", str(tmp_path / "letters"))
    table.prepare()
    return table


def refused(*offsets: int) -> pa.Table:
    return pa.table(
        {
            "code": ["D205"] * len(offsets), "detail": ["code 4"] * len(offsets), "topic": ["t"] * len(offsets),
            "partition": pa.array([0] * len(offsets), pa.int32()), "offset": pa.array(offsets, pa.int64()),
            "element": pa.array([0] * len(offsets), pa.int32()),
            "kafka_timestamp": pa.array([KAFKA_TIME] * len(offsets), pa.timestamp("us", "UTC")), "key": [b"k"] * len(offsets),
            "value": [b"\x00\xff"] * len(offsets), "namespace": ["n"] * len(offsets), "digest": [bytes(20)] * len(offsets),
            "rejected": [True] * len(offsets),
        }
    )  # fmt: skip


def kept(letters: DeadLetters) -> list[tuple[Any, ...]]:
    columns = ("lane", "output", "epoch", "batch_id", "code", "offset")
    return sorted((tuple(row[name] for name in columns) for row in stored_rows(letters.path)), key=str)


def test_refused_records_keep_their_bytes_and_are_written_once(spark: SparkSession, letters: DeadLetters) -> None:
    for _ in range(2):
        letters.append(refused(3), lane="fast", output="mirror", fence=Fence("e", 0), format="json")
    row = spark.read.format("delta").load(letters.path).collect()
    assert len(row) == 1
    assert row[0].asDict() | {"seen_at": None} == {
        "flow": "f", "lane": "fast", "output": "mirror", "epoch": "e", "batch_id": 0, "code": "D205", "detail": "code 4",
        "topic": "t", "partition": 0, "offset": 3, "kafka_timestamp": KAFKA_TIME.replace(tzinfo=None), "key": bytearray(b"k"),
        "element": 0, "value": bytearray(b"\x00\xff"), "headers": None, "format": "json", "format_guess": None, "namespace": "n",
        "digest": bytearray(20), "seen_at": None,
    }  # fmt: skip
    assert row[0].seen_at is not None


def test_a_second_attempt_that_refuses_more_adds_only_what_is_new(letters: DeadLetters) -> None:
    fence = Fence("e", 7)
    added = [
        letters.append(refused(*offsets), lane="fast", output="m", fence=fence, format="json")
        for offsets in ((1, 2), (2, 3), (4,), (1,))
    ]
    assert added == [2, 1, 1, 0]
    assert [row[-1] for row in kept(letters)] == [1, 2, 3, 4]


def test_causes_lanes_batches_and_epochs_do_not_hide_each_other(letters: DeadLetters) -> None:
    where = [
        ("fast", "m", "e", 0),
        ("fast", "n", "e", 0),
        ("fast", None, "e", 0),
        ("bulk", None, "e", 0),
        ("fast", "m", "e", 1),
        ("fast", "m", "e2", 0),
    ]
    for lane, output, epoch, batch_id in where:
        assert letters.append(refused(1), lane=lane, output=output, fence=Fence(epoch, batch_id), format="json") == 1
    assert kept(letters) == sorted(((*place, "D205", 1) for place in where), key=str)


def test_no_letters_no_commit(letters: DeadLetters) -> None:
    assert letters.append(refused(), lane="fast", output="m", fence=Fence("e", 0), format="json") == 0
    assert read_log(letters.path).stored == {}


def test_undecodable_messages_by_spark_once_and_beside_refused_ones(spark: SparkSession, letters: DeadLetters) -> None:
    frame = batch(spark, {}, {**DEAD, "headers": [("h", b"\x01")]}, DELETE, DEAD)
    fence = Fence("e", 0)
    letters.append_undecoded(frame, lane="bulk", fence=fence, format="flat-json")
    letters.append(refused(9), lane="bulk", output="m", fence=fence, format="flat-json")
    letters.append_undecoded(frame, lane="bulk", fence=fence, format="flat-json")
    expected = [("bulk", "m", "e", 0, "D205", 9), ("bulk", None, "e", 0, "D102", 1), ("bulk", None, "e", 0, "D102", 3)]
    assert kept(letters) == sorted(expected, key=str)
    letters.append_undecoded(batch(spark, DEAD, DEAD), lane="bulk", fence=fence, format="flat-json")
    assert ("bulk", None, "e", 0, "D102", 0) in kept(letters) and len(kept(letters)) == 4
    row = spark.read.format("delta").load(letters.path).filter("code = 'D102' AND offset = 1").first()
    assert row is not None
    assert (bytes(row.value), row.detail, row.headers, row.format) == (
        b"\xff{", "not JSON at 0", [Row(key="h", value=bytearray(b"\x01"))], "flat-json",
    )  # fmt: skip


def test_rows_without_a_place_in_kafka_are_a_mistake_of_the_caller(letters: DeadLetters) -> None:
    with pytest.raises(ValueError, match="offset"):
        letters.append(refused(1).drop_columns(["offset"]), lane="l", output="m", fence=Fence("e", 0), format="json")
