"""One run of one scenario, from empty folders to the oracle's verdict."""

import random
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pipelines.failpoints import VARIABLE
from tests.chaos.matrix.cluster import CONF, Cluster
from tests.chaos.matrix.damage import small_disk
from tests.chaos.matrix.facts import gather
from tests.chaos.matrix.oracle import judge
from tests.chaos.matrix.running import DidNotHappen, Evidence, NotDefended, Running
from tests.chaos.matrix.scenarios import Scenario
from tests.chaos.matrix.site import site_in
from tests.chaos.matrix.traffic import Traffic

Say = Callable[[str], None]


@dataclass(frozen=True)
class Outcome:
    """What one run showed. failed: why it could not be judged, or empty. events: messages of the topic."""

    scenario: str
    run: int
    seed: int
    kills: int
    blows: int
    replayed: int
    events: int
    lost: int
    doubled: int
    wrong: int
    seconds: float
    failed: str
    problems: tuple[str, ...]
    evidence: tuple[Evidence, ...] = field(repr=False)

    @property
    def good(self) -> bool:
        """Whether every blow fell and nothing is lost, doubled or wrong."""
        return not (self.failed or self.lost or self.doubled or self.wrong)

    def as_dict(self) -> dict[str, Any]:
        """For a line of JSON."""
        return asdict(self)


def run_scenario(scenario: Scenario, number: int, seed: int, folder: Path, say: Say, without: str = "") -> Outcome:
    """Run it. Never raises for what a scenario is there to find: that is in the outcome. Leaves nothing running.

    without: a defence of `tests.chaos.broken_driver` that is switched off.
    """
    began = time.monotonic()
    rng = random.Random(f"{scenario.name}/{seed}")
    blows = [blow for blow in scenario.blows for _ in range(scenario.times)]
    rng.shuffle(blows)
    failed = ""
    with site_in(folder, seed) as site, ExitStack() as disks:
        traffic = Traffic(site, seed, scenario.rate)
        run = Running(site, traffic, rng, say)
        if without:
            run.module = ("tests.chaos.broken_driver", without)
        events = 0
        problems: list[str] = []
        counts = {"lost": 0, "doubled": 0, "wrong": 0}
        try:
            if scenario.small_disk:
                run.small = disks.enter_context(small_disk(folder / "small"))
                setattr(site, scenario.small_disk, run.small / scenario.small_disk)
            if scenario.cluster:
                run.cluster = Cluster(folder / "spark", {VARIABLE: str(site.armed)})
                disks.callback(run.cluster.stop)
                run.cluster.start()
            spark = {"master": run.cluster.master, "conf": CONF} if run.cluster else {}
            site.write_flow(scenario.per_batch, scenario.batch_timeout_s, more=scenario.flow_lines, **spark)
            traffic.start()
            for place, blow in enumerate(blows, 1):
                at = time.monotonic()
                try:
                    evidence = blow.strike(run)
                except NotDefended as error:
                    failed = str(error)
                    evidence = {"not_defended": failed}
                took = time.monotonic() - at
                run.evidence.append({"blow": blow.name, "took_s": round(took, 2), **evidence})
                say(f"{scenario.name} {number}: {place}/{len(blows)} {blow.name}: {took:.1f} s {_shown(evidence)}")
            run.settle()
            facts = gather(site, traffic, run.mirror_held_s)
            events = len(facts.sent)
            verdict = judge(facts)
            counts = {"lost": verdict.lost, "doubled": verdict.doubled, "wrong": verdict.wrong}
            problems = verdict.problems
        except DidNotHappen as error:
            failed = "\n".join(filter(None, (failed, str(error))))
        finally:
            run.close()
    return Outcome(
        scenario=scenario.name,
        run=number,
        seed=seed,
        kills=run.kills,
        blows=len(run.evidence),
        replayed=run.replayed,
        events=events,
        **counts,
        seconds=round(time.monotonic() - began, 1),
        failed=failed,
        problems=tuple(problems),
        evidence=tuple(run.evidence),
    )


def _shown(evidence: Evidence) -> str:
    names = ("batch_id", "file", "offsets", "commits", "fired", "pid")
    return " ".join(f"{name}={evidence[name]}" for name in names if name in evidence)


__all__ = ["Outcome", "run_scenario"]
