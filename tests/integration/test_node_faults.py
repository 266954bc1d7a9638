"""Faults on demand as the official client meets them."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import aerospike
import pytest
from aerospike import exception as client_errors
from aerospike_helpers.batch import records as batch
from aerospike_helpers.operations import operations
from typer.testing import CliRunner

from deploy.local import faults_cli
from deploy.local.aerospike import Node, start_node
from deploy.local.node_info import ask, rows
from schemas.errors import ConfigError

pytestmark = pytest.mark.stack

NAMESPACE = "mirror"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    node = start_node(tmp_path_factory.mktemp("node"), (NAMESPACE, "other"))
    yield node
    node.stop()


@pytest.fixture
def client(node: Node) -> Iterator[aerospike.Client]:
    config = {"hosts": [(node.host, node.port)], "policies": {"total_timeout": 400, "socket_timeout": 300, "max_retries": 0}}
    client = aerospike.client(config).connect()
    yield client
    client.close()
    ask(node.address, "millrace-fault:clear")


@pytest.fixture
def fault(node: Node) -> Callable[[str], None]:
    def set_it(options: str) -> None:
        ask(node.address, f"millrace-fault:{options}")

    return set_it


@pytest.fixture
def fired(node: Node) -> Callable[[str], int]:
    """How often the named fault has fired since this test began."""

    def now(name: str) -> int:
        return sum(int(row["fired"]) for row in rows(ask(node.address, "millrace-fault:stats")) if row["name"] == name)

    before = {row["name"]: int(row["fired"]) for row in rows(ask(node.address, "millrace-fault:stats"))}
    return lambda name: now(name) - before.get(name, 0)


def writes(count: int, value: int) -> batch.BatchRecords:
    return batch.BatchRecords([batch.Write((NAMESPACE, "s", number), [operations.write("n", value)]) for number in range(count)])


def values(client: aerospike.Client, count: int) -> list[Any]:
    found = client.batch_read([(NAMESPACE, "s", number) for number in range(count)]).batch_records
    return [record.record[2].get("n") if record.result == 0 else None for record in found]


def test_latency_makes_a_short_deadline_miss_and_a_long_one_hold(client: aerospike.Client, fault: Any, fired: Any) -> None:
    fault("name=latency;ms=600;times=2")
    with pytest.raises(client_errors.TimeoutError):
        client.put((NAMESPACE, "s", "late"), {"n": 1})
    client.put((NAMESPACE, "s", "late"), {"n": 2}, policy={"total_timeout": 5000, "socket_timeout": 5000})
    assert fired("latency") == 2


def test_a_timeout_after_the_effect_is_in_doubt_and_took_effect(client: aerospike.Client, fault: Any, fired: Any) -> None:
    fault("name=timeout-after-effect;times=1")
    with pytest.raises(client_errors.TimeoutError) as caught:
        client.put((NAMESPACE, "s", "doubt"), {"n": 1})
    assert caught.value.in_doubt
    assert client.get((NAMESPACE, "s", "doubt"))[2] == {"n": 1}
    assert fired("timeout-after-effect") == 1


@pytest.mark.parametrize(
    ("name", "code", "kind"),
    [
        ("overload", 18, client_errors.DeviceOverload),
        ("hot-key", 14, client_errors.RecordBusy),
        ("quota", 83, client_errors.AerospikeError),
    ],
)
def test_refusals_have_their_code_and_no_effect(
    client: aerospike.Client, fault: Any, fired: Any, name: str, code: int, kind: type[Exception]
) -> None:
    fault(f"name={name};kind=write;times=2")
    client.exists((NAMESPACE, "s", name))
    with pytest.raises(kind) as caught:
        client.put((NAMESPACE, "s", name), {"n": 1})
    assert caught.value.code == code  # type: ignore[attr-defined]
    answered = client.batch_write(writes(3, -1))
    assert [record.result for record in answered.batch_records] == [code] * 3
    assert -1 not in values(client, 3)
    assert fired(name) == 2


def test_a_reset_in_the_middle_of_a_batch_leaves_the_first_rows_written(client: aerospike.Client, fault: Any, fired: Any) -> None:
    client.batch_write(writes(10, 1))
    fault("name=reset;rows=4;times=1")
    answered = client.batch_write(writes(10, 2))
    assert answered.result != 0
    assert sorted(values(client, 10)) == [1] * 6 + [2] * 4
    assert any(record.in_doubt for record in answered.batch_records)
    assert fired("reset") == 1


def test_a_partial_failure_hits_some_rows_only(client: aerospike.Client, fault: Any, fired: Any) -> None:
    client.batch_write(writes(20, 1))
    fault("name=partial-batch;row_share=0.25;code=device-overload;times=1;seed=7")
    answered = client.batch_write(writes(20, 2))
    codes = [record.result for record in answered.batch_records]
    assert sorted(codes) == [0] * 15 + [18] * 5
    assert values(client, 20) == [1 if code else 2 for code in codes]
    assert fired("partial-batch") == 1


def test_a_fault_of_one_namespace_leaves_the_other_alone(client: aerospike.Client, fault: Any) -> None:
    fault(f"name=overload;namespace={NAMESPACE}")
    client.put(("other", "s", 1), {"n": 1})
    with pytest.raises(client_errors.DeviceOverload):
        client.put((NAMESPACE, "s", 1), {"n": 1})


def test_down_and_back_with_its_data(node: Node, client: aerospike.Client, fault: Any, fired: Any) -> None:
    client.put((NAMESPACE, "s", "kept"), {"n": 1})
    fault("name=down;for_s=1")
    with pytest.raises(client_errors.AerospikeError):
        client.put((NAMESPACE, "s", "kept"), {"n": 2})
    deadline = time.monotonic() + 20
    while True:
        try:
            assert client.get((NAMESPACE, "s", "kept"))[2] == {"n": 1}
            break
        except client_errors.AerospikeError:
            assert time.monotonic() < deadline, "the node did not come back"
            time.sleep(0.05)
    assert fired("down") == 1


def test_what_is_not_understood_is_an_error_with_a_suggestion(node: Node) -> None:
    with pytest.raises(ConfigError, match="did you mean 'latency'"):
        ask(node.address, "millrace-fault:name=latancy")


def test_the_command_line_sets_lists_counts_and_clears(node: Node, client: aerospike.Client) -> None:
    def run(*arguments: str) -> str:
        result = CliRunner().invoke(faults_cli.app, [*arguments, "--node", node.address])
        assert result.exit_code == 0, result.output
        return result.output

    assert run("--list") == "no fault is set\n"
    assert "overload" in run("overload", "--namespace", NAMESPACE, "--for-s", "60", "--times", "1")
    assert "overload" in run("--list")
    with pytest.raises(client_errors.DeviceOverload):
        client.put((NAMESPACE, "s", 1), {"n": 1})
    assert "overload" in run("--stats")
    run("latency", "--ms", "1")
    assert run("latency", "--clear") == "cleared=1\n"
    assert CliRunner().invoke(faults_cli.app, ["--list", "--stats", "--node", node.address]).exit_code == 2
    assert CliRunner().invoke(faults_cli.app, ["--node", node.address]).exit_code == 2
