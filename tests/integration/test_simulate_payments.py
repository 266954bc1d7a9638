"""The payments workload against a real server: its account equals a scan of the namespace, also when the server misbehaves."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aerospike
import pytest
from typer.testing import CliRunner

from deploy.local.aerospike import Node, start_node
from deploy.local.node_info import ask, rows
from deploy.simulate.account import Account
from deploy.simulate.cli import app
from deploy.simulate.payments import operations
from deploy.simulate.verify import Comparison, compare
from deploy.simulate.writer import Writer

pytestmark = pytest.mark.stack

NAMESPACE = "payments"


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    node = start_node(tmp_path / "node", (f"{NAMESPACE},nsup-period=1",))
    yield node
    node.stop()


@pytest.fixture
def client(node: Node) -> Iterator[Any]:
    client = aerospike.client({"hosts": [(node.host, node.port)]}).connect()
    yield client
    client.close()


def write(client: Any, seed: int, count: int) -> Account:
    account = Account()
    writer = Writer(client, NAMESPACE, account)
    writer.write_all(operations(seed, count))
    writer.finish()
    return account


def test_the_account_is_what_a_scan_finds(client: Any) -> None:
    account = write(client, 3, 3_000)
    assert account.clean, account.contradictions
    assert compare(client, NAMESPACE, account) == Comparison([], 0)
    client.put((NAMESPACE, "cards", "nobody's"), {"a": 1})
    client.remove((NAMESPACE, "cards", _live_card(account)))
    wrong, strangers = compare(client, NAMESPACE, account)
    assert len(wrong) == 1 and "is missing" in wrong[0] and strangers == 1


def test_a_changed_bin_and_a_changed_expiry_are_noticed(client: Any) -> None:
    account = write(client, 4, 1_000)
    card = (NAMESPACE, "cards", _live_card(account))
    client.put(card, {"spent": -1}, policy={"ttl": aerospike.TTL_DONT_UPDATE})
    assert [line.split(" ", 1)[1] for line in compare(client, NAMESPACE, account).wrong] == ["differs in spent"]
    client.put(card, {"spent": _state(account, card[2])["spent"]}, policy={"ttl": 1_000})
    assert [line.split(" ", 1)[1] for line in compare(client, NAMESPACE, account).wrong] == ["expires"]


def test_the_account_holds_when_answers_are_lost(node: Node, client: Any) -> None:
    faults = ("timeout-after-effect;share=0.1;times=3;seed=1", "overload;share=0.2;seed=2", "reset;share=0.2;seed=3")
    for fault in faults:
        ask(node.address, f"millrace-fault:name={fault}")
    account = write(client, 5, 800)
    fired = {row["name"]: int(row["fired"]) for row in rows(ask(node.address, "millrace-fault:stats"))}
    ask(node.address, "millrace-fault:clear")
    assert all(fired[fault.split(";")[0]] for fault in faults), fired
    assert account.clean, account.contradictions
    assert account.totals(0)["in_doubt"] > 0
    assert compare(client, NAMESPACE, account) == Comparison([], 0)


def test_the_command_writes_verifies_and_leaves_its_account(node: Node, tmp_path: Path) -> None:
    file = tmp_path / "account.json"
    options = ["payments", "--aerospike", node.address, "--rate", "400", "--seconds", "2", "--seed", "9"]
    done = CliRunner().invoke(app, [*options, "--account", str(file), "--output", "json"])
    assert done.exit_code == 0, done.output
    said, kept = json.loads(done.stdout), json.loads(file.read_text())
    assert said["totals"]["operations"] == 800 == kept["totals"]["operations"] and said["differences"] == []
    assert len(kept["records"]) == kept["totals"]["records"]["ever"]


def test_what_others_have_there_is_left_alone_but_nobody_may_appear_in_an_empty_namespace(
    node: Node, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ["payments", "--aerospike", node.address, "--rate", "400", "--seconds", "1", "--output", "json"]
    client.put((NAMESPACE, "theirs", 1), {"a": 1})
    for seed in ("21", "22", "21"):  # the third writes over what the first has left
        done = CliRunner().invoke(app, [*options, "--seed", seed])
        assert done.exit_code == 0, done.output
        assert json.loads(done.stdout)["records_of_others"] > 0
    assert client.get((NAMESPACE, "theirs", 1))[2] == {"a": 1}
    monkeypatch.setattr("deploy.simulate.verify.records_in", lambda client, namespace: 0)
    done = CliRunner().invoke(app, [*options, "--seed", "23"])
    assert done.exit_code == 1 and "did not write" in json.loads(done.stdout)["differences"][0]


def test_a_namespace_that_does_not_exist_is_refused_by_name(node: Node) -> None:
    options = ["payments", "--aerospike", node.address, "--namespace", "nowhere", "--seconds", "1"]
    done = CliRunner().invoke(app, options)
    assert "E145" in str(done.exception)


def _live_card(account: Account) -> str:
    return next(
        str(state.key.user_key)
        for state in account.states()
        if state.key.set == "cards" and state.bins is not None and state.expires_s is None
    )


def _state(account: Account, user_key: object) -> Any:
    return next(state.bins for state in account.states() if state.key.user_key == user_key)
