"""A small part of `make chaos`: every kind of boundary struck once, in one flow, judged by the oracle of the matrix."""

from pathlib import Path

import pytest

from tests.chaos.matrix.run import run_scenario
from tests.chaos.matrix.scenarios import SCENARIOS

pytestmark = [pytest.mark.spark, pytest.mark.stack]


@pytest.mark.timeout(2400)
def test_kills_at_every_kind_of_boundary_leave_no_trace(tmp_path: Path) -> None:
    scenario = SCENARIOS["boundaries"]
    outcome = run_scenario(scenario, 1, 7, tmp_path / "site", print)
    assert outcome.good, (outcome.failed, outcome.problems, outcome)
    assert outcome.kills == len(scenario.blows) and outcome.replayed >= 5 and outcome.events > 200, outcome
    worker = [evidence for evidence in outcome.evidence if evidence["action"] == "kill-worker"]
    assert worker and all(evidence["pid"] != evidence["driver"] for evidence in worker)
    planned = next(evidence for evidence in outcome.evidence if evidence["point"] == "fast:after_plan")
    assert set(planned["offsets"]) - set(planned["commits"]), "struck between plan and commit"
