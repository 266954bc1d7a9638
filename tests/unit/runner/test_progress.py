import io
import json
from dataclasses import replace

import pytest

from pipelines.pressure import Pressure
from pipelines.progress import BatchReport, JsonReport, TextReport, as_json, duration, merge, text_lines
from schemas.lateness import as_text, lateness_of
from schemas.ledger import LedgerRow


def row(output: str = "mirror", **changes: int | None) -> LedgerRow:
    usual = LedgerRow(
        "payments", "fast", output, "e", 5, "2026-01-01T00:00:00Z", 12, 12, 2, 10, 7, 1, 1, 1, 0, 0, 0.1, 1_000_000, "{}", "{}"
    )
    return replace(usual, **changes)  # type: ignore[arg-type]


def report(batch_id: int = 5, *, rows: tuple[LedgerRow, ...] = (), lag_events: int | None = 1234) -> BatchReport:
    return BatchReport("fast", batch_id, rows or (row(),), 0.083, lag_events, 1_000_000, seen_at_s=1000.25)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_line_holds_the_whole_account() -> None:
    (line,) = text_lines(report())
    for part in ("fast", "batch 5", "in 10 = 7 applied + 1 superseded + 1 duplicate + 1 dead", "0.08 s", "2 not selected"):
        assert part in line
    assert "lag 1,234 events 0.25 s" in line


def test_unknown_lag_is_said_not_shown_as_nothing() -> None:
    (line,) = text_lines(replace(report(lag_events=None), newest_lut_ms=None))
    assert "lag unknown" in line


def test_events_past_the_horizon_stand_out() -> None:
    (line,) = text_lines(report(rows=(row(past_horizon=3),)))
    assert "PAST HORIZON 3" in line


def test_outputs_that_share_a_lane_have_a_line_each() -> None:
    lines = text_lines(report(rows=(row("mirror"), row("history"))))
    assert [line.split()[0] for line in lines] == ["fast/mirror", "fast/history"]


def test_a_clock_behind_the_source_is_no_negative_lag() -> None:
    assert replace(report(), seen_at_s=999.0).lag_s == 0.0


def test_fast_batches_share_a_line_and_none_is_lost() -> None:
    out, clock = io.StringIO(), Clock()
    text = TextReport(out, every_s=1.0, clock=clock)
    for batch_id in range(20):
        clock.now = batch_id * 0.1
        text.batch(report(batch_id))
    text.flush()
    lines = out.getvalue().splitlines()
    assert len(lines) == 3, lines
    assert "batch 0 " in lines[0] and "batch 1-10 " in lines[1] and "batch 11-19 " in lines[2]
    assert "in 100 = 70 applied" in lines[1] and "in 90 = 63 applied" in lines[2]


def test_what_is_held_back_appears_when_the_lane_falls_silent() -> None:
    out, clock = io.StringIO(), Clock()
    text = TextReport(out, every_s=1.0, clock=clock)
    text.batch(report(1))
    text.batch(report(2))
    text.tick()
    assert len(out.getvalue().splitlines()) == 1
    clock.now = 1.1
    text.tick()
    assert len(out.getvalue().splitlines()) == 2
    text.tick()
    assert len(out.getvalue().splitlines()) == 2, "an idle lane prints nothing"


def test_an_event_comes_after_the_batches_before_it() -> None:
    out = io.StringIO()
    text = TextReport(out, every_s=100.0, clock=Clock())
    text.batch(report(1))
    text.batch(report(2))
    text.event("stopping", "stopping")
    assert [word in line for line, word in zip(out.getvalue().splitlines(), ("batch 1", "batch 2", "stopping"), strict=True)]


def test_a_replayed_batch_is_not_added_to_the_one_before() -> None:
    out = io.StringIO()
    text = TextReport(out, every_s=100.0, clock=Clock())
    for batch_id in (1, 7, 7):
        text.batch(report(batch_id))
    text.flush()
    assert [line.split("batch ")[1].split()[0] for line in out.getvalue().splitlines()] == ["1", "7", "7"]


def test_machines_get_every_batch_with_all_columns() -> None:
    out = io.StringIO()
    lines = JsonReport(out)
    lines.batch(report(5))
    lines.event("restart", "lane fast failed", lane="fast", code="E210")
    first, second = map(json.loads, out.getvalue().splitlines())
    assert (first["kind"], first["lane"], first["batch_id"], first["lag_events"], first["lag_s"]) == (
        "batch",
        "fast",
        5,
        1234,
        0.25,
    )
    assert first["outputs"][0]["applied"] == 7 and first["outputs"][0]["unselected"] == 2
    assert (second["kind"], second["code"]) == ("restart", "E210")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.123, "0.12 s"), (9.99, "9.99 s"), (14.4, "14 s"), (200, "3 min 20 s"), (18_120, "5 h 02 min"), (273_600, "3 d 4 h")],
)
def test_durations_are_said_as_people_say_them(seconds: float, words: str) -> None:
    assert duration(seconds) == words


SLOWED = Pressure(share=0.4, smallest=0.4, limit_per_s=4_900, refused=3_100, again=3_050, waited_s=2.13)


def test_a_slowed_output_says_so_and_the_others_say_nothing() -> None:
    both = replace(report(rows=(row("mirror"), row("history"))), pressures={"mirror": SLOWED})
    mirror, history = text_lines(both)
    assert "slowed to 40 % or 4,900 records/s: 3,100 refused, 3,050 sent again, 2.1 s waiting" in mirror
    assert "slowed" not in history
    (usual,) = text_lines(replace(report(), pressures={"mirror": Pressure()}))
    assert "slowed" not in usual


def test_merged_lines_add_up_what_was_refused() -> None:
    out = io.StringIO()
    text = TextReport(out, every_s=100.0, clock=Clock())
    for batch_id in range(3):
        text.batch(replace(report(batch_id), pressures={"mirror": SLOWED}))
    text.flush()
    assert "6,200 refused" in out.getvalue().splitlines()[1]


def test_machines_get_the_pressure_of_every_output() -> None:
    assert as_json(replace(report(), pressures={"mirror": SLOWED}))["pressure"] == {
        "mirror": {
            "share": 0.4, "smallest_share": 0.4, "limit_per_s": 4_900, "refused": 3_100, "sent_again": 3_050, "waited_s": 2.13,
        }
    }  # fmt: skip


def test_late_events_and_how_late_stand_in_the_line_and_add_up() -> None:
    day_ms = 86_400_000
    rows = [row(lateness=as_text(lateness_of(late, day_ms))) for late in ([5, 700], [5_000], [])]
    (line,) = text_lines(report(rows=(rows[0],)))
    assert "2 late by up to 1 s" in line
    assert "late" not in text_lines(report(rows=(rows[2],)))[0] and "late" not in text_lines(report())[0]
    both = merge(report(5, rows=(rows[0],)), report(6, rows=(rows[1],)))
    assert "3 late by up to 10 s" in text_lines(both)[0]
    assert merge(report(5), report(6, rows=(rows[1],))).outputs[0].lateness is None
