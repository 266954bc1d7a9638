"""A test run that is killed leaves servers behind; the next run ends them and leaves those of living runs alone."""

import subprocess
import sys
from pathlib import Path

import pytest

from deploy.local import launch
from tests.support import leftovers

ROOT = Path(__file__).resolve().parents[2]
RUN = """
import sys, time
from deploy.local import process
from tests.support.leftovers import run_folder
with run_folder() as folder:
    server = process.start("server", [sys.executable, "-c", "import time; time.sleep(600)"], folder / "server")
    print(server.pid, flush=True)
    time.sleep(600)
"""


def test_servers_of_a_killed_run_are_ended_those_of_a_living_one_are_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_HOME", str(tmp_path))
    runs = [subprocess.Popen([sys.executable, "-c", RUN], stdout=subprocess.PIPE, text=True, cwd=ROOT) for _ in range(2)]
    servers = []
    for run in runs:
        assert run.stdout
        servers.append(int(run.stdout.readline()))
    killed, living = runs
    killed.kill()
    killed.wait()
    try:
        assert launch.start_mark(servers[0]) and launch.start_mark(servers[1])
        with leftovers.run_folder() as mine:
            assert launch.start_mark(servers[0]) is None
            assert launch.start_mark(servers[1])
            with leftovers.run_folder() as another:
                assert another != mine
            assert mine.exists()
        assert not mine.exists()
    finally:
        living.kill()
        living.wait()
        with leftovers.run_folder():
            pass
        for run in runs:
            assert run.stdout
            run.stdout.close()
    assert launch.start_mark(servers[1]) is None
