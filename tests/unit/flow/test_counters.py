"""The output that counts: from YAML to the sink's plan, what is refused, and what is said about it."""

from typing import Any

import pytest

from pipelines.flow import Flow, FlowInvalid
from pipelines.flow.counters import AerospikeCounters
from pipelines.flow.explain import secrets_of
from pipelines.flow.guarantees import guarantee_of
from sinks.aerospike.count_plan import CountedBin, CountPlan, KeyRule
from tests.unit.flow.flows import valid

COUNTERS: dict[str, Any] = {
    "type": "aerospike_counters",
    "hosts": "127.0.0.1:3000",
    "namespace": "counters",
    "set": "merchants",
    "key": {"bin": "merchant"},
    "bins": {
        "payments": "count",
        "total": {"do": "sum", "of": "amount", "number": "float"},
        "by_currency": {"do": "count", "by": "currency"},
        "recent": {"do": "append", "of": "id", "keep": 20},
        "city": {"do": "last", "of": "city"},
    },
}


def flow(records: Any = None, more: dict[str, Any] | None = None, **changes: Any) -> Flow:
    data = valid()
    data["lanes"]["fast"]["outputs"]["merchants"] = COUNTERS | changes
    data["records"] = records or [{"namespace": "payments", "sets": ["cards"]}]
    return Flow(**(data | (more or {})))


def problems(**changes: Any) -> str:
    with pytest.raises(FlowInvalid) as caught:
        flow(**changes)
    return str(caught.value)


def test_the_plan() -> None:
    output = flow().all_outputs()["merchants"]
    assert isinstance(output, AerospikeCounters)
    assert output.plan() == CountPlan(
        "merchants",
        KeyRule("bin", "merchant"),
        (
            CountedBin("payments", "count"),
            CountedBin("total", "sum", of="amount", number="float"),
            CountedBin("by_currency", "count", by="currency"),
            CountedBin("recent", "append", of="id", keep=20),
            CountedBin("city", "last", of="city"),
        ),
    )
    assert output.counters("f", "o").writer == "f/o"
    for given, rule in (
        ({"constant": "all"}, KeyRule("constant", "all")),
        ({"record": "digest"}, KeyRule("digest")),
        ({"record": "user_key"}, KeyRule("user_key")),
    ):
        found = flow(key=given).all_outputs()["merchants"]
        assert isinstance(found, AerospikeCounters) and found.plan().key == rule


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"key": {}}, "not exactly one of bin, record and constant"),
        ({"key": {"bin": "a", "constant": "b"}}, "not exactly one of bin, record and constant"),
        ({"bins": {"_mr_f": "count"}}, "_mr_"),
        ({"bins": {"a-name-of-16-byt": "count"}}, "16 bytes"),
        ({"bins": {"a": "sum"}}, "'sum' without 'of'"),
        ({"bins": {"a": {"do": "append", "of": "x", "by": "y"}}}, "'by' belongs to count and sum"),
        ({"bins": {"a": {"do": "sum", "of": "x", "keep": 3}}}, "'keep' belongs to append"),
        ({"bins": {"a": {"do": "count", "number": "float"}}}, "'number' belongs to sum"),
        ({"bins": {"a": {"do": "sum", "off": "x"}}}, "Did you mean 'of'"),
        ({"set": "_mr_counted"}, "would share a set"),
        ({"events": "deletes"}, "reads bins, which the events do not have (deletes)"),
        ({"namespace": "mirror", "set": "cards"}, "replaces as a whole"),
        ({"namespace": "mirror", "key": {"record": "digest"}}, "replaces as a whole"),
        ({"namespace": "mirror", "records": [{"namespace": "payments"}]}, "replaces as a whole"),
        ({"total_timeout_ms": 60_000}, "is more than batch_timeout_s"),
    ],
)
def test_what_is_refused(changes: dict[str, Any], words: str) -> None:
    assert words in problems(**changes)


def test_what_would_come_back_as_a_change_is_refused() -> None:
    source = {
        "reconcile": {"source": {"hosts": "127.0.0.1:3000", "namespace": "counters"}},
        "records": [{"namespace": "counters"}],
    }
    assert "would come back, for ever" in problems(more=source)


def test_deletes_may_be_counted_without_bins() -> None:
    counted = flow(events="deletes", key={"record": "user_key"}, bins={"deletes": "count"})
    assert "merchants" in counted.all_outputs()


def test_it_runs_in_the_fast_lane_and_is_explained_and_its_secrets_are_hidden() -> None:
    data = valid()
    del data["lanes"]
    data["outputs"] = {"merchants": COUNTERS | {"user": "u", "password": "pssst"}}
    built = Flow(**data)
    assert list(built.lanes) == ["fast"] and built.decode_owner == "fast"
    assert secrets_of(built) == ["pssst"]
    said = guarantee_of(built.all_outputs()["merchants"])
    assert "bins payments, total" in said.writes and "counts once" in said.duplicates
