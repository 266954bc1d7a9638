"""The pace of one writer, told answers one by one."""

import math

import pytest

from sinks.pressure import RECOVERY_S, SMALLEST_SHARE, Allowance, Pace
from tests.support.crowded_cluster import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def pace(clock: Clock) -> Pace:
    made = Pace(1_000, 2, 0.02, 1.0, clock=clock.monotonic, jitter=lambda: 0.0)
    made.begin(Allowance(1.0, 4_000.0))
    return made


def call(pace: Pace, taken: int, refused: int) -> None:
    pace.answered(pace.sent(taken + refused), taken, refused)


@pytest.mark.parametrize(("refused", "share"), [(1, 0.9995), (100, 0.95), (500, 0.75), (1_000, 0.5)])
def test_the_cut_is_half_of_what_was_refused(pace: Pace, refused: int, share: float) -> None:
    call(pace, 1_000 - refused, refused)
    assert pace.share == pytest.approx(share)


def test_calls_that_were_under_way_cut_once(pace: Pace, clock: Clock) -> None:
    sent = [pace.sent(1_000) for _ in range(3)]
    clock.sleep(0.1)
    for at in sent:
        pace.answered(at, 0, 1_000)
    assert pace.share == 0.5
    call(pace, 0, 500)
    assert pace.share == 0.25


def test_the_share_has_a_floor_and_grows_to_the_whole_in_its_time(pace: Pace, clock: Clock) -> None:
    for _ in range(20):
        call(pace, 0, 1_000)
    assert pace.share == SMALLEST_SHARE and pace.call_records == 10
    for _ in range(math.ceil(RECOVERY_S / 0.5) + 1):
        clock.sleep(0.5)
        call(pace, pace.call_records, 0)
    assert pace.share == 1.0 and not pace.slowed and pace.call_records == 1_000


def test_silence_is_not_growth(pace: Pace, clock: Clock) -> None:
    call(pace, 0, 1_000)
    clock.sleep(3_600)
    call(pace, 500, 0)
    assert pace.share == pytest.approx(0.5 + 1.0 / RECOVERY_S)


def test_calls_come_no_more_often_than_usual(pace: Pace) -> None:
    call(pace, 500, 500)
    assert pace.share == 0.75
    pace.sent(pace.call_records)
    # The call before it was sent at full speed; usual is 1,000 records every 0.25 s.
    assert pace.wait_s(0) == pytest.approx(pace.call_records / (0.75 * 4_000)) == pytest.approx(0.25)


def test_after_a_call_in_vain_one_at_a_time_and_pauses_double(pace: Pace, clock: Clock) -> None:
    pauses = []
    for _ in range(8):
        call(pace, 0, pace.call_records)
        assert pace.wait_s(under_way=1) == math.inf
        pauses.append(round(pace.pause_s(), 3))
        clock.sleep(pace.wait_s(0))
    assert pauses == [0.04, 0.08, 0.16, 0.32, 0.64, 1.0, 1.0, 1.0]
    call(pace, 1, 0)
    assert pace.wait_s(under_way=1) < 1.0 and pace.pause_s() == 0.02


def test_jitter_shortens_by_half_at_most(clock: Clock) -> None:
    pace = Pace(1_000, 2, 0.02, 1.0, clock=clock.monotonic, jitter=lambda: 1.0)
    for _ in range(10):
        call(pace, 0, 10)
    assert pace.pause_s() == 0.5


def test_a_retry_for_each_record_taken_and_a_probe_per_pause(pace: Pace, clock: Clock) -> None:
    assert pace.again(5_000) == 2_000, "the first calls, as many as are under way at once"
    call(pace, 0, 1_000)
    assert pace.again(1_000) == 500, "nothing left: what a probe carries"
    assert pace.again(1_000) == 0, "and no second one before the pause is over"
    clock.sleep(1.0)
    assert pace.again(3) == 3
    call(pace, 700, 300)
    assert pace.again(1_000) == 700
    for _ in range(100):
        call(pace, 1_000, 0)
    assert pace.again(10**6) == 4_000, "no more than a second's work is saved up"
    assert pace.seen.again == 2_000 + 500 + 3 + 700 + 4_000


def test_a_batch_begins_at_the_flows_share_and_the_budget_stays(pace: Pace) -> None:
    pace.again(2_000)
    call(pace, 0, 1_000)
    pace.begin(Allowance(0.3, None))
    assert (pace.share, pace.usual_per_s, pace.call_records) == (0.3, 10_000, 300)
    assert pace.again(1_000) == 300, "no fresh credit with a fresh batch"
    assert pace.seen.refused == 0


@pytest.mark.parametrize("measured", [None, 0.0, 3.0])
def test_a_rate_measured_on_next_to_nothing_makes_no_long_pauses(pace: Pace, measured: float | None) -> None:
    pace.begin(Allowance(SMALLEST_SHARE, measured))
    pace.sent(pace.call_records)
    assert pace.wait_s(0) <= 1.0
