"""The embedded node ships to a real broker: what the official client wrote is in Kafka, also when node or broker are killed."""

import threading
import time
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import aerospike
import orjson
import pytest
from aerospike import exception as client_errors

from deploy.local.aerospike import Node, start_node
from deploy.local.node_info import ask
from deploy.local.xdr import control
from schemas.errors import ConfigError, Retryable
from tests.support.fixtures_stack import KafkaUnderTest
from tests.support.kafka import Message, read_all

pytestmark = pytest.mark.stack

NAMESPACE = "payments"
SEND_KEY = {"key": aerospike.POLICY_KEY_SEND}
Event = dict[str, Any]


@contextmanager
def emitting(folder: Path, kafka: str, topic: str, options: str = "") -> Iterator[Node]:
    """A node whose namespace is shipped to `topic`."""
    node = start_node(folder, (f"{NAMESPACE},nsup-period=1",), kafka=kafka, xdr=[f"namespace={NAMESPACE},topic={topic}{options}"])
    try:
        yield node
    finally:
        node.stop()


@contextmanager
def connected(node: Node) -> Iterator[aerospike.Client]:
    client = aerospike.client({"hosts": [(node.host, node.port)], "policies": {"total_timeout": 5000}}).connect()
    try:
        yield client
    finally:
        client.close()


def event(message: Message) -> Event:
    """A message of either format as {op, ns, set, digest, key, gen, lut, exp, bins, kafka_key}; bins as {name: JSON value}."""
    assert message.value is not None and message.key is not None
    value = orjson.loads(message.value)
    if "metadata" in value:
        meta = value.pop("metadata")
        key = [meta["namespace"], meta.get("set"), meta["digest"], meta.get("userKey")]
        op, bins = meta["msg"], value
        kafka_key = orjson.loads(message.key)
        assert [kafka_key["namespace"], kafka_key.get("set"), kafka_key["digest"], kafka_key.get("userKey")] == key
    else:
        meta, key, op = value, value["key"], value["msg"]
        bins = {one["name"]: one["value"] for one in value.get("bins", [])}
        assert orjson.loads(message.key) == key
    namespace, set_name, digest, user_key = key
    return {
        "op": op, "ns": namespace, "set": set_name, "digest": b64decode(digest), "key": user_key,
        "gen": meta["gen"], "lut": meta["lut"], "exp": meta.get("exp"), "bins": bins,
    }  # fmt: skip


def last_events(messages: list[Message]) -> dict[bytes, Event]:
    """Per record the newest event by (lut, gen), a delete above a write of the same version."""
    newest: dict[bytes, Event] = {}
    for one in map(event, messages):
        seen = newest.get(one["digest"])
        if seen is None or (seen["lut"], seen["gen"], seen["op"] == "delete") < (one["lut"], one["gen"], one["op"] == "delete"):
            newest[one["digest"]] = one
    return newest


def records(client: aerospike.Client) -> dict[bytes, tuple[int, dict[str, Any]]]:
    """Every record of the namespace: digest -> (generation, bins)."""
    found: dict[bytes, tuple[int, dict[str, Any]]] = {}

    def note(record: tuple[Any, Any, Any]) -> None:
        key, meta, bins = record
        found[bytes(key[3])] = (meta["gen"], bins)

    client.query(NAMESPACE).foreach(note)
    return found


def assert_events_show(messages: list[Message], stored: dict[bytes, tuple[int, dict[str, Any]]]) -> None:
    newest = last_events(messages)
    assert {digest: (one["gen"], one["bins"]) for digest, one in newest.items() if one["op"] == "write"} == stored


