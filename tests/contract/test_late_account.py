"""The account of what replays gave to a history: an event lost or doubled by one would be seen."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from pipelines.reconcile.offsets import LateAccount, account_late, account_offsets
from schemas.ledger import LedgerRow
from schemas.letters import LetterState
from sinks.delta.append import append_rows
from sinks.delta.letter_states import NewState
from sinks.delta.transactions import Txn
from tests.support.letters import Tables
from tests.support.typed_json import Change

pytestmark = pytest.mark.spark


def test_an_event_a_replay_lost_or_doubled_is_seen(spark: SparkSession, tmp_path: Path) -> None:
    tables = Tables(tmp_path)
    for offset in range(3):
        tables.letter(offset, Change("k", 1_700_000_000_000 + offset, 1, {"n": 1}).message()[1])
    tables.replay()

    def account() -> LateAccount:
        rows, states = (spark.read.format("delta").load(path) for path in (tables.history.path, tables.states.path))
        return account_late(rows, rows.where(F.col("epoch") == "00000001-act"), states, "history")

    assert account() == LateAccount(0, 0)
    lost = tables.letter(7)
    tables.states.append(tables.act(), 0, [NewState(lost, "e", LetterState.REPLAYED, fates={"history": "applied"})])
    assert account() == LateAccount(0, 1)
    from deltalake import DeltaTable

    table = DeltaTable(tables.history.path)
    append_rows(table.to_pyarrow_table().slice(0, 1), table, Txn("x", 0))
    assert account() == LateAccount(1, 1)


def test_a_letter_whose_event_a_repeated_batch_wrote_is_not_doubled(spark: SparkSession) -> None:
    place = "topic STRING, `partition` INT, `offset` BIGINT, element INT"
    history = spark.createDataFrame([("t", 0, 0, 0), ("t", 0, 1, 0)], place)
    letters = spark.createDataFrame(
        [("t", 0, 1, 0, None), ("t", 0, 2, 0, None), ("t", 0, 0, 0, "mirror")], f"{place}, output STRING"
    )
    at = datetime(2026, 1, 1, tzinfo=UTC).isoformat()
    row = LedgerRow("f", "bulk", "history", "e", 0, at, 3, 3, 0, 3, 2, 0, 0, 1, 0, 0, 0.1, None, "{}", "{}")
    found = account_offsets(history, letters, [row], {"t": {0: 0}}, {"t": {0: 3}})
    assert (found.events, found.doubled, found.lost) == (3, 0, 0)
    again = account_offsets(history.unionAll(history.limit(1)), letters, [row], {"t": {0: 0}}, {"t": {0: 3}})
    assert again.doubled == 1
