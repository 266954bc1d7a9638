"""Which bins get a column without being declared, and how that reaches the driver; without Spark."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable

from schemas.bins import BinType
from schemas.tables import TYPED_COLUMN, added_as
from schemas.xdr.columns import DECODED
from schemas.xdr.options import DecodeOptions, Policies, RecordType
from schemas.xdr.reader import Reader
from sinks.contract import Fence
from sinks.delta.history import DeltaHistory
from sinks.delta.history_columns import HistoryRows
from sinks.delta.late_rows import LateRows
from sinks.delta.new_bins import MOST_ADDED, BinRules, NewBins, may_be_column, new_bins_in, rules_of
from tests.support.decode import as_messages
from tests.support.events import write
from tests.support.xdr_encode import typed

ORIGIN = {"flow": "f", "output": "o", "epoch": "e", "batch_id": 0}
ADDING = RecordType("source", ("contract",), {}, policies=Policies(new_bin="add"))
DECLARED = {"i": BinType.INT, "f": BinType.FLOAT}


def normal_form(image: dict[str, Any], offset: int = 0, **more: Any) -> pa.RecordBatch:
    """One write with these bins."""
    messages = as_messages([typed(write("k", offset, bins=image, **more))])
    found = Reader(DecodeOptions()).table(messages)
    given = {name: messages.column(name).combine_chunks() for name in ("topic", "partition")}
    given["offset"] = pa.array([offset])
    given["kafka_timestamp"] = pa.array([0], pa.timestamp("us", tz="UTC"))
    return pa.RecordBatch.from_arrays([*given.values(), *found.columns], [*given, *DECODED.names])


def rows(*images: dict[str, Any], rules: BinRules, declared: dict[str, BinType] = DECLARED, **more: Any) -> list[dict[str, Any]]:
    """Rows of the history of one batch for each image."""

    batches = (normal_form(image, offset=number, **more) for number, image in enumerate(images))
    made = HistoryRows(declared, ORIGIN, rules=rules)(batches)
    return [row for batch in made for row in batch.to_pylist()]


def wanted(*images: dict[str, Any], rules: BinRules = BinRules(adding=(ADDING,)), **more: Any) -> dict[str, BinType]:  # noqa: B008
    try:
        rows(*images, rules=rules, **more)
    except NewBins as found:
        return new_bins_in(RuntimeError(f"Job aborted due to stage failure\n  {found}\n\tat org.apache.spark"))
    return {}


def test_every_new_bin_of_a_part_is_found_with_the_type_it_comes_with_first() -> None:
    assert wanted({"i": 1}, {"new": "x", "l": [1]}, {"new": 2, "b": b"\0", "gone": None}) == {
        "new": BinType.STR, "l": BinType.STR, "b": BinType.BLOB,
    }  # fmt: skip
    assert wanted({"i": 1, "f": 0.5}) == {}


def test_only_of_the_record_types_that_want_it() -> None:
    assert wanted({"new": 1}, set="other") == {}
    assert wanted({"new": 1}, rules=BinRules()) == {}


@pytest.mark.parametrize("name", ["I", "a b", "a=b", "x,y", "", "a\0"])
def test_names_that_cannot_be_columns_are_left(name: str) -> None:
    assert wanted({name: 1}) == {}


def test_of_two_names_that_differ_only_in_case_one_becomes_a_column() -> None:
    assert len(wanted({"New": 1, "new": 2})) == 1


def test_columns_do_not_grow_without_end() -> None:
    full = BinRules(added=frozenset(map(str, range(MOST_ADDED))), adding=(ADDING,))
    assert wanted({"new": 1}, rules=full) == {}


def test_what_is_no_value_of_a_known_type_is_no_column() -> None:
    assert not may_be_column("a", "null", {}) and not may_be_column("a", "particle-16", {})
    assert may_be_column("a", "int", {"b": BinType.INT}) and not may_be_column("b", "int", {"b": BinType.INT})


def test_an_added_column_takes_every_type_that_it_can_hold() -> None:
    for kind in BinType:
        assert TYPED_COLUMN[added_as(kind)] == TYPED_COLUMN[kind]
    rules = BinRules(added=frozenset({"s"}))
    first, second = rows({"s": [1]}, {"s": 1}, rules=rules, declared={"s": BinType.STR})
    assert (first["bins"], first["bin_types"], first["_rescued"]) == ({"s": "[1]"}, [("s", "list")], None)
    assert second["_rescued"] == [("s", {"type": "int", "value": "1"})]


def test_declared_columns_hold_their_own_type_unless_they_may_widen() -> None:
    [strict] = rows({"f": 7}, rules=BinRules())
    assert strict["bins"] == {"i": None, "f": None} and strict["_rescued"] == [("f", {"type": "int", "value": "7"})]
    wide = BinRules(widened=frozenset({"f"}))
    exact, beyond, plain = rows({"f": 2**53}, {"f": 2**53 + 1}, {"f": 0.5}, rules=wide)
    assert (exact["bins"]["f"], exact["bin_types"], exact["_rescued"]) == (2.0**53, [("f", "int")], None)
    assert beyond["bins"]["f"] is None and beyond["_rescued"] == [("f", {"type": "int", "value": str(2**53 + 1)})]
    assert (plain["bins"]["f"], plain["bin_types"]) == (0.5, None)


def test_rules_come_of_the_policies_of_the_record_types() -> None:
    widening = RecordType("n", ("a",), {"f": BinType.FLOAT, "twice": BinType.INT}, policies=Policies(type_change="widen"))
    found = rules_of([widening, ADDING, RecordType("n", ("b",), {"i": BinType.INT})], {"f": BinType.FLOAT, "i": BinType.INT})
    assert found == BinRules(widened=frozenset({"f"}), adding=(ADDING,))
    assert rules_of([ADDING], None) == BinRules(), "a schemaless history has one map for all"
    assert new_bins_in(RuntimeError("out of memory")) == {}


def test_late_rows_fit_a_table_with_more_columns_than_the_flow_knows(tmp_path: Path) -> None:
    path = str(tmp_path / "history")
    DeltaHistory("f", "o", path, {"a": BinType.INT, "was": BinType.STR, "more": BinType.INT}).prepare()
    for number, (records, kept) in enumerate([((), "_rescued"), ((ADDING,), "bins")]):
        late = LateRows(DeltaHistory("f", "o", path, {"a": BinType.INT}, records=records))
        late.check()
        events = normal_form({"a": 1, "was": "x"}, offset=number)
        assert late.append(events, Fence("replay", number)) == [True]
        [row] = [row for row in DeltaTable(path).to_pyarrow_table().to_pylist() if row["batch_id"] == number]
        assert row["bins"]["a"] == 1 and row["bins"]["more"] is None
        assert (row["bins"]["was"] == "x") == (kept == "bins") and bool(row["_rescued"]) == (kept == "_rescued")
