"""`millrace decode` of Avro: schemas by options or by a flow, a registry by the flow, and what it refuses."""

import json
from pathlib import Path
from typing import Any

import pytest

from deploy import cli
from tests.support.avro_messages import DELETE_SCHEMA, KEY, as_map, framed, metadata, record, written
from tests.support.events import delete, write
from tests.support.registry_server import registry_server

EXAMPLES = Path(__file__).parents[2] / "examples" / "avro"
WRITE = record("Write", {"n": ["null", "long"]})
EVENT = write("k", 1, bins={"n": 1 << 60})


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A write, a delete, and the schemas they are written by."""
    (tmp_path / "write").write_bytes(written(WRITE, {**EVENT.bins, "metadata": metadata(EVENT)}))
    (tmp_path / "delete").write_bytes(written(DELETE_SCHEMA, {"metadata": metadata(delete("k", 2))}))
    for name, schema in (("write", WRITE), ("delete", DELETE_SCHEMA), ("key", KEY)):
        (tmp_path / f"{name}.avsc").write_text(json.dumps(schema))
    return tmp_path


def shown(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("form", ["avro", "auto"])
def test_schemas_by_options(form: str, files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    schemas = ["--schema-write", str(files / "write.avsc"), "--schema-delete", str(files / "delete.avsc")]
    assert cli.main(["decode", str(files / "write"), "--format", form, *schemas]) == 0
    assert shown(capsys)["bins"] == {"n": {"type": "int", "value": str(1 << 60)}}
    assert cli.main(["decode", str(files / "delete"), "--format", form, *schemas]) == 0
    assert shown(capsys)["op"] == "delete"


def test_a_message_that_ends_as_a_line_does_is_whole(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    schema = {"type": "map", "values": ["long", {"type": "map", "values": ["null", "long", "string", "bytes"]}]}
    (files / "map.avsc").write_text(json.dumps(schema))
    (files / "cut").write_bytes(written(schema, {"metadata": metadata(EVENT)}) + b"\n")
    assert cli.main(["decode", str(files / "cut"), "--format", "avro", "--schema-write", str(files / "map.avsc")]) == 1
    assert shown(capsys)["dead_letter"] in ("D109", "D105")


def test_the_example_schemas_read_what_they_wrote(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (files / "map").write_bytes(as_map(EVENT))
    schema = json.loads((EXAMPLES / "write.avsc").read_text())
    (files / "map").write_bytes(written(schema, {"n": 1, "metadata": ("millrace.xdr.Metadata", metadata(EVENT))}))
    assert cli.main(["decode", str(files / "map"), "--format", "avro", "--schema-write", str(EXAMPLES / "write.avsc")]) == 0
    assert shown(capsys)["bins"] == {"n": {"type": "int", "value": "1"}}


def flow_of(folder: Path, **source: Any) -> str:
    flow = {
        "name": "avro",
        "source": {"bootstrap_servers": "127.0.0.1:1", "topics": "t", **source},
        "records": [{"namespace": "source"}],
        "outputs": {"history": {"type": "delta_history", "path": "/nowhere/history"}},
        "dead_letters": "/nowhere/dead",
        "checkpoint": "/nowhere/checkpoint",
    }
    path = folder / "flow.yaml"
    path.write_text(json.dumps(flow))
    return str(path)


def test_schemas_by_a_flow(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flow = flow_of(files, format="avro", avro={"write": "write.avsc", "delete": "delete.avsc"})
    assert cli.main(["decode", str(files / "write"), "--flow", flow]) == 0
    assert shown(capsys)["op"] == "write"
    assert cli.main(["decode", str(files / "write"), "--flow", flow, "--schema-write", str(files / "write.avsc")]) == 2
    assert "Leave out --schema-write" in capsys.readouterr().err


def test_a_registry_by_a_flow(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    message = files / "framed"
    message.write_bytes(framed(7, (files / "write").read_bytes()))
    with registry_server() as registry:
        registry.schema(7, json.dumps(WRITE))
        flow = flow_of(files, format="kafka-avro", registry={"urls": registry.url, "retry_for_ms": 100})
        assert cli.main(["decode", str(message), "--flow", flow]) == 0
        assert shown(capsys)["bins"]["n"]["value"] == str(1 << 60)
        message.write_bytes(framed(8, b""))
        assert cli.main(["decode", str(message), "--flow", flow]) == 1
        assert shown(capsys)["dead_letter"] == "D110"
    flow = flow_of(files, format="kafka-avro", registry={"urls": "http://127.0.0.1:1", "retry_for_ms": 100})
    assert cli.main(["decode", str(message), "--flow", flow]) not in (0, 1)
    assert "[E221]" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (["--format", "avro"], "--schema-write is missing"),
        (["--format", "avro", "--schema-delete", "delete.avsc"], "--schema-write is missing"),
        (["--format", "kafka-avro"], "needs a schema registry"),
        (["--format", "json", "--schema-write", "write.avsc"], "--schema-write belongs to avro and auto"),
        (["--format", "avro", "--schema-write", "gone.avsc"], "cannot be read: No such file"),
        (["--format", "avro", "--schema-write", "write"], "not UTF-8 text"),
        (["--format", "avro", "--schema-write", "write.avsc", "--schema-key", "delete.avsc"], "--schema-key cannot be used"),
        (
            ["--format", "avro", "--schema-write", "write.avsc", "--metadata-key", "m"],
            "looks like metadata, but the flow calls it m",
        ),
        (["--format", "avro", "--schema-write", "write.avsc", "--lines"], "--lines is for JSON"),
    ],
    ids=lambda given: " ".join(given) if isinstance(given, list) else "",
)
def test_what_cannot_be_is_refused(given: list[str], why: str, files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = [str(files / one) if "." in one or one == "write" else one for one in given]
    assert cli.main(["decode", str(files / "write"), *options]) == 2
    assert why in capsys.readouterr().err
