"""A flow's ledger and tables that fit each other, made by hand and without Spark: for damaging them."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable

from checkpoints.journal import Journal
from pipelines.ledger_check.check import Proof, Subject, check_ledger
from schemas.ledger import LedgerRow
from sinks.contract import Fence
from sinks.delta.append import append_rows
from sinks.delta.dead_letters import DeadLetters
from sinks.delta.history import DeltaHistory
from sinks.delta.ledger import LedgerTable
from sinks.delta.table import open_table
from sinks.delta.transactions import Txn, output_txn

AT = datetime(2026, 3, 1, tzinfo=UTC)
DEAD, UNSELECTED, GAP = (3, 2), (4, 2), (6, 2)
"""(last digit of the offset, partition): of ten offsets of t[2] one is dead, one not selected and one without a message."""


class LedgerBook:
    """Flow `f`: lane `fast` with output `mirror`, lane `bulk` with output `history`, which keeps undecoded messages.

    A batch of either lane reads ten offsets of t[1] and of t[2]: 19 messages and a gap, 17 applied, one dead, one not selected.
    """

    def __init__(self, folder: Path, *, batches: int = 4) -> None:
        self.folder = folder
        self.journal = Journal(str(folder / "checkpoint"))
        self.ledger = LedgerTable("f", str(folder / "ledger"))
        self.history = DeltaHistory("f", "history", str(folder / "history"))
        self.letters = DeadLetters("f", str(folder / "letters"))
        for table in (self.ledger, self.history, self.letters):
            table.prepare()
        for batch_id in range(batches):
            self.batch("bulk", batch_id)
            self.batch("fast", batch_id)
        self.ledger.flush_all(self.journal)

    def account(self, lane: str, batch_id: int, epoch: str | None = None, **changes: Any) -> LedgerRow:
        start, end = ({"t": {"1": 10 * at, "2": 10 * at}} for at in (batch_id, batch_id + 1))
        at = AT.replace(minute=batch_id, second=5 if lane == "fast" else 0).isoformat(timespec="milliseconds")
        output = "mirror" if lane == "fast" else "history"
        row = LedgerRow(
            "f", lane, output, epoch or f"e-{lane}", batch_id, at, 19, 19, 1, 18, 17, 0, 0, 1, 0, 0, 0.1, None, json.dumps(start),
            json.dumps(end), 1,
        )  # fmt: skip
        return replace(row, **changes)

    def batch(self, lane: str, batch_id: int, epoch: str | None = None, **changes: Any) -> None:
        """As a micro-batch does it: the output, its letters, then the account in the journal."""
        row = self.account(lane, batch_id, epoch, **changes)
        if lane == "bulk":
            self.add_rows(row.epoch, batch_id, self.places(batch_id), output_txn("f", "history", Fence(row.epoch, batch_id)))
            self.letter(10 * batch_id + DEAD[0], DEAD[1], Fence(row.epoch, batch_id))
        self.journal.put(lane, [row])

    def places(self, batch_id: int) -> list[tuple[int, int]]:
        """(partition, offset) of what a batch applies."""
        first = 10 * batch_id
        return [
            (partition, offset)
            for partition in (1, 2)
            for offset in range(first, first + 10)
            if (offset % 10, partition) not in (DEAD, UNSELECTED, GAP)
        ]

    def add_rows(self, epoch: str, batch_id: int, places: list[tuple[int, int]], txn: Txn | None = None) -> None:
        schema = DeltaTable(self.history.path).schema().to_arrow()
        rows = [
            {
                "namespace": "n", "op": "write", "topic": "t", "partition": partition, "offset": offset, "element": 0,
                "kafka_timestamp": AT, "flow": "f", "output": "history", "epoch": epoch, "batch_id": batch_id,
                "lut_date": AT.date(),
            }
            for partition, offset in places
        ]  # fmt: skip
        append_rows(
            pa.Table.from_pylist(rows, schema=pa.schema(schema)), open_table(self.history.path), txn or Txn("hand", batch_id)
        )

    def letter(
        self, offset: int, partition: int, fence: Fence, *, lane: str = "bulk", output: str | None = None, code: str = "D108"
    ) -> None:
        columns = {
            "code": pa.array([code]), "topic": pa.array(["t"]), "partition": pa.array([partition], pa.int32()),
            "offset": pa.array([offset], pa.int64()), "element": pa.array([0], pa.int32()),
        }  # fmt: skip
        self.letters.append(pa.table(columns), lane=lane, output=output, fence=fence, format="json")

    def delete(self, table: str, predicate: str) -> None:
        """Take rows away, as somebody with the wrong WHERE clause would; and see that some went."""
        done = DeltaTable(self.folder / table).delete(predicate)
        assert done["num_deleted_rows"], "the damage did not happen"

    def double(self, table: str, batch_id: int) -> None:
        """Add rows again that are there."""
        chosen = DeltaTable(self.folder / table).to_pyarrow_table(filters=[("batch_id", "=", batch_id)])
        assert chosen.num_rows, "the damage did not happen"
        append_rows(chosen, open_table(str(self.folder / table)), Txn("hand", 1))

    def update(self, table: str, predicate: str, **values: str) -> None:
        """Change rows; values are SQL."""
        done = DeltaTable(self.folder / table).update(predicate=predicate, updates=values)
        assert done["num_updated_rows"], "the damage did not happen"

    def check(self, **changes: Any) -> Proof:
        subject = Subject(
            "f", self.ledger, self.journal, self.letters.path, {"history": self.history.path},
            {"fast": ("mirror",), "bulk": ("history",)}, "bulk",
        )  # fmt: skip
        return check_ledger(subject._replace(**changes))


__all__ = ["AT", "LedgerBook"]
