"""`millrace validate` and `millrace explain` as a person and as a program sees them, and the page made from the models."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer
import yaml
from typer.testing import CliRunner

from pipelines.cli.explain import explain
from pipelines.cli.validate import validate
from pipelines.flow.docs import PAGE, configuration_page
from tests.unit.flow.flows import changed, valid
from tests.unit.flow.test_five_mistakes import FIVE_MISTAKES

ROOT = Path(__file__).resolve().parents[3]

app = typer.Typer(pretty_exceptions_enable=False)
app.command()(validate)
app.command()(explain)


@pytest.fixture
def flow_file(tmp_path: Path) -> Path:
    path = tmp_path / "flow.yaml"
    path.write_text(yaml.safe_dump(valid(), sort_keys=False))
    return path


def test_validate_a_valid_flow(flow_file: Path) -> None:
    result = CliRunner().invoke(app, ["validate", str(flow_file)])
    assert result.exit_code == 0
    assert result.stdout == f"{flow_file}: OK. Flow payments reads xdr.payments and writes fast: mirror; bulk: history\n"
    answer = json.loads(CliRunner().invoke(app, ["validate", str(flow_file), "--output", "json"]).stdout)
    assert answer == {
        "valid": True,
        "flow": "payments",
        "lanes": {"fast": ["mirror"], "bulk": ["history"]},
        "problems": [],
        "warnings": [],
    }


def test_validate_names_every_problem_and_exits_2(flow_file: Path) -> None:
    flow_file.write_text(FIVE_MISTAKES)
    result = CliRunner().invoke(app, ["validate", str(flow_file)])
    assert result.exit_code == 2
    lines = result.stdout.splitlines()
    assert [int(line.removeprefix(f"{flow_file}:").split(":")[0]) for line in lines] == [5, 6, 8, 16, 20]
    assert result.stderr == f"{flow_file}: 5 problems\n"
    in_json = CliRunner().invoke(app, ["validate", str(flow_file), "--output", "json"])
    assert in_json.exit_code == 2
    answer = json.loads(in_json.stdout)
    assert not answer["valid"]
    assert [(p["line"], p["column"], p["option"]) for p in answer["problems"]][:2] == [
        (5, 3, "source.formt"),
        (6, 3, "source.max_offsets_per_trigger"),
    ]
    assert {p["file"] for p in answer["problems"]} == {str(flow_file)}


def test_validate_prints_warnings_and_passes(flow_file: Path) -> None:
    flow_file.write_text(yaml.safe_dump(changed("lanes/fast/outputs/mirror/namespace", "payments"), sort_keys=False))
    result = CliRunner().invoke(app, ["validate", str(flow_file)])
    assert result.exit_code == 0
    assert ": warning: 'lanes.fast.outputs.mirror' writes a namespace named as the source's" in result.stdout


def test_validate_loads_no_spark(flow_file: Path) -> None:
    code = (
        "import sys\nfrom pipelines.cli.validate import validate\n"
        f"validate({str(flow_file)!r})\nassert 'pyspark' not in sys.modules, 'pyspark was loaded'\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_explain_without_a_plan(flow_file: Path) -> None:
    flow_file.write_text(yaml.safe_dump(changed("spark/conf", {"spark.ui.enabled": True}), sort_keys=False))
    result = CliRunner().invoke(app, ["explain", str(flow_file), "--no-plan", "--output", "json"])
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert [(lane["name"], lane["ceiling"], lane["decode_owner"]) for lane in answer["lanes"]] == [
        ("fast", 200_000, False),
        ("bulk", 20_000, True),
    ]
    promises = {"name", "lane", "type", "writes", "order", "duplicates", "deletes", "crash"}
    assert {output["name"]: set(output) for output in answer["outputs"]} == {"mirror": promises, "history": promises}
    options = {option["option"]: option for option in answer["options"]}
    assert options["name"] == {"option": "name", "value": "payments", "default": False}
    assert options["lanes.fast.trigger.interval_ms"] == {
        "option": "lanes.fast.trigger.interval_ms",
        "value": 100,
        "default": True,
    }
    assert options["records[0].bins"]["value"] == "schemaless"
    settings = {setting["name"]: setting for setting in answer["spark"]}
    assert settings["spark.ui.enabled"]["source"] == "flow"
    assert settings["spark.ui.enabled"]["value"] == "true"
    assert settings["spark.scheduler.mode"]["source"] == "default"
    assert answer["plans"] == {}

    text = CliRunner().invoke(app, ["explain", str(flow_file), "--no-plan"]).stdout
    assert "at most 200,000 events/s" in text
    assert "within 7 days" in text


def test_the_configuration_page_is_made_from_the_models() -> None:
    current = (ROOT / PAGE).read_text(encoding="utf-8")
    assert current == configuration_page(), "run `make docs`"


def test_the_configuration_page_names_every_option() -> None:
    page = configuration_page()
    for option in ("`tombstone_horizon_s`", "`keyfile_password`", "`drain_timeout_s`", "`without_set`", "`group.id`"):
        assert page.count(option) >= 1, option


@pytest.mark.parametrize(
    ("image", "words"), [("full", "whole records"), ("partial", "merged bin by bin"), ("none", "never their bins")]
)
def test_explain_says_what_a_mirror_holds_of_each_image(tmp_path: Path, image: str, words: str) -> None:
    file = tmp_path / "flow.yaml"
    file.write_text(yaml.safe_dump(changed("source/image", image)))
    told = json.loads(CliRunner().invoke(app, ["explain", str(file), "--no-plan", "--output", "json"]).stdout)
    assert [words in output["writes"] for output in told["outputs"] if output["type"] == "aerospike"] == [True]
