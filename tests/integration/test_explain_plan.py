"""`millrace explain` with Spark's plan: a real session, no broker, no secret."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MARKER = "hunter2-marker"
FLOW = """\
name: planned
source:
  bootstrap_servers: 127.0.0.1:1
  topics: [xdr.payments]
  options:
    security.protocol: SASL_PLAINTEXT
    sasl.jaas.config: org.apache.kafka.common.security.plain.PlainLoginModule required username="me" password="${PW}";
records: [{namespace: payments, bins: {qty: int}}]
outputs:
  mirror: {type: aerospike, hosts: "127.0.0.1:1", namespace: mirror, user: me, password: "${PW}"}
  history: {type: delta_history, path: /nowhere/history}
dead_letters: /nowhere/dead_letters
checkpoint: /nowhere/checkpoint
spark: {conf: {spark.hadoop.fs.s3a.secret.key: "${PW}"}}
"""


@pytest.mark.spark
def test_explain_shows_a_plan_per_lane_without_a_broker_and_without_secrets(tmp_path: Path) -> None:
    path = tmp_path / "flow.yaml"
    path.write_text(FLOW)
    code = "import sys, typer; from pipelines.cli.explain import explain; typer.run(explain)"
    done = subprocess.run(
        [sys.executable, "-c", code, str(path), "--output", "json"],
        cwd=ROOT,
        env={**os.environ, "PW": MARKER},
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr
    assert MARKER not in done.stdout + done.stderr
    plans = json.loads(done.stdout)["plans"]
    assert set(plans) == {"fast", "bulk"}
    for plan in plans.values():
        assert "StreamingRelation" in plan
        assert plan.count("MapInArrow") == 2, "one step of Python workers, named in the tree and in its detail"
        assert "BatchEvalPython" not in plan and "ArrowEvalPython" not in plan, "Python is asked row by row, or column by column"
