"""The embedded node as a process, through the official client: kills, restarts, expiry, long scans, operators' commands."""

import json
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aerospike
import pytest
from aerospike import exception as client_errors
from aerospike_helpers.batch.records import BatchRecords, Write
from aerospike_helpers.operations import operations

from deploy.local.aerospike import Node, start_node

Record = tuple[Any, dict[str, int], dict[str, Any]]


NAMESPACES = ("test,nsup-period=1", "bar,default-ttl=60", "still,nsup-period=0")


@pytest.fixture(scope="module")
def shared(servers_folder: Path) -> Iterator[Node]:
    """One node for the tests that leave it running."""
    node = start_node(servers_folder / "node-shared", NAMESPACES)
    yield node
    node.stop()


@pytest.fixture
def node(servers_folder: Path, request: pytest.FixtureRequest) -> Iterator[Node]:
    """A node of the test's own, to be stopped and killed."""
    node = start_node(servers_folder / request.node.name, NAMESPACES)
    yield node
    node.stop()


@pytest.fixture
def client(request: pytest.FixtureRequest) -> Iterator[Any]:
    """A client of the test's own node if it has one, else of the shared one."""
    client = connect(request.getfixturevalue("node" if "node" in request.fixturenames else "shared"))
    yield client
    client.close()


def connect(node: Node) -> Any:
    return aerospike.client({"hosts": [(node.host, node.port)]}).connect()


