"""The demo end to end: real broker, node, Spark and Delta, its driver killed in the middle of a batch.

At one of its three points: `make demo` strikes at all of them, and test_matrix at every kind of point there is.
"""

from pathlib import Path

import pytest

from deploy.demo.demo import KILL_POINTS, DemoOptions, run_demo

pytestmark = [pytest.mark.spark, pytest.mark.stack]


@pytest.mark.timeout(1800)
def test_crashes_lose_double_and_change_nothing(tmp_path: Path) -> None:
    said: list[str] = []
    result = run_demo(
        DemoOptions(seed=11, rate=150, seconds=10, folder=tmp_path / "demo", kill_points=KILL_POINTS[:1]), said.append
    )
    assert result.good, (result.verdict, result.ledger, result.reconciliation)
    assert [fired["point"] for fired in result.kill_evidence] == ["fast:mid_sink"], "the fault really fired"
    assert result.events > 2_000
    assert int(result.shipped["duplicates"]) > 0
    assert int(result.shipped["reordered"]) > 0
    mirror = next(row for row in result.ledger if row["output"] == "mirror")
    assert mirror["superseded"] > 0, "disorder really happened"
    assert result.workload["deletes"] > 0
    assert result.workload["expiring"] > 0
