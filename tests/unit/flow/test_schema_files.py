"""Schema files: what a flow takes from them, and every mistake with the file and line it stands in."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy import cli
from pipelines.flow import FlowInvalid, load_flow, read_flow
from pipelines.flow.records import Bin, RecordSchema
from pipelines.flow.schema_files import load_schema
from schemas.bins import BinType
from schemas.xdr.options import Policies, RecordType
from tests.unit.flow.flows import valid

ORDERS = """\
version: 3
description: Orders
namespace: payments
sets: [orders]
bins:
  id: {type: int, nullable: false}
  total: float
  née: {type: str, description: maiden name}
rename: {ORDER_TOTAL: total}
policies: {new_bin: stop, user_key: drop}
"""


@pytest.fixture
def flow(tmp_path: Path) -> Path:
    (tmp_path / "schemas").mkdir()
    (tmp_path / "schemas" / "orders.yaml").write_text(ORDERS)
    return written(tmp_path, [{"schema": "schemas/orders.yaml"}, {"namespace": "payments", "sets": ["refunds"]}])


def written(folder: Path, records: Any) -> Path:
    path = folder / "flow.yaml"
    path.write_text(yaml.safe_dump({**valid(), "records": records}, sort_keys=False))
    return path


def refused(path: Path) -> list[str]:
    with pytest.raises(FlowInvalid) as caught:
        load_flow(path, {})
    folder = str(path.parent)
    return [problem.text(str(path)).replace(folder, "") for problem in caught.value.problems]


def test_a_flow_takes_everything_of_a_record_type_from_its_schema_file(flow: Path) -> None:
    loaded = load_flow(flow, {})
    orders, refunds = loaded.decode_options().records
    assert orders == RecordType(
        "payments",
        ("orders",),
        {"id": BinType.INT, "total": BinType.FLOAT, "née": BinType.STR},
        frozenset({"id"}),
        {"ORDER_TOTAL": "total"},
        Policies(new_bin="stop", user_key="drop"),
    )
    assert refunds == RecordType("payments", ("refunds",))
    assert loaded.declared_bins() == orders.bins
    schema = loaded.records[0]
    assert isinstance(schema, RecordSchema)
    assert (schema.version, schema.description) == (3, "Orders")
    assert schema.bins["née"] == Bin(type=BinType.STR, description="maiden name")


def test_what_a_schema_file_says_may_stand_in_the_flow_itself(tmp_path: Path) -> None:
    entry = {name: value for name, value in yaml.safe_load(ORDERS).items() if name not in ("version", "description")}
    assert load_flow(written(tmp_path, [entry]), {}).decode_options().records[0].required == {"id"}


def test_mistakes_in_a_schema_file_are_told_with_its_lines_and_the_flows_own_beside_them(flow: Path) -> None:
    path = flow.parent / "schemas" / "orders.yaml"
    path.write_text(ORDERS.replace("nullable", "nulable").replace("float", "flaot").replace("stop", "halt"))
    flow.write_text(flow.read_text().replace("xdr.payments", "xdr.payments\n  max_ofsets_per_trigger: 1"))
    found = refused(flow)
    assert [line.split(": ")[0] for line in found] == [
        "/flow.yaml:6:3",
        *("/schemas/orders.yaml:6:19", "/schemas/orders.yaml:7:3", "/schemas/orders.yaml:10:12"),
    ]
    assert "unknown option 'bins.id.nulable'. Did you mean 'nullable'?" in found[1]
    assert "'bins.total' is 'flaot', expected one of" in found[2] and "Did you mean 'float'?" in found[2]
    assert "'policies.new_bin' is 'halt'" in found[3]


def test_what_is_given_in_the_flow_and_in_the_file_is_told_with_both_places(flow: Path) -> None:
    written(flow.parent, [{"schema": "schemas/orders.yaml", "bins": {"id": "int"}, "without_set": True}])
    found = refused(flow)
    assert found[0].startswith("/flow.yaml:8:3: 'records[0].bins' is also given in /schemas/orders.yaml:5:1")
    assert found[1].startswith("/flow.yaml:10:3: 'records[0].without_set' is given beside a schema file")


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ("schemas/oders.yaml", "schema file schemas/oders.yaml cannot be read: No such file"),
        (7, "'records[0].schema' is not the path of a schema file"),
        ("schemas", "Is a directory"),
    ],
)
def test_a_schema_file_that_is_not_there(flow: Path, schema: Any, words: str) -> None:
    written(flow.parent, [{"schema": schema}])
    [found] = refused(flow)
    assert words in found and found.startswith("/flow.yaml:7:3:")


def test_rules_of_the_flow_that_look_at_a_schema_file_name_its_line(flow: Path) -> None:
    written(flow.parent, [{"namespace": "payments"}, {"schema": "schemas/orders.yaml"}])
    [found] = refused(flow)
    assert found.startswith("/schemas/orders.yaml:1:1: records[0] already takes")


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("ORDER_TOTAL: total", "A: total, B: total", "9:20", "'B' and 'A' would both become bin 'total'"),
        ("ORDER_TOTAL: total", "A: sixteen_bytes_xx", "9:10", "16 bytes; Aerospike allows 15"),
        ("ORDER_TOTAL: total", "A: _mr_v", "9:10", "keeps for itself"),
        ("ORDER_TOTAL: total", "id: total", "9:10", "bin 'id' is declared, but what messages call 'id' is renamed to 'total'"),
        ("total: float", "sixteen_bytes_xx: float", "7:3", "16 bytes"),
        ("sets: [orders]", "without_set: true", "4:1", "'without_set' is given without 'sets'"),
        ("version: 3", "version: 0", "1:1", "expected at least 1"),
        ("namespace: payments", "namspace: payments", "3:1", "Did you mean 'namespace'?"),
    ],
)
def test_what_a_schema_file_must_not_say(tmp_path: Path, old: str, new: str, line: str, words: str) -> None:
    path = tmp_path / "orders.yaml"
    path.write_text(ORDERS.replace(old, new))
    with pytest.raises(FlowInvalid, match="in the schema") as caught:
        load_schema(path, {})
    assert any(problem.text("f").startswith(f"f:{line}: ") and words in problem.text() for problem in caught.value.problems)


def test_two_bins_may_swap_their_names(tmp_path: Path) -> None:
    path = tmp_path / "orders.yaml"
    path.write_text(ORDERS.replace("ORDER_TOTAL: total", "id: total, total: id"))
    assert load_schema(path, {}).rename == {"id": "total", "total": "id"}


def test_policies_about_declared_bins_need_declared_bins(tmp_path: Path) -> None:
    entry = {"namespace": "payments", "policies": {"type_change": "widen", "user_key": "trust"}}
    [found] = refused(written(tmp_path, [entry]))
    assert "'policies.type_change' is given, but the records are schemaless" in found


def test_declared_bins_that_no_table_can_have_a_column_for_are_worth_a_look(flow: Path) -> None:
    path = flow.parent / "schemas" / "orders.yaml"
    path.write_text(ORDERS.replace("total: float", "total: float\n  Total: float\n  two words: str"))
    found = [warning.text() for warning in read_flow(flow, {}).warnings]
    assert [line.removeprefix(f"{path}:").split(" gets")[0] for line in found] == [
        *("7:3: bin 'total'", "8:3: bin 'Total'", "9:3: bin 'two words'")
    ]
    assert "differs only in case from 'Total'" in found[0] and "Delta refuses ' '" in found[2]


def test_validate_names_the_file_a_warning_is_about(flow: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = flow.parent / "schemas" / "orders.yaml"
    path.write_text(ORDERS.replace("total: float", "total: float\n  two words: str"))
    assert cli.main(["validate", str(flow)]) == 0
    assert f"{path}:8:3: warning: bin 'two words' gets no column" in capsys.readouterr().out
