"""Policies of record types in a history table: new bins and changed types, with nothing dropped and readers undisturbed."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from pyspark.sql import Row, SparkSession

from schemas.bins import BinType
from schemas.tables import history_ddl
from schemas.xdr.options import Policies, RecordType
from sinks.contract import Fence
from sinks.delta.ddl import delta_schema
from sinks.delta.history import DeltaHistory
from sinks.delta.late_rows import LateRows
from tests.contract.test_delta_outputs import BASE, batch, normal_bins, rows_of

pytestmark = pytest.mark.spark
ADD = (RecordType("n", ("s",), {}, policies=Policies(new_bin="add")),)
WIDEN = (RecordType("n", None, {}, policies=Policies(type_change="widen")),)
TYPES = {"i": BinType.INT, "f": BinType.FLOAT}
Bins = list[tuple[str, str, str | None]]


class Table:
    """A history table; each `start` is a driver that started anew."""

    def __init__(self, spark: SparkSession, path: Path) -> None:
        self.spark, self.path = spark, str(path)
        self.batches = 0

    def start(self, declared: dict[str, BinType], records: tuple[RecordType, ...] = ADD) -> DeltaHistory:
        known = tuple(RecordType(r.namespace, r.sets, declared, policies=r.policies) for r in records)
        history = DeltaHistory("f", "o", self.path, declared, records=known)
        history.prepare()
        return history

    def write(self, history: DeltaHistory, *images: Bins, **more: Any) -> None:
        """A batch, an event for each image."""
        frame = batch(self.spark, *({"bins": image, **more} for image in images), first=100 * self.batches)
        counts = history.write(frame, Fence("e", self.batches))
        assert counts.applied == len(images)
        self.batches += 1

    @property
    def commits(self) -> int:
        return DeltaTable(self.path).version()

    def rows(self) -> list[Row]:
        return rows_of(self.path)


@pytest.fixture
def table(spark: SparkSession, tmp_path: Path) -> Table:
    return Table(spark, tmp_path / "history")


def test_a_new_bin_gets_a_column_in_the_commit_that_brings_it(table: Table) -> None:
    history = table.start(TYPES)
    before = table.commits
    image: Bins = [
        ("i", "int", "1"),
        ("new", "str", "x"),
        ("more", "float", "0.5"),
        ("gone", "null", None),
        ("java", "java", "AA=="),
    ]
    table.write(history, image, [("i", "int", "2")])
    assert table.commits == before + 1
    first, second = table.rows()
    assert first.bins.asDict() == {"i": 1, "f": None, "new": "x", "more": 0.5}
    assert first._rescued == {"gone": Row(type="null", value=None), "java": Row(type="java", value="AA==")}
    assert second.bins.asDict() == {"i": 2, "f": None, "new": None, "more": None}
    table.write(history, [("new", "str", "y")])
    assert table.commits == before + 2 and table.rows()[2].bins.new == "y"
    assert normal_bins(table.spark, history) == [sorted(image), [("i", "int", "2")], [("new", "str", "y")]]


def test_an_added_column_stays_after_a_restart_and_holds_what_fits_its_type(table: Table) -> None:
    table.write(table.start(TYPES), [("l", "list", "[1]"), ("b", "blob", "AA=="), ("n", "int", "7")])
    restarted = table.start(TYPES)
    assert restarted.added == {"l": BinType.STR, "b": BinType.BLOB, "n": BinType.INT}
    later: Bins = [("l", "map:key", "{}"), ("b", "hll", "AA=="), ("n", "str", "seven")]
    table.write(restarted, later)
    first, second = table.rows()
    assert (first.bins.l, first.bin_types) == ("[1]", {"l": "list"})
    assert (second.bins.l, second.bins.b, second.bins.n) == ("{}", bytearray(b"\0"), None)
    assert second.bin_types == {"l": "map:key", "b": "hll"} and second._rescued == {"n": Row(type="str", value="seven")}
    assert normal_bins(table.spark, restarted)[1] == sorted(later)


def test_only_record_types_that_say_so_get_columns(table: Table) -> None:
    history = table.start(TYPES)
    table.write(history, [("new", "int", "1")], set="other")
    [row] = table.rows()
    assert "new" not in row.bins.asDict() and row._rescued == {"new": Row(type="int", value="1")}
    rescuing = table.start(TYPES, (RecordType("n", None, {}),))
    table.write(rescuing, [("new", "int", "1")])
    assert "new" not in table.rows()[1].bins.asDict()


NAMES = [
    "dot.ted",
    "$dollar",
    "née",
    "namespace",
    "_rescued",
    "bin_types",
    "lut_date",
    "`tick`",
    "a b",
    "a=b",
    "Case",
    "CASE",
    "case",
]


@pytest.mark.parametrize("policy", ["add", "rescue"])
def test_every_name_is_kept_whatever_it_is(table: Table, policy: Any) -> None:
    history = table.start({"case": BinType.INT}, (RecordType("n", None, {}, policies=Policies(new_bin=policy)),))
    image: Bins = [(name, "int", str(place)) for place, name in enumerate(NAMES)]
    table.write(history, image)
    assert normal_bins(table.spark, history) == [sorted(image)]
    [row] = table.rows()
    assert {"a b", "a=b", "Case", "CASE"} <= set(row._rescued), "these can be no columns"
    assert (row.bins.case, "née" in row.bins.asDict()) == (NAMES.index("case"), policy == "add")


def test_an_integer_widens_into_a_double_only_where_it_is_exactly_one(table: Table) -> None:
    history = table.start({**TYPES, "b": BinType.BLOB}, WIDEN)
    exact: Bins = [("f", "int", str(2**53)), ("b", "hll", "AAH/")]
    inexact: Bins = [("f", "int", str(2**53 + 1)), ("i", "float", "1.0")]
    edge: Bins = [("f", "int", str(-(2**63)))]
    table.write(history, exact, inexact, edge)
    first, second, third = table.rows()
    assert (first.bins.f, first.bin_types, first._rescued) == (2.0**53, {"f": "int", "b": "hll"}, None)
    assert second.bins.asDict() == {"i": None, "f": None, "b": None} and set(second._rescued) == {"f", "i"}
    assert third.bins.f == -(2.0**63)
    assert normal_bins(table.spark, history) == [sorted(exact), sorted(inexact), edge]


def test_replayed_letters_use_the_columns_there_are_and_add_none(table: Table) -> None:
    history = table.start(TYPES)
    table.write(history, [("new", "str", "x")])
    frame = batch(table.spark, {"bins": [("new", "str", "y"), ("newer", "int", "1")]}, first=500)
    rows = frame.toArrow().combine_chunks().to_batches()[0]
    late = LateRows(history)
    late.check()
    assert late.append(rows, Fence("replay", 0)) == [True]
    last = next(row for row in table.rows() if row.epoch == "replay")
    assert last.bins.new == "y" and last._rescued == {"newer": Row(type="int", value="1")}


def test_a_repeated_batch_with_new_bins_is_not_added_again(table: Table) -> None:
    image: Bins = [("new", "str", "x")]
    history = table.start(TYPES)
    table.write(history, image)
    counts = table.start(TYPES).write(batch(table.spark, {"bins": image}), Fence("e", 0))
    assert (counts.replayed, counts.applied, len(table.rows())) == (True, 1, 1)


def test_a_table_from_before_rescued_had_its_name_goes_on(table: Table) -> None:
    old = history_ddl(TYPES).replace("_rescued", "other_bins")
    DeltaTable.create(table.path, delta_schema(old), partition_by=["lut_date"])
    origin = {name: BASE[name] for name in ("namespace", "set", "digest", "op", "gen", "lut_ms", "topic", "partition")}
    kept = {"other_bins": [("was", {"type": "str", "value": "here"})], "bins": {"i": 1, "f": None}, "offset": 0, "element": 0}
    schema = pa.schema(delta_schema(old).to_arrow())
    write_deltalake(table.path, pa.Table.from_pylist([{**origin, **kept, "epoch": "d", "batch_id": 0}], schema), mode="append")
    history = table.start(TYPES)
    table.batches = 1
    table.write(history, [("new", "str", "x"), ("was", "str", "there")])
    assert normal_bins(table.spark, history) == [
        [("i", "int", "1"), ("was", "str", "here")],
        [("new", "str", "x"), ("was", "str", "there")],
    ]
