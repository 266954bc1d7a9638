"""`millrace schemas show | diff | check`, and what `infer` refuses: answers, exit statuses, no server."""

import io
import json
from pathlib import Path

import pytest
import yaml

from deploy import cli
from pipelines.flow import load_flow
from sinks.delta.history import DeltaHistory
from tests.unit.flow.flows import valid

SCHEMA = """\
version: 1
namespace: payments
sets: [orders]
bins: {id: {type: int, nullable: false}, total: float, two words: str}
"""


@pytest.fixture
def schema(tmp_path: Path) -> Path:
    path = tmp_path / "orders.yaml"
    path.write_text(SCHEMA)
    return path


@pytest.fixture
def flow(tmp_path: Path, schema: Path) -> Path:
    data = {**valid(), "records": [{"schema": schema.name}]}
    data["lanes"]["bulk"]["outputs"]["history"]["path"] = str(tmp_path / "history")
    path = tmp_path / "flow.yaml"
    path.write_text(yaml.safe_dump(data))
    return path


def schemas(*arguments: object) -> int:
    return cli.main(["schemas", *map(str, arguments)])


def test_show_says_where_the_history_keeps_each_bin(schema: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert schemas("show", schema) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "version 1, namespace payments, sets orders" in shown
    assert "│ id │ int │ no │ bins, BIGINT │" in shown and "_rescued: Delta" in shown
    assert schemas("show", schema, "--output", "json") == 0
    assert json.loads(capsys.readouterr().out)["bins"]["total"] == {"type": "float", "nullable": True, "description": None}


def test_diff_tells_every_change_also_from_standard_input(
    schema: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert schemas("diff", schema, schema) == 0
    assert "nothing differs" in capsys.readouterr().out
    monkeypatch.setattr("sys.stdin", io.StringIO(SCHEMA.replace("total: float", "total: str")))
    assert schemas("diff", "-", schema, "--output", "json") == 1
    answer = json.loads(capsys.readouterr().out)
    assert [(one["option"], one["before"], one["after"]) for one in answer["changes"]] == [
        ("version", "1", "1"),
        ("bins.total", "str", "float"),
    ]


def test_check_fails_only_for_what_breaks(schema: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    newer = tmp_path / "newer.yaml"
    newer.write_text(SCHEMA.replace("version: 1", "version: 2").replace("total: float", "total: float, note: str"))
    assert schemas("check", newer, "--against", schema) == 0
    assert "nothing breaks" in capsys.readouterr().out
    assert schemas("check", schema, "--against", newer) == 1
    assert "SOMETHING WOULD BREAK" in capsys.readouterr().out
    assert schemas("check", schema) == 2
    assert "nothing to check against" in capsys.readouterr().err


def test_check_looks_at_the_tables_of_a_flow(
    flow: Path, schema: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert schemas("check", schema, "--flow", flow) == 0, "there is no table yet"
    loaded = load_flow(flow, {})
    DeltaHistory(loaded.name, "history", str(tmp_path / "history"), loaded.declared_bins()).prepare()
    assert schemas("check", schema, "--flow", flow) == 0
    capsys.readouterr()
    newer = tmp_path / "newer.yaml"
    newer.write_text(SCHEMA.replace("total: float", "total: float, note: str"))
    assert schemas("check", newer, "--flow", flow) == 0, "a new column is added by the next append"
    newer.write_text(SCHEMA.replace("total: float", "total: str"))
    assert schemas("check", newer, "--flow", flow, "--output", "json") == 1
    out = capsys.readouterr().out
    [problem] = json.loads(out[out.index("{") :])["tables"]
    assert problem["output"] == "history" and "bins.total is double instead of string" in problem["message"]
    newer.write_text(SCHEMA.replace("orders", "others"))
    assert schemas("check", newer, "--flow", flow) == 2
    assert "takes no records of namespace 'payments'" in capsys.readouterr().err


def test_a_file_that_is_not_valid_is_told_with_its_lines(schema: Path, capsys: pytest.CaptureFixture[str]) -> None:
    schema.write_text(SCHEMA.replace("nullable", "nulable"))
    assert schemas("show", schema) == 2
    assert f"{schema}:4:24: unknown option 'bins.id.nulable'. Did you mean 'nullable'?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ((), "needs one origin"),
        (("--kafka", "h:1", "--aerospike", "h:2"), "needs one origin"),
        (("--kafka", "h:1"), "--kafka needs a topic"),
        (("--aerospike", "h:1"), "--aerospike needs a namespace"),
    ],
)
def test_infer_refuses_options_that_contradict(given: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert schemas("infer", *given) == 2
    assert words in capsys.readouterr().err


def test_infer_needs_a_source_to_scan(flow: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert schemas("infer", "--flow", flow, "--scan") == 2
    assert "no reconcile.source" in capsys.readouterr().err
