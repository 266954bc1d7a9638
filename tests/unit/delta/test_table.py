"""Tables are made once, and refused with every reason when they do not fit."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from schemas.bins import BinType
from schemas.errors import ConfigError
from schemas.ledger import LEDGER_DDL
from schemas.tables import DEAD_LETTERS_DDL, DEAD_LETTERS_STATS_COLUMNS, HISTORY_STATS_COLUMNS, bin_columns, history_ddl
from sinks.delta.ddl import delta_schema
from sinks.delta.history import DeltaHistory
from sinks.delta.ledger import CONTRACT as LEDGER_CONTRACT
from sinks.delta.table import TableContract, create_if_absent, is_table, require_contract, table_path

CONTRACT = TableContract("id BIGINT, name STRING, day DATE", "test", "id", ("day",))


def fields(ddl: str) -> dict[str, str]:
    return {field.name: str(field.type) for field in pa.schema(delta_schema(ddl).to_arrow())}


def test_ddl_of_every_kind_of_column() -> None:
    assert fields("a BIGINT, `b c` STRUCT<`x``y`: INT, z: ARRAY<MAP<STRING, BINARY>>>, `set` STRING") == {
        "a": "int64",
        "b c": "struct<x`y: int32, z: list<element: map<string, binary>>>",
        "set": "string",
    }


@pytest.mark.parametrize("ddl", ["a", "a BIGINT b", "a DECIMAL(3,2)", "a MAP<STRING>", "a STRUCT<x INT", "a BIGINT, ", "a ?"])
def test_ddl_that_cannot_be_read(ddl: str) -> None:
    with pytest.raises(ValueError):
        delta_schema(ddl)


@pytest.mark.parametrize(
    "ddl", [LEDGER_DDL, DEAD_LETTERS_DDL, history_ddl(None), history_ddl({}), history_ddl({"a": BinType.INT})]
)
def test_the_contracts_can_be_read(ddl: str) -> None:
    assert len(fields(ddl)) >= 18


@pytest.mark.parametrize(
    ("ddl", "stats"),
    [
        (history_ddl(None), HISTORY_STATS_COLUMNS),
        (DEAD_LETTERS_DDL, DEAD_LETTERS_STATS_COLUMNS),
        (LEDGER_DDL, LEDGER_CONTRACT.stats),
    ],
)
def test_statistics_are_of_columns_delta_can_skip_by(ddl: str, stats: str) -> None:
    kinds = fields(ddl)
    assert {kinds[name.strip("`")] for name in stats.split(",")} <= {"string", "int32", "int64", "timestamp[us, tz=UTC]"}


def test_every_bin_type_has_a_column() -> None:
    declared = {f"bin_{kind.value}": kind for kind in BinType}
    assert bin_columns(declared).typed == declared
    assert "`bin_int`: BIGINT" in history_ddl(declared) and "`bin_geojson`: STRING" in history_ddl(declared)


def test_bins_that_cannot_be_columns_are_kept_aside_with_the_reason() -> None:
    declared = {"Amt": BinType.INT, "amt": BinType.STR, "x y": BinType.INT, "naïve.$-": BinType.STR, "fine": BinType.BOOL}
    columns = bin_columns(declared)
    assert columns.typed == {"naïve.$-": BinType.STR, "fine": BinType.BOOL}
    assert columns.aside == {
        "Amt": "differs only in case from 'amt'",
        "amt": "differs only in case from 'Amt'",
        "x y": "Delta refuses ' ' in column names",
    }
    assert bin_columns(dict(reversed(declared.items()))).typed == columns.typed, "order of declaration must not matter"


@pytest.mark.parametrize("form", ["{}", "file:{}", "file://{}", "file:///{}"])
def test_forms_of_a_local_path(tmp_path: Path, form: str) -> None:
    assert table_path(form.format(tmp_path / "t").replace("////", "///")) == str(tmp_path / "t")
    assert table_path("s3a://bucket/t") == "s3a://bucket/t"


def test_asking_creates_nothing(tmp_path: Path) -> None:
    assert not is_table(str(tmp_path / "t"))
    with pytest.raises(ConfigError, match=r"E121.*there is no Delta table"):
        require_contract(str(tmp_path / "t"), CONTRACT)
    assert list(tmp_path.iterdir()) == []


def test_many_drivers_make_one_table(tmp_path: Path) -> None:
    paths = [str(tmp_path / f"t{number}") for number in range(20)]
    with ThreadPoolExecutor(8) as pool:
        for path in paths:
            list(pool.map(lambda _, path=path: create_if_absent(path, CONTRACT), range(8)))
    assert {DeltaTable(path).version() for path in paths} == {0}, "a second creation would change the table's identity"
    table = DeltaTable(path)
    assert table.metadata().partition_columns == ["day"]
    assert table.metadata().configuration["delta.dataSkippingStatsColumns"] == "id"
    assert require_contract(path, CONTRACT) is False


def test_a_creation_that_was_killed_before_its_commit_goes_on(tmp_path: Path) -> None:
    (tmp_path / "t" / "_delta_log").mkdir(parents=True)
    create_if_absent(str(tmp_path / "t"), CONTRACT)
    require_contract(str(tmp_path / "t"), CONTRACT)


def test_somebody_elses_data_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "part-0.parquet").write_text("x")
    (tmp_path / "file").write_text("x")
    for path, told in ((tmp_path, r"holds 2 entries \(file, \.\.\.\)"), (tmp_path / "file", "is a file")):
        with pytest.raises(ConfigError, match=told):
            create_if_absent(str(path), CONTRACT)
        with pytest.raises(ConfigError, match=told):
            require_contract(str(path), CONTRACT)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "part-0.parquet"]


def test_every_column_that_does_not_fit_is_named(tmp_path: Path) -> None:
    path = str(tmp_path)
    columns = pa.schema([pa.field("id", pa.string()), pa.field("day", pa.date32()), pa.field("must", pa.int64(), nullable=False)])
    DeltaTable.create(path, columns, configuration={"delta.setTransactionRetentionDuration": "interval 1 days"})
    with pytest.raises(ConfigError) as error:
        require_contract(path, CONTRACT)
    for told in (
        "column id is string instead of long",
        "column name is missing",
        "column must of the table must not be null",
        "partitioned by nothing instead of day",
        "delta.setTransactionRetentionDuration is 'interval 1 days'",
    ):
        assert told in str(error.value)


def test_more_columns_of_the_table_are_fine(tmp_path: Path) -> None:
    columns = [("ID", pa.int64()), ("name", pa.string()), ("day", pa.date32()), ("note", pa.string())]
    DeltaTable.create(str(tmp_path), pa.schema(columns), partition_by=["day"])
    assert require_contract(str(tmp_path), CONTRACT) is False


def history(path: Path, declared: dict[str, BinType] | None) -> DeltaHistory:
    return DeltaHistory("f", "o", str(path), declared)


def test_declared_bins_against_the_table(tmp_path: Path) -> None:
    history(tmp_path, {"a": BinType.INT, "b": BinType.STR}).prepare()
    history(tmp_path, {"b": BinType.STR}).check()
    history(tmp_path, {"c": BinType.FLOAT, "a": BinType.INT}).check()
    with pytest.raises(ConfigError, match=r"column bins\.a is long instead of double"):
        history(tmp_path, {"a": BinType.FLOAT}).check()
    with pytest.raises(ConfigError, match=r"bins\.A would be written into bins\.a"):
        history(tmp_path, {"A": BinType.INT}).check()
    with pytest.raises(ConfigError, match="column bins is struct<a: long, b: string> instead of map<string, struct"):
        history(tmp_path, None).check()


def test_a_schemaless_table_does_not_take_declared_bins(tmp_path: Path) -> None:
    history(tmp_path, None).prepare()
    with pytest.raises(ConfigError, match=r"column bins is map<.*column bin_types is missing"):
        history(tmp_path, {"a": BinType.INT}).check()


def test_an_existing_table_is_not_touched(tmp_path: Path) -> None:
    rows = pa.table({"id": pa.array([1], pa.int64()), "name": ["x"], "day": pa.array([0], pa.date32())})
    write_deltalake(str(tmp_path), rows, partition_by=["day"])
    create_if_absent(str(tmp_path), CONTRACT)
    assert DeltaTable(str(tmp_path)).version() == 0
