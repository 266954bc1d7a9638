"""A real schema registry on this machine: Apicurio Registry, one process, which answers the Confluent API.

The data folder keeps schemas in an H2 database file; a registry started again on it knows every schema it has answered for, under
the same ids, also after SIGKILL.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from deploy.local import ports, process
from deploy.local.java import java_command
from deploy.setup.registry_files import RUNNER, registry_files
from pipelines.schema_registry import registry_problem
from schemas.errors import ConfigError
from schemas.xdr.registry_options import RegistryOptions

HEAP = "192m"
START_TIMEOUT_S = 90.0
API = "/apis/ccompat/v7"
"""Where Apicurio answers the Confluent API."""
JVM_OPTIONS = (
    f"-Xmx{HEAP}",
    # One small heap on shared cores, and a start of seconds rather than peak speed.
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:+ExitOnOutOfMemoryError",
    "-Djava.awt.headless=true",
)
SETTINGS = {
    "quarkus.http.host": "127.0.0.1",
    "quarkus.http.access-log.enabled": "false",
    "quarkus.banner.enabled": "false",
    "quarkus.log.console.format": "%d{HH:mm:ss,SSS} %-5p [%c{1}] %s%e%n",
    # One client at a time is the usual load; the default is a hundred connections to the database, and two pools more.
    "apicurio.datasource.jdbc.initial-size": "1",
    "apicurio.datasource.jdbc.min-size": "1",
    "apicurio.datasource.jdbc.max-size": "10",
    "apicurio.datasource.blue.jdbc.initial-size": "0",
    "apicurio.datasource.blue.jdbc.min-size": "0",
    "apicurio.datasource.green.jdbc.initial-size": "0",
    "apicurio.datasource.green.jdbc.min-size": "0",
}


@dataclass(frozen=True, slots=True)
class Registry:
    """A registry that was started here: address, data folder, process."""

    address: str
    """URL of its Confluent API, as clients take it."""
    data: Path
    process: process.Process

    @property
    def port(self) -> int:
        """The port clients use."""
        return urlsplit(self.address).port or 80

    def stop(self, grace_s: float = 15.0) -> bool:
        """Shut down in order; False when it did not run. Data and address stay for `restart`."""
        return self.process.stop(grace_s)

    def kill(self) -> bool:
        """SIGKILL, as a crash. Schemas it has answered for survive it."""
        return self.process.kill()

    def restart(self, timeout_s: float = START_TIMEOUT_S) -> "Registry":
        """Start again on the same data and the same address, and wait until it answers. Stops it first if it runs."""
        self.stop()
        again = launch_registry(self.data, self.port)
        again.wait_ready(timeout_s)
        return again

    def wait_ready(self, timeout_s: float = START_TIMEOUT_S, tick: Callable[[], None] = lambda: None) -> None:
        """Return when a request is answered. Raises ConfigError E140 when the process ends or time runs out."""
        deadline = time.monotonic() + timeout_s
        while True:
            if not self.process.alive:
                raise _did_not_start(self.process, "the process ended")
            if ports.answers("127.0.0.1", self.port) and problem_at(self.address) is None:
                return
            if time.monotonic() > deadline:
                raise _did_not_start(self.process, f"no answer within {timeout_s:.0f} s")
            tick()
            time.sleep(0.1)


def start_registry(data_dir: Path, *, port: int | None = None, timeout_s: float = START_TIMEOUT_S) -> Registry:
    """Start a registry with its data, log and pid file in `data_dir`, and wait until it answers. Fetches its files when missing.

    Raises: ConfigError E110 (no Java, no Maven to fetch it), E140 (did not start), E141 (port taken).
    """
    registry = launch_registry(data_dir, port or ports.free_ports(1)[0])
    try:
        registry.wait_ready(timeout_s)
    except BaseException:
        registry.stop()
        raise
    return registry


def launch_registry(
    data_dir: Path, port: int, report: Callable[[str], None] = lambda _: None, tick: Callable[[], None] = lambda: None
) -> Registry:
    """Start a registry without waiting for it. One that runs already on this folder is returned as it is.

    report, tick: about fetching its files, which may take a minute the first time.
    """
    data_dir = data_dir.absolute()
    data_dir.mkdir(parents=True, exist_ok=True)
    registry = Registry(url_at(port), data_dir, process.at("registry", data_dir))
    if registry.process.alive:
        return registry
    if not ports.is_free(port):
        raise ConfigError("E141", f"port {port} for the schema registry is taken by another process")
    command = _command(java_command(), registry_files(report, tick), data_dir, port)
    return replace(registry, process=process.start("registry", command, data_dir, cwd=data_dir))


def _command(java: str, files: Path, data: Path, port: int) -> list[str]:
    """Everything is written before it is answered for (WRITE_DELAY): H2 would keep it in memory for half a second."""
    settings = SETTINGS | {
        "quarkus.http.port": str(port),
        "apicurio.datasource.url": f"jdbc:h2:file:{data / 'schemas'};WRITE_DELAY=0",
        "java.io.tmpdir": str(data),
    }
    return [java, *JVM_OPTIONS, *(f"-D{name}={value}" for name, value in settings.items()), "-jar", str(files / RUNNER)]


def url_at(port: int) -> str:
    """The address of a registry that listens on `port` of this machine."""
    return f"http://127.0.0.1:{port}{API}"


def problem_at(url: str) -> str | None:
    """Why no schema registry answers at `url`, asked without credentials; None when one does."""
    return registry_problem(RegistryOptions(urls=(url,), timeout_ms=2_000))


def _did_not_start(registry: process.Process, why: str) -> ConfigError:
    said = f"The schema registry did not start: {why}. Its last lines:\n{registry.log_tail(8)}"
    return ConfigError("E140", said, log=registry.log_file)


__all__ = ["API", "Registry", "launch_registry", "problem_at", "start_registry", "url_at"]
