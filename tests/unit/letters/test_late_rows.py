"""Late rows fit the table as it is, whatever the flow declares now."""

from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable

from schemas.bins import BinType
from schemas.tables import history_ddl
from schemas.xdr.options import DecodeOptions, RecordType
from sinks.delta.history import DeltaHistory
from tests.support.letters import Tables
from tests.support.typed_json import Change

VALUE = Change("k", 1_700_000_000_000, 1, {"n": 1, "text": "größer"}).message()[1]
INT, STR = BinType.INT, BinType.STR


@pytest.mark.parametrize(
    ("before", "now", "bins", "aside"),
    [
        ({"n": INT, "text": INT}, {"n": INT}, {"n": 1, "text": None}, {"text": "größer"}),
        ({"n": INT}, {"n": INT, "text": STR}, {"n": 1, "text": "größer"}, {}),
        ({"text": STR, "gone": INT}, {"n": INT, "text": STR}, {"text": "größer", "gone": None, "n": 1}, {}),
        ({"n": INT, "text": STR}, {"text": STR, "n": INT}, {"n": 1, "text": "größer"}, {}),
    ],
)
def test_a_table_of_other_declared_bins_takes_late_rows(
    tmp_path: Path, before: dict[str, BinType], now: dict[str, BinType], bins: dict[str, Any], aside: dict[str, str]
) -> None:
    tables = Tables(tmp_path)
    DeltaHistory("f", "history", str(tmp_path / "typed"), before).prepare()
    tables.history = DeltaHistory("f", "history", str(tmp_path / "typed"), now)
    tables.letter(1, VALUE)
    done = tables.replay(options=DecodeOptions(records=(RecordType("payments", bins=now),)))
    assert done.letters == 1 and tables.book.standing().sums().replayed == 1
    rescued = next(name for name in history_ddl({}).split() if name in ("_rescued", "other_bins"))
    (row,) = DeltaTable(tables.history.path).to_pyarrow_table().to_pylist()
    assert row["bins"] == bins
    assert {name: value["value"] for name, value in row[rescued] or ()} == aside


def test_a_table_that_needs_no_growing_keeps_its_schema_action_alone(tmp_path: Path) -> None:
    tables = Tables(tmp_path)
    tables.letter(1, VALUE)
    tables.replay()
    commit = (Path(tables.history.path) / "_delta_log" / f"{1:020d}.json").read_text()
    assert '"add"' in commit and '"metaData"' not in commit, "a change of metadata would fail batches of the running flow"
