"""A flow's dead letters and what became of them, read without Spark: light columns for lists, contents only where asked for."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from schemas.letters import DECODE, LetterId, LetterState
from sinks.delta.ddl import delta_schema
from sinks.delta.dead_letters import CONTRACT as LETTERS_CONTRACT
from sinks.delta.letter_keys import PLACE, LetterKey, at_places, joinable, keys_of, newest_rows, unjoined
from sinks.delta.letter_states import LetterStates
from sinks.delta.table import is_table, open_table, table_path

LETTERS: pa.Schema = pa.schema(delta_schema(LETTERS_CONTRACT.ddl).to_arrow())
_LIGHT = (*PLACE, "code", "lane", "epoch", "batch_id", "seen_at")
_ROWS_AT_ONCE = 256
_FEW = 1_000
"""So many letters are looked for by their places, so that files without them are passed over; for more all files are read."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which letters: those that are all of this; what is empty or None asks for nothing.

    codes: newest reasons. outputs: `@decode` for letters of messages that could not be decoded. ids: letters by name.
    since, until: when the letter was written, until exclusive.
    """

    codes: frozenset[str] = frozenset()
    topics: frozenset[str] = frozenset()
    outputs: frozenset[str] = frozenset()
    states: frozenset[LetterState] = frozenset()
    ids: frozenset[LetterId] = frozenset()
    since: datetime | None = None
    until: datetime | None = None


class Sums(NamedTuple):
    """The account of all letters. without_letter: letters that have a state, but are not in the letters' table any more."""

    letters: int
    waiting: int
    replayed: int
    superseded: int
    dropped: int
    without_letter: int

    @property
    def hold(self) -> bool:
        """Whether every letter is in exactly one state and every state belongs to a letter."""
        return self.letters == self.waiting + self.replayed + self.superseded + self.dropped and not self.without_letter


class LetterBook:
    """The letters of one flow. letters: their table; states: what was done about them."""

    def __init__(self, flow: str, letters: str, states: LetterStates, storage_options: Mapping[str, str] | None = None) -> None:
        self.flow = flow
        self.path = table_path(letters)
        self.states = states
        self._storage_options = dict(storage_options or {})

    def standing(self) -> "Standing":
        """All letters, each once, with the state it is in now. Nothing of what they hold is read. Raises Retryable E230."""
        found = self._rows(_LIGHT)
        rows = newest_rows(joinable(found), ["seen_at"])
        told = self.states.newest().rename_columns(
            {"epoch": "told_epoch", "state": "told", "code": "told_code", "batch_id": "part"}
        )
        both = rows.join(told, list(PLACE), join_type="left outer")
        stands = pc.fill_null(pc.equal(both.column("told_epoch"), both.column("epoch")), False)
        for name in ("act_id", "turn", "at"):
            column = both.column(name)
            both = both.set_column(
                both.schema.get_field_index(name), name, pc.if_else(stands, column, pa.scalar(None, column.type))
            )
        state = pc.fill_null(pc.if_else(stands, both.column("told"), None), LetterState.WAITING.value)
        still = pc.and_(stands, pc.equal(state, LetterState.WAITING.value))
        code = pc.coalesce(pc.if_else(still, both.column("told_code"), None), both.column("code"))
        both = both.set_column(both.schema.get_field_index("code"), "code", code).append_column("state", state)
        both = both.drop_columns(["told_epoch", "told", "told_code", "part"])
        orphans = told.join(rows.select(list(PLACE)), list(PLACE), join_type="left anti").num_rows
        return Standing(unjoined(both), orphans)

    def contents(self, keys: Collection[LetterKey], columns: Iterable[str] = LETTERS.names) -> dict[LetterKey, dict[str, Any]]:
        """Whole letters by key (the newest row of each), in the order of `keys`; one that is not there is left out."""
        wanted = set(keys)
        found: dict[LetterKey, dict[str, Any]] = {}
        names = list(dict.fromkeys((*PLACE, *columns, "seen_at")))
        for batch in self._batches(names, at_places(key.message for key in wanted)):
            for key, row in zip(keys_of(batch), batch.to_pylist(), strict=True):
                if key in wanted and (key not in found or row["seen_at"] > found[key]["seen_at"]):
                    found[key] = row
        return {key: found[key] for key in keys if key in found}

    def stream(self, keys: Collection[LetterKey], columns: Iterable[str]) -> Iterator[tuple[LetterKey, dict[str, Any]]]:
        """The letters of these keys with their columns, each once, in the order of the files: for any number of them."""
        left = set(keys)
        names = list(dict.fromkeys((*PLACE, *columns)))
        if len(left) <= _FEW:
            chosen_rows = at_places(key.message for key in left)
        else:
            chosen_rows = pc.field("topic").isin(pa.array(sorted({key.id.topic for key in left}), pa.string()))
        for batch in self._batches(names, chosen_rows):
            chosen = [(place, key) for place, key in enumerate(keys_of(batch)) if key in left]
            for place, key in chosen:
                if key in left:
                    left.discard(key)
                    yield key, batch.slice(place, 1).to_pylist()[0]
            if not left:
                return

    def _rows(self, columns: Iterable[str]) -> pa.Table:
        names = list(columns)
        batches = list(self._batches(names, None, rows=1 << 17))
        return pa.Table.from_batches(batches) if batches else LETTERS.empty_table().select(names)

    def _batches(self, columns: list[str], chosen: Any, rows: int = _ROWS_AT_ONCE) -> Iterator[pa.RecordBatch]:
        if not is_table(self.path, self._storage_options):
            return
        dataset = open_table(self.path, self._storage_options).to_pyarrow_dataset()
        there = [name for name in columns if name in dataset.schema.names]
        mine = pc.field("flow") == self.flow
        scanner = dataset.scanner(
            columns=there,
            filter=mine if chosen is None else mine & chosen,
            batch_size=rows,
            batch_readahead=1,
            fragment_readahead=1,
        )
        yield from (batch for batch in scanner.to_batches() if batch.num_rows)


