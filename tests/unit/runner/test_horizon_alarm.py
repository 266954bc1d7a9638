"""The alarm for events older than the tombstone horizon."""

from dataclasses import replace
from typing import Any

from pipelines.horizon_alarm import TOLD_EVERY_S, HorizonAlarm
from schemas.error_codes import CATALOGUE
from schemas.lateness import as_text, lateness_of
from schemas.ledger import LedgerRow

HOUR_MS = 3_600_000
ROW = LedgerRow("f", "fast", "mirror", "e", 7, "2026-01-01T00:00:00.000+00:00", 9, 9, 0, 9, 9, 0, 0, 0, 0, 0, 0.1, 1, "{}", "{}")


class Told:
    """A report that keeps what it is told, and a clock."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str, dict[str, object]]] = []
        self.now = 1_000.0

    def event(self, kind: str, message: str, **fields: object) -> None:
        self.events.append((kind, message, fields))

    def batch(self, report: Any) -> None: ...

    def flush(self) -> None: ...

    def tick(self) -> None: ...


def late(*late_ms: int, **changes: Any) -> LedgerRow:
    return replace(ROW, lateness=as_text(lateness_of(late_ms, HOUR_MS)), **changes)


def test_an_event_beyond_the_horizon_is_told_with_its_code() -> None:
    told = Told()
    alarm = HorizonAlarm("fast", told, lambda: told.now)
    alarm.look([late(HOUR_MS, 5), replace(ROW, output="history")])
    assert told.events == []
    alarm.look([late(HOUR_MS + 1, past_horizon=2)])
    ((kind, message, fields),) = told.events
    assert kind == "past_horizon" and fields["code"] in CATALOGUE
    assert "[E414] lane fast, output mirror, batch 7" in message and "2 made a record" in message and "1 came" in message
    assert (fields["past_horizon"], fields["later_than_horizon"]) == (2, 1)


def test_a_flood_is_told_once_a_minute_and_none_is_forgotten() -> None:
    told = Told()
    alarm = HorizonAlarm("fast", told, lambda: told.now)
    for second in range(120):
        told.now = 1_000.0 + second
        alarm.look([late(HOUR_MS + 1)])
    assert [fields["later_than_horizon"] for _, _, fields in told.events] == [1, 60]
    told.now += TOLD_EVERY_S
    alarm.look([late()])
    assert told.events[-1][2]["later_than_horizon"] == 59, "told when the minute is over, also by a batch without any"
    told.now += TOLD_EVERY_S
    alarm.look([late()])
    assert len(told.events) == 3


def test_rows_of_an_earlier_release_say_nothing_of_lateness() -> None:
    told = Told()
    HorizonAlarm("fast", told, lambda: told.now).look([ROW])
    assert told.events == []
