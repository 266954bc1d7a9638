"""The tables of a flow before a start: refuse those in which it would lose or double rows, make those that are not there.

What must hold for each table, by the evidence of its log, of the lanes' checkpoints and of what was remembered of it:

    it forgets no batch while the flow stands still        E444    histories, dead letters, ledger
    it is the one written so far, no older copy            E441    histories, dead letters, ledger
    it was not set back since it was last looked at        E426    histories, dead letters, ledger
    it holds every batch a lane has finished               E441    histories, ledger (with its journal)
    it holds no batch the lane has not planned             E422    histories, dead letters, ledger
    no other checkpoint of this flow wrote it last         E423    histories
    no other checkpoint of this flow is about to write it  E442    histories, dead letters, ledger

Dead letters have no mark for a batch without letters. A new checkpoint on old dead letters and an old ledger is harmless: a
message read again is the same letter, and every checkpoint has an account of its own.
"""

import time
from collections.abc import Collection, Mapping
from typing import NamedTuple

from checkpoints.journal import Journal
from checkpoints.known_tables import DEAD_LETTERS, LEDGER, KnownTable, read_tables, write_tables
from checkpoints.layout import LaneState, planned_ms, read_lane
from pipelines.claims import claim_tables
from pipelines.flow.model import Flow
from sinks.delta.dead_letters import DeadLetters
from sinks.delta.guards import newest_of, require_checkpoint_not_older, require_distinct_writers, require_own_table
from sinks.delta.history import DeltaHistory
from sinks.delta.ledger import LedgerTable
from sinks.delta.retention import require_memory
from sinks.delta.same_table import require_finished_batches, require_not_set_back, require_same_table
from sinks.delta.table import open_table
from sinks.delta.table_log import StoredTxn, TableLog, read_log
from sinks.delta.transactions import PREFIX, app_id, dead_letters_writer, ledger_writer


class Tables(NamedTuple):
    """The tables of one flow. histories: by output."""

    histories: Mapping[str, DeltaHistory]
    letters: DeadLetters
    ledger: LedgerTable

    def paths(self) -> dict[str, str]:
        """Every table's path by the name it is remembered under."""
        own = {DEAD_LETTERS: self.letters.path, LEDGER: self.ledger.path}
        return {name: table.path for name, table in self.histories.items()} | own