@pytest.mark.parametrize("format_name", ["json", "flat-json"])
def test_what_the_client_writes_is_shipped(tmp_path: Path, kafka_broker: KafkaUnderTest, topic: str, format_name: str) -> None:
    options = f",format={format_name},duplicates=0.2,reorder=0.3,reorder_window_ms=300,seed=7,hot_key_ms=5"
    with emitting(tmp_path, kafka_broker.address, topic, options) as node, connected(node) as client:
        bins = {"qty": 2**63 - 1, "price": -0.5, "note": "läuft 💳", "paid": True}
        bins |= {"tags": ["x", 1, None, {"k": [2]}], "attr": {"w": 1.25}}
        client.put((NAMESPACE, "orders", "A-1001"), bins, policy={**SEND_KEY, "ttl": 1000})
        client.put((NAMESPACE, None, 77), {"n": 1})
        client.put((NAMESPACE, "raw", bytearray(b"\0\xff")), {"blob": bytearray(b"\0\xff\x10")}, policy=SEND_KEY)
        client.put((NAMESPACE, "geo", 1), {"pos": aerospike.GeoJSON({"type": "Point", "coordinates": [8.5, 47.4]})})
        for number in range(200):
            client.put((NAMESPACE, "many", number % 40), {"n": number})
            if number % 7 == 0:
                client.remove((NAMESPACE, "many", number % 40))
        control.flush(node.address)
        messages = read_all(kafka_broker.address, topic)
        newest = {(one["set"], one["key"]): one for one in last_events(messages).values() if one["set"] != "many"}
        stored = records(client)
        (row,) = control.shipped(node.address)
    order = newest["orders", "A-1001"]
    assert order["bins"] == bins
    assert order["exp"] == order["lut"] // 1000 + 1000
    assert newest[None, None]["bins"] == {"n": 1}
    assert newest[None, None]["exp"] == 0
    assert newest["raw", "AP8="]["bins"] == {"blob": "AP8Q"}
    assert newest["geo", None]["bins"] == {"pos": {"type": "Point", "coordinates": [8.5, 47.4]}}
    many = [message for message in messages if event(message)["set"] == "many"]
    assert_events_show(many, {digest: found for digest, found in stored.items() if digest in last_events(many)})
    assert len(stored) == sum(one["op"] == "write" for one in last_events(messages).values())
    assert {one["op"] for one in map(event, many)} == {"write", "delete"}
    # The road really was rough, and the accounts agree with the topic.
    assert int(row["duplicates"]) > 0 and int(row["overtaken"]) > 0
    assert int(row["shipped"]) + int(row["duplicates"]) == len(messages)
    assert (row["queued"], row["held"], row["in_flight"], row["failed"]) == ("0", "0", "0", "0")


def test_expiry_is_shipped_when_asked_for_and_truncation_never(tmp_path: Path, kafka_broker: KafkaUnderTest, topic: str) -> None:
    with emitting(tmp_path, kafka_broker.address, topic, ",ship-nsup-deletes=true") as node, connected(node) as client:
        client.put((NAMESPACE, "short", 1), {"n": 1}, policy={**SEND_KEY, "ttl": 1})
        client.put((NAMESPACE, "gone", 1), {"n": 1})
        control.flush(node.address)
        client.truncate(NAMESPACE, "gone", 0)
        messages = read_all(kafka_broker.address, topic, at_least=3)
    shown = {(one["set"], one["op"]): one for one in map(event, messages)}
    assert set(shown) == {("short", "write"), ("short", "delete"), ("gone", "write")}
    write, delete = shown["short", "write"], shown["short", "delete"]
    assert delete["gen"] == write["gen"] + 1
    assert delete["lut"] // 1000 >= write["exp"] == write["lut"] // 1000 + 1
    assert (delete["key"], delete["exp"], delete["bins"]) == (1, None, {})
    assert b"durable" not in b"".join(message.value or b"" for message in messages)


def test_pause_coalesces_and_rewind_ships_again(tmp_path: Path, kafka_broker: KafkaUnderTest, topic: str) -> None:
    with emitting(tmp_path, kafka_broker.address, topic) as node, connected(node) as client:
        control.pause(node.address)
        for number in range(10):
            client.put((NAMESPACE, "s", 1), {"n": number})
        assert control.shipped(node.address)[0]["queued"] == "1"
        with pytest.raises(Retryable, match="paused"):
            control.flush(node.address)
        control.resume(node.address)
        control.flush(node.address)
        assert [event(message)["bins"] for message in read_all(kafka_broker.address, topic)] == [{"n": 9}]
        assert control.rewind(node.address, NAMESPACE) == 1
        control.flush(node.address, NAMESPACE)
        assert [event(message)["gen"] for message in read_all(kafka_broker.address, topic)] == [10, 10]
        with pytest.raises(ConfigError, match="'nowhere' is not shipped"):
            control.flush(node.address, "nowhere")


