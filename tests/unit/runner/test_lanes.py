from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines.flow.model import Restart
from pipelines.gate import Gate, StopRequested
from pipelines.lanes import LaneRun, LaneState, describe, first_cause
from pipelines.micro_batch import Done
from schemas.errors import ConfigError, Retryable, Terminal

EPOCH = "11111111-1111-1111-1111-111111111111"


class Query:
    """A query as the lane sees one."""

    def __init__(self) -> None:
        self.isActive = True
        self.stopped = False
        self.said: Exception | None = None

    def exception(self) -> Exception | None:
        return self.said

    def fail(self, said: str = "Query [id] terminated with exception: Job aborted") -> None:
        self.isActive, self.said = False, RuntimeError(said)

    def stop(self) -> None:
        self.isActive, self.stopped = False, True


class Batch:
    """What a lane needs of its micro-batch."""

    def __init__(self) -> None:
        self.gate = Gate()
        self.error: BaseException | None = None
        self.done = 0
        self.last_done: Done | None = None


class Told:
    def __init__(self) -> None:
        self.events: list[tuple[str, str, dict[str, Any]]] = []

    def event(self, kind: str, message: str, **fields: object) -> None:
        self.events.append((kind, message, fields))

    def batch(self, report: object) -> None: ...

    def flush(self) -> None: ...

    def tick(self) -> None: ...


class Bench:
    """A lane on a bench: its queries, its clock, what it said."""

    def __init__(self, folder: Path, restart: Restart | None = None) -> None:
        self.now = 100.0
        self.queries: list[Query] = []
        self.start_errors: Iterator[Exception] = iter(())
        self.batch = Batch()
        self.told = Told()
        self.folder = folder
        self.lane = LaneRun(
            "fast",
            str(folder),
            self.start,
            self.batch,
            restart or Restart(),
            self.told,
            clock=lambda: self.now,  # type: ignore[arg-type]
        )

    def start(self) -> Any:
        error = next(self.start_errors, None)
        if error:
            raise error
        self.queries.append(Query())
        return self.queries[-1]

    def fail(self, error: BaseException | None, said: str = "Job aborted") -> None:
        self.batch.error = error
        self.queries[-1].fail(said)
        self.lane.tend()

    def commit(self, batch_id: int) -> None:
        for name, text in (
            ("metadata", f'{{"id":"{EPOCH}"}}'),
            (f"offsets/{batch_id}", "v1\n{}\n{}"),
            (f"commits/{batch_id}", "v1\n{}"),
        ):
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / name).write_text(text)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    bench = Bench(tmp_path)
    bench.lane.tend()
    assert bench.lane.state is LaneState.RUNNING
    return bench


def wrapped(error: Exception) -> Exception:
    try:
        try:
            raise error
        except Exception as cause:
            raise RuntimeError("Exception thrown in awaitResult") from cause
    except RuntimeError as outer:
        return outer


def test_a_millrace_error_is_found_behind_what_wraps_it() -> None:
    error = Terminal("E431", "gone")
    assert first_cause(wrapped(error)) is error
    assert first_cause(RuntimeError("x")) is None
    assert describe(wrapped(error)) == "[E431] gone"
    assert describe(RuntimeError("\n first words\n more")) == "RuntimeError: first words"


def test_a_failed_query_starts_again_after_a_pause_that_grows(bench: Bench) -> None:
    waits = []
    for _ in range(4):
        bench.fail(Retryable("E210", "no node answers"))
        assert bench.lane.state is LaneState.WAITING
        waits.append(bench.told.events[-1][2]["wait_s"])
        bench.lane.tend()
        assert bench.lane.state is LaneState.WAITING, "not before its time"
        bench.now += waits[-1] + 0.001  # told in whole milliseconds
        bench.lane.tend()
        assert bench.lane.state is LaneState.RUNNING
    assert len(bench.queries) == 5
    assert waits[0] <= 0.5 and waits[3] > waits[0]
    kind, message, fields = bench.told.events[-1]
    assert kind == "restart" and fields["code"] == "E210" and fields["attempt"] == 4
    assert "[E210] no node answers" in message and "try 4 in" in message


