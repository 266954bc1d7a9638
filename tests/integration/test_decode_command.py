"""`millrace decode` shows what the stream would see, and says by its exit status whether it could."""

import json
import subprocess
import sys

from tests.support.spark import ROOT
from tests.support.typed_json import Change


def test_an_event_and_a_dead_letter_line_by_line() -> None:
    _, good = Change("k", 1_764_633_600_123, 4, {"qty": 9_007_199_254_740_993, "note": "läuft"}).message()
    bad = good.replace(b'"type": "int", "value": 9007199254740993', b'"type": "int", "value": "x"')
    assert bad != good
    done = subprocess.run(
        [sys.executable, "-m", "deploy.cli", "decode", "--lines", "-"],
        input=good + b"\n" + bad,
        capture_output=True,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 1, done.stderr.decode()
    event, letter = map(json.loads, done.stdout.splitlines())
    assert event["bins"] == {"qty": {"type": "int", "value": "9007199254740993"}, "note": {"type": "str", "value": "läuft"}}
    assert (event["op"], event["gen"], event["lut_ms"]) == ("write", 4, 1_764_633_600_123)
    assert letter["dead_letter"] == "D108"
    assert "qty" in letter["detail"]
