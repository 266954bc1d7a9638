"""Folding: one change per record, the same in whatever order and grouping its contributions come."""

import math
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from sinks.aerospike.counters import change_operations
from sinks.aerospike.fences import BATCH_BITS, WriterFence
from sinks.aerospike.record_changes import (
    Add,
    AddToEntry,
    Append,
    Contribution,
    Operation,
    Place,
    Put,
    RecordChange,
    Sum,
    Target,
    fold,
)
from sinks.aerospike.values import Unfit

_TARGET = Target("s", "k")
_FLOATS = st.floats(allow_nan=False, allow_infinity=False, min_value=-1e300, max_value=1e300)


def _operations(number: int, amount: float) -> tuple[Operation, ...]:
    return (
        Add("n", number),
        Add("x", amount),
        AddToEntry("m", number % 3, number),
        Append("l", (number, str(number))),
        Append("last3", (number,), 3),
        Put("p", number),
    )


@given(
    amounts=st.lists(_FLOATS, min_size=1, max_size=12),
    places=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 9), st.integers(0, 2)), unique=True, min_size=12, max_size=12),
    data=st.data(),
)
def test_any_grouping_folds_to_the_same_operations(
    amounts: list[float], places: list[tuple[int, int, int]], data: st.DataObject
) -> None:
    events = [
        Contribution(_TARGET, Place("t", *place), _operations(n, x))
        for n, (x, place) in enumerate(zip(amounts, places, strict=False))
    ]
    whole = fold(events)[_TARGET]
    total = RecordChange(_TARGET)
    shuffled = data.draw(st.permutations(events))
    cut = data.draw(st.integers(0, len(events)))
    for part in (shuffled[cut:], shuffled[:cut]):
        for change in fold(part).values():
            total.merge(change)
    assert total.events == whole.events == len(events)
    by_name = [sorted(map(repr, change_operations(one))) for one in (whole, total)]
    assert by_name[0] == by_name[1]
    newest = max(events, key=lambda event: event.place)
    assert whole.puts["p"][1] == newest.operations[0].value  # type: ignore[union-attr]
    assert whole.elements("last3") == [e.operations[0].value for e in sorted(events, key=lambda e: e.place)][-3:]  # type: ignore[union-attr]


@given(st.lists(st.one_of(_FLOATS, st.integers(-(10**20), 10**20)), min_size=1, max_size=30))
def test_a_sum_is_exact(values: list[float | int]) -> None:
    total = Sum()
    for value in values:
        total.add(value)
    exact = sum(map(Fraction, values))
    assert total.value() == (float(exact) if any(isinstance(value, float) for value in values) else exact)


def test_a_sum_no_float_can_hold_is_refused() -> None:
    change = fold([Contribution(_TARGET, Place("t", 0, n), (Add("x", 1.7e308),)) for n in range(2)])[_TARGET]
    assert math.isinf(change.sums["x"].value())
    assert change_operations(change) == Unfit("D203", "bin 'x': the batch's sum is no finite number")


def test_ranks_order_batches_within_turns() -> None:
    ranks = [WriterFence("w", turn, batch).rank for turn in (1, 2) for batch in (0, 1, (1 << BATCH_BITS) - 1)]
    assert ranks == sorted(set(ranks))
    assert WriterFence("w", (1 << 31) - 1, (1 << BATCH_BITS) - 1).rank < 1 << 63