def test_an_error_of_sparks_own_is_tried_again(bench: Bench) -> None:
    bench.fail(None, said="Connection to node -1 could not be established")
    assert bench.lane.state is LaneState.WAITING
    assert "could not be established" in bench.told.events[-1][1]


@pytest.mark.parametrize("error", [Terminal("E410", "does not balance"), ConfigError("E120", "no such namespace")])
def test_what_repeating_cannot_help_ends_the_lane(bench: Bench, error: Exception) -> None:
    bench.fail(wrapped(error))
    assert bench.lane.state is LaneState.FAILED
    assert bench.lane.error is not None and first_cause(bench.lane.error) is error
    assert len(bench.queries) == 1


def test_a_guard_that_refuses_at_a_restart_ends_the_lane(bench: Bench) -> None:
    bench.fail(None)
    bench.start_errors = iter([Terminal("E431", "3,800 messages are gone")])
    bench.now += 60
    bench.lane.tend()
    assert bench.lane.state is LaneState.FAILED


def test_a_lane_that_ran_long_begins_with_the_first_pause(bench: Bench) -> None:
    for _ in range(5):
        bench.fail(Retryable("E210", "x"))
        bench.now += 40
        bench.lane.tend()
    bench.now += 61
    bench.fail(Retryable("E210", "x"))
    assert bench.told.events[-1][2]["attempt"] == 1 and bench.told.events[-1][2]["wait_s"] <= 0.5


def test_restarts_have_a_limit_when_the_flow_says_so(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Restart(max_restarts=1))
    bench.lane.tend()
    bench.fail(Retryable("E210", "x"))
    bench.now += 60
    bench.lane.tend()
    bench.fail(Retryable("E210", "x"))
    assert bench.lane.state is LaneState.FAILED


def test_recovery_is_told_once_after_a_batch_succeeds(bench: Bench) -> None:
    bench.fail(Retryable("E210", "x"))
    bench.now += 60
    bench.lane.tend()
    bench.lane.tend()
    assert [kind for kind, _, _ in bench.told.events] == ["restart"]
    bench.batch.done += 1
    bench.lane.tend()
    bench.lane.tend()
    assert [kind for kind, _, _ in bench.told.events] == ["restart", "recovered"]


def test_a_query_that_has_read_everything_is_done(bench: Bench) -> None:
    bench.queries[-1].isActive = False
    bench.lane.tend()
    assert bench.lane.state is LaneState.DONE


def test_an_idle_lane_is_stopped(bench: Bench) -> None:
    bench.lane.begin_stop()
    assert bench.lane.try_finish()
    assert bench.queries[-1].stopped and bench.lane.state is LaneState.DONE


def test_a_batch_inside_is_not_cut_and_neither_is_its_commit(bench: Bench) -> None:
    with bench.batch.gate.batch():
        bench.lane.begin_stop()
        assert not bench.lane.try_finish()
    bench.commit(6)
    bench.batch.last_done = Done(7, bench.now)
    assert not bench.lane.try_finish(), "batch 7 has returned, its commit is not written yet"
    assert not bench.queries[-1].stopped
    bench.commit(7)
    assert bench.lane.try_finish() and bench.queries[-1].stopped


def test_a_batch_that_was_not_let_in_ends_its_lane_in_order(bench: Bench) -> None:
    bench.lane.begin_stop()
    bench.batch.error = StopRequested()
    bench.queries[-1].fail()
    assert bench.lane.try_finish() and bench.lane.state is LaneState.DONE and bench.lane.error is None


def test_a_defect_found_while_stopping_is_not_lost(bench: Bench) -> None:
    bench.lane.begin_stop()
    bench.batch.error = Terminal("E410", "does not balance")
    bench.queries[-1].fail()
    assert bench.lane.try_finish() and bench.lane.state is LaneState.FAILED


def test_a_lane_that_waits_for_its_next_try_is_simply_done(bench: Bench) -> None:
    bench.fail(Retryable("E210", "x"))
    bench.lane.begin_stop()
    assert bench.lane.try_finish() and bench.lane.state is LaneState.DONE
