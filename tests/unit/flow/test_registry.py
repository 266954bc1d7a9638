"""The schema registry of a flow: what may be said of it, what reaches the workers, and what nobody gets to see."""

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.decoding import Decoding, schema_source
from pipelines.flow import Flow, FlowInvalid, parse_flow
from pipelines.flow.explain import explain_flow, secrets_of
from pipelines.flow.load import LoadedFlow
from pipelines.schema_registry import SchemaRegistry
from schemas.xdr.options import DecodeOptions
from tests.unit.flow.flows import changed, valid

MARKER = "hunter2-marker"
LOGIN = {"username": "reader", "password": "${PW}"}


def loaded(registry: dict[str, Any], source_format: str = "kafka-avro") -> LoadedFlow:
    data = changed("source/format", source_format)
    data["source"]["registry"] = registry
    return parse_flow(yaml.safe_dump(data, sort_keys=False), "flow.yaml", {"PW": MARKER, "REGISTRY": "http://a:1/x/,https://b"})


def refusals(data: dict[str, Any]) -> list[tuple[str, str, int]]:
    with pytest.raises(FlowInvalid) as caught:
        parse_flow(yaml.safe_dump(data, sort_keys=False), "flow.yaml", {})
    return [(problem.option, f"{problem.message} {problem.remedy}", problem.line) for problem in caught.value.problems]


def test_options_reach_the_workers_registry(tmp_path: Path) -> None:
    for name in ("ca", "cert", "key"):
        (tmp_path / name).write_text("x")
    files = {"ca_file": str(tmp_path / "ca"), "certificate_file": str(tmp_path / "cert"), "key_file": str(tmp_path / "key")}
    flow = loaded(
        {"urls": "${REGISTRY}", **LOGIN, **files, "key_password": {"file": str(tmp_path / "key")}, "timeout_ms": 7}
    ).flow
    options: DecodeOptions = pickle.loads(pickle.dumps(flow.decode_options()))
    source = schema_source(options)
    assert isinstance(source, SchemaRegistry)
    told = source.options
    assert told.urls == ("http://a:1/x", "https://b") and told.timeout_ms == 7
    assert (told.username, told.password, told.token, told.key_password) == ("reader", MARKER, None, "x")
    assert (told.ca_file, told.certificate_file, told.key_file) == tuple(files.values())


def test_a_flow_without_a_registry_asks_none() -> None:
    flow = Flow(**valid())
    assert flow.decode_options().registry is None and schema_source(flow.decode_options()) is None


@pytest.mark.parametrize("login", [LOGIN, {"token": "${PW}"}], ids=["basic", "bearer"])
def test_secrets_are_shown_nowhere(login: dict[str, str]) -> None:
    found = loaded({"urls": ["https://r:8081/apis/ccompat/v7"], **login})
    explained = explain_flow(found, {})
    options = found.flow.decode_options()
    shown = [repr(found.flow), found.flow.model_dump_json(), json.dumps(explained.as_dict()), repr(options)]
    shown += [repr(schema_source(options)), repr(Decoding(pickle.dumps(options)))]
    assert all(MARKER not in text for text in shown)
    told = {option.option: option.value for option in explained.options}
    assert told["source.registry.urls"] == ["https://r:8081/apis/ccompat/v7"]
    assert told[f"source.registry.{[*login][-1]}"] == "***"
    assert MARKER in secrets_of(found.flow)


def test_a_login_sent_in_clear_is_worth_a_warning() -> None:
    assert [w.option for w in loaded({"urls": "http://r,https://r", **LOGIN}).warnings] == ["source.registry"]
    assert loaded({"urls": "https://r", **LOGIN}).warnings == ()
    assert loaded({"urls": "http://r"}).warnings == ()


def test_kafka_avro_without_a_registry_is_refused_at_its_line() -> None:
    ((option, message, line),) = refusals(changed("source/format", "kafka-avro"))
    assert option == "source.format" and "needs 'source.registry'" in message
    assert (
        yaml.safe_dump(changed("source/format", "kafka-avro"), sort_keys=False).splitlines()[line - 1].strip()
        == "format: kafka-avro"
    )


def test_auto_may_have_a_registry_or_none() -> None:
    assert loaded({"urls": "http://r"}, "auto").flow.source.registry
    Flow(**changed("source/format", "auto"))


@pytest.mark.parametrize(
    "url", ["r:8081", "ftp://r", "http://", "http://r:0", "http://r:99999", "http://r/x?y", "http://r #", f"http://me:{MARKER}@r"]
)
def test_an_address_that_cannot_be_used_is_refused_without_repeating_it(url: str) -> None:
    found = refusals(changed("source/registry", {"urls": [url]}))
    assert "source.registry.urls[0]" in [option for option, _, _ in found]
    assert MARKER not in str(found)


def test_unknown_options_are_refused_with_a_suggestion() -> None:
    found = refusals(changed("source/registry", {"urls": "http://r", "user_name": "me"}))
    assert ("source.registry.user_name", True) in [(option, "username" in message) for option, message, _ in found]
