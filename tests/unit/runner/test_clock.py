"""This machine's clock against the mirror's servers'."""

import pytest

from pipelines.clock import judge_clock
from schemas.errors import Terminal


@pytest.mark.parametrize("lead_s", [0, 5, -5])
def test_a_few_seconds_are_no_difference(lead_s: int) -> None:
    assert judge_clock("mirror", lead_s) is None


def test_a_clock_that_is_off_is_told_with_what_it_does() -> None:
    assert "6 s ahead of the mirror's servers: records would expire 6 s too early" in str(judge_clock("mirror", 6))
    assert "300 s behind the mirror's servers: records would expire 300 s too late" in str(judge_clock("mirror", -300))


@pytest.mark.parametrize("lead_s", [301, -3_600])
def test_a_clock_that_is_far_off_is_refused(lead_s: int) -> None:
    with pytest.raises(Terminal, match="E438") as error:
        judge_clock("mirror", lead_s)
    assert f"{abs(lead_s):,} s" in str(error.value)
