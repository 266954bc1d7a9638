"""What the broker says while a flow runs: lag's base, added partitions, topics made again, transactions that stay open."""

from typing import Any

import pytest

from pipelines.kafka_watch import KafkaWatch
from pipelines.open_transactions import held_back
from tests.support.kafka_broker import BrokerDouble


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Bench:
    def __init__(self) -> None:
        self.broker = BrokerDouble({"t": {0: (0, 10), 1: (0, 20)}}, ids={"t": "a"})
        self.clock = Clock()
        self.told: list[tuple[str, str, dict[str, Any]]] = []
        self.watch = KafkaWatch(self.broker, ["t"], self.tell, clock=self.clock)
        self.watch.look()

    def tell(self, kind: str, message: str, **fields: object) -> None:
        self.told.append((kind, message, fields))

    def kinds(self) -> list[str]:
        return [kind for kind, _, _ in self.told]

    def after(self, seconds: float) -> None:
        self.clock.now += seconds
        self.watch.look()


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_lag_is_measured_to_where_reading_ends(bench: Bench) -> None:
    bench.broker.held["t", 1] = 15
    bench.watch.look()
    assert bench.watch.value == {"t": {0: 10, 1: 15}}


def test_a_broker_that_is_away_is_told_once_and_its_return_once(bench: Bench) -> None:
    bench.broker.away = True
    bench.after(2)
    bench.after(2)
    assert bench.watch.value == {"t": {0: 10, 1: 20}}, "lag stays a lower bound"
    bench.broker.away = False
    bench.after(2)
    assert bench.kinds() == ["kafka_away", "kafka_back"]


def test_added_partitions_are_told_once(bench: Bench) -> None:
    bench.broker.topics["t"][2] = (0, 0)
    bench.after(2)
    bench.after(2)
    assert bench.kinds() == ["partitions_added"] and "partition 2 is read from the first message" in bench.told[0][1]


def test_a_topic_made_again_while_it_is_read_ends_the_flow(bench: Bench) -> None:
    bench.broker.ids["t"] = "b"
    bench.after(2)
    assert bench.watch.error is not None and bench.watch.error.code == "E432"


def test_an_ordinary_transaction_is_nobodys_business(bench: Bench) -> None:
    bench.broker.held["t", 0] = 4
    for _ in range(29):
        bench.after(2)
    del bench.broker.held["t", 0]
    bench.after(2)
    assert bench.told == []


def test_a_transaction_that_stays_open_is_told_with_numbers_ever_more_rarely_until_it_ends(bench: Bench) -> None:
    bench.broker.held["t", 0] = 4
    times: list[float] = []
    bench.watch.look()
    for second in range(1, 301):
        bench.after(1)
        if len(bench.told) > len(times):
            times.append(second)
    assert times == [60, 120, 240]
    kind, message, fields = bench.told[0]
    assert kind == "transaction_open"
    assert "partition 0 of topic t" in message and "nothing from offset 4 on can be read, 6 offsets wait" in message
    assert fields == {"topic": "t", "partition": 0, "offset": 4, "waiting": 6, "seconds": 60.0}
    del bench.broker.held["t", 0]
    bench.after(1)
    bench.after(1)
    assert bench.kinds() == ["transaction_open"] * 3 + ["transaction_over"]


def test_one_transaction_after_another_is_not_one_that_hangs(bench: Bench) -> None:
    for offset in range(4, 10):
        bench.broker.held["t", 0] = offset
        bench.after(50)
    assert bench.told == []
    bench.after(61)
    assert bench.kinds() == ["transaction_open"]
    bench.broker.held["t", 0] = 10  # the end of the partition: nothing waits
    bench.after(1)
    assert bench.kinds()[1:] == ["transaction_over"]


def test_only_partitions_with_something_behind_are_held() -> None:
    assert held_back({"t": {0: 5, 1: 7}}, {"t": {0: 5, 1: 9}}) == [("t", 1, 7, 2, 0.0)]
