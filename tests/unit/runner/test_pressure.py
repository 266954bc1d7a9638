"""The share that a flow's writers have in common, and the time a slow batch gets."""

import pytest

from pipelines.pressure import MOST_TIMES, Patience, Pressure, SharedPressure
from sinks.contract import Fence
from sinks.pressure import Allowance, Seen
from tests.support.crowded_cluster import Clock

GOOD = Seen(taken=5_000, busy_s=1.0)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def shared(clock: Clock) -> SharedPressure:
    return SharedPressure(clock.monotonic)


def test_writers_of_the_next_batch_begin_where_those_before_ended(shared: SharedPressure) -> None:
    assert shared.allowance("mirror") == Allowance(1.0, None)
    shared.learn("mirror", [GOOD, GOOD])
    assert shared.allowance("mirror") == Allowance(1.0, 5_000.0)
    slow = Seen(share=0.2, smallest=0.1, taken=900, refused=100, again=90, waited_s=2.1, busy_s=4.0)
    said = shared.learn("mirror", [slow, Seen(share=0.6, smallest=0.5, taken=2_500, refused=500, again=400, waited_s=1.0)])
    assert said == Pressure(share=0.5, smallest=0.1, limit_per_s=5_000, refused=600, again=490, waited_s=2.1)
    assert shared.allowance("mirror") == Allowance(0.5, 5_000.0), "by what each has sent: the flow's total stays"


def test_a_writer_without_work_has_no_say(shared: SharedPressure) -> None:
    shared.learn("mirror", [Seen(share=0.1, smallest=0.1, refused=10), Seen()])
    assert shared.allowance("mirror").share == 0.1
    assert shared.learn("mirror", []) == Pressure(share=0.1, smallest=0.1)
    assert shared.allowance("mirror").share == 0.1


def test_outputs_to_one_cluster_share_the_share_but_not_the_rate(shared: SharedPressure) -> None:
    shared.learn("one", [GOOD])
    shared.learn("other", [Seen(share=0.4, smallest=0.4, taken=10, refused=5)])
    assert shared.allowance("one") == Allowance(0.4, 5_000.0)
    assert shared.allowance("other") == Allowance(0.4, None)


def test_small_batches_recover_by_the_clock(shared: SharedPressure, clock: Clock) -> None:
    """A writer that works for two milliseconds in each batch would take an hour to grow."""
    shared.learn("mirror", [Seen(share=0.01, smallest=0.01, taken=1, refused=20)])
    for _ in range(101):
        clock.sleep(0.1)
        share = shared.allowance("mirror").share
        shared.learn("mirror", [Seen(share=share, smallest=share, taken=5)])
    assert shared.allowance("mirror").share == 1.0


def test_only_undisturbed_work_is_measured_and_small_batches_together(shared: SharedPressure) -> None:
    for _ in range(9):
        shared.learn("mirror", [Seen(taken=100, busy_s=0.05)])
    shared.learn("mirror", [Seen(taken=5_000, refused=1, busy_s=1.0)])
    assert shared.allowance("mirror").usual_per_s is None
    shared.learn("mirror", [Seen(taken=100, busy_s=0.05)])
    assert shared.allowance("mirror").usual_per_s == pytest.approx(2_000.0)
    shared.learn("mirror", [Seen(taken=10_000, busy_s=1.0)])
    assert shared.allowance("mirror").usual_per_s == pytest.approx(3_600.0)


def test_a_batch_that_is_only_slow_gets_twice_the_time_each_time() -> None:
    patience, fence = Patience(), Fence("epoch", 7)
    slow = [Seen(share=0.1, smallest=0.1, taken=500, refused=100)]
    given = []
    for _ in range(7):
        given.append(patience.budget_s(fence, 30.0))
        patience.attempted(slow)
    assert given == [30, 60, 120, 240, 480, 480, 480] and given[-1] == 30 * MOST_TIMES
    assert patience.budget_s(Fence("epoch", 8), 30.0) == 30.0, "the next batch begins anew"


@pytest.mark.parametrize(
    "seen",
    [[], [Seen(share=0.01, smallest=0.01, refused=500)], [GOOD]],
    ids=["nothing known", "nothing taken", "not slow"],
)
def test_a_batch_that_failed_otherwise_gets_its_usual_time(seen: list[Seen]) -> None:
    patience, fence = Patience(), Fence("epoch", 7)
    for _ in range(3):
        assert patience.budget_s(fence, 30.0) == 30.0
        patience.attempted(seen)


def test_the_words_say_how_slow_and_what_it_cost() -> None:
    at_end = Pressure(share=0.4, smallest=0.4, limit_per_s=4_900, refused=3_100, again=3_050, waited_s=2.13)
    assert at_end.words() == "slowed to 40 % or 4,900 records/s: 3,100 refused, 3,050 sent again, 2.1 s waiting"
    over = Pressure(share=1.0, smallest=0.12, refused=10, again=10)
    assert over.words() == "slowed to 12 %, now 100 %: 10 refused, 10 sent again, 0.0 s waiting"
    assert at_end.felt and over.felt and not Pressure().felt
    both = at_end.and_then(over)
    assert both == Pressure(share=1.0, smallest=0.12, limit_per_s=None, refused=3_110, again=3_060, waited_s=2.13)
