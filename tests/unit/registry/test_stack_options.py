"""What `millrace local up` makes of its options and the environment about the schema registry; nothing is started."""

from pathlib import Path
from typing import Any

import pytest

from deploy import cli
from deploy.local.registry import url_at
from deploy.local.stack import Stack, StackConfig, StackStatus
from schemas.errors import ConfigError


@pytest.fixture
def wanted(monkeypatch: pytest.MonkeyPatch) -> list[StackConfig]:
    """The configurations asked for. They are remembered as `up` does it, and nothing is started."""
    asked: list[StackConfig] = []

    def remember(stack: Stack, config: StackConfig, **_: Any) -> StackStatus:
        asked.append(stack._with_ports(config))
        stack.root.mkdir(exist_ok=True)
        stack._remember(asked[-1])
        return stack.status()

    monkeypatch.setattr(Stack, "up", remember)
    for name in ("MILLRACE_KAFKA", "MILLRACE_AEROSPIKE", "MILLRACE_REGISTRY"):
        monkeypatch.delenv(name, raising=False)
    return asked


def up(folder: Path, *options: str) -> None:
    assert cli.main(["local", "up", "--folder", str(folder / "stack"), *options]) == 1, "nothing runs"


def test_there_is_a_registry_when_asked_for_and_from_then_on(wanted: list[StackConfig], tmp_path: Path) -> None:
    up(tmp_path)
    assert not wanted[-1].with_registry and Stack(tmp_path / "stack").status().registry is None
    up(tmp_path, "--registry")
    up(tmp_path)
    assert wanted[-1].with_registry and wanted[-1].registry is None
    found = Stack(tmp_path / "stack").status().registry
    assert found is not None and found.state == "stopped" and found.address == url_at(wanted[0].registry_port or 0)
    up(tmp_path, "--no-registry")
    up(tmp_path)
    assert not wanted[-1].with_registry
    up(tmp_path, "--registry", "--registry-port", "23999")
    assert wanted[-1].registry_port == 23_999


def test_a_given_registry_is_used_until_one_of_its_own_is_asked_for(
    wanted: list[StackConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    up(tmp_path, "--registry-url", "http://127.0.0.1:1/api")
    up(tmp_path)
    assert wanted[-1].registry == "http://127.0.0.1:1/api"
    status = Stack(tmp_path / "stack").status().registry
    assert status is not None and status.state == "unhealthy" and "127.0.0.1:1" in str(status.problem)
    up(tmp_path, "--registry")
    assert wanted[-1].registry is None and wanted[-1].with_registry
    monkeypatch.setenv("MILLRACE_REGISTRY", "http://127.0.0.1:2/api")
    up(tmp_path)
    assert wanted[-1].registry == "http://127.0.0.1:2/api"
    up(tmp_path, "--no-registry")
    assert wanted[-1].registry is None and not wanted[-1].with_registry
    assert Stack(tmp_path / "other").config().registry == "http://127.0.0.1:2/api"


def test_its_own_address_in_the_environment_is_no_given_one(
    wanted: list[StackConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    up(tmp_path, "--registry")
    monkeypatch.setenv("MILLRACE_REGISTRY", url_at(wanted[-1].registry_port or 0))
    up(tmp_path)
    assert wanted[-1].registry is None and wanted[-1].with_registry


def test_kafka_avro_is_shipped_with_the_stacks_registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MILLRACE_REGISTRY", raising=False)
    stack = Stack(tmp_path / "stack")
    config = StackConfig(kafka_port=1, aerospike_port=2, registry_port=3).with_xdr_options(format="kafka-avro")
    with pytest.raises(ConfigError, match=r"E143.*kafka-avro.*payments") as caught:
        stack.up(config)
    assert "--registry" in caught.value.remedy and stack.config().registry_port is None, "nothing is begun, nothing remembered"

    def shipped(config: StackConfig) -> str:
        stack._remember(config)
        command = stack.node().command
        return command[command.index("--xdr") + 1]

    assert f",registry={url_at(3)}" in shipped(config.with_options(with_registry=True))
    assert ",registry=http://given/api" in shipped(config.with_options(registry="http://given/api"))
    own = config.with_xdr_options(registry="http://own")
    assert shipped(own).count("registry=") == 1 and ",registry=http://own" in shipped(own.with_options(with_registry=True))
    assert "registry=" not in shipped(StackConfig(kafka_port=1, aerospike_port=2, registry_port=3, with_registry=True))


def test_a_state_of_an_older_millrace_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MILLRACE_REGISTRY", raising=False)
    (tmp_path / "state.json").write_text('{"kafka_port": 9099}')
    config = Stack(tmp_path).config()
    assert config.kafka_port == 9099 and config.registry_port is None and not config.with_registry
