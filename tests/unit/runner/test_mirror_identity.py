"""A mirror that was emptied or exchanged is noticed at a start, at a restart of its lane, and between two batches."""

import json
from pathlib import Path

import pytest

from pipelines.mirror_identity import MIRRORS_FILE, MirrorIdentity
from schemas.errors import Retryable, Terminal
from sinks.aerospike.identity import Identity


class Mirror:
    """A mirror that carries at most one identity."""

    def __init__(self) -> None:
        self.carries: Identity | None = None
        self.given = 0
        self.away = False
        self.overloaded = False
        self.asked = 0

    def identity(self, flow: str) -> Identity | None:
        self.asked += 1
        if self.away:
            raise Retryable("E210", "away")
        if self.overloaded:
            raise Retryable("E211", "asks for less")
        return self.carries

    def give_identity(self, flow: str) -> Identity:
        if self.carries is None:
            self.given += 1
            self.carries = Identity(f"id-{self.given}", "2026-01-01T00:00:00+00:00")
        return self.carries


class Bench:
    def __init__(self, folder: Path) -> None:
        self.now = 100.0
        self.mirror = Mirror()
        self.folder = folder
        self.same = self.another_start()

    def another_start(self, output: str = "mirror") -> MirrorIdentity:
        return MirrorIdentity(self.mirror, "flow", output, str(self.folder), clock=lambda: self.now)

    def remembered(self) -> dict[str, str]:
        found: dict[str, str] = json.loads((self.folder / MIRRORS_FILE).read_text())
        return found


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    bench = Bench(tmp_path)
    bench.same.require_same(progressed=False)
    return bench


def test_the_first_start_gives_an_identity_and_the_checkpoint_remembers_it(bench: Bench) -> None:
    assert bench.remembered() == {"mirror": "id-1"}
    bench.another_start().require_same(progressed=True)
    assert bench.mirror.given == 1


def test_an_emptied_mirror_is_refused_with_evidence(bench: Bench) -> None:
    bench.mirror.carries = None
    with pytest.raises(Terminal, match=r"E436.*has filled mirror id-1, and the one there carries none.*mirrors\.json"):
        bench.another_start().require_same(progressed=True)
    assert bench.mirror.carries is None, "refusing changes nothing: the next start must refuse it, too"
    with pytest.raises(Terminal, match="E436"):
        bench.another_start().require_same(progressed=True)


def test_an_exchanged_mirror_is_refused(bench: Bench) -> None:
    bench.mirror.carries = Identity("theirs", "2025-01-01T00:00:00+00:00")
    with pytest.raises(Terminal, match=r"E436.*carries theirs, given at 2025"):
        bench.another_start().require_same(progressed=True)


def test_before_the_first_batch_any_mirror_will_do(bench: Bench) -> None:
    bench.mirror.carries = Identity("theirs", "2025-01-01T00:00:00+00:00")
    bench.another_start().require_same(progressed=False)
    assert bench.remembered() == {"mirror": "theirs"}
    bench.mirror.carries = None
    bench.another_start().require_same(progressed=False)
    assert bench.remembered() == {"mirror": "id-2"}


def test_a_new_checkpoint_or_one_from_before_takes_the_identity_it_finds(bench: Bench) -> None:
    (bench.folder / MIRRORS_FILE).unlink()
    bench.another_start().require_same(progressed=True)
    assert bench.remembered() == {"mirror": "id-1"} and bench.mirror.given == 1


def test_outputs_are_remembered_side_by_side(bench: Bench) -> None:
    bench.another_start("second").require_same(progressed=False)
    assert sorted(bench.remembered()) == ["mirror", "second"]


def test_looking_only_changes_nothing(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.same.require_same(progressed=False, remember=False)
    assert bench.mirror.carries is None and not (tmp_path / MIRRORS_FILE).exists()


def test_between_batches_it_is_asked_at_most_once_a_second(bench: Bench) -> None:
    asked = bench.mirror.asked
    for _ in range(10):
        bench.same.require_still_same()
        bench.now += 0.1
    assert bench.mirror.asked == asked + 1
    bench.mirror.carries = None
    bench.now += 0.2
    with pytest.raises(Terminal, match="E436"):
        bench.same.require_still_same()
    with pytest.raises(Terminal, match="E436"):
        bench.same.require_still_same()


def test_a_mirror_that_does_not_answer_in_a_run_is_asked_again_with_the_next_batch(bench: Bench) -> None:
    bench.mirror.away = True
    bench.same.require_still_same()
    bench.mirror.away, bench.mirror.carries = False, None
    with pytest.raises(Terminal, match="E436"):
        bench.same.require_still_same()
    bench.mirror.away = True
    with pytest.raises(Retryable):
        bench.another_start().require_same(progressed=True)


def test_a_lane_is_not_kept_from_restarting_by_an_overload_and_looks_after_its_batch(bench: Bench) -> None:
    bench.same.require_still_same()
    bench.mirror.overloaded = True
    bench.same.require_same(progressed=True)
    with pytest.raises(Retryable, match="E211"):
        bench.another_start().require_same(progressed=True)  # of a driver that has never seen the mirror
    bench.mirror.overloaded, bench.mirror.carries = False, None
    with pytest.raises(Terminal, match="E436"):
        bench.same.require_still_same()  # within a second of the last look


def test_a_damaged_memory_is_named(bench: Bench) -> None:
    (bench.folder / MIRRORS_FILE).write_text("[")
    with pytest.raises(Terminal, match=r"E421.*mirrors\.json"):
        bench.another_start().require_same(progressed=True)