class Writer:
    """Writes, updates and removes records until told to stop, through kills of the node."""

    def __init__(self, connect: Callable[[], aerospike.Client]) -> None:
        self._connect = connect
        self._stop = threading.Event()
        self.acknowledged = 0
        self.thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Writer":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self.thread.join()

    def wait_for_more(self, count: int) -> None:
        wanted, deadline = self.acknowledged + count, time.monotonic() + 30
        while self.acknowledged < wanted:
            assert time.monotonic() < deadline, f"only {self.acknowledged} writes were acknowledged, {wanted} wanted"
            time.sleep(0.01)

    def _run(self) -> None:
        number, client = 0, None
        while not self._stop.is_set():
            try:
                client = client or self._connect()
                number += 1
                key = (NAMESPACE, "s", number % 300)
                if number % 11 == 0:
                    with suppress(client_errors.RecordNotFound):
                        client.remove(key)
                else:
                    client.put(key, {"n": number, "text": f"v{number}"})
                self.acknowledged += 1
            except client_errors.AerospikeError:
                client = None
                time.sleep(0.02)


def reconnecting(node: Node) -> Callable[[], aerospike.Client]:
    config = {"hosts": [(node.host, node.port)], "policies": {"total_timeout": 500, "max_retries": 0}}
    return lambda: aerospike.client(config).connect()


def test_no_change_is_missing_after_kills_of_the_node(tmp_path: Path, kafka_broker: KafkaUnderTest, topic: str) -> None:
    options = ",duplicates=0.05,reorder=0.3,reorder_window_ms=2000,seed=3"
    with emitting(tmp_path, kafka_broker.address, topic, options) as node:
        unshipped = []
        with Writer(reconnecting(node)) as writer:
            for _ in range(3):
                writer.wait_for_more(400)
                (row,) = control.shipped(node.address)
                unshipped.append(int(row["queued"]) + int(row["held"]) + int(row["in_flight"]))
                assert node.kill()
                node = node.restart()
            writer.wait_for_more(200)
        control.flush(node.address)
        with connected(node) as client:
            stored = records(client)
        (row,) = control.shipped(node.address)
        messages = read_all(kafka_broker.address, topic)
        node.stop()
    assert_events_show(messages, stored)
    # Each kill had something to lose, and something was shipped again.
    assert all(unshipped), unshipped
    assert int(row["reshipped"]) > 0
    assert len(stored) > 200


def test_no_change_is_missing_after_a_crash_of_the_broker(tmp_path: Path, kafka_broker: KafkaUnderTest, topic: str) -> None:
    if kafka_broker.broker is None:
        pytest.skip("the broker is not ours to kill")
    with emitting(tmp_path, kafka_broker.address, topic) as node:
        with Writer(reconnecting(node)) as writer:
            writer.wait_for_more(300)
            assert kafka_broker.broker.kill()
            writer.wait_for_more(600)
            with pytest.raises(Retryable, match="not shipped within"):
                control.flush(node.address, timeout_s=0.5)
            kafka_broker.broker.restart()
            writer.wait_for_more(100)
        control.flush(node.address)
        with connected(node) as client:
            stored = records(client)
        messages = read_all(kafka_broker.address, topic)
    assert_events_show(messages, stored)


def test_the_node_refuses_a_namespace_it_does_not_have(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        start_node(tmp_path, ("test",), kafka="127.0.0.1:9", xdr=["namespace=payments,topic=t"])
    assert "no namespace 'payments'" in str(caught.value)


def test_the_node_serves_while_kafka_is_away(tmp_path: Path) -> None:
    with emitting(tmp_path, "127.0.0.1:9", "t") as node, connected(node) as client:
        client.put((NAMESPACE, "s", 1), {"n": 1})
        assert client.get((NAMESPACE, "s", 1))[2] == {"n": 1}
        assert control.shipped(node.address)[0]["queued"] == "1"
        assert "millrace-xdr" not in ask(node.address, "namespaces")
