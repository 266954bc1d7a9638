"""The local stack as one thing: Kafka, an Aerospike node and, when asked for, a schema registry; up, status, down.

Ports and options are remembered.
The folder of a stack holds `state.json` (options and ports) and a folder per part (data, log, pid file each). State is
written before anything starts and processes write their own pid files, so `down` finds everything whenever a starter died.
"""

import fcntl
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from deploy.local import aerospike, kafka, ports, process, registry, topics
from deploy.local.xdr.settings import parse_settings
from deploy.paths import work_folder
from schemas.errors import ConfigError

DEFAULT_NAMESPACES = ("payments,nsup-period=1", "mirror,nsup-period=1", "test,nsup-period=1")
"""The source, the mirror, and one to play with. Expired records go after a second at most, so that tests and demos see it."""
DEFAULT_XDR = ("namespace=payments,topic=xdr.payments,partitions=4",)
PARTS = ("kafka", "registry", "aerospike")
USUAL_PORTS = {"kafka_port": 9092, "controller_port": 9093, "aerospike_port": 3000, "registry_port": 8081}
"""Kafka, its controller, Aerospike, the schema registry: where people and the examples look first."""

VARIABLES = {"kafka": "MILLRACE_KAFKA", "aerospike": "MILLRACE_AEROSPIKE", "registry": "MILLRACE_REGISTRY"}
"""Environment variables that name real servers, by part."""

Report = Callable[[str], None]
"""Told in plain words what is done, one line at a time."""


@dataclass(frozen=True, slots=True)
class StackConfig:
    """What a stack consists of. `None` for a port: one is chosen once and remembered.

    kafka, aerospike: host:port of real ones; they are used and never started or stopped. registry: URL of one, likewise.
    with_registry:    whether a schema registry is started where none is given.
    namespaces:       of the embedded node, each `name[,option=value...]`.
    xdr:              per shipped namespace `namespace=...,topic=...,option=value...`; see deploy.local.xdr.settings.
    kafka_settings:   more lines for the broker's server.properties.
    """

    kafka: str | None = None
    aerospike: str | None = None
    kafka_port: int | None = None
    controller_port: int | None = None
    aerospike_port: int | None = None
    registry: str | None = None
    with_registry: bool = False
    registry_port: int | None = None
    namespaces: tuple[str, ...] = DEFAULT_NAMESPACES
    xdr: tuple[str, ...] = DEFAULT_XDR
    kafka_settings: dict[str, str] = field(default_factory=dict)

    def with_options(self, **options: Any) -> "StackConfig":
        """These options with those changed that are not None."""
        return replace(self, **{name: value for name, value in options.items() if value is not None})

    def with_ports_of(self, other: "StackConfig") -> "StackConfig":
        """These options on the ports of `other`."""
        return replace(self, **{name: getattr(other, name) for name in USUAL_PORTS})

    def with_xdr_options(self, **options: Any) -> "StackConfig":
        """Every shipped namespace with those options changed that are not None, for example format="flat-json"."""
        return replace(self, xdr=tuple(_changed_settings(text, options) for text in self.xdr))

    @classmethod
    def from_environment(cls) -> "StackConfig":
        """The defaults, with `MILLRACE_KAFKA`, `MILLRACE_AEROSPIKE` (host:port) and `MILLRACE_REGISTRY` (URL) for real ones."""
        return cls().with_options(**{part: os.environ.get(variable) or None for part, variable in VARIABLES.items()})


@dataclass(frozen=True, slots=True)
class PartStatus:
    """How one part of the stack is, found out by a real request to it."""

    name: str
    state: Literal["running", "external", "unhealthy", "stopped"]
    address: str | None
    pid: int | None
    data: str | None
    log: str | None
    problem: str | None

    @property
    def healthy(self) -> bool:
        """Whether it answered."""
        return self.state in ("running", "external")


