"""The scenarios, as data: what strikes, and how often at each run."""

from dataclasses import dataclass

from tests.chaos.matrix.blows import LEASE_S, Blow, FreezeDriver, KillDriver, KillWorker, ReplaceDriver
from tests.chaos.matrix.cluster import KillExecutor
from tests.chaos.matrix.damage import DamagedCheckpoint, FullDisk, Maintenance
from tests.chaos.matrix.servers import EmptyNode, FreezeServer, KillBehind, KillServer, NodeFault

BOUNDARIES = (
    *("fast:before_plan", "fast:after_plan", "fast:before_sink", "fast:decode", "fast:before_mirror", "fast:mid_sink events=20"),
    *("fast:after_mirror", "fast:before_counts", "fast:mid_counts events=20", "fast:after_counts"),
    *("fast:after_sink", "fast:after_letters", "fast:after_journal", "fast:before_commit"),
    "fast:after_commit",
    *("bulk:before_plan", "bulk:after_plan", "bulk:before_sink", "bulk:decode", "bulk:before_history"),
    *("bulk:mid_history events=20", "bulk:files_history", "bulk:log_history", "bulk:after_history", "bulk:after_sink"),
    *("bulk:after_letters", "bulk:after_journal", "bulk:before_commit", "bulk:after_commit"),
    *("flow:before_ledger", "flow:mid_ledger", "flow:after_ledger"),
)
"""Every boundary of a flow with a mirror lane and a history lane. A test holds it against `pipelines.failpoint_names`."""
IN_WORKERS = (
    *("fast:decode", "fast:mid_mirror events=10", "fast:mid_counts events=10"),
    *("bulk:decode", "bulk:mid_history events=10"),
)
SHORT = (
    *("fast:before_plan", "fast:after_plan", "fast:before_sink", "fast:before_mirror", "fast:mid_sink events=20"),
    *("fast:after_counts", "fast:after_sink", "fast:after_letters", "fast:after_journal", "fast:before_commit"),
    *("fast:after_commit", "bulk:files_history", "bulk:log_history", "bulk:after_history"),
    *("flow:before_ledger", "flow:mid_ledger", "flow:after_ledger"),
)
"""Every kind of boundary of BOUNDARIES once that is not struck in a worker."""


@dataclass(frozen=True)
class Scenario:
    """What is done to one flow between its first batch and the oracle's look.

    blows: all of them, in an order the seed decides; times: how often each is struck in one run. rate: operations a second.
    small_disk: what lies on a small disk of its own, `checkpoint` or `tables`. cluster: whether Spark is a standalone cluster.
    flow_lines: more for the flow file. per_batch: offsets of a batch of the mirror's lane: with few of them disorder reaches over
    several batches.
    """

    name: str
    about: str
    blows: tuple[Blow, ...]
    times: int = 1
    rate: int = 60
    per_batch: int = 1_000
    small_disk: str = ""
    cluster: bool = False
    flow_lines: str = ""
    batch_timeout_s: float = 60


