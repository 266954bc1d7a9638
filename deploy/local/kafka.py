"""A real Kafka broker on this machine: KRaft, one process that is broker and controller, started from the resolved jars.

The data folder keeps the cluster id and the log; a broker started again on it has everything that was acknowledged, also
after SIGKILL.
"""

import subprocess
import time
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from deploy.local import ports, process
from deploy.local.java import java_command
from deploy.local.topics import metadata_problem
from deploy.paths import jars_folder
from schemas.errors import ConfigError

HEAP = "512m"
START_TIMEOUT_S = 90.0
LOGGING = Path(__file__).with_name("kafka-log4j2.xml")
JVM_OPTIONS = (
    f"-Xmx{HEAP}",
    # One small heap on shared cores: the serial collector has the least threads and the shortest start.
    "-XX:+UseSerialGC",
    # The optimising compiler takes more of two cores, for minutes, than it gives back: a third of the broker's CPU in a demo.
    "-XX:TieredStopAtLevel=1",
    "-XX:+ExitOnOutOfMemoryError",
    "-Djava.awt.headless=true",
    "-Dkafka.logs.dir=.",
    # The MBean of log4j is of no use here.
    "-Dlog4j2.disableJmx=true",
    f"-Dlog4j2.configurationFile={LOGGING}",
)

_QUIET_WHEN_UNUSED = ("-Xlog:cds=off", "-Xlog:cds+dynamic=off")
CLASS_ARCHIVE = "broker-classes.jsa"
"""Beside the jars, when `make setup` made it: the broker's classes as the JVM has read them (class data sharing).

With it a broker starts in about half the CPU time. A JVM of another build, or other jars, leave it unused.
Source: https://docs.oracle.com/en/java/javase/17/vm/class-data-sharing.html
"""


@dataclass(frozen=True, slots=True)
class Broker:
    """A broker that was started here: address, data folder, process."""

    address: str
    """host:port for bootstrap.servers."""
    controller_port: int
    data: Path
    process: process.Process
    settings: tuple[tuple[str, str], ...] = ()

    @property
    def port(self) -> int:
        """The port clients use."""
        return int(self.address.rpartition(":")[2])

    def stop(self, grace_s: float = 15.0) -> bool:
        """Shut down in order; False when it did not run. Data and address stay for `restart`."""
        return self.process.stop(grace_s)

    def kill(self) -> bool:
        """SIGKILL, as a crash: no shutdown, no flush."""
        return self.process.kill()

    def restart(self, timeout_s: float = START_TIMEOUT_S) -> "Broker":
        """Start again on the same data and the same address, and wait until it answers. Stops it first if it runs."""
        self.stop()
        again = launch_broker(self.data, self.port, self.controller_port, dict(self.settings))
        again.wait_ready(timeout_s)
        return again

    def runs_with_other_settings(self) -> bool:
        """Whether the running broker was started with other options than these."""
        return (self.data / "server.properties").read_text() != self._properties()

    def _properties(self) -> str:
        return _server_properties(self.data, self.port, self.controller_port, dict(self.settings))

    def wait_ready(self, timeout_s: float = START_TIMEOUT_S, tick: Callable[[], None] = lambda: None) -> None:
        """Return when a metadata request is answered. Raises ConfigError E140 when the process ends or time runs out."""
        deadline = time.monotonic() + timeout_s
        host, port = self.address.rsplit(":", 1)
        while True:
            if not self.process.alive:
                raise _did_not_start(self.process, "the process ended")
            # A client that meets a closed port backs off for long; the port is asked first.
            if ports.answers(host, int(port)) and metadata_problem(self.address, 2.0) is None:
                return
            if time.monotonic() > deadline:
                raise _did_not_start(self.process, f"no answer within {timeout_s:.0f} s")
            tick()
            time.sleep(0.1)


def start_broker(
    data_dir: Path,
    *,
    port: int | None = None,
    controller_port: int | None = None,
    settings: Mapping[str, str] | None = None,
    archive_to: Path | None = None,
    timeout_s: float = START_TIMEOUT_S,
) -> Broker:
    """Start a broker with its data, log and pid file in `data_dir`, and wait until it answers.

    settings:   more lines for server.properties, for example {"log.retention.ms": "60000"}; they win over ours.
    archive_to: where the JVM leaves an archive of its classes when it is stopped.
    Raises:     ConfigError E110 (no Java, no jars), E140 (did not start), E141 (port taken).
    """
    if port is None or controller_port is None:
        chosen = ports.free_ports(2)
        port, controller_port = port or chosen[0], controller_port or chosen[1]
    broker = launch_broker(data_dir, port, controller_port, settings, archive_to)
    try:
        broker.wait_ready(timeout_s)
    except BaseException:
        broker.stop()
        raise
    return broker


