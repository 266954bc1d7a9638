"""The mirror's own call loop before a cluster that is overloaded, in a time that only waiting makes pass."""

from collections.abc import Callable

import pytest

from schemas.errors import InDoubt, Retryable
from schemas.events import ChangeEvent
from sinks.contract import APPLIED
from sinks.pressure import RECOVERY_S, SMALLEST_SHARE, Allowance
from tests.support.crowded_cluster import TIMEOUT, Writer, writer_at
from tests.support.events import write

WINDOW = 1_000
START_S, OVER_S = 5, 65


def window(number: int, size: int = WINDOW) -> list[ChangeEvent]:
    return [write(f"{number}-{n}", 1 + n) for n in range(size)]


def minute_of(takes: float) -> Callable[[float], float | None]:
    """Everything is taken but for one minute, in which the cluster takes so many records a second."""
    return lambda second: takes if START_S <= second < OVER_S else None


def drive(writer: Writer, until_s: int) -> None:
    """Windows one after another until the clock has come so far; every event must be applied in the end."""
    while writer.cluster.second < until_s:
        number = len(writer.cluster.applied)
        outcomes = writer.write(window(number), number)
        assert outcomes == [APPLIED] * WINDOW


def over(counts: dict[int, int], first: int, last: int) -> float:
    """A second's mean from one second to before another."""
    return sum(counts.get(second, 0) for second in range(first, last)) / (last - first)


@pytest.fixture(scope="module")
def minute_without() -> Writer:
    """One run through a minute in which nothing is taken; every test below looks at it."""
    with pytest.MonkeyPatch.context() as patched:
        writer = writer_at(patched, minute_of(0))
        drive(writer, 90)
        return writer


def test_calls_fall_while_nothing_is_taken(minute_without: Writer) -> None:
    cluster = minute_without.cluster
    usual_calls, usual_records = over(cluster.calls, 1, START_S), over(cluster.records, 1, START_S)
    assert usual_records > 300
    assert over(cluster.calls, START_S + 5, OVER_S) < usual_calls / 2, "a probe now and then, not a storm"
    assert over(cluster.records, START_S + 5, OVER_S) < usual_records / 50
    assert max(cluster.calls[second] for second in range(START_S + 2, OVER_S)) <= usual_calls, "in no second more than usual"
    assert over(cluster.calls, START_S + 5, OVER_S) > 0.5, "it keeps looking"


def test_what_was_refused_is_sent_again_and_nothing_else(minute_without: Writer) -> None:
    cluster = minute_without.cluster
    assert set(cluster.applied.values()) == {1}, "no record is written twice"
    refused = sum(cluster.records.values()) - sum(cluster.taken.values())
    assert sum(cluster.sent.values()) - len(cluster.sent) == refused
    assert 0 < refused < 400, "some calls in flight, then probes"


def test_the_usual_rate_is_back_soon_after(minute_without: Writer) -> None:
    cluster = minute_without.cluster
    back_s = OVER_S + int(RECOVERY_S) + 3
    assert over(cluster.taken, back_s, back_s + 8) > 0.95 * over(cluster.taken, 1, START_S)
    assert minute_without.sink.pace.share == 1.0
    rising = [over(cluster.taken, OVER_S + second, OVER_S + second + 3) for second in (1, 4, 7)]
    assert rising == sorted(rising) and rising[0] < 0.5 * rising[-1], "step by step"


@pytest.mark.parametrize("part", [0.5, 0.2, 0.05])
def test_a_cluster_that_takes_a_part_gets_about_that_part(monkeypatch: pytest.MonkeyPatch, part: float) -> None:
    writer = writer_at(monkeypatch, lambda second: None)
    drive(writer, START_S)
    usual = over(writer.cluster.taken, 1, START_S)
    writer.cluster.takes = minute_of(part * usual)
    drive(writer, 90)
    cluster = writer.cluster
    settled = (START_S + 10, OVER_S)
    assert over(cluster.taken, *settled) > 0.75 * part * usual, "what it can take, it gets"
    wasted = over(cluster.records, *settled) - over(cluster.taken, *settled)
    assert wasted < 0.1 * usual, "and little more"
    assert over(cluster.calls, *settled) <= 1.1 * over(cluster.calls, 1, START_S)
    assert set(cluster.applied.values()) == {1}


