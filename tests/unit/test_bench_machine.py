"""What a measurement says about the machine it ran on."""

import pytest

from tests.bench.machine import Reading, Steal, away, read


def readings(*stolen_each_second: int) -> list[Reading]:
    """A machine of 200 ticks a second."""
    found = [Reading(0.0, 0, 0)]
    for stolen in stolen_each_second:
        at, before, all_ = found[-1]
        found.append(Reading(at + 1.0, before + stolen, all_ + 200))
    return found


def test_the_mean_and_the_worst_ten_seconds() -> None:
    seen = away(readings(*[0] * 20, *[100] * 10, *[0] * 20))
    assert seen.mean == pytest.approx(0.1) and seen.worst == pytest.approx(0.5)


def test_a_burst_across_any_border_is_found() -> None:
    for before in range(25):
        assert away(readings(*[0] * before, *[20] * 10, *[0] * (30 - before))).worst == pytest.approx(0.1)


def test_what_is_shorter_than_ten_seconds_is_its_own_worst() -> None:
    assert away(readings(20, 60)) == pytest.approx((0.2, 0.2))
    assert away(readings()) == (0.0, 0.0)


def test_time_passes_on_this_machine() -> None:
    before = read()
    with Steal() as steal:
        while read().all == before.all:
            pass
    seen = steal.since(before.at)
    assert 0.0 <= seen.mean <= 1.0
    assert steal.since(read().at) == (0.0, 0.0)