class Standing:
    """Letters with their states at one moment. rows: a row per letter, columns of PLACE, code, lane, epoch, batch_id, seen_at,
    state, act_id, turn, at; `code` is the newest reason."""

    def __init__(self, rows: pa.Table, without_letter: int) -> None:
        self.rows = rows
        self._without_letter = without_letter

    def sums(self) -> Sums:
        """The account of these letters. A state this release does not know is in none of the sums, which then do not hold."""
        counted = {row["values"]: row["counts"] for row in pc.value_counts(self.rows.column("state")).to_pylist()}
        ends = {state.value: counted.get(state.value, 0) for state in LetterState}
        return Sums(letters=self.rows.num_rows, without_letter=self._without_letter, **ends)

    def only(self, wanted: Wanted) -> "Standing":
        """Those of `wanted`, the newest first."""
        rows = self.rows
        for name, values in (
            ("code", wanted.codes),
            ("topic", wanted.topics),
            ("state", {state.value for state in wanted.states}),
        ):
            if values:
                rows = rows.filter(pc.is_in(rows.column(name), pa.array(sorted(values), pa.string())))
        if wanted.outputs:
            outputs = pc.fill_null(rows.column("output"), DECODE)
            rows = rows.filter(pc.is_in(outputs, pa.array(sorted(wanted.outputs), pa.string())))
        seen = rows.column("seen_at")
        if wanted.since is not None:
            rows = rows.filter(pc.greater_equal(seen, pa.scalar(wanted.since, seen.type)))
        if wanted.until is not None:
            seen = rows.column("seen_at")
            rows = rows.filter(pc.less(seen, pa.scalar(wanted.until, seen.type)))
        if wanted.ids:
            rows = rows.filter(pa.array([key.id in wanted.ids for key in keys_of(rows)], pa.bool_()))
        order = [("seen_at", "descending"), *((name, "ascending") for name in ("topic", "partition", "offset", "element"))]
        return Standing(rows.sort_by(order), self._without_letter)

    def letters(self) -> list[LetterKey]:
        """The letters' keys, row for row."""
        return keys_of(self.rows)

    def by_reason(self) -> list[tuple[str, int]]:
        """Letters per newest reason, most first."""
        counts = [(row["values"], row["counts"]) for row in pc.value_counts(self.rows.column("code")).to_pylist()]
        return sorted(counts, key=lambda row: (-row[1], row[0]))


__all__ = ["LETTERS", "LetterBook", "Standing", "Sums", "Wanted"]
