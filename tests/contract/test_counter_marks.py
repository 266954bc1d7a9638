"""The mark that says which checkpoint counts, and how far: what it lets pass and what it refuses, on a server."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from schemas.errors import ConfigError
from sinks.aerospike import AerospikeCounters
from sinks.aerospike.connection import client_for
from sinks.aerospike.counter_marks import CounterMark
from sinks.contract import Fence
from tests.support.counters import counters_config

pytestmark = pytest.mark.stack

Marks = Callable[..., CounterMark]


@pytest.fixture
def marks(aerospike_node: Any) -> Marks:
    """Marks of one output, each as a driver of its own would make it."""
    config = counters_config(aerospike_node.address, aerospike_node.namespace).client
    writer = f"flow/{uuid4().hex[:8]}"
    return lambda adopt=False, set_name="s": CounterMark(
        config, aerospike_node.namespace, "_mr_counted", writer, set_name, adopt=adopt
    )


def refused(code: str, call: Callable[..., Any], *given: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        call(*given)
    assert caught.value.code == code
    return str(caught.value)


def test_one_checkpoint_goes_on_where_it_was(marks: Marks) -> None:
    driver = marks()
    driver.require_start(None, None, None)
    turn = driver.begin(Fence("one", 0))
    assert [driver.begin(Fence("one", batch)) for batch in (0, 1, 2)] == [turn] * 3
    again = marks()
    again.require_start("one", 2, 1)
    assert again.begin(Fence("one", 2)) == turn and again.begin(Fence("one", 3)) == turn


def test_another_checkpoint_is_refused_until_it_is_adopted_and_then_the_first_one_is(marks: Marks) -> None:
    first = marks()
    turn = first.begin(Fence("one", 7))
    assert "up to 7" in refused("E124", marks().require_start, None, None, None)
    refused("E124", marks().require_start, "two", 3, 2)
    refused("E124", marks().begin, Fence("two", 0))
    adopting = marks(adopt=True)
    adopting.require_start("two", None, None)
    assert adopting.begin(Fence("two", 0)) > turn
    refused("E124", first.begin, Fence("one", 8))
    refused("E124", marks().require_start, "one", 8, 7)
    later = marks()
    later.require_start("two", 0, None)
    assert later.begin(Fence("two", 1)) > turn


def test_a_set_back_checkpoint_and_a_driver_that_slept_are_refused(marks: Marks) -> None:
    sleeper, awake = marks(), marks()
    sleeper.begin(Fence("one", 4))
    awake.begin(Fence("one", 4))
    awake.begin(Fence("one", 5))
    refused("E126", sleeper.begin, Fence("one", 4))
    refused("E126", marks().begin, Fence("one", 4))
    refused("E126", marks().require_start, "one", 4, 3)
    refused("E126", marks(adopt=True).begin, Fence("one", 4))


def test_a_namespace_without_what_was_counted_is_refused(marks: Marks, aerospike_node: Any) -> None:
    refused("E125", marks().require_start, "one", 3, 2)
    marks().require_start("one", 0, None)  # planned, and killed before the mark was made
    marks(adopt=True).require_start("one", 3, 2)
    driver = marks(adopt=True)
    turn = driver.begin(Fence("one", 3))
    marks().require_start("one", 3, 2)
    refused("E125", marks().require_start, "one", 9, 8)
    refused("E125", marks(set_name="other").require_start, "one", 3, 2)
    client = client_for(counters_config(aerospike_node.address, "").client)
    client.remove(driver._key)
    refused("E125", driver.begin, Fence("one", 4))
    assert marks(adopt=True).begin(Fence("one", 4)) >= turn


def test_the_first_of_two_new_drivers_takes_the_mark(marks: Marks, monkeypatch: pytest.MonkeyPatch) -> None:
    fast, slow = marks(), marks()
    fast.begin(Fence("one", 0))
    monkeypatch.setattr(slow, "read", iter([None, fast.read()]).__next__)
    refused("E124", slow.begin, Fence("two", 0))


def test_the_check_leaves_nothing_and_names_what_is_wrong(aerospike_node: Any) -> None:
    config = counters_config(aerospike_node.address, aerospike_node.namespace)
    for _ in range(2):
        AerospikeCounters(config).check()
    with pytest.raises(ConfigError, match="no-such"):
        AerospikeCounters(counters_config(aerospike_node.address, "no-such")).check()
