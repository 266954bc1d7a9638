"""Fixtures with the real broker and an Aerospike server: one of each for the whole test run, started when first asked for."""

import os
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from deploy.local.aerospike import Node, connection_problem, start_node
from deploy.local.kafka import Broker, start_broker
from deploy.local.registry import Registry, problem_at, start_registry
from deploy.local.topics import create_topics, metadata_problem
from tests.support.leftovers import run_folder

NAMESPACES = ("test,nsup-period=1", "mirror,nsup-period=1", "payments,nsup-period=1")


class KafkaUnderTest(NamedTuple):
    """The broker of this test run."""

    address: str
    broker: Broker | None
    """None when MILLRACE_KAFKA names one that is not ours to stop."""


class AerospikeUnderTest(NamedTuple):
    """The Aerospike of this test run."""

    address: str
    namespace: str
    """Where tests may write; records belong in a set of their own per test."""
    node: Node | None
    """None when MILLRACE_AEROSPIKE names a real one."""

    @property
    def host(self) -> str:
        """The host part of the address."""
        return self.address.rpartition(":")[0]

    @property
    def port(self) -> int:
        """The port part of the address."""
        return int(self.address.rpartition(":")[2])


class RegistryUnderTest(NamedTuple):
    """The schema registry of this test run."""

    address: str
    """URL of its Confluent API."""
    registry: Registry | None
    """None when MILLRACE_REGISTRY names one that is not ours to stop."""


@pytest.fixture(scope="session")
def servers_folder() -> Iterator[Path]:
    """Where this run's servers keep data, logs and pid files."""
    with run_folder() as folder:
        yield folder


@pytest.fixture(scope="session")
def kafka_broker(servers_folder: Path) -> Iterator[KafkaUnderTest]:
    """One real broker for the whole run; the one at MILLRACE_KAFKA (host:port) when set."""
    given = os.environ.get("MILLRACE_KAFKA")
    if given:
        problem = metadata_problem(given)
        assert not problem, f"MILLRACE_KAFKA={given}: {problem}"
        yield KafkaUnderTest(given, None)
        return
    broker = start_broker(servers_folder / "kafka")
    yield KafkaUnderTest(broker.address, broker)
    broker.stop()


@pytest.fixture(scope="session")
def aerospike_node(servers_folder: Path) -> Iterator[AerospikeUnderTest]:
    """One embedded node for the whole run, namespaces test, mirror, payments; MILLRACE_AEROSPIKE (host:port) when set.

    With a real one, MILLRACE_AEROSPIKE_NAMESPACE names the namespace tests may use (default: test).
    """
    given = os.environ.get("MILLRACE_AEROSPIKE")
    if given:
        namespace = os.environ.get("MILLRACE_AEROSPIKE_NAMESPACE", "test")
        problem = connection_problem(given, [namespace])
        assert not problem, f"MILLRACE_AEROSPIKE={given}: {problem}"
        yield AerospikeUnderTest(given, namespace, None)
        return
    node = start_node(servers_folder / "aerospike", NAMESPACES)
    yield AerospikeUnderTest(node.address, "test", node)
    node.stop()


@pytest.fixture(scope="session")
def schema_registry(servers_folder: Path) -> Iterator[RegistryUnderTest]:
    """One real schema registry for the whole run; the one at MILLRACE_REGISTRY (URL of its Confluent API) when set."""
    given = os.environ.get("MILLRACE_REGISTRY")
    if given:
        problem = problem_at(given)
        assert not problem, f"MILLRACE_REGISTRY={given}: {problem}"
        yield RegistryUnderTest(given, None)
        return
    registry = start_registry(servers_folder / "registry")
    yield RegistryUnderTest(registry.address, registry)
    registry.stop()


@pytest.fixture
def topic(kafka_broker: KafkaUnderTest, request: pytest.FixtureRequest) -> str:
    """A new topic of two partitions, its name made of the test's."""
    name = f"{re.sub(r'[^A-Za-z0-9._-]+', '-', request.node.name)[:60]}-{uuid.uuid4().hex[:8]}"
    create_topics(kafka_broker.address, [name], partitions=2)
    return name


__all__ = [
    "AerospikeUnderTest",
    "KafkaUnderTest",
    "RegistryUnderTest",
    "aerospike_node",
    "kafka_broker",
    "schema_registry",
    "servers_folder",
    "topic",
]
