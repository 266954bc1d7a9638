"""What was done about a flow's dead letters, in a table beside them: appended, each act once, never changed.

Written by replays and drops, one at a time: whoever acts holds the lease in the table's folder (`checkpoints.lease`).
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from schemas.letters import LetterState
from schemas.tables import LETTER_STATES_DDL, LETTER_STATES_STATS_COLUMNS
from sinks.delta.append import append_rows, path_lock
from sinks.delta.ddl import delta_schema
from sinks.delta.letter_keys import PLACE, LetterKey, at_places, joinable, key_columns, keys_of, newest_rows
from sinks.delta.table import TableContract, create_if_absent, is_table, open_table, require_contract, table_path
from sinks.delta.transactions import Txn, app_id, stored_version, version_in

CONTRACT = TableContract(
    ddl=LETTER_STATES_DDL,
    description="Millrace dead letters: what was done about them",
    stats=LETTER_STATES_STATS_COLUMNS,
)
SCHEMA: pa.Schema = pa.schema(delta_schema(LETTER_STATES_DDL).to_arrow())
_STANDING = (*PLACE, "epoch", "state", "code", "act_id", "turn", "batch_id", "at")


class Act(NamedTuple):
    """One replay or drop. id: its own; turn: larger than that of every act before. by: who; why: in that person's words."""

    kind: str
    id: str
    turn: int
    by: str
    why: str


class NewState(NamedTuple):
    """A letter's state after an act.

    epoch: of the checkpoint that wrote the letter. code, detail: why it still waits. fates: how each output took it.
    """

    key: LetterKey
    epoch: str
    state: LetterState
    code: str | None = None
    detail: str | None = None
    fates: Mapping[str, str] = {}


class LetterStates:
    """The table of one flow. path: plain path, file:// or an address delta-rs knows; never written by Spark."""

    def __init__(self, flow: str, path: str, storage_options: Mapping[str, str] | None = None) -> None:
        self.flow = flow
        self.path = table_path(path)
        self._storage_options = dict(storage_options or {})

    def prepare(self) -> None:
        """Make the table when it is not there, and check that it fits. Raises ConfigError E121, Retryable E230."""
        create_if_absent(self.path, CONTRACT, self._storage_options)
        require_contract(self.path, CONTRACT, self._storage_options)

    def holds(self, act_id: str, batch_id: int) -> bool:
        """Whether this part of an act is in the table, which is the last thing that happens to it."""
        stored = stored_version(self.path, self._application(act_id), self._storage_options)
        return stored is not None and stored >= batch_id

    def append(self, act: Act, batch_id: int, states: Iterable[NewState]) -> int:
        """Append a part of an act, once however often it is asked for. Returns how many rows were new. Raises Retryable E230."""
        rows = _rows(self.flow, act, batch_id, list(states))
        with path_lock(self.path):
            if not rows.num_rows:
                return 0
            table = open_table(self.path, self._storage_options)
            stored = version_in(table, self._application(act.id))
            if stored is not None and stored >= batch_id:
                return 0
            append_rows(rows, table, Txn(self._application(act.id), batch_id))
        return int(rows.num_rows)

    def newest(self) -> pa.Table:
        """Of every letter the newest row: PLACE (joinable), epoch, state, code, act_id, turn, batch_id, at; no table, no rows."""
        if not is_table(self.path, self._storage_options):
            rows = SCHEMA.empty_table().select(_STANDING)
        else:
            dataset = open_table(self.path, self._storage_options).to_pyarrow_dataset()
            rows = dataset.to_table(columns=list(_STANDING), filter=pc.field("flow") == self.flow)
        return newest_rows(joinable(rows), ["turn", "batch_id"])

    def told_of(self, key: LetterKey) -> list[dict[str, Any]]:
        """Everything that was done about one letter, oldest first: rows of LETTER_STATES_DDL."""
        if not is_table(self.path, self._storage_options):
            return []
        dataset = open_table(self.path, self._storage_options).to_pyarrow_dataset()
        rows = dataset.to_table(filter=(pc.field("flow") == self.flow) & at_places([key.message]))
        mine = rows.filter(pa.array([other == key for other in keys_of(rows)], pa.bool_()))
        ordered: list[dict[str, Any]] = mine.sort_by([("turn", "ascending"), ("batch_id", "ascending")]).to_pylist()
        return ordered

    def _application(self, act_id: str) -> str:
        return app_id(self.flow, "letter_states", act_id)


def _rows(flow: str, act: Act, batch_id: int, states: list[NewState]) -> pa.Table:
    number = len(states)
    columns: dict[str, Any] = dict(key_columns(state.key for state in states))
    columns |= {
        "flow": [flow] * number,
        "epoch": [state.epoch for state in states],
        "state": [state.state.value for state in states],
        "code": [state.code for state in states],
        "detail": [state.detail for state in states],
        "fates": [list(state.fates.items()) for state in states],
        "act": [act.kind] * number,
        "act_id": [act.id] * number,
        "turn": [act.turn] * number,
        "batch_id": [batch_id] * number,
        "at": [datetime.now(UTC)] * number,
        "by": [act.by] * number,
        "why": [act.why] * number,
    }
    return pa.Table.from_arrays(
        [
            columns[field.name].cast(field.type)
            if isinstance(columns[field.name], pa.Array)
            else pa.array(columns[field.name], field.type)
            for field in SCHEMA
        ],
        schema=SCHEMA,
    )


__all__ = ["Act", "CONTRACT", "LetterStates", "NewState", "SCHEMA"]