class TableGuards:
    """The judgements of one start.

    adopt: the operator takes the tables as they are, knowing that what is missing stays missing, and what is read again is
           appended again. added: outputs whose earlier batches the operator has accepted to be missing.
    """

    def __init__(self, flow: Flow, tables: Tables, *, adopt: bool = False, added: Collection[str] = ()) -> None:
        self._flow = flow
        self._tables = tables
        self._adopt = adopt
        self._added = added
        self._known = read_tables(flow.checkpoint)

    def require(self) -> None:
        """Refuse what a start would lose or double, then make the tables that are not there.

        Raises ConfigError E121, Terminal E421 to E426, E441, E442 and E444, Retryable E230.
        """
        require_distinct_writers((table.path, name) for name, table in self._tables.histories.items())
        logs = self.require_same()
        journal = Journal(self._flow.checkpoint)
        for lane, options in self._flow.lanes.items():
            state = read_lane(self._flow.lane_checkpoint(lane))
            for output in options.outputs:
                if output in self._tables.histories:
                    self._require_history(lane, output, state, logs[output])
            path = self._tables.letters.path
            for writer in (dead_letters_writer(lane, output) for output in (None, *options.outputs)):
                self._require_not_ahead(logs[DEAD_LETTERS], writer, state, path)
            self._require_ledger(lane, state, logs[LEDGER], journal)
        prepared: list[DeltaHistory | DeadLetters | LedgerTable] = [*self._tables.histories.values(), *self._tables[1:]]
        for table in prepared:
            table.prepare()
        claim_tables(self._flow.name, self._flow.checkpoint, self._tables.paths().values(), adopt=self._adopt)

    def require_same(self) -> dict[str, TableLog]:
        """Refuse tables that are not those written so far (E441) or were set back (E426). Returns every table's log, by name."""
        logs = {}
        for name, path in self._tables.paths().items():
            known = self._known.get(name) if self._progress(name) else None  # what no batch was written to may be anything
            seen = known.version if known else None
            logs[name] = log = read_log(path, since=seen, prefix=f"{PREFIX}/{self._flow.name}/")
            require_memory(log.properties, self._stood_still_s(name), path, flow=self._flow.name, table=name)
            if self._adopt:
                continue
            if known is not None:
                require_same_table(known.id, known.version, log, path, flow=self._flow.name, table=name)
            writer = f"{name}/" if name in self._tables.histories else ""
            ours = newest_of(log.stored, self._flow.name, writer)
            require_not_set_back(log, ours, seen, path, flow=self._flow.name, table=name)
        return logs

    def remember(self) -> None:
        """Keep what the tables are now, for the next start. Call when every guard has passed. Raises Retryable E230."""
        known = dict(self._known)
        commits = {lane: read_lane(self._flow.lane_checkpoint(lane)).last_commit for lane in self._flow.lanes}
        for name, path in self._tables.paths().items():
            table = open_table(path)
            accepted = dict(known[name].accepted) if name in known else {}
            if self._adopt or name in self._added:
                lanes = [lane for lane, options in self._flow.lanes.items() if name == LEDGER or name in options.outputs]
                accepted |= {lane: commit for lane in lanes if (commit := commits[lane]) is not None}
            known[name] = KnownTable(path, str(table.metadata().id), table.version(), accepted)
        if known != self._known:
            write_tables(self._flow.checkpoint, known)
            self._known = known

    def _require_history(self, lane: str, output: str, state: LaneState, log: TableLog) -> None:
        path = self._tables.histories[output].path
        self._require_not_ahead(log, output, state, path)
        require_own_table(log.stored, self._flow.name, output, state.epoch, path, adopt=self._adopt)
        if not self._adopt and output not in self._added:
            held = self._held(log, output, state)
            require_finished_batches(held, state.last_commit, self._accepted(output, lane), path, lane=lane, output=output)

    def _require_ledger(self, lane: str, state: LaneState, log: TableLog, journal: Journal) -> None:
        path = self._tables.ledger.path
        self._require_not_ahead(log, ledger_writer(lane), state, path)
        if self._adopt or state.last_commit is None:
            return
        waiting = [entry.batch_id for entry in journal.pending(lane) if entry.epoch == state.epoch]
        needed = min([state.last_commit, *(batch - 1 for batch in waiting)])
        if needed >= 0:
            held = self._held(log, ledger_writer(lane), state)
            require_finished_batches(held, needed, self._accepted(LEDGER, lane), path, lane=lane)

    def _require_not_ahead(self, log: TableLog, writer: str, state: LaneState, path: str) -> None:
        require_checkpoint_not_older(log.stored, self._flow.name, writer, state.epoch, state.last_offsets, path)

    def _held(self, log: TableLog, writer: str, state: LaneState) -> StoredTxn | None:
        return None if state.epoch is None else log.stored.get(app_id(self._flow.name, writer, state.epoch))

    def _lanes_of(self, name: str) -> list[tuple[str, LaneState]]:
        """The checkpoints of the lanes that write a table, with their states."""
        lanes = [lane for lane, options in self._flow.lanes.items() if name in options.outputs or name in (DEAD_LETTERS, LEDGER)]
        return [(path, read_lane(path)) for path in map(self._flow.lane_checkpoint, lanes)]

    def _progress(self, name: str) -> bool:
        """Whether a lane that writes the table has planned a batch."""
        return any(state.last_offsets is not None for _, state in self._lanes_of(name))

    def _stood_still_s(self, name: str) -> float | None:
        """How long ago the oldest batch was planned that the table may hold and that is to be run again; None without one."""
        unfinished = [
            planned_ms(path, state.last_offsets)
            for path, state in self._lanes_of(name)
            if state.last_offsets is not None and state.last_offsets != state.last_commit
        ]
        return max((time.time() - at / 1000 for at in unfinished if at is not None), default=None)

    def _accepted(self, name: str, lane: str) -> int | None:
        known = self._known.get(name)
        return known.accepted.get(lane) if known else None


__all__ = ["TableGuards", "Tables"]
