"""How late events are: the steps, the sums, and the ledger's text."""

import pytest

from schemas.lateness import (
    BEYOND,
    NAMES,
    NOT_MEASURED,
    NOTHING_LATE,
    added,
    as_text,
    from_text,
    late_by,
    lateness_of,
    latest_step,
)
from schemas.version import pack

DAY_MS = 86_400_000
WEEK_MS = 7 * DAY_MS


@pytest.mark.parametrize(
    ("late_ms", "step"),
    [
        (0, "0 ms"), (1, "10 ms"), (10, "10 ms"), (11, "100 ms"), (1_000, "1 s"), (1_001, "10 s"), (60_000, "1 min"),
        (600_000, "10 min"), (3_600_000, "1 h"), (3_600_001, "1 d"), (DAY_MS, "1 d"), (DAY_MS + 1, "the horizon"),
        (WEEK_MS, "the horizon"), (WEEK_MS + 1, "more than the horizon"), (10 * WEEK_MS, "more than the horizon"),
    ],
)  # fmt: skip
def test_an_event_is_in_the_first_step_it_is_within(late_ms: int, step: str) -> None:
    counts = lateness_of([late_ms], WEEK_MS)
    assert counts[NAMES.index(step)] == sum(counts) == 1
    assert latest_step(counts) == step


def test_a_short_horizon_cuts_the_steps_above_it() -> None:
    counts = lateness_of([3_600_000, 3_600_001, DAY_MS], horizon_ms=3_600_000)
    assert counts[NAMES.index("1 h")] == 1 and counts[BEYOND] == 2


def test_what_was_not_measured_is_in_no_step() -> None:
    assert lateness_of([NOT_MEASURED, NOT_MEASURED], WEEK_MS) == NOTHING_LATE
    assert latest_step(NOTHING_LATE) is None


def test_lateness_is_the_difference_of_last_update_times() -> None:
    assert late_by(pack(1_000, 7), pack(3_500, 1)) == 2_500
    assert late_by(pack(1_000, 65_535), pack(1_000, 1)) == 0, "generation wraps within one millisecond"
    assert late_by(-5, pack(1_000, 1)) == late_by(pack(1_000, 1), -5) == NOT_MEASURED


def test_counts_are_added_and_come_back_from_text() -> None:
    a, b = lateness_of([0, 5, WEEK_MS * 2], WEEK_MS), lateness_of([5], WEEK_MS)
    both = added([a, b])
    assert sum(both) == 4 and both[1] == 2 and both[BEYOND] == 1
    assert from_text(as_text(both)) == both
    assert as_text(None) is None and from_text(None) is None
    assert added([]) == NOTHING_LATE


@pytest.mark.parametrize("text", ["", "{}", "[1]", "[0,0,0,0,0,0,0,0,0,0,-1]", "[0,0,0,0,0,0,0,0,0,0,true]"])
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        from_text(text)
