"""What a batch held: every row is exactly one of unselected, applied and dead, whatever its columns say."""

from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

from sinks.delta.counts import NOTHING, BatchCounts, _Collected, events_among, taken, total

ERROR = {"code": "D102", "detail": "not JSON"}


def rows(*given: tuple[object, object, int | None], selected: bool = True) -> pa.RecordBatch:
    columns = {
        "error": pa.array([error for error, _, _ in given], pa.struct([("code", pa.string()), ("detail", pa.string())])),
        "lut_ms": pa.array([lut for _, _, lut in given], pa.int64()),
        "element": pa.array([place % 4 for place in range(len(given))], pa.int32()),  # messages of four
    }
    if selected:
        columns["selected"] = pa.array([select for _, select, _ in given], pa.bool_())
    return pa.RecordBatch.from_pydict(columns)


def test_every_row_has_one_fate() -> None:
    events, counts = events_among(
        rows((None, True, 5), (None, False, 9), (None, None, 9), (ERROR, True, 9), (ERROR, False, 9), (ERROR, None, 9))
    )
    assert counts == BatchCounts(messages=2, rows_read=6, unselected=2, applied=1, dead=3, unversioned=0, max_lut_ms=5)
    assert events.column("lut_ms").to_pylist() == [5]


@pytest.mark.parametrize("batch", [rows(), rows(selected=False)], ids=["selected", "all"])
def test_nothing_is_counted_as_nothing(batch: pa.RecordBatch) -> None:
    assert events_among(batch)[1] == NOTHING


def test_without_a_column_selected_all_events_count_and_none_is_copied() -> None:
    batch = rows((None, None, None), (None, None, 3), selected=False)
    events, counts = events_among(batch)
    assert events is batch and counts == BatchCounts(1, 2, 0, 2, 0, 1, 3)


def test_partitions_are_put_together_write_by_write() -> None:
    one, other = BatchCounts(2, 2, 0, 2, 0, 0, 7), BatchCounts(2, 3, 1, 1, 1, 1, None)
    merge = _Collected().addInPlace
    held = merge(merge({"a": [one]}, {"a": [other], "b": [other]}), {"a": []})
    assert held == {"a": [one, other], "b": [other]}
    assert total(held["a"]) == BatchCounts(4, 5, 1, 3, 1, 1, 7) and total([]) == NOTHING


def test_a_write_that_ran_nowhere_is_not_one_that_held_nothing() -> None:
    held: Any = SimpleNamespace(value={"ran": [NOTHING]})
    assert taken(held, "ran") == NOTHING
    assert taken(held, "ran") is None
