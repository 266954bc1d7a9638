"""The real schema registry of the local stack: schemas by id, crashes, and `millrace local up --registry` as a person uses it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import aerospike
import pytest

from deploy import cli, doctor
from deploy.local import launch, ports
from deploy.local.registry import Registry, launch_registry, problem_at, start_registry
from deploy.local.stack import Stack, StackConfig
from pipelines.schema_registry import SchemaRegistry, registry_problem
from schemas.errors import ConfigError, Retryable
from schemas.xdr.options import DecodeOptions
from schemas.xdr.reader import Reader
from schemas.xdr.registry_options import RegistryOptions
from schemas.xdr.schema_source import UnknownSchema
from tests.support.fixtures_stack import RegistryUnderTest
from tests.support.kafka import read_all, wait_for_messages
from tests.support.leftovers import run_folder

pytestmark = pytest.mark.stack

ROOT = Path(__file__).resolve().parents[2]


def schema(name: str, *fields: str) -> str:
    return json.dumps({"type": "record", "name": name, "fields": [{"name": each, "type": "long"} for each in fields]})


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with run_folder() as parent:
        yield parent


@pytest.fixture
def registry(schema_registry: RegistryUnderTest) -> Registry:
    """The registry of this test run, to stop and kill; each test leaves it running."""
    if schema_registry.registry is None:
        pytest.skip("MILLRACE_REGISTRY names a registry that is not ours to stop")
    return schema_registry.registry


def client(registry: Registry, retry_for_ms: int = 30_000) -> SchemaRegistry:
    return SchemaRegistry(RegistryOptions((registry.address,), retry_for_ms=retry_for_ms))


def test_schemas_registered_are_found_by_id_also_after_a_crash_and_a_restart(registry: Registry) -> None:
    one, two = schema("One", "a"), schema("Two", "a", "b")
    asked = client(registry)
    first, second = asked.register("payments/cards-value", one), asked.register("Two", two)
    assert first != second
    assert asked.register("another subject", one) == first, "a schema has one id, whatever its subjects"
    for end in (registry.kill, registry.stop):
        fresh = client(registry)
        assert [json.loads(fresh.schema(each)) for each in (first, second)] == [json.loads(one), json.loads(two)]
        assert end()
        registry.restart()
    assert json.loads(client(registry).schema(second)) == json.loads(two)
    assert client(registry).register("Two", two) == second, "nothing is registered twice"


def test_an_id_the_registry_does_not_have_is_unknown(registry: Registry) -> None:
    with pytest.raises(UnknownSchema, match="123456"):
        client(registry).schema(123_456)


def test_what_is_no_schema_is_refused_in_the_registrys_words(registry: Registry) -> None:
    with pytest.raises(ConfigError, match="E153"):
        client(registry).register("broken", '{"type": "record"')


def test_references_of_a_real_registry_are_written_out(registry: Registry) -> None:
    asked = client(registry)
    asked.register("money", schema("Money", "cents"))
    order = json.dumps({"type": "record", "name": "Order", "fields": [{"name": "price", "type": "Money"}]})
    refer = {"schema": order, "schemaType": "AVRO", "references": [{"name": "Money", "subject": "money", "version": 1}]}
    answer = asked._ask("POST", "/subjects/order/versions", refer, lambda _: True)
    whole = json.loads(client(registry).schema(answer.content["id"]))
    assert whole["fields"][0]["type"] == json.loads(schema("Money", "cents"))


def test_a_registry_that_is_away_is_waited_for(registry: Registry) -> None:
    known = client(registry).register("away", schema("Away", "a"))
    assert registry.stop()
    with pytest.raises(Retryable, match="E221"):
        client(registry, retry_for_ms=500).schema(known)
    launch_registry(registry.data, registry.port)
    assert json.loads(client(registry, retry_for_ms=90_000).schema(known))["name"] == "Away"


def test_a_wrong_path_is_no_registry_rather_than_one_without_schemas(registry: Registry) -> None:
    root = registry.address.removesuffix("/apis/ccompat/v7")
    assert "is the path of the address right?" in str(registry_problem(RegistryOptions((root,))))
    with pytest.raises(Retryable, match="is the path"):
        SchemaRegistry(RegistryOptions((root,), retry_for_ms=1)).schema(1)


def test_two_registries_cannot_have_one_port(registry: Registry, folder: Path) -> None:
    with pytest.raises(ConfigError, match="E141"):
        start_registry(folder / "second", port=registry.port)


@pytest.fixture
def _no_real_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MILLRACE_KAFKA", "MILLRACE_AEROSPIKE", "MILLRACE_REGISTRY"):
        monkeypatch.delenv(name, raising=False)


def wait_until(condition: Callable[[], object], what: str, timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"after {timeout_s} s: not yet {what}"
        time.sleep(0.05)


@pytest.mark.usefixtures("_no_real_servers")
def test_the_stack_has_a_registry_when_asked_for(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """up --registry, used by the node; remembered; crash and up again; env; --no-registry."""
    root = folder / "stack"
    at = ["--folder", str(root)]
    try:
        assert cli.main(["local", "up", "--registry", "--xdr-format", "kafka-avro", *at]) == 0
        capsys.readouterr()
        assert cli.main(["local", "status", *at, "--output", "json"]) == 0
        told = json.loads(capsys.readouterr().out)["registry"]
        assert told["state"] == "running" and problem_at(told["address"]) is None
        known = client(Stack(root).registry()).register("s", schema("Kept", "a"))
        node, kafka = Stack(root).node(), Stack(root).broker().address
        source = aerospike.client({"hosts": [(node.host, node.port)]}).connect()
        source.put(("payments", "cards", 1), {"amount": 7})
        source.close()
        wait_for_messages(kafka, "xdr.payments", 1)
        (message, *_) = read_all(kafka, "xdr.payments")
        (read,) = Reader(DecodeOptions("kafka-avro"), client(Stack(root).registry())).read(message.value, message.key)
        assert read.error is None and read.bins is not None, "the node has registered what its messages name"
        assert [(name, text) for name, _, text in read.bins] == [("amount", "7")]
        assert Stack(root).registry().kill()
        assert cli.main(["local", "status", *at]) == 1, "a crashed registry is not healthy"
        assert cli.main(["local", "env", *at]) == 1
        assert "unset MILLRACE_REGISTRY" in capsys.readouterr().out
        assert cli.main(["local", "up", *at]) == 0, "that there is one is remembered"
        again = Stack(root).registry()
        assert again.address == told["address"] and json.loads(client(again).schema(known))["name"] == "Kept"
        capsys.readouterr()
        assert cli.main(["local", "env", *at]) == 0
        for line in capsys.readouterr().out.splitlines():
            name, _, value = line.removeprefix("export ").partition("=")
            monkeypatch.setenv(name, value)
        assert cli.main(["local", "up", *at]) == 0
        assert Stack(root).registry().process.pid == again.process.pid, "its own address is not taken for a foreign registry"
        monkeypatch.delenv("MILLRACE_REGISTRY")
        assert cli.main(["local", "logs", "registry", *at]) == 0
        assert "registry | " in capsys.readouterr().out
        assert cli.main(["local", "up", "--no-registry", *at]) == 2, "the node's messages need one"
        assert again.process.alive
        assert cli.main(["local", "up", "--no-registry", "--xdr-format", "json", *at]) == 0
        assert Stack(root).status().registry is None and not again.process.alive and ports.is_free(again.port)
    finally:
        Stack(root).down()


@pytest.mark.usefixtures("_no_real_servers")
def test_a_registry_of_ones_own_is_used_and_never_stopped(registry: Registry, folder: Path) -> None:
    """Asked without the other parts: they are not what this is about."""
    guest = Stack(folder / "guest")
    told: list[str] = []
    guest.root.mkdir()
    guest._registry_up(StackConfig(registry=registry.address), told.append, lambda _: None)
    assert told == [f"registry: using {registry.address}"]
    guest._remember(StackConfig(registry=registry.address))
    status = guest.status().registry
    assert status is not None and status.state == "external" and status.pid is None
    with pytest.raises(ConfigError, match="E142"):
        guest.registry()
    assert guest.down() is False
    assert registry.process.alive
    with pytest.raises(ConfigError, match=r"E140.*127\.0\.0\.1:1"):
        guest._registry_up(StackConfig(registry="http://127.0.0.1:1"), told.append, lambda _: None)


@pytest.mark.usefixtures("_no_real_servers")
def test_after_the_starter_was_killed_down_leaves_no_registry(folder: Path) -> None:
    """SIGKILL to the starter as soon as the registry's process exists, long before it answers."""
    home = folder / "killed"
    code = "import sys, pathlib, deploy.local.registry as r; r.start_registry(pathlib.Path(sys.argv[1]))"
    starter = subprocess.Popen([sys.executable, "-c", code, str(home / "registry")], cwd=ROOT, env=dict(os.environ))
    pid_file = home / "registry" / "registry.pid"
    wait_until(pid_file.exists, "the registry's process started")
    starter.send_signal(signal.SIGKILL)
    starter.wait()
    pid = json.loads(pid_file.read_text())["pid"]
    assert launch.start_mark(pid), "the registry outlives its starter"
    assert Stack(home).down() is True
    assert launch.start_mark(pid) is None and Stack(home).down() is False


def test_doctor_knows_the_files_and_asks_a_flows_registry(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    (files,) = [check for check in doctor.machine_checks() if check.name == "jars for Registry"]
    assert files.state == "ok" and "360" in files.found
    from pipelines.flow.registry import Registry as FlowRegistry

    assert doctor._registry(FlowRegistry(urls=[registry.address])).state == "ok"
    away = doctor._registry(FlowRegistry(urls=[registry.address, "http://127.0.0.1:1"]))
    assert away.state == "fail" and "127.0.0.1:1" in away.found and "source.registry" in away.remedy
