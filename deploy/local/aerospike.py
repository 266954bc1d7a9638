"""The embedded Aerospike node as a background process, and real requests to any Aerospike."""

import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import aerospike
from aerospike import exception as client_errors

from deploy.local import ports, process
from deploy.paths import PROJECT
from schemas.errors import ConfigError
from sinks.aerospike.config import ClientConfig

START_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Node:
    """An embedded node that was started here: address, data folder, process."""

    address: str
    """host:port for clients."""
    data: Path
    command: tuple[str, ...]
    process: process.Process

    @property
    def host(self) -> str:
        """The host part of the address."""
        return self.address.rpartition(":")[0]

    @property
    def port(self) -> int:
        """The port clients use."""
        return int(self.address.rpartition(":")[2])

    def stop(self, grace_s: float = 15.0) -> bool:
        """Shut down in order; False when it did not run. Data and address stay for `restart`."""
        return self.process.stop(grace_s)

    def kill(self) -> bool:
        """SIGKILL, as a crash. Acknowledged writes survive it."""
        return self.process.kill()

    def restart(self, timeout_s: float = START_TIMEOUT_S) -> "Node":
        """Start again on the same data, address and options, and wait until it answers. Stops it first if it runs."""
        self.stop()
        again = _launch(self)
        again.wait_ready(timeout_s)
        return again

    def wait_ready(self, timeout_s: float = START_TIMEOUT_S, tick: Callable[[], None] = lambda: None) -> None:
        """Return when the official client connects. Raises ConfigError E140 when the process ends or time runs out."""
        deadline = time.monotonic() + timeout_s
        while True:
            if not self.process.alive:
                raise _did_not_start(self.process, "the process ended")
            if ports.answers(self.host, self.port) and connection_problem(self.address) is None:
                return
            if time.monotonic() > deadline:
                raise _did_not_start(self.process, f"no answer within {timeout_s:.0f} s")
            tick()
            time.sleep(0.05)


def node_command(data: Path, port: int, namespaces: Sequence[str], kafka: str | None, xdr: Iterable[str]) -> tuple[str, ...]:
    """The command line of a node with these options."""
    command = [sys.executable, "-m", "deploy.local.node", "--port", str(port), "--data", str(data)]
    for namespace in namespaces:
        command += ["--namespace", namespace]
    shipped = [part for settings in xdr for part in ("--xdr", settings)]
    if kafka and shipped:
        command += ["--kafka", kafka, *shipped]
    return tuple(command)


def start_node(
    data_dir: Path,
    namespaces: Sequence[str] = ("test",),
    *,
    port: int | None = None,
    kafka: str | None = None,
    xdr: Iterable[str] = (),
    timeout_s: float = START_TIMEOUT_S,
) -> Node:
    """Start an embedded node with its data, log and pid file in `data_dir`, and wait until the official client connects.

    namespaces: each `name[,option=value...]`, see deploy.local.node.config.
    kafka, xdr: where changes go, and per namespace how: `namespace=payments,topic=xdr.payments,format=json,...`.
    Raises:     ConfigError E140 (did not start), E141 (port taken).
    """
    node = launch_node(data_dir, namespaces, port or ports.free_ports(1)[0], kafka=kafka, xdr=xdr)
    try:
        node.wait_ready(timeout_s)
    except BaseException:
        node.stop()
        raise
    return node


def launch_node(
    data_dir: Path, namespaces: Sequence[str], port: int, *, kafka: str | None = None, xdr: Iterable[str] = ()
) -> Node:
    """Start a node without waiting. One that runs already on this folder is returned as it is."""
    data_dir = data_dir.absolute()
    data_dir.mkdir(parents=True, exist_ok=True)
    command = node_command(data_dir / "data", port, namespaces, kafka, xdr)
    return _launch(Node(f"127.0.0.1:{port}", data_dir, command, process.at("aerospike", data_dir)))


def _launch(node: Node) -> Node:
    if node.process.alive:
        return node
    if not ports.is_free(node.port):
        raise ConfigError("E141", f"port {node.port} for the Aerospike node is taken by another process")
    return replace(node, process=process.start("aerospike", node.command, node.data, cwd=PROJECT))


def connection_problem(address: str, namespaces: Iterable[str] = ()) -> str | None:
    """`client_problem` of a plain host:port."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        return f"{address!r} is not host:port"
    return client_problem(ClientConfig(hosts=((host, int(port), None),), connect_timeout_ms=2_000), namespaces)


def client_problem(config: ClientConfig, namespaces: Iterable[str] = ()) -> str | None:
    """Why the official client cannot connect, or which of `namespaces` is missing there; None when all is well."""
    try:
        client = aerospike.client(config.for_client()).connect()
    except client_errors.AerospikeError as problem:
        return f"{type(problem).__name__}: {problem.msg}"
    try:
        answers = client.info_all("namespaces")
        known = {name for _, text in answers.values() if text for name in text.strip().split("\t")[-1].strip().split(";")}
    except client_errors.AerospikeError as problem:
        return f"{type(problem).__name__}: {problem.msg}"
    finally:
        client.close()
    missing = [name for name in namespaces if name not in known]
    return f"no namespace {', '.join(missing)} there; it has {', '.join(sorted(known)) or 'none'}" if missing else None


def _did_not_start(node: process.Process, why: str) -> ConfigError:
    return ConfigError("E140", f"Aerospike node did not start: {why}. Its last lines:\n{node.log_tail(8)}", log=node.log_file)


__all__ = ["Node", "client_problem", "connection_problem", "launch_node", "node_command", "start_node"]