@dataclass(frozen=True, slots=True)
class StackStatus:
    """The state of a stack's parts and what it ships. registry: None when the stack has none."""

    folder: str
    kafka: PartStatus
    aerospike: PartStatus
    registry: PartStatus | None
    namespaces: tuple[str, ...]
    topics: tuple[str, ...]

    @property
    def healthy(self) -> bool:
        """Whether every part answered."""
        return all(part.healthy for part in self.parts)

    @property
    def parts(self) -> tuple[PartStatus, ...]:
        """The parts it has."""
        return (self.kafka, self.aerospike) if self.registry is None else (self.kafka, self.registry, self.aerospike)

    def as_dict(self) -> dict[str, Any]:
        """For `--output json`."""
        return {**asdict(self), "healthy": self.healthy}


class Stack:
    """A local stack in `root`; by default the one of `millrace local`.

    Methods may be called from any process, also one that did not start the stack; a lock in the folder takes turns.
    """

    def __init__(self, root: Path | None = None) -> None:
        self.root = (root or work_folder() / "local").absolute()
        self._state_file = self.root / "state.json"

    def config(self) -> StackConfig:
        """The remembered options; those of the environment and the defaults when there are none."""
        try:
            stored: dict[str, Any] = json.loads(self._state_file.read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return StackConfig.from_environment()
        # An older or newer Millrace may have written other options: what is unknown is left out, what is missing defaults.
        known: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in stored.items()
            if name in StackConfig.__dataclass_fields__
        }
        return StackConfig(**known)

    def up(
        self, config: StackConfig | None = None, report: Report = lambda _: None, tick: Report = lambda _: None
    ) -> StackStatus:
        """Start what does not run, wait until everything answers, create the topics. Safe to repeat.

        config: None for the remembered one. A part that runs with other options is started again with these.
        report: told each step; tick: called with the part's name again and again while waiting for it.
        Raises: ConfigError E110, E140, E141. Parts that were started stay up, so that a second try is short; `down` ends them.
        """
        with self._lock():
            wanted = self._with_ports(config or self.config())
            _shipped(wanted)  # A mistake in `xdr` is told before anything starts.
            self._remember(wanted)
            address = self._kafka_up(wanted, report, tick)
            for topic, partitions in _topics(wanted):
                if topics.create_topics(address, [topic], partitions=partitions):
                    report(f"kafka: created topic {topic} with {partitions} partitions")
            self._registry_up(wanted, report, tick)
            self._aerospike_up(wanted, address, report, tick)
        return self.status()

    def status(self) -> StackStatus:
        """How the parts are, by a real request to each. Starts nothing, raises nothing for a part that is down."""
        config = self.config()
        return StackStatus(
            folder=str(self.root),
            kafka=self._part("kafka", config.kafka, config.kafka_port, topics.metadata_problem),
            aerospike=self._part("aerospike", config.aerospike, config.aerospike_port, aerospike.connection_problem),
            registry=self._registry_part(config),
            namespaces=() if config.aerospike else tuple(name.partition(",")[0] for name in config.namespaces),
            topics=tuple(topic for topic, _ in _topics(config)),
        )

    def down(self, *, purge: bool = False, report: Report = lambda _: None) -> bool:
        """End every process of the stack, whoever started it. True when something ran.

        The node stops first, so that it can still ship what it holds. purge: also delete data, logs, ports and options.
        """
        if not self.root.exists():
            return False
        with self._lock():
            stopped = [name for name in reversed(PARTS) if self._stop(name, report)]
            if purge:
                for name in PARTS:
                    shutil.rmtree(self.root / name, ignore_errors=True)
                self._state_file.unlink(missing_ok=True)
                report("data deleted")
        return bool(stopped)

    def process(self, part: str) -> process.Process:
        """The background process of one of PARTS, running or not."""
        return process.at(part, self.root / part)

    def broker(self) -> kafka.Broker:
        """The local broker, to stop, kill and restart it. Raises ConfigError E142 when the stack has none."""
        config = self.config()
        if config.kafka or config.kafka_port is None or config.controller_port is None:
            raise ConfigError("E142", "the stack has no Kafka broker of its own", folder=self.root)
        settings = tuple(config.kafka_settings.items())
        return kafka.Broker(
            f"127.0.0.1:{config.kafka_port}", config.controller_port, self.root / "kafka", self.process("kafka"), settings
        )

    def node(self) -> aerospike.Node:
        """The embedded node, to stop, kill and restart it. Raises ConfigError E142 when the stack has none."""
        config = self.config()
        if config.aerospike or config.aerospike_port is None:
            raise ConfigError("E142", "the stack has no Aerospike node of its own", folder=self.root)
        address = config.kafka or f"127.0.0.1:{config.kafka_port}"
        folder = self.root / "aerospike"
        command = aerospike.node_command(folder / "data", config.aerospike_port, config.namespaces, address, _shipped(config))
        return aerospike.Node(f"127.0.0.1:{config.aerospike_port}", folder, command, self.process("aerospike"))

    def registry(self) -> registry.Registry:
        """The local registry, to stop, kill and restart it. Raises ConfigError E142 when the stack has none."""
        config = self.config()
        if config.registry or not config.with_registry or config.registry_port is None:
            raise ConfigError("E142", "the stack has no schema registry of its own", folder=self.root)
        return registry.Registry(registry.url_at(config.registry_port), self.root / "registry", self.process("registry"))

    def _kafka_up(self, config: StackConfig, report: Report, tick: Report) -> str:
        if config.kafka:
            self._stop("kafka", report)
            problem = topics.metadata_problem(config.kafka)
            if problem:
                raise ConfigError(
                    "E140", f"Kafka at {config.kafka} does not answer: {problem}", remedy="Check the address given."
                )
            report(f"kafka: using {config.kafka}")
            return config.kafka
        broker = self.broker()
        if broker.process.alive and broker.runs_with_other_settings():
            report("kafka: options changed, starting it again")
            broker.stop()
        if not broker.process.alive:
            report(f"kafka: starting on {broker.address} (log {broker.process.log_file})")
            broker = kafka.launch_broker(broker.data, broker.port, broker.controller_port, config.kafka_settings)
        began = time.monotonic()
        broker.wait_ready(tick=lambda: tick("kafka"))
        report(f"kafka: answers on {broker.address} after {time.monotonic() - began:.1f} s")
        return broker.address

    def _registry_up(self, config: StackConfig, report: Report, tick: Report) -> None:
        if config.registry or not config.with_registry:
            self._stop("registry", report)
        if config.registry:
            problem = registry.problem_at(config.registry)
            if problem:
                raise ConfigError("E140", f"no schema registry answers: {problem}", remedy="Check the address given.")
            report(f"registry: using {config.registry}")
        elif config.with_registry:
            own = self.registry()
            if own.process.alive and own.process.command and f"-Dquarkus.http.port={own.port}" not in own.process.command:
                report("registry: options changed, starting it again")
                own.stop()
            if not own.process.alive:
                report(f"registry: starting on {own.address} (log {own.process.log_file})")
                own = registry.launch_registry(own.data, own.port, report, lambda: tick("registry"))
            began = time.monotonic()
            own.wait_ready(tick=lambda: tick("registry"))
            report(f"registry: answers on {own.address} after {time.monotonic() - began:.1f} s")

    def _aerospike_up(self, config: StackConfig, kafka_address: str, report: Report, tick: Report) -> None:
        if config.aerospike:
            self._stop("aerospike", report)
            problem = aerospike.connection_problem(config.aerospike)
            if problem:
                raise ConfigError(
                    "E140", f"Aerospike at {config.aerospike} does not answer: {problem}", remedy="Check the address given."
                )
            report(f"aerospike: using {config.aerospike}")
            return
        node = self.node()
        if node.process.alive and node.process.command != list(node.command):
            report("aerospike: options changed, starting it again")
            node.stop()
        if not node.process.alive:
            report(f"aerospike: starting on {node.address} (log {node.process.log_file})")
            node = aerospike.launch_node(node.data, config.namespaces, node.port, kafka=kafka_address, xdr=_shipped(config))
        began = time.monotonic()
        node.wait_ready(tick=lambda: tick("aerospike"))
        report(f"aerospike: answers on {node.address} after {time.monotonic() - began:.1f} s")

    def _registry_part(self, config: StackConfig) -> PartStatus | None:
        if not config.registry and not config.with_registry:
            return None
        return self._part("registry", config.registry, config.registry_port, registry.problem_at, registry.url_at)

    def _part(
        self,
        name: str,
        external: str | None,
        port: int | None,
        problem_at: Callable[[str], str | None],
        address_of: Callable[[int], str] = "127.0.0.1:{}".format,
    ) -> PartStatus:
        if external:
            problem = problem_at(external)
            return PartStatus(name, "unhealthy" if problem else "external", external, None, None, None, problem)
        running = self.process(name)
        address = address_of(port) if port else None
        pid = running.pid
        if pid is None or address is None:
            return PartStatus(name, "stopped", address, None, str(self.root / name), str(running.log_file), "not running")
        problem = problem_at(address)
        state: Literal["unhealthy", "running"] = "unhealthy" if problem else "running"
        return PartStatus(name, state, address, pid, str(self.root / name), str(running.log_file), problem)

    def _stop(self, name: str, report: Report) -> bool:
        running = self.process(name)
        pid = running.pid
        if not running.stop(grace_s=15.0):
            return False
        report(f"{name}: stopped" + (f" (pid {pid})" if pid else ""))
        return True

    def _with_ports(self, config: StackConfig) -> StackConfig:
        """Fill in ports: those asked for, else those remembered, else for the usual stack the usual ones, else free ones."""
        before = self.config()
        usual = self.root == (work_folder() / "local").absolute()
        free = ports.free_ports(len(USUAL_PORTS))
        chosen: dict[str, Any] = {
            name: getattr(config, name) or getattr(before, name) or (first if usual and ports.is_free(first) else other)
            for (name, first), other in zip(USUAL_PORTS.items(), free, strict=True)
        }
        filled = replace(config, **chosen)
        # `millrace local env` exports our own addresses under the names that otherwise mean "use this one, start none".
        return replace(
            filled,
            kafka=None if filled.kafka == f"127.0.0.1:{filled.kafka_port}" else filled.kafka,
            aerospike=None if filled.aerospike == f"127.0.0.1:{filled.aerospike_port}" else filled.aerospike,
            registry=None if filled.registry == registry.url_at(filled.registry_port or 0) else filled.registry,
        )

    def _remember(self, config: StackConfig) -> None:
        temporary = self._state_file.with_suffix(".new")
        temporary.write_text(json.dumps(asdict(config), indent=2))
        temporary.replace(self._state_file)

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """One `up` or `down` at a time; released by the system when its holder dies."""
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / "lock").open("w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield


def _changed_settings(text: str, options: dict[str, Any]) -> str:
    parts = dict(part.strip().split("=", 1) for part in text.split(",") if "=" in part)
    for name, value in options.items():
        if value is not None:
            parts.pop(name.replace("_", "-"), None)
            parts[name] = str(value).lower() if isinstance(value, bool) else str(value)
    return ",".join(f"{name}={value}" for name, value in parts.items())


def _shipped(config: StackConfig) -> tuple[str, ...]:
    """The options of every shipped namespace, the stack's registry filled in where messages name their schemas by number."""
    own = registry.url_at(config.registry_port) if config.with_registry and config.registry_port else None
    address = config.registry or own
    filled = []
    for text in config.xdr:
        settings = parse_settings(text)
        if settings.format in ("kafka-avro", "auto") and settings.registry is None:
            if address is None and settings.format == "auto":  # which then does without Avro
                filled.append(text)
                continue
            if address is None:
                said = f"the format kafka-avro of namespace {settings.namespace} needs a schema registry, and the stack has none"
                raise ConfigError(
                    "E143", said, remedy="Start one with `millrace local up --registry`, or give --registry-url URL."
                )
            text = f"{text},registry={address}"
        filled.append(text)
    return tuple(filled)


def _topics(config: StackConfig) -> Iterator[tuple[str, int]]:
    """(topic, partitions) of every shipped namespace."""
    for text in config.xdr:
        settings = parse_settings(text)
        yield settings.topic, settings.partitions


__all__ = ["DEFAULT_NAMESPACES", "DEFAULT_XDR", "PARTS", "PartStatus", "Report", "Stack", "StackConfig", "StackStatus"]
