"""What events contribute: keys, operations, and what cannot be counted."""

from typing import Any

import pytest

from schemas.bins import Hll
from sinks.aerospike.count_plan import CountedBin, CountPlan, KeyRule
from sinks.aerospike.record_changes import Add, AddToEntry, Append, Operation, Put, Target
from sinks.aerospike.values import Unfit
from tests.support.events import delete, write

_BY_SHOP = KeyRule("bin", "shop")


def does(counted: CountedBin, **bins: Any) -> tuple[Operation, ...] | Unfit:
    found = CountPlan("s", KeyRule("constant", "all"), (counted,)).contribution(write("k", 1, bins=bins))
    return found if isinstance(found, Unfit) else found.operations


def test_targets() -> None:
    event = write(7, 1, bins={"shop": b"x", "n": 1})

    def target(kind: Any, value: str | None = None) -> object:
        found = CountPlan("s", KeyRule(kind, value), ()).contribution(event)
        return found if isinstance(found, Unfit) else found.target

    assert target("bin", "shop") == Target("s", b"x")
    assert target("constant", "all") == Target("s", "all")
    assert target("user_key") == Target("s", 7)
    assert target("digest") == Target("s", None, event.digest)
    assert target("bin", "none") == Unfit("D210", "key bin 'none' is not in the event")


@pytest.mark.parametrize("key", [True, 1.5, [1], {"a": 1}, 1 << 63, "a\0b"])
def test_keys_no_record_can_have(key: Any) -> None:
    found = CountPlan("s", _BY_SHOP, ()).contribution(write("k", 1, bins={"shop": key}))
    assert isinstance(found, Unfit) and found.code == "D210" and repr(key) not in found.detail


def test_operations() -> None:
    assert does(CountedBin("n", "count")) == (Add("n", 1),)
    assert does(CountedBin("n", "count", of="a"), a="x") == (Add("n", 1),)
    assert does(CountedBin("n", "count", of="a"), b="x") == ()
    assert does(CountedBin("n", "sum", of="a"), a=-3) == (Add("n", -3),)
    assert does(CountedBin("n", "sum", of="a", number="float"), a=3) == (Add("n", 3.0),)
    assert does(CountedBin("n", "sum", of="a"), a=None) == ()
    assert does(CountedBin("m", "count", by="c"), c="eur") == (AddToEntry("m", "eur", 1),)
    assert does(CountedBin("m", "sum", of="a", by="c"), c=4, a=5) == (AddToEntry("m", 4, 5),)
    assert does(CountedBin("m", "sum", of="a", by="c"), a=5) == ()
    assert does(CountedBin("l", "append", of="a", keep=2), a=[1]) == (Append("l", ([1],), 2),)
    assert does(CountedBin("p", "last", of="a"), a=1.5) == (Put("p", 1.5),)


@pytest.mark.parametrize(
    ("counted", "bins", "code"),
    [
        (CountedBin("n", "sum", of="a"), {"a": 1.0}, "D211"),
        (CountedBin("n", "sum", of="a"), {"a": True}, "D211"),
        (CountedBin("n", "sum", of="a"), {"a": 1 << 63}, "D211"),
        (CountedBin("n", "sum", of="a", number="float"), {"a": float("nan")}, "D211"),
        (CountedBin("n", "sum", of="a", number="float"), {"a": "1"}, "D211"),
        (CountedBin("n", "count", by="a"), {"a": 1.0}, "D211"),
        (CountedBin("n", "append", of="a"), {"a": Hll(b"x")}, "D211"),
        (CountedBin("n", "append", of="a"), {"a": ["a\0"]}, "D202"),
        (CountedBin("n", "last", of="a"), {"a": 1 << 64}, "D203"),
    ],
)
def test_values_that_cannot_be_counted(counted: CountedBin, bins: dict[str, Any], code: str) -> None:
    found = does(counted, **bins)
    assert isinstance(found, Unfit) and found.code == code


def test_kinds_of_events() -> None:
    events = (write("k", 1), delete("k", 2))
    taken = {kind: [CountPlan("s", _BY_SHOP, (), kind).takes(e) for e in events] for kind in ("writes", "deletes", "all")}
    assert taken == {"writes": [True, False], "deletes": [False, True], "all": [True, True]}
