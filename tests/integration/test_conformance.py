"""The embedded node answers every recorded case as a real server does."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local.aerospike import start_node

FOLDER = Path(__file__).resolve().parents[1] / "conformance"
CASES = 137


@pytest.fixture(scope="module")
def address(servers_folder: Path) -> Iterator[str]:
    """A node of its own, as one case asks for the list of namespaces; MILLRACE_AEROSPIKE when set."""
    given = os.environ.get("MILLRACE_AEROSPIKE")
    if given:
        yield given
        return
    node = start_node(servers_folder / "conformance", ("test,nsup-period=10",))
    yield node.address
    node.stop()


def test_every_recorded_case_passes(address: str) -> None:
    host, _, port = address.rpartition(":")
    assert len(json.loads((FOLDER / "golden.json").read_text())) == CASES
    command = [sys.executable, str(FOLDER / "run.py"), "--host", host, "--port", port, "--verbose"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    counted = re.search(r"(\d+) passed, (\d+) failed", run.stdout)
    assert counted, run.stdout[-2000:] + run.stderr[-2000:]
    assert counted.groups() == (str(CASES), "0"), run.stdout
    assert run.returncode == 0
