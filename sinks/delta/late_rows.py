"""Events that come to a history late, out of dead letters: each once, beside a stream that goes on writing the table.

The stream's batches are told apart by their transaction. Here a row's own place in Kafka decides: what the table holds from
there, written by the stream or by an earlier replay, is not added again. The rows of a replay carry its id as their epoch.
"""

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable

from schemas.letters import REPLAY_LANE
from sinks.contract import Fence
from sinks.delta.append import append_rows, path_lock
from sinks.delta.history import DeltaHistory
from sinks.delta.history_columns import HistoryRows
from sinks.delta.letter_keys import at_places
from sinks.delta.table import open_table
from sinks.delta.transactions import Txn, app_id, version_in

_PLACE = ("topic", "partition", "offset", "element")
_Place = tuple[Any, ...]


class LateRows:
    """A history's table, for few rows at a time, without Spark. Only one process may do this at once (a replay holds a lease)."""

    def __init__(self, history: DeltaHistory) -> None:
        self._history = history

    def check(self) -> None:
        """Raise ConfigError E121 unless the table is there and fits."""
        self._history.check()

    def append(self, events: pa.RecordBatch, fence: Fence) -> list[bool]:
        """Append the events (normal form, none with an error) that the table lacks, in one commit.

        Returns for each whether the table has it by this very fence, now or since an attempt that was cut; else it was there.
        Raises Retryable E230 when the table cannot be read or written.
        """
        if not events.num_rows:
            return []
        history = self._history
        origin = {"flow": history.flow, "output": history.name, "epoch": fence.epoch, "batch_id": fence.batch_id}
        rules = history.rules.without_adding()
        rows = pa.Table.from_batches(list(HistoryRows(history.columns, origin, rules=rules)(iter([events]))))
        if rows.num_rows != events.num_rows:
            raise ValueError(f"{events.num_rows} events, of which {rows.num_rows} became rows")
        places = _places(rows)
        with path_lock(history.path):
            table = open_table(history.path)
            held = self._held(table, places)
            new = [place not in held for place in places]
            if any(new):  # growing also fills what the table has and the flow does not declare any more
                append_rows(rows.filter(pa.array(new)), table, self._txn(table, fence, held), grow=True)
        return [place not in held or held[place] == fence for place in places]

    def _held(self, table: DeltaTable, places: list[_Place]) -> dict[_Place, Fence]:
        """Which of the places the table has rows of, and by which batch."""
        dataset = table.to_pyarrow_dataset()
        mine = (pc.field("flow") == self._history.flow) & (pc.field("output") == self._history.name)
        there = dataset.to_table(
            columns=[*_PLACE, "kafka_timestamp", "epoch", "batch_id"],
            filter=mine & at_places((*place[:3], place[4]) for place in places),
        )
        fences = zip(there.column("epoch").to_pylist(), there.column("batch_id").to_pylist(), strict=True)
        found = {place: Fence(*fence) for place, fence in zip(_places(there), fences, strict=True)}
        return {place: found[place] for place in places if place in found}

    def _txn(self, table: DeltaTable, fence: Fence, held: dict[_Place, Fence]) -> Txn:
        """The append's transaction; a later one when a cut attempt used up its own and today's decoder reads more."""
        application = app_id(self._history.flow, f"{self._history.name}/{REPLAY_LANE}", fence.epoch)
        stored = version_in(table, application)
        if stored is None or stored < fence.batch_id:
            return Txn(application, fence.batch_id)
        return Txn(f"{application}/mended/{fence.batch_id}", len(held))


def _places(rows: pa.Table) -> list[_Place]:
    times = rows.column("kafka_timestamp").cast(pa.timestamp("us", tz="UTC")).cast(pa.int64()).to_pylist()
    return list(zip(*(rows.column(name).to_pylist() for name in _PLACE), times, strict=True))


__all__ = ["LateRows"]
