"""Schema files of plain Avro in a flow: found from the flow's folder, read once, refused with their line."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.flow import Flow, FlowInvalid, load_flow
from pipelines.flow.avro import AvroFile
from pipelines.flow.load import read_flow
from pipelines.flow.resolved import resolved_options
from tests.support.avro_messages import DELETE_SCHEMA, KEY, WRITE_MAP, record
from tests.unit.flow.flows import valid

EXAMPLES = Path(__file__).parents[3] / "examples" / "avro"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, schema in (("write", WRITE_MAP), ("delete", DELETE_SCHEMA), ("key", KEY)):
        (tmp_path / "flow").mkdir(exist_ok=True)
        (tmp_path / "flow" / f"{name}.avsc").write_text(json.dumps(schema))
    return tmp_path / "flow"


def flow_of(avro: Any, **source: Any) -> dict[str, Any]:
    data = valid()
    data["source"] |= {"format": "avro", "avro": avro, **source}
    return data


def written(folder: Path, data: dict[str, Any]) -> Path:
    path = folder / "flow.yaml"
    path.write_text(yaml.safe_dump(data, sort_keys=False))
    return path


def test_files_are_found_from_the_flows_folder_and_travel_as_text(folder: Path) -> None:
    files = {"write": "write.avsc", "delete": "./delete.avsc", "key": str(folder / "key.avsc")}
    flow = load_flow(written(folder, flow_of(files)), {})
    shutil.rmtree(folder)
    schemas = flow.decode_options().avro
    assert schemas is not None
    assert [json.loads(text or "") for text in (schemas.write, schemas.delete, schemas.key)] == [WRITE_MAP, DELETE_SCHEMA, KEY]
    shown = {one.option: one.value for one in resolved_options(flow)}
    assert shown["source.avro.write"] == str(folder / "write.avsc")


def test_a_flow_built_in_python_takes_paths_too(folder: Path) -> None:
    flow = Flow.model_validate(flow_of({"write": str(folder / "write.avsc")}))
    assert flow.source.avro is not None and isinstance(flow.source.avro.write, AvroFile)
    assert Flow.model_validate(flow_of({"write": flow.source.avro.write})).decode_options() == flow.decode_options()


@pytest.mark.parametrize(
    ("avro", "text", "option", "why"),
    [
        ({"write": "gone.avsc"}, None, "source.avro.write", "gone.avsc cannot be read: No such file"),
        ({"write": "write.avsc", "key": "odd.avsc"}, b"{", "source.avro.key", "odd.avsc cannot be used: not JSON"),
        ({"write": "odd.avsc"}, b"\xff", "source.avro.write", "odd.avsc is not UTF-8 text"),
        ({"write": "odd.avsc"}, b'{"type":"array","items":"null"}', "source.avro.write", "whose items take no bytes"),
        ({"write": 7}, None, "source.avro.write", "expected the path of an Avro schema file"),
        ({"write": "write.avsc", "keys": "key.avsc"}, None, "source.avro.keys", "unknown option 'source.avro.keys'"),
        ({"delete": "delete.avsc"}, None, "source.avro.write", "required option 'source.avro.write' is missing"),
        ({"write": "odd.avsc"}, b'"long"', "source.avro.write", "a record or a map, not long"),
    ],
)
def test_files_that_cannot_be_used_are_refused_with_their_line(
    folder: Path, avro: dict[str, Any], text: bytes | None, option: str, why: str
) -> None:
    if text is not None:
        (folder / "odd.avsc").write_bytes(text)
    path = written(folder, flow_of(avro))
    with pytest.raises(FlowInvalid) as refused:
        load_flow(path, {})
    (problem,) = refused.value.problems
    assert problem.option == option and why in problem.message
    line = path.read_text().splitlines()[problem.line - 1]
    assert option.rsplit(".", 1)[1] + ":" in line or "missing" in why


def test_a_record_schema_and_partial_images_are_worth_a_look(folder: Path) -> None:
    (folder / "record.avsc").write_text(json.dumps(record("Write", {"n": ["null", "long"]})))
    found = {
        (name, image): [one.option for one in read_flow(written(folder, flow_of({"write": name}, image=image)), {}).warnings]
        for name in ("record.avsc", "write.avsc")
        for image in ("full", "partial")
    }
    assert [case for case, options in found.items() if "source.avro.write" in options] == [("record.avsc", "partial")]


def test_other_problems_are_told_beside_a_file_that_cannot_be_read(folder: Path) -> None:
    data = flow_of({"write": "gone.avsc"})
    data["records"] = [{"namespace": "payments"}] * 2
    with pytest.raises(FlowInvalid) as refused:
        load_flow(written(folder, data), {})
    assert sorted(problem.option for problem in refused.value.problems) == ["records[1]", "source.avro.write"]
