"""One scenario while it runs: its site, its traffic, the driver of the moment, and what has been struck so far."""

import json
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aerospike

from checkpoints.layout import committed_kafka_offsets, read_lane
from deploy.local.xdr import control
from pipelines.failpoints import VARIABLE
from schemas.errors import MillraceError
from tests.chaos.matrix.site import MIRROR, SOURCE, TOPIC, Site, client_config
from tests.chaos.matrix.traffic import Traffic
from tests.support.flow_process import FlowProcess
from tests.support.kafka import end_offsets

LANES = ("fast", "bulk")
PATIENCE_S = 400.0
"""For one kill, on a machine that does other things too."""
DRAIN_PATIENCE_S = 400.0
LOOK_S = 0.02

Evidence = dict[str, Any]

if TYPE_CHECKING:
    from tests.chaos.matrix.cluster import Cluster


class DidNotHappen(AssertionError):
    """A blow that did not fall, or a flow that did not get up again: the scenario proves nothing then, and fails."""


class NotDefended(DidNotHappen):
    """A blow that no defence noticed, and the flow goes on: the scenario fails, and the oracle says what that did."""


class Running:
    """The state of one scenario. evidence: one entry per blow; kills: SIGKILLs that really happened.

    small, cluster: the scenario's small disk and Spark cluster, if it has them. module: what drivers run.
    mirror_held_s: the longest time for which the mirror's node was stopped and kept what it was sent.
    replayed: batches that were planned and not committed when a driver or a lane was started again.
    """

    def __init__(self, site: Site, traffic: Traffic, rng: random.Random, say: Callable[[str], None]) -> None:
        self.site = site
        self.traffic = traffic
        self.rng = rng
        self.say = say
        self.driver: FlowProcess | None = None
        self.drivers = 0
        self.kills = 0
        self.replayed = 0
        self.mirror_held_s = 0.0
        self.evidence: list[Evidence] = []
        self.module: tuple[str, ...] = ("deploy.cli",)
        self.small: Path | None = None
        self.cluster: Cluster | None = None
        self._watch: threading.Thread | None = None
        self._abandoned: list[FlowProcess] = []

    def require_driver(self, line: str | None = None) -> FlowProcess:
        """The running driver, started if there is none. line: a fail point that is armed for it."""
        if line is not None:
            self.arm(line)
        if self.driver is None:
            self.site.armed.touch()
            self.replayed += sum(self.unfinished(lane) for lane in LANES)
            self.drivers += 1
            self.driver = FlowProcess(
                self.site.flow, environment={VARIABLE: str(self.site.armed)}, launcher=(sys.executable, "-m", *self.module)
            )
            self._watch = threading.Thread(target=self._note_restarts, args=(self.driver,), daemon=True)
            self._watch.start()
        return self.driver

    def start_another(self) -> FlowProcess:
        """A driver beside the one of the moment, which is stopped; from now on it is the driver of the moment."""
        if self._watch is not None and self.driver is not None:
            self._abandoned.append(self.driver)
        self.driver = None
        return self.require_driver()

    def warm(self) -> FlowProcess:
        """A driver each of whose lanes has done a batch."""
        driver = self.require_driver()
        driver.wait_for(
            lambda lines: {line["lane"] for line in lines if line["kind"] == "batch"} >= set(LANES),
            "a batch in each lane",
            PATIENCE_S,
        )
        return driver

    def arm(self, line: str) -> None:
        """Arm one fail point, and no other."""
        part = self.site.armed.with_suffix(".part")
        part.write_text(f"{line}\n")
        part.replace(self.site.armed)

    def await_fired(self, point: str, since: int) -> Evidence:
        """The evidence of fail point `point`, beyond the first `since` lines. Raises DidNotHappen."""
        give_up = time.monotonic() + PATIENCE_S
        while True:
            for record in self.fired()[since:]:
                if record["point"] == point:
                    return record
            if self.driver is None or not self.driver.running:
                said = self.driver.transcript() if self.driver else ""
                raise DidNotHappen(f"the driver ended before {point} was reached\n{said}")
            if time.monotonic() > give_up:
                raise DidNotHappen(f"{point} was not reached in {PATIENCE_S:.0f} s\n{self.driver.transcript()}")
            time.sleep(LOOK_S)

    def await_death(self, what: str) -> None:
        """Return when the driver was killed by SIGKILL. Raises DidNotHappen when it ended otherwise, or not at all."""
        assert self.driver is not None
        try:
            status = self.driver.wait(PATIENCE_S)
        except AssertionError as error:
            raise DidNotHappen(f"{what}: the driver was not killed\n{error}") from None
        if status != -signal.SIGKILL:
            raise DidNotHappen(f"{what}: the driver ended with status {status}\n{self.driver.transcript()}")
        self.forget_driver()

    def fired(self) -> list[Evidence]:
        """What fail points have left so far."""
        if not self.site.fired.exists():
            return []
        return [json.loads(line) for line in self.site.fired.read_text().splitlines() if line.endswith("}")]

    def unfinished(self, lane: str) -> bool:
        """Whether a batch of the lane is planned and not committed."""
        try:
            state = read_lane(str(self.site.checkpoint / lane))
        except MillraceError:
            return False
        return state.last_offsets is not None and state.last_offsets != state.last_commit

    def settle(self) -> None:
        """End the traffic, let a driver read everything, let one fresh change through, and stop the driver in order."""
        self.site.armed.write_text("")
        driver = self.require_driver()
        self.traffic.finish()
        self._drain(driver)
        set_name, key, rev = self.traffic.write_fresh()
        self._drain(driver)
        client = aerospike.client(client_config(self.site.mirror).for_client()).connect()
        try:
            _, _, bins = client.get((MIRROR, set_name, key))
        finally:
            client.close()
        if bins.get("rev") != rev:
            raise DidNotHappen(f"the fresh change is not in the mirror: {bins}")
        driver.send(signal.SIGTERM)
        status = driver.wait(PATIENCE_S)
        if status:
            raise DidNotHappen(f"the last driver did not stop in order: status {status}\n{driver.transcript()}")
        self.forget_driver()

    def close(self) -> None:
        """Kill what is left."""
        for driver in self._abandoned:
            with driver:
                pass
        if self.driver is not None:
            with self.driver:
                pass
            self.forget_driver()

    def _drain(self, driver: FlowProcess) -> None:
        control.flush(self.site.source.address, SOURCE, timeout_s=DRAIN_PATIENCE_S)
        end = {TOPIC: end_offsets(self.site.broker.address, TOPIC)}
        give_up = time.monotonic() + DRAIN_PATIENCE_S
        while any(self._committed(lane) != end for lane in LANES):
            if not driver.running or time.monotonic() > give_up:
                raise DidNotHappen(f"the flow did not read everything\n{driver.transcript()}")
            time.sleep(0.1)

    def _committed(self, lane: str) -> object:
        try:
            return committed_kafka_offsets(str(self.site.checkpoint / lane))
        except MillraceError:
            return None  # a file that is being written

    def _note_restarts(self, driver: FlowProcess) -> None:
        seen = 0
        while driver.running:
            restarts = driver.of_kind("restart")
            for line in restarts[seen:]:
                self.replayed += self.unfinished(line["lane"])
            seen = len(restarts)
            time.sleep(LOOK_S)

    def forget_driver(self) -> None:
        """The driver has ended."""
        if self._watch is not None:
            self._watch.join()
        self.driver = self._watch = None


__all__ = ["DidNotHappen", "Evidence", "LANES", "NotDefended", "Running"]
