"""Tables that forget which batches they hold."""

import pytest

from schemas.errors import Terminal
from sinks.delta.retention import PROPERTY, require_memory, retention_s

DAY_S = 86_400.0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("interval 7 days", 7 * DAY_S),
        ("interval 1 day", DAY_S),
        ("7 DAYS", 7 * DAY_S),
        ("interval 2 weeks 12 hours", 14.5 * DAY_S),
        ("interval 90 minutes", 5_400),
        ("interval 1500 milliseconds", 1.5),
        ("interval 0 seconds", 0),
        ("interval 1 month", 0),
        ("a while", 0),
        ("interval 3 days or so", 0),
        ("", 0),
    ],
)
def test_intervals_as_delta_writes_them(text: str, seconds: float) -> None:
    assert retention_s({PROPERTY: text}) == pytest.approx(seconds)


def test_a_table_without_the_property_remembers_for_ever() -> None:
    assert retention_s({"delta.logRetentionDuration": "interval 1 day"}) is None
    require_memory({}, 9_999 * DAY_S, "/t")


@pytest.mark.parametrize("stood_still_s", [None, 0.0, 29 * DAY_S])
def test_a_long_memory_passes_while_the_flow_stood_still_for_less(stood_still_s: float | None) -> None:
    require_memory({PROPERTY: "interval 30 days"}, stood_still_s, "/t")


def test_a_short_memory_is_refused_with_its_length() -> None:
    with pytest.raises(Terminal, match=r"E444.*'interval 29 days': .*longer than 29.0 days.*at least 30.0 days.*path=/t table=h"):
        require_memory({PROPERTY: "interval 29 days"}, None, "/t", table="h")
    with pytest.raises(Terminal, match=r"longer than 90 s"):
        require_memory({PROPERTY: "interval 90 seconds"}, None, "/t")


def test_a_batch_that_waited_for_longer_than_the_memory_is_refused() -> None:
    with pytest.raises(Terminal, match=r"E444.*not counted as done was planned 45.0 days ago") as error:
        require_memory({PROPERTY: "interval 45 days"}, 45 * DAY_S, "/t")
    assert "columns epoch and batch_id" in error.value.remedy