def until(what: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "not within the time"
        time.sleep(0.02)


def info(client: Any, command: str) -> str:
    ((problem, text),) = client.info_all(command).values()
    assert problem is None
    return str(text.split("\t", 1)[-1].strip())


def test_no_acknowledged_write_is_lost_by_a_kill(node: Node, client: Any) -> None:
    """Batches and single writes go on from two threads until the node is killed; what was acknowledged is there afterwards."""
    acknowledged: list[dict[int, int]] = [{}, {}]
    failed = [threading.Event(), threading.Event()]

    def batches() -> None:
        turn = 0
        policy = {"key": aerospike.POLICY_KEY_SEND, "ttl": 5000}
        while not failed[0].is_set():
            turn += 1
            rows = [Write(("test", "b", i), [operations.write("v", turn)], policy=policy) for i in range(100)]
            try:
                client.batch_write(BatchRecords(rows))
            except client_errors.AerospikeError:
                failed[0].set()
            for i, row in enumerate(rows):
                if row.result == 0:
                    acknowledged[0][i] = turn

    def singles() -> None:
        turn = 0
        while not failed[1].is_set():
            turn += 1
            try:
                client.put(("test", "s", turn), {"v": turn})
                acknowledged[1][turn] = turn
            except client_errors.AerospikeError:
                failed[1].set()

    threads = [threading.Thread(target=one) for one in (batches, singles)]
    for one in threads:
        one.start()
    until(lambda: len(acknowledged[0]) == 100 and acknowledged[0][99] > 5 and len(acknowledged[1]) > 100)
    node.kill()
    for event in failed:
        event.set()
    for one in threads:
        one.join(30)
    node.restart()
    again = connect(node)
    for i, turn in acknowledged[0].items():
        _, meta, bins = again.get(("test", "b", i))
        assert bins["v"] >= turn
        assert meta["gen"] == bins["v"], "one generation per write, none lost, none twice"
        assert 4000 < meta["ttl"] <= 5000
    for turn in acknowledged[1]:
        assert again.get(("test", "s", turn))[2] == {"v": turn}
    keys = {record[0][2] for record in again.query("test", "b").results()}
    assert keys == set(range(100)), "user keys come back"
    again.close()


def test_expired_records_go_and_the_object_count_follows(client: Any) -> None:
    for i in range(20):
        client.put(("test", "e", i), {"a": i}, policy={"ttl": 1 if i < 15 else aerospike.TTL_NEVER_EXPIRE})
    until(lambda: "objects=5:" in info(client, "sets/test/e"))
    assert client.exists(("test", "e", 1))[1] is None
    assert len(client.query("test", "e").results()) == 5


def test_namespaces_have_their_own_settings(client: Any) -> None:
    client.put(("bar", "s", 1), {"a": 1})
    assert 50 < client.get(("bar", "s", 1))[1]["ttl"] <= 60
    with pytest.raises(client_errors.AerospikeError) as refused:
        client.put(("still", "s", 1), {"a": 1}, policy={"ttl": 5})
    assert refused.value.code == 22
    assert info(client, "set-config:context=namespace;id=bar;default-ttl=120") == "ok"
    client.put(("bar", "s", 1), {"a": 1})
    assert 110 < client.get(("bar", "s", 1))[1]["ttl"] <= 120
    with pytest.raises(client_errors.AerospikeError):
        client.info_all("set-config:context=namespace;id=still;default-ttl=120")


def test_a_long_scan_does_not_hold_up_others(client: Any) -> None:
    for base in range(0, 20_000, 2000):
        rows = [Write(("test", "long", base + i), [operations.write("i", base + i)]) for i in range(2000)]
        client.batch_write(BatchRecords(rows))
    seen: list[int] = []
    between = 0

    def one(record: Record) -> None:
        nonlocal between
        seen.append(record[2]["i"])
        if len(seen) % 5000 == 1:
            client.put(("test", "other", len(seen)), {"a": 1})
            between += 1

    client.query("test", "long").foreach(one)
    assert sorted(seen) == list(range(20_000))
    assert between == 4


def test_truncation_is_seen_at_once_and_survives(node: Node, client: Any) -> None:
    for i in range(10):
        client.put(("test", "gone", i), {"a": i})
        client.put(("test", "kept", i), {"a": i})
    client.truncate("test", "gone", 0)
    assert client.query("test", "gone").results() == []
    client.put(("test", "gone", 3), {"a": 33})
    node.kill()
    node.restart()
    again = connect(node)
    assert [record[2] for record in again.query("test", "gone").results()] == [{"a": 33}]
    assert len(again.query("test", "kept").results()) == 10
    assert "truncate" in str(_error(again, "truncate:namespace=test;set=kept;lut=99999999999999999999"))
    again.close()


def _error(client: Any, command: str) -> Exception:
    with pytest.raises(client_errors.AerospikeError) as raised:
        client.info_all(command)
    return raised.value


def test_a_background_query_runs_to_its_end(client: Any) -> None:
    for i in range(200):
        client.put(("test", "bg", i), {"i": i})
    query = client.query("test", "bg")
    query.add_ops([operations.write("mark", 7)])
    job = query.execute_background()
    until(lambda: "done" in info(client, f"query-show:id={job}"))
    assert {record[2]["mark"] for record in client.query("test", "bg").results()} == {7}


def test_two_nodes_do_not_share_a_folder(shared: Node) -> None:
    command = [
        sys.executable,
        "-m",
        "deploy.local.node",
        "--port",
        "0",
        "--data",
        str(shared.data / "data"),
        "--namespace",
        "test",
    ]
    second = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert second.returncode == 2
    assert "another node" in second.stderr


def exchange(node: Node, sent: bytes, piecewise: bool = False) -> bytes:
    """What comes back until the node closes, or one frame's worth."""
    with socket.create_connection((node.host, node.port), 5) as connection:
        connection.settimeout(5)
        if piecewise:
            for i in range(len(sent)):
                connection.sendall(sent[i : i + 1])
        else:
            connection.sendall(sent)
        got = b""
        while len(got) < 8 or len(got) < 8 + int.from_bytes(got[2:8], "big"):
            part = connection.recv(65536)
            if not part:
                return got
            got += part
        return got


def info_frame(command: bytes) -> bytes:
    return struct.pack(">BB", 2, 1) + len(command).to_bytes(6, "big") + command


def test_frames_may_come_in_pieces_or_several_at_once(shared: Node) -> None:
    assert exchange(shared, info_frame(b"build\n"), piecewise=True)[8:] == b"build\t8.1.1.2\n"
    with socket.create_connection((shared.host, shared.port), 5) as connection:
        connection.sendall(info_frame(b"build\n") + info_frame(b"status\nnonsense\n") + info_frame(b"partitions\n"))
        wanted = [b"build\t8.1.1.2\n", b"status\tok\nnonsense\tERROR:4:unrecognized command\n", b"partitions\t4096\n"]
        reader = connection.makefile("rb")
        for body in wanted:
            head = reader.read(8)
            assert head[:2] == b"\x02\x01"
            assert reader.read(int.from_bytes(head[2:], "big")) == body


@pytest.mark.parametrize(
    "sent",
    [
        b"\x03\x01" + bytes(5) + b"\x00",
        b"\x02\x09" + bytes(6),
        b"\x02\x03" + (1 << 40).to_bytes(6, "big"),
        b"\x02\x03" + (4).to_bytes(6, "big") + b"abcd",
        b"\x02\x03" + (22).to_bytes(6, "big") + b"\x16\x01" + bytes(16) + b"\x00\x07\x00\x00",
        b"GET / HTTP/1.1\r\n\r\n",
    ],
)
def test_what_cannot_be_parsed_closes_the_connection_and_hurts_nobody_else(shared: Node, sent: bytes) -> None:
    assert exchange(shared, sent) == b""
    assert exchange(shared, info_frame(b"status\n"))[8:] == b"status\tok\n"


def test_a_client_with_credentials_is_let_on(shared: Node) -> None:
    login = b"\x02\x02" + (16).to_bytes(6, "big") + bytes(2) + bytes((20, 0)) + bytes(12)
    assert exchange(shared, login)[8:10] == b"\x00\x34"


def test_a_clean_stop_keeps_everything_and_says_nothing(node: Node, client: Any) -> None:
    client.put(("test", "s", 1), {"a": {"m": [1, 2]}})
    node.stop()
    lines = node.process.log_file.read_text().strip().splitlines()
    assert [set(json.loads(line)) for line in lines] == [{"host", "port", "pid"}]
    node.restart()
    again = connect(node)
    assert again.get(("test", "s", 1))[2] == {"a": {"m": [1, 2]}}
    again.close()