def launch_broker(
    data_dir: Path, port: int, controller_port: int, settings: Mapping[str, str] | None = None, archive_to: Path | None = None
) -> Broker:
    """Start a broker without waiting. One that runs already on this folder is returned as it is."""
    data_dir = data_dir.absolute()
    data_dir.mkdir(parents=True, exist_ok=True)
    broker = Broker(
        f"127.0.0.1:{port}", controller_port, data_dir, process.at("kafka", data_dir), tuple((settings or {}).items())
    )
    if broker.process.alive:
        return broker
    for wanted in (port, controller_port):
        if not ports.is_free(wanted):
            raise ConfigError("E141", f"port {wanted} for Kafka is taken by another process")
    properties = data_dir / "server.properties"
    properties.write_text(broker._properties())
    java, class_path = java_command(), _class_path()
    _format(java, class_path, data_dir, properties)
    classes = [f"-XX:ArchiveClassesAtExit={archive_to}", "-Xlog:disable"] if archive_to else _archived()
    started = process.start(
        "kafka", [java, *JVM_OPTIONS, *classes, "-cp", class_path, "kafka.Kafka", str(properties)], data_dir, cwd=data_dir
    )
    return replace(broker, process=started)


def _class_path() -> str:
    folder = jars_folder("kafka")
    if not list(folder.glob("kafka_2.13-*.jar")):
        raise ConfigError("E110", f"Kafka's jars are not in {folder}")
    # One by one and in order: an archive of classes is good for one class path.
    return ":".join(str(jar) for jar in sorted(folder.glob("*.jar")))


def _archived() -> list[str]:
    archive = class_archive()
    return [f"-XX:SharedArchiveFile={archive}", *_QUIET_WHEN_UNUSED] if archive.exists() else []


def class_archive() -> Path:
    """Where the archive of the broker's classes is, if there is one."""
    return jars_folder("kafka") / CLASS_ARCHIVE


def _server_properties(data: Path, port: int, controller_port: int, settings: Mapping[str, str]) -> str:
    lines = {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@127.0.0.1:{controller_port}",
        "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAINTEXT",
        "log.dirs": str(data / "log"),
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "1",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "transaction.state.log.num.partitions": "1",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "group.initial.rebalance.delay.ms": "0",
        "num.partitions": "4",
        # After a crash the controller lets a broker back only when the session of the crashed one has run out (default 9 s).
        "broker.session.timeout.ms": "4000",
        "broker.heartbeat.interval.ms": "500",
        # A misspelled topic is an error, not a new topic.
        "auto.create.topics.enable": "false",
        # Large records of the source fit, as XDR deployments set it.
        "message.max.bytes": str(16 * 1024 * 1024),
        **settings,
    }
    return "".join(f"{name}={value}\n" for name, value in lines.items())


def new_cluster_id() -> str:
    """Kafka's form of a cluster id: 16 bytes, URL-safe Base64 without padding; it must not look like an option of a command."""
    while True:
        made = urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()
        if not made.startswith("-"):
            return made


def _format(java: str, class_path: str, data: Path, properties: Path) -> None:
    """Format the log folder once; the cluster id is kept beside it, so that half a formatting is repeated with the same id."""
    if (data / "log" / "meta.properties").exists():
        return
    kept = data / "cluster.id"
    if not kept.exists():
        kept.write_text(new_cluster_id())
    command = [java, "-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", f"-Dlog4j2.configurationFile={LOGGING}"]
    command += [*_archived(), "-cp", class_path, "kafka.tools.StorageTool"]
    command += ["format", "--ignore-formatted", "-t", kept.read_text(), "-c", str(properties)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=data)
    if done.returncode:
        raise ConfigError("E140", f"Kafka cannot format {data / 'log'}: {_words(done.stdout + done.stderr)}")


def _words(text: str) -> str:
    """The last lines a person can use: without the frames of Java's stack traces."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith(("at ", "... "))]
    return "\n".join(lines[-6:])


def _did_not_start(broker: process.Process, why: str) -> ConfigError:
    return ConfigError("E140", f"Kafka did not start: {why}. Its last words:\n{_words(broker.log_tail(80))}", log=broker.log_file)


__all__ = ["Broker", "class_archive", "launch_broker", "new_cluster_id", "start_broker"]