def test_time_outs_slow_down_too_and_calls_shrink(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cluster that answers calls in time up to 30 records."""
    writer = writer_at(monkeypatch, lambda second: None)
    cluster = writer.cluster
    cluster.code = TIMEOUT
    allowed = cluster._allowed
    cluster._allowed = lambda rows: allowed(rows) if rows <= 30 else 0  # type: ignore[method-assign]
    writer.write(window(0), 1)
    assert max(cluster.sizes[:3]) == 100
    taken = [size for size in cluster.sizes if size <= 30]
    assert sum(taken) == WINDOW, "it got through, with calls of a size that is answered"


def test_one_refused_record_in_a_call_hardly_slows(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy key is a matter of one record."""
    writer = writer_at(monkeypatch, lambda second: None)
    cluster = writer.cluster
    once = iter([99])
    cluster._allowed = lambda rows: next(once, rows)  # type: ignore[method-assign]
    assert writer.write(window(0), 1) == [APPLIED] * WINDOW
    seen = writer.sink.pace.seen
    assert (seen.refused, seen.again) == (1, 1) and seen.smallest > 0.99
    assert seen.waited_s < 0.1


def test_without_trouble_nothing_is_held_back(monkeypatch: pytest.MonkeyPatch) -> None:
    writer = writer_at(monkeypatch, lambda second: None)
    writer.write(window(0), 1)
    seen = writer.sink.pace.seen
    assert (seen.share, seen.smallest, seen.refused, seen.again, seen.waited_s) == (1.0, 1.0, 0, 0, 0.0)
    assert set(writer.cluster.sizes) == {100} and seen.taken == WINDOW and seen.busy_s > 0


def test_writers_begin_where_the_flow_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer that has seen no refusal itself begins as slow as the others ended."""
    writer = writer_at(monkeypatch, lambda second: None)
    writer.sink.pace.begin(Allowance(0.1, 370.0))
    writer.again(window(0), 1)
    assert writer.cluster.sizes[0] == 10
    assert writer.cluster.sizes == sorted(writer.cluster.sizes[:-1]) + writer.cluster.sizes[-1:], "and grows from there"
    assert 30 <= writer.cluster.records[0] <= 80


@pytest.mark.parametrize(("takes", "code", "error"), [(0.0, 18, "E211"), (5.0, 18, "E212"), (0.0, TIMEOUT, "E310")])
def test_the_deadline_still_holds(monkeypatch: pytest.MonkeyPatch, takes: float, code: int, error: str) -> None:
    writer = writer_at(monkeypatch, lambda second: takes)
    writer.cluster.code = code
    began = writer.cluster.clock.now
    with pytest.raises((Retryable, InDoubt)) as caught:
        writer.write(window(0), 1, budget_s=8)
    assert caught.value.code == error
    assert writer.cluster.clock.now - began < 9
    if error == "E212":
        assert "records refused, slowed to" in str(caught.value)


def test_a_call_cut_short_by_the_deadline_does_not_hide_what_the_cluster_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cluster that refuses everything, half a second later: the deadline comes in the middle of a call."""
    unanswered = 0
    for hundredths in range(400, 600, 5):
        writer = writer_at(monkeypatch, lambda second: 0.0)
        writer.cluster.call_s = 0.5
        with pytest.raises(Retryable) as caught:
            writer.write(window(0), 1, budget_s=hundredths / 100)
        assert caught.value.code == "E211" and "last answer 18" in str(caught.value)
        unanswered += writer.cluster.unanswered
    assert unanswered


def test_a_sink_travels_without_its_pace() -> None:
    import pickle

    from sinks.aerospike import AerospikeMirror
    from sinks.aerospike.config import ClientConfig, MirrorConfig

    sink = AerospikeMirror(MirrorConfig("mirror", ClientConfig((("h", 3000, None),)), "ns"))
    before = pickle.dumps(sink)
    sink.pace.answered(sink.pace.sent(10), 0, 10)
    assert sink.pace.slowed and pickle.dumps(sink) == before
    copy = pickle.loads(before)
    assert copy.config == sink.config and not copy.pace.slowed
    assert SMALLEST_SHARE < 1
