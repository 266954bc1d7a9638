"""Info commands operators and the client use (wire protocol reference, 2)."""

import base64
from pathlib import Path

import pytest

from deploy.local.node.config import NodeConfig, parse_namespace
from deploy.local.node.info import Info
from tests.support.node_wire import Local


@pytest.fixture
def node(tmp_path: Path) -> Local:
    return Local(tmp_path, "test", "bar,nsup-period=0")


@pytest.fixture
def info(node: Local, tmp_path: Path) -> Info:
    info = Info(NodeConfig(tmp_path, ()), node.namespaces)
    info.address = "127.0.0.1:3000"
    return info


def test_a_request_is_answered_line_by_line_under_its_own_text(info: Info) -> None:
    given = b"node\npartition-generation\nbuild\nsindex-exists:namespace=test;indexname=x\n"
    wanted = b"node\tBB9EMBEDDED0001\npartition-generation\t0\nbuild\t8.1.1.2\nsindex-exists:namespace=test;indexname=x\tfalse\n"
    assert info.answer(given) == wanted


def test_every_partition_of_every_namespace_is_owned(info: Info) -> None:
    entries = info.one("replicas").split(";")
    assert [entry.split(":")[0] for entry in entries] == ["test", "bar"]
    regime, count, bitmap = entries[0].partition(":")[2].split(",")
    assert (regime, count, base64.b64decode(bitmap)) == ("0", "1", b"\xff" * 512)


def test_sets_and_namespaces(node: Local, info: Info) -> None:
    node.put(1, {"a": 1}, set_name="one")
    node.put(2, {"a": 1}, set_name="one")
    node.put(3, {"a": 1}, set_name="two")
    node.remove(3, set_name="two")
    assert info.one("sets/test/one").startswith("objects=2:tombstones=0:")
    assert info.one("sets/test/two").startswith("objects=0:")
    assert info.one("sets/test/never") == ""
    assert info.one("sets/never") == "ns_type=unknown"
    assert [row[:24] for row in info.one("sets").split(";") if row] == ["ns=test:set=one:objects=", "ns=test:set=two:objects="]
    stated = dict(pair.split("=") for pair in info.one("namespace/test").split(";"))
    assert (stated["objects"], stated["nsup-period"], stated["default-ttl"]) == ("2", "10", "0")
    assert info.one("namespace/never") == "type=unknown"


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        ("truncate:set=s", "ERROR:20:missing 'namespace'"),
        ("truncate:namespace=test", "ERROR:4:missing 'set'"),
        ("truncate:namespace=test;set=s;lut=9999999999999999999", "ERROR:4:would truncate in the future"),
        ("truncate:namespace=test;set=s", "ok"),
        ("truncate-namespace:namespace=test", "ok"),
        ("sindex-delete:namespace=test;indexname=none", "ok"),
        ("sindex-stat:namespace=test;indexname=none", "ERROR:201:no index"),
        ("query-show:id=5", "ERROR:2:job not found"),
        ("bins/test", "ERROR:4:unrecognized command"),
        ("not-a-command", "ERROR:4:unrecognized command"),
        ("set-config:context=namespace;id=test;default-ttl=1d", "ok"),
        ("set-config:context=namespace;id=bar;default-ttl=60", "ERROR:4:namespace bar: default-ttl needs an nsup-period above 0"),
        ("set-config:context=service;x=1", "ERROR:4:only context=namespace"),
    ],
)
def test_answers(info: Info, command: str, answer: str) -> None:
    assert info.one(command) == answer


def test_index_definitions(node: Local, info: Info) -> None:
    create = "sindex-create:namespace=test;set=s;indexname={};bin={};type=NUMERIC"
    assert info.one(create.format("i", "g")) == "ok"
    assert info.one(create.format("i", "g")) == "ok"
    assert info.one(create.format("i", "h")).startswith("ERROR:200:")
    assert info.one(create.format("j", "g")) == "ok", "the same definition under another name renames the index"
    listed = "ns=test:indexname=j:set=s:bin=g:type=numeric:indextype=default:context=null:exp=null:state=RW"
    assert info.one("sindex-list:") == info.one("sindex-list:namespace=test") == listed
    assert info.one("sindex-list:namespace=bar") == ""
    assert info.one("sindex-list:namespace=never").startswith("ERROR:20:")
    assert info.one("sindex-create:namespace=test;set=s;indexname=k;indexdata=h,STRING") == "ok"
    for number in range(4):
        node.put(number, {"g": number % 2})
    node.put(4, {"g": "text"})
    assert info.one("sindex-stat:namespace=test;indexname=j").startswith("entries=4;")
    node.dispatcher.flush()
    node.reopen()
    assert set(node.test.indexes) == {"j", "k"}


def test_configuration_changes_count_at_once(node: Local, info: Info) -> None:
    info.one("set-config:context=namespace;id=test;default-ttl=60")
    assert node.put(1, {"a": 1}).void_time > 0
    assert "default-ttl=60" in info.one("get-config:context=namespace;id=test")
    assert info.one("set-config:context=namespace;id=bar;nsup-period=5") == "ok"
    assert node.put(1, {"a": 1}, namespace="bar", ttl=5).code == 0


def test_own_commands_can_be_added_once(info: Info) -> None:
    info.register("millrace-echo", lambda arguments: ",".join(f"{key}:{value}" for key, value in arguments.items()))
    assert info.one("millrace-echo:a=1;b=2") == "a:1,b:2"
    with pytest.raises(ValueError, match="millrace-echo"):
        info.register("millrace-echo", lambda arguments: "")
    with pytest.raises(ValueError, match="must begin"):
        info.register("truncate", lambda arguments: "")


@pytest.mark.parametrize(
    "given",
    ["", "a" * 32, "a:b", "../up", ".hidden", "test,nsup", "test,nope=1", "test,nsup-period=x", "test,default-ttl=400000000"],
)
def test_namespaces_that_cannot_be_configured(given: str) -> None:
    with pytest.raises(ValueError, match=r"namespace"):
        parse_namespace(given)
