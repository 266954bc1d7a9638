"""Every rule over several options, seen to fail, with the option it points at."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.flow import Flow, FlowInvalid, parse_flow
from pipelines.flow.rules import RULES
from tests.unit.flow.flows import HISTORY, MIRROR, changed, valid

M = "lanes/fast/outputs/mirror"
MIRROR_AT = "lanes.fast.outputs.mirror"
REGISTRY = "source.registry"
EXAMPLES = Path(__file__).parents[3] / "examples" / "avro"
AVSC, BARE = str(EXAMPLES / "write.avsc"), str(Path(__file__).with_name("bare.avsc"))
SOURCE = {"bootstrap_servers": "127.0.0.1:9092", "topics": ["xdr.payments"], "format": "avro"}
RECONCILE = {"hosts": ["localhost:3000"], "namespace": "payments"}


def refusals(data: dict[str, Any]) -> list[tuple[str, str]]:
    with pytest.raises(FlowInvalid) as caught:
        parse_flow(yaml.safe_dump(data, sort_keys=False), "flow.yaml", {})
    return [(problem.option, problem.message) for problem in caught.value.problems]


def test_the_flow_the_cases_start_from_is_valid() -> None:
    assert parse_flow(yaml.safe_dump(valid()), "flow.yaml", {}).warnings == ()


COUNTERS_AT = "lanes/fast/outputs/shops"
COUNTERS = {
    "type": "aerospike_counters",
    "hosts": ["127.0.0.1:3000"],
    "namespace": "counters",
    "set": "shops",
    "key": {"bin": "shop"},
    "bins": {"n": "count"},
}

CASES: list[tuple[str, str, Any, str, str]] = [
    # rule, option to set, value, option named, words of the message
    ("outputs_are_given_once", "outputs", {"more": dict(HISTORY, path="/x")}, "outputs", "both 'outputs' and 'lanes'"),
    ("outputs_are_given_once", "lanes", {}, "", "no output"),
    ("output_names_are_unique", "lanes/bulk/outputs/mirror", dict(HISTORY, path="/x"), "lanes.bulk.outputs.mirror", "used twice"),
    ("tables_are_apart", "dead_letters/path", "/data/payments/./history/", "dead_letters.path", "is the table of"),
    ("tables_are_apart", "ledger", {"path": "/data/payments/history/ledger"}, "ledger.path", "one inside the other"),
    ("tables_are_apart", "lanes/bulk/outputs/more", HISTORY, "lanes.bulk.outputs.more.path", "is the table of"),
    ("tables_are_apart", "dead_letters/states", "/data/payments/history", "dead_letters.states", "is the table of"),
    ("letters_do_not_come_back", "dead_letters/topic", "xdr.payments", "dead_letters.topic.name", "a topic the flow reads"),
    (
        "letters_do_not_come_back",
        "dead_letters/topic",
        {"name": "dead", "options": {"kafka.acks": "all"}},
        "dead_letters.topic.options.kafka.acks",
        "cannot stand here",
    ),
    ("checkpoint_is_apart", "checkpoint", "/data/payments/history/checkpoint", "checkpoint", "one inside the other"),
    ("checkpoint_is_apart", "checkpoint", "/data", "checkpoint", "one inside the other"),
    ("records_do_not_overlap", "records", [{"namespace": "payments"}] * 2, "records[1]", "already takes"),
    (
        "records_do_not_overlap",
        "records",
        [{"namespace": "p", "sets": ["a", "b"]}, {"namespace": "p", "sets": ["b"]}],
        "records[1]",
        "set b",
    ),
    ("record_names_fit", "records/0/bins", {"sixteen_bytes_xx": "int"}, "records[0].bins.sixteen_bytes_xx", "16 bytes"),
    ("record_names_fit", "records/0/bins", {"übergrößenname": "int"}, "records[0].bins.übergrößenname", "17 bytes"),
    ("record_names_fit", "records/0/bins", {"_mr_v": "int"}, "records[0].bins._mr_v", "keeps for itself"),
    ("record_names_fit", "records/0/sets", ["s" * 64], "records[0].sets[0]", "63 bytes"),
    ("record_names_fit", "records/0/without_set", True, "records[0].without_set", "without 'sets'"),
    (
        "mirrors_get_what_they_need",
        "records",
        [{"namespace": "a"}, {"namespace": "b"}],
        f"{MIRROR_AT}.namespace",
        "a, b",
    ),
    ("mirrors_get_what_they_need", "records/0/sets", ["_mr_tomb"], f"{MIRROR_AT}.tombstone_set", "also a set"),
    (
        "mirrors_get_what_they_need",
        "lanes/fast/outputs/again",
        dict(MIRROR, hosts=["localhost:3000"]),
        "lanes.fast.outputs.again.namespace",
        "write the same namespace",
    ),
    (
        "mirrors_get_what_they_need",
        "reconcile/source",
        dict(RECONCILE, namespace="mirror"),
        f"{MIRROR_AT}.namespace",
        "for ever",
    ),
    ("counters_make_sense", COUNTERS_AT, dict(COUNTERS, key={}), "lanes.fast.outputs.shops.key", "exactly one"),
    (
        "counters_are_left_alone",
        COUNTERS_AT,
        dict(COUNTERS, namespace="mirror"),
        "lanes.fast.outputs.shops.set",
        "replaces as a whole",
    ),
    (
        "reconcile_reads_a_selected_namespace",
        "reconcile/source",
        dict(RECONCILE, namespace="other"),
        "reconcile.source.namespace",
        "not among",
    ),
    ("source_options_agree", "source/metadata_key", "meta", "source.metadata_key", "flat-json"),
    ("source_options_agree", "source/topics", ["a", "a"], "source.topics[1]", "named twice"),
    (
        "source_options_agree",
        "source/options",
        {"kafka.security.protocol": "SSL"},
        "source.options.kafka.security.protocol",
        "prefix",
    ),
    ("source_options_agree", "source/options", {"group.id": "g"}, "source.options.group.id", "each other's partitions"),
    ("source_options_agree", "source/options", {"enable.auto.commit": True}, "source.options.enable.auto.commit", "checkpoint"),
    ("avro_schemas_fit", "source/format", "avro", "source.format", "needs 'source.avro'"),
    ("avro_schemas_fit", "source/avro", {"write": AVSC}, "source.avro", "belongs to avro and auto"),
    ("avro_schemas_fit", "source", SOURCE | {"avro": {"write": BARE}}, "source.avro.write", "then a key schema is needed"),
    ("avro_schemas_fit", "source", SOURCE | {"avro": {"write": AVSC, "delete": BARE}}, "source.avro.delete", "has no metadata"),
    ("avro_schemas_fit", "source", SOURCE | {"avro": {"write": AVSC, "key": AVSC}}, "source.avro.key", "namespace and digest"),
    (
        "avro_schemas_fit",
        "source",
        SOURCE | {"avro": {"write": AVSC, "delete": str(EXAMPLES / "delete.avsc")}, "metadata_key": "m"},
        "source.avro.delete",
        "looks like metadata, but the flow calls it m",
    ),
    ("registry_fits_format", "source/registry", {"urls": ["http://r"]}, "source.registry", "belongs to kafka-avro and auto"),
    (
        "registry_options_agree",
        "source/registry",
        {"urls": "http://r", "username": "me"},
        f"{REGISTRY}.username",
        "without 'pass",
    ),
    ("registry_options_agree", "source/registry", {"urls": "http://r", "password": "x"}, f"{REGISTRY}.password", "without 'user"),
    (
        "registry_options_agree",
        "source/registry",
        {"urls": "http://r", "username": "m:e", "password": "x"},
        f"{REGISTRY}.username",
        "ends a user name",
    ),
    (
        "registry_options_agree",
        "source/registry",
        {"urls": "http://r", "username": "me", "password": "x", "token": "x"},
        f"{REGISTRY}.token",
        "two logins",
    ),
    (
        "registry_options_agree",
        "source/registry",
        {"urls": "http://r", "token": "Bearer x"},
        f"{REGISTRY}.token",
        "no HTTP header",
    ),
    (
        "registry_options_agree",
        "source/registry",
        {"urls": "https://r", "key_file": "/k"},
        f"{REGISTRY}.key_file",
        "without 'cert",
    ),
    (
        "registry_options_agree",
        "source/registry",
        {"urls": "http://r", "ca_file": "/c"},
        f"{REGISTRY}.ca_file",
        "begins with https:",
    ),
    (
        "registry_options_agree",
        "source/registry",
        {"urls": "https://r", "ca_file": "/no/c"},
        f"{REGISTRY}.ca_file",
        "no file /no/c",
    ),
    (
        "cluster_options_agree",
        f"{M}/socket_timeout_ms",
        6000,
        f"{MIRROR_AT}.socket_timeout_ms",
        "more than total_timeout_ms",
    ),
    (
        "cluster_options_agree",
        f"{M}/batch_timeout_s",
        2,
        f"{MIRROR_AT}.total_timeout_ms",
        "more than batch_timeout_s (2)",
    ),
    ("cluster_options_agree", f"{M}/first_backoff_ms", 2000, f"{MIRROR_AT}.first_backoff_ms", "max_backoff_ms"),
    ("cluster_options_agree", f"{M}/user", "me", f"{MIRROR_AT}.user", "without a password"),
    ("cluster_options_agree", f"{M}/password", "x", f"{MIRROR_AT}.password", "without a user"),
    ("cluster_options_agree", f"{M}/auth_mode", "pki", f"{MIRROR_AT}.auth_mode", "needs tls.enable"),
    ("cluster_options_agree", f"{M}/auth_mode", "external", f"{MIRROR_AT}.auth_mode", "in clear"),
    (
        "cluster_options_agree",
        f"{M}/auth_mode",
        "external_insecure",
        f"{MIRROR_AT}.auth_mode",
        "needs user and password",
    ),
    ("cluster_options_agree", f"{M}/tls", {"cafile": "/ca"}, f"{MIRROR_AT}.tls.cafile", "TLS is off"),
    (
        "cluster_options_agree",
        f"{M}/tls",
        {"enable": True, "cafile": "/no/such/ca.pem"},
        f"{MIRROR_AT}.tls.cafile",
        "no file /no/such/ca.pem",
    ),
    (
        "cluster_options_agree",
        f"{M}/tls",
        {"enable": True, "capath": "/no/such"},
        f"{MIRROR_AT}.tls.capath",
        "no folder",
    ),
    (
        "cluster_options_agree",
        f"{M}/tls",
        {"enable": True, "certfile": "/etc/hostname"},
        f"{MIRROR_AT}.tls.certfile",
        "without keyfile",
    ),
    (
        "cluster_options_agree",
        f"{M}/tls",
        {"enable": True, "keyfile_password": "x"},
        f"{MIRROR_AT}.tls.keyfile_password",
        "without keyfile",
    ),
    ("cluster_options_agree", f"{M}/hosts", ["h:name:4333"], f"{MIRROR_AT}.hosts[0]", "TLS is off"),
    ("cluster_options_agree", "reconcile/source", dict(RECONCILE, user="me"), "reconcile.source.user", "without a password"),
    ("triggers_are_one_kind", "lanes/fast/trigger", {"interval_ms": 100, "available_now": True}, "lanes.fast.trigger", "both"),
    ("triggers_are_one_kind", "lanes/fast/trigger", {}, "lanes.fast.trigger", "neither"),
    (
        "spark_settings_are_free",
        "spark/conf",
        {"spark.sql.streaming.checkpointLocation": "/x"},
        "spark.conf.spark.sql.streaming.checkpointLocation",
        "cannot be replaced",
    ),
    ("spark_settings_are_free", "spark/conf", {"spark.speculation": True}, "spark.conf.spark.speculation", "same time"),
    ("spark_settings_are_free", "spark/conf", {"shuffle.partitions": 4}, "spark.conf.shuffle.partitions", "begin with 'spark.'"),
    (
        "spark_settings_are_free",
        "spark",
        {"driver_memory": "2g", "conf": {"spark.driver.memory": "1g"}},
        "spark.conf.spark.driver.memory",
        "twice",
    ),
    ("restart_delays_nest", "restart/first_delay_ms", 60_000, "restart.first_delay_ms", "more than max_delay_ms"),
]


@pytest.mark.parametrize(("rule", "path", "value", "option", "words"), CASES, ids=[f"{c[0]}-{c[3]}" for c in CASES])
def test_rule(rule: str, path: str, value: Any, option: str, words: str) -> None:
    found = refusals(changed(path, value))
    assert [1 for name, message in found if name == option and words in message], found


def test_every_rule_has_a_case() -> None:
    assert {rule.__name__ for rule in RULES} == {case[0] for case in CASES}


LIMITS: list[tuple[str, Any, str]] = [
    (f"{M}/tombstone_horizon_s", 3_599, "at least 3,600"),
    (f"{M}/max_batch_records", 5_001, "at most 5,000"),
    (f"{M}/max_batch_records", 0, "at least 1"),
    (f"{M}/batch_timeout_s", 0, "more than 0"),
    (f"{M}/batch_timeout_s", float("nan"), "at most 3,600"),
    ("lanes/fast/trigger", {"interval_ms": 0}, "at least 10"),
    ("lanes/fast/outputs", {}, "at least 1"),
    ("source/max_offsets_per_trigger", 0, "at least 1"),
    ("stop/drain_timeout_s", -1, "more than 0"),
    ("spark/driver_memory", "much", "expected text like"),
]


@pytest.mark.parametrize(("path", "value", "words"), LIMITS, ids=[f"{c[0]}-{c[1]}" for c in LIMITS])
def test_limits(path: str, value: Any, words: str) -> None:
    found = refusals(changed(path, value))
    assert [message for _, message in found if words in message], found


WARNED: list[tuple[str, Any, str]] = [
    (M, dict(MIRROR, user="me", password="plain"), "secret written in the file"),
    (M, dict(MIRROR, namespace="payments"), "a loop on the same one"),
    (M, dict(MIRROR, auth_mode="external_insecure", user="me", password="p"), "in clear"),
    ("lanes/bulk/trigger", {"interval_ms": 100}, "table version"),
    (
        "records",
        [{"namespace": "p", "sets": ["a"], "bins": {"q": "int"}}, {"namespace": "p", "sets": ["b"], "bins": {"q": "str"}}],
        "bin 'q' is declared as int and as str",
    ),
    ("source/options", {"sasl.jaas.config": "plain text"}, "secret written in the file"),
]


@pytest.mark.parametrize(("path", "value", "words"), WARNED, ids=[case[2] for case in WARNED])
def test_warnings(path: str, value: Any, words: str) -> None:
    loaded = parse_flow(yaml.safe_dump(changed(path, value), sort_keys=False), "flow.yaml", {})
    assert [warning for warning in loaded.warnings if words in warning.message and warning.line > 1], loaded.warnings


def test_tls_with_everything_in_place_is_valid_and_reaches_the_client(tmp_path: Path) -> None:
    for name in ("ca", "cert", "key"):
        (tmp_path / name).write_text("x")
    (tmp_path / "password").write_text("secret\n")
    tls = {
        "enable": True,
        "cafile": str(tmp_path / "ca"),
        "certfile": str(tmp_path / "cert"),
        "keyfile": str(tmp_path / "key"),
        "keyfile_password": {"file": str(tmp_path / "password")},
        "cipher_suite": "ECDHE+AESGCM",
        "crl_check": True,
    }
    mirror = dict(MIRROR, hosts="one:name:4333, [::1]:name:4333", tls=tls, auth_mode="pki", rack_ids=2, compression=True)
    flow = Flow.model_validate(changed(M, mirror))
    output = flow.lanes["fast"].outputs["mirror"]
    assert output.type == "aerospike"
    config = output.mirror("mirror").client.for_client()
    assert config["hosts"] == [("one", 4333, "name"), ("::1", 4333, "name")]
    assert config["tls"] == {
        "enable": True,
        "cafile": str(tmp_path / "ca"),
        "certfile": str(tmp_path / "cert"),
        "keyfile": str(tmp_path / "key"),
        "keyfile_pw": "secret",
        "cipher_suite": "ECDHE+AESGCM",
        "crl_check": True,
    }
    assert config["rack_ids"] == [2]
