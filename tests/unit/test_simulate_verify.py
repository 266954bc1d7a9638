"""The account held against a namespace whose scan takes its time."""

from typing import Any

import aerospike
import pytest

from deploy.simulate import verify
from deploy.simulate.account import Account
from deploy.simulate.operations import Kind, Operation, RecordKey
from deploy.simulate.verify import Comparison, compare

SCAN_S = 10.0
BEGAN_S = 1_000_000.0
EXPIRES_S = BEGAN_S + 500


class SlowNamespace:
    """Stands where clock and client do: one record, of which the node says `seconds_left` during a scan of SCAN_S."""

    def __init__(self, seconds_left: int) -> None:
        self.now_s = BEGAN_S
        self.seconds_left = seconds_left

    def time(self) -> float:
        return self.now_s

    def query(self, namespace: str) -> "SlowNamespace":
        return self

    def results(self) -> list[Any]:
        self.now_s += SCAN_S
        digest = aerospike.calc_digest("ns", "cards", "card-1")
        return [(("ns", "cards", None, digest), {"ttl": self.seconds_left}, {"a": 1, "rev": 1})]


def compared(monkeypatch: pytest.MonkeyPatch, seconds_left: float) -> Comparison:
    account = Account()
    operation = Operation(1, Kind.WRITE, RecordKey("cards", "card-1", True), "written", 600, {"a": 1})
    account.acknowledged(operation, EXPIRES_S - 600, EXPIRES_S - 600, repeated=False)
    namespace = SlowNamespace(round(seconds_left))
    monkeypatch.setattr(verify, "time", namespace)
    return compare(namespace, "ns", account)


@pytest.mark.parametrize("looked_at", [0.0, 5.0, SCAN_S])
def test_a_node_may_look_at_any_moment_of_the_scan(monkeypatch: pytest.MonkeyPatch, looked_at: float) -> None:
    assert compared(monkeypatch, EXPIRES_S - BEGAN_S - looked_at) == Comparison([], 0)


@pytest.mark.parametrize("seconds_off", [5.0, -SCAN_S - 5.0])
def test_what_no_moment_of_the_scan_explains_is_wrong(monkeypatch: pytest.MonkeyPatch, seconds_off: float) -> None:
    found = compared(monkeypatch, EXPIRES_S - BEGAN_S + seconds_off)
    assert found.wrong == ["cards/'card-1' expires at another time"]