SCENARIOS: dict[str, Scenario] = {
    scenario.name: scenario
    for scenario in (
        Scenario(
            "boundaries",
            "kill -9 at every kind of boundary once: what `make test` runs",
            (*(KillWorker(line) for line in IN_WORKERS), *(KillDriver(line, running=0.0) for line in SHORT)),
            rate=40,
        ),
        Scenario(
            "driver",
            "kill -9 of the driver, Python and JVM, at every boundary of a batch",
            tuple(KillDriver(line) for line in BOUNDARIES),
        ),
        Scenario(
            "driver-python",
            "kill -9 of the driver's Python alone: its JVM has to notice",
            tuple(
                KillDriver(f"{line} action=kill-python")
                for line in ("fast:after_mirror", "fast:mid_sink events=20", "bulk:after_history", "bulk:before_commit")
            ),
        ),
        Scenario(
            "worker",
            "kill -9 of a Python worker in the middle of a batch",
            tuple(KillWorker(line) for line in IN_WORKERS),
            times=15,
            rate=100,
        ),
        Scenario(
            "broker",
            "kill -9 of the Kafka broker, back with its data; also while the flow is behind; a leader that does not answer",
            (KillServer("broker", 1.0), KillServer("broker", 4.0), KillBehind("broker"), FreezeServer("broker", 8.0)),
            times=2,
        ),
        Scenario(
            "node",
            "kill -9 of the source's and the mirror's node, back with their data; a node that does not answer",
            (
                *(KillServer("mirror", 0.5), KillServer("mirror", 3.0), KillServer("source", 0.5), KillServer("source", 2.0)),
                FreezeServer("mirror", 6.0),
            ),
            times=5,
            batch_timeout_s=10,
        ),
        Scenario(
            "node-emptied",
            "kill -9 of the mirror's node, back without its data: the flow notices and stops; then it gets its data back",
            (EmptyNode(),),
            times=3,
        ),
        Scenario(
            "stopped",
            "SIGSTOP of the driver at a boundary, and wake",
            tuple(
                FreezeDriver(line, seconds)
                for line, seconds in (
                    ("fast:mid_sink events=10", 3.0),
                    ("fast:after_sink", 5.0),
                    ("bulk:after_history", 5.0),
                    ("bulk:mid_history events=10", 3.0),
                )
            ),
            times=2,
        ),
        Scenario(
            "replaced",
            "SIGSTOP of the driver for longer than its lease, a second one takes over, the first wakes up",
            tuple(
                ReplaceDriver(line)
                for line in ("fast:mid_sink events=10", "fast:after_sink", "bulk:after_history", "bulk:mid_history events=10")
            ),
            flow_lines=f"lease: {{expiry_s: {LEASE_S}}}\n",
        ),
        Scenario(
            "node-faults",
            "the mirror's node: slow, time-out after effect, cut connection, overload, hot key, partial batch failure",
            (
                NodeFault("name=latency;ms=400;kind=batch;share=0.5"),
                NodeFault("name=timeout-after-effect;share=0.5;times=20"),
                NodeFault("name=reset;share=0.5;times=20"),
                NodeFault("name=overload;share=0.7"),
                NodeFault("name=hot-key;share=0.5;row_share=0.3"),
                NodeFault("name=partial-batch;share=0.5;row_share=0.5;code=device-overload"),
            ),
            times=2,
            batch_timeout_s=10,
        ),
        Scenario(
            "disk-checkpoint",
            "disk full under the checkpoint, then room again",
            (FullDisk(4.0),),
            times=3,
            small_disk="checkpoint",
        ),
        Scenario(
            "disk-tables", "disk full under the Delta tables, then room again", (FullDisk(4.0),), times=3, small_disk="tables"
        ),
        Scenario(
            "executor",
            "kill -9 of an executor JVM, and of workers in executors, on a Spark standalone cluster with two workers",
            (KillExecutor(), KillExecutor(), *(KillWorker(line) for line in IN_WORKERS)),
            times=2,
            cluster=True,
        ),
        Scenario(
            "maintenance",
            "OPTIMIZE and VACUUM by another process while the history is appended to, with kills",
            (Maintenance(6.0), KillDriver("bulk:log_history"), Maintenance(6.0), KillDriver("bulk:files_history")),
        ),
        Scenario(
            "checkpoint-damaged",
            "kill -9, then a checkpoint or a file of it removed or torn: the start is refused, all is put back",
            (
                DamagedCheckpoint("fast", "metadata", "remove"),
                DamagedCheckpoint("fast", "offsets", "truncate"),
                DamagedCheckpoint("bulk", "offsets", "remove"),
                DamagedCheckpoint("bulk", "metadata", "truncate"),
                DamagedCheckpoint("bulk", "commits", "truncate"),
                DamagedCheckpoint("fast", "all", "remove", "E124", status=2),
                DamagedCheckpoint("bulk", "all", "remove"),
            ),
        ),
    )
}

WITHOUT: dict[str, Scenario] = {
    scenario.name: scenario
    for scenario in (
        Scenario(
            "guard",
            "the mirror's version guard",
            (KillWorker("fast:mid_mirror events=3"), KillDriver("fast:after_sink")),
            rate=40,
            per_batch=30,
        ),
        Scenario(
            "tombstone",
            "the mirror's memory of deletes",
            (KillWorker("fast:decode"), KillDriver("fast:after_sink")),
            rate=40,
            per_batch=30,
        ),
        Scenario("fence", "the fence in each record that is counted", (KillDriver("fast:after_counts"),)),
        Scenario("transaction", "transaction ids in the history's log", (KillDriver("bulk:after_history"),)),
        Scenario(
            "lease",
            "the lease: a driver that was replaced goes on when it wakes up",
            (ReplaceDriver("fast:after_sink"),),
            flow_lines=f"lease: {{expiry_s: {LEASE_S}}}\n",
        ),
        Scenario("start", "the guards of a start", (DamagedCheckpoint("bulk", "all", "remove"),)),
    )
}
"""By defence: the little that shows what it is for, once it is switched off."""

__all__ = ["BOUNDARIES", "IN_WORKERS", "SCENARIOS", "SHORT", "Scenario", "WITHOUT"]
