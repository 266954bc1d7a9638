"""A Spark standalone cluster on this machine: a master, two workers, an executor JVM on each; and the kill of an executor."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import pyspark

from deploy.local import ports, process
from deploy.local.java import java_command
from deploy.paths import PROJECT
from tests.chaos.matrix.running import DidNotHappen, Evidence, Running

WORKERS = 2
START_S = 120.0
EXECUTOR = b"CoarseGrainedExecutorBackend"
SMALL = ("-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
CONF = {
    "spark.executor.memory": "768m",
    "spark.executor.cores": "1",
    "spark.executor.extraJavaOptions": "-Xss16m -XX:TieredStopAtLevel=1",
    "spark.executorEnv.PYTHONPATH": str(PROJECT),
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
}
"""What a flow says to Spark to run on the cluster."""


class Cluster:
    """Master and workers in a folder. environment: of the workers, and so of the executors and their Python."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._folder = folder
        home = Path(pyspark.__file__).parent
        self._environment = {"SPARK_HOME": str(home), "SPARK_SCALA_VERSION": "2.13", "SPARK_LOCAL_IP": "127.0.0.1", **environment}
        self._processes: list[process.Process] = []
        self.master = ""

    def start(self) -> None:
        """Start them; executors come with the first application. Raises DidNotHappen when the master's port stays closed."""
        port = ports.free_ports(1)[0]
        self.master = f"spark://127.0.0.1:{port}"
        self._launch("master", "master.Master", "--host", "127.0.0.1", "--port", str(port), "--webui-port", "0")
        give_up = time.monotonic() + START_S
        while not ports.answers("127.0.0.1", port):
            if time.monotonic() > give_up:
                raise DidNotHappen(f"Spark's master did not start\n{self._processes[0].log_tail()}")
            time.sleep(0.1)
        for number in range(WORKERS):
            work = str(self._folder / f"work-{number}")
            more = ("--host", "127.0.0.1", "--webui-port", "0", "--cores", "1", "--memory", "1g", "--work-dir", work)
            self._launch(f"worker-{number}", "worker.Worker", *more, self.master)

    def stop(self) -> None:
        """End workers, their executors, and the master."""
        for one in reversed(self._processes):
            one.stop(2.0)
        for pid in self.executors():
            os.kill(pid, signal.SIGKILL)

    def executors(self) -> list[int]:
        """Process ids of the executor JVMs of this cluster's workers."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                command = (folder / "cmdline").read_bytes()
            except OSError:
                continue
            if EXECUTOR in command and str(self._folder).encode() in os.path.realpath(folder / "cwd").encode():
                found.append(int(folder.name))
        return sorted(found)

    def _launch(self, name: str, main: str, *arguments: str) -> None:
        jars = Path(pyspark.__file__).parent / "jars"
        command = [java_command(), *SMALL, "-cp", f"{jars}/*", f"org.apache.spark.deploy.{main}", *arguments]
        folder = self._folder / name
        self._processes.append(process.start(name, command, folder, environment=self._environment, cwd=self._folder))


@dataclass(frozen=True)
class KillExecutor:
    """SIGKILL for one of the executor JVMs, at a moment the seed chooses; the worker starts another."""

    @property
    def name(self) -> str:
        """What it is."""
        return "an executor JVM"

    def strike(self, run: Running) -> Evidence:
        """Kill one while batches run; wait until the cluster has as many as before and a batch has been done since."""
        assert run.cluster is not None, "the scenario has no cluster"
        driver = run.warm()
        time.sleep(run.rng.uniform(0.0, 2.0))
        before = run.cluster.executors()
        if not before:
            raise DidNotHappen(f"the cluster has no executor\n{driver.transcript()}")
        pid = run.rng.choice(before)
        said = len(driver.of_kind("batch"))
        os.kill(pid, signal.SIGKILL)
        run.kills += 1
        give_up = time.monotonic() + START_S
        while pid in (after := run.cluster.executors()) or len(after) < len(before) or len(driver.of_kind("batch")) <= said:
            if time.monotonic() > give_up or not driver.running:
                raise DidNotHappen(f"executors {before}, {pid} killed, now {after}\n{driver.transcript()}")
            time.sleep(0.1)
        return {"pid": pid, "executors": before, "executors_after": after}


__all__ = ["CONF", "Cluster", "KillExecutor"]
