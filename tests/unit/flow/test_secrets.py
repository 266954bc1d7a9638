"""A marker value planted in every secret option appears nowhere but where it is asked for."""

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.flow import Flow, FlowInvalid, Secret, parse_flow
from pipelines.flow.explain import explain_flow, secrets_of
from pipelines.flow.problems import shown
from tests.unit.flow.flows import MIRROR, changed

MARKER = "hunter2-marker"
JAAS = 'org.example.Login required username="me" password="${PW}";'


def flow_with_secrets(folder: Path) -> dict[str, Any]:
    mounted = folder / "mounted"
    mounted.write_text(MARKER + "\n")
    for name in ("cert", "key"):
        (folder / name).write_text("x")
    tls = {
        "enable": True,
        "certfile": str(folder / "cert"),
        "keyfile": str(folder / "key"),
        "keyfile_password": {"file": str(mounted)},
    }
    data = changed("lanes/fast/outputs/mirror", dict(MIRROR, user="me", password="${PW}", tls=tls))
    data["source"]["options"] = {
        "sasl.jaas.config": JAAS,
        "ssl.truststore.password": "${PW}",
        "ssl.key": {"file": str(mounted)},
        "security.protocol": "SASL_SSL",
    }
    data["spark"] = {"conf": {"spark.hadoop.fs.s3a.secret.key": "${PW}", "spark.sql.shuffle.partitions": 2}}
    data["reconcile"] = {"source": {"hosts": "h:1", "namespace": "payments", "user": "me", "password": "${PW}"}}
    return data


def test_the_marker_is_nowhere_but_where_it_is_needed(tmp_path: Path) -> None:
    text = yaml.safe_dump(flow_with_secrets(tmp_path), sort_keys=False)
    loaded = parse_flow(text, "flow.yaml", {"PW": MARKER})
    flow = loaded.flow
    explained = explain_flow(loaded, {})
    for printed in (
        repr(flow),
        str(flow),
        flow.model_dump_json(),
        json.dumps(explained.as_dict()),
        repr(explained),
        repr(flow.model_dump()),
        f"{flow.source.options}",
        repr(flow.lanes["fast"].outputs["mirror"]),
        json.dumps([warning.as_dict() for warning in loaded.warnings]),
    ):
        assert MARKER not in printed
    options = {option.option: option.value for option in explained.options}
    assert options["lanes.fast.outputs.mirror.password"] == "***"
    assert options["source.options.ssl.key"] == "***"
    assert options["source.options.security.protocol"] == "SASL_SSL"

    assert flow.reader_options("fast")["kafka.sasl.jaas.config"] == JAAS.replace("${PW}", MARKER)
    assert flow.reader_options("fast")["kafka.ssl.key"] == MARKER
    assert flow.spark.overrides() == {"spark.hadoop.fs.s3a.secret.key": MARKER, "spark.sql.shuffle.partitions": "2"}
    mirror = flow.lanes["fast"].outputs["mirror"]
    assert mirror.type == "aerospike"
    client = mirror.mirror("mirror").client
    assert client.password == MARKER
    assert dict(client.tls)["keyfile_pw"] == MARKER
    assert MARKER not in repr(mirror.mirror("mirror"))
    assert sum(MARKER in value for value in secrets_of(flow)) == 7


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("lanes/fast/outputs/mirror/passwort", "${PW}"),
        ("lanes/fast/outputs/mirror/password", ["${PW}"]),
        ("lanes/fast/outputs/mirror/password", {"${PW}": "x"}),
        ("lanes/fast/outputs/mirror/namespace", {"a": "${PW}"}),
        ("source/max_offsets_per_trigger", "${PW}"),
        ("source/format", "${PW}"),
        ("source/options", {"sasl.jaas.config": ["${PW}"]}),
        ("source/options", {"group.id": "${PW}"}),
        ("lanes/fast/outputs/mirror/type", "${PW}"),
        ("lanes/fast/outputs/mirror/hosts", "${PW}"),
        ("checkpoint", {"password": "${PW}"}),
    ],
)
def test_errors_never_carry_a_value_of_the_environment(path: str, value: Any) -> None:
    with pytest.raises(FlowInvalid) as caught:
        parse_flow(yaml.safe_dump(changed(path, value), sort_keys=False), "flow.yaml", {"PW": MARKER})
    for printed in (str(caught.value), repr(caught.value), json.dumps([p.as_dict() for p in caught.value.problems])):
        assert MARKER not in printed
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_errors_of_a_flow_built_in_python_hide_secret_options() -> None:
    with pytest.raises(FlowInvalid) as caught:
        Flow(**changed("lanes/fast/outputs/mirror/password", [MARKER]))
    assert MARKER not in str(caught.value)


def test_broken_yaml_is_not_quoted(tmp_path: Path) -> None:
    with pytest.raises(FlowInvalid) as caught:
        parse_flow(f"password: [{MARKER}\nb: c\n", "flow.yaml", {})
    assert MARKER not in str(caught.value)


def test_a_missing_file_names_option_line_and_path() -> None:
    data = changed("lanes/fast/outputs/mirror", dict(MIRROR, user="me", password={"file": "/no/such/secret"}))
    with pytest.raises(FlowInvalid) as caught:
        parse_flow(yaml.safe_dump(data, sort_keys=False), "flow.yaml", {})
    [problem] = caught.value.problems
    assert problem.option == "lanes.fast.outputs.mirror.password"
    assert "/no/such/secret cannot be read" in problem.message
    assert problem.line > 1


def test_a_secret_behaves_as_a_value() -> None:
    secret = Secret(MARKER)
    assert MARKER not in f"{secret} {secret!r} {secret:>20} {shown(secret, ())}"
    assert secret == Secret(MARKER)
    assert secret != Secret("other")
    assert secret != MARKER
    assert pickle.loads(pickle.dumps(secret)).reveal() == MARKER
    assert len({secret, Secret(MARKER)}) == 1
