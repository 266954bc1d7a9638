"""A flow's dead letters without a flow: tables on disk, a mirror in memory, a history, and letters put there by hand."""

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable

from pipelines.dead_letters.job import elements_with_letters
from pipelines.dead_letters.ready import Ready
from pipelines.dead_letters.replay import Done, Replay
from pipelines.dead_letters.targets import HistoryTarget, MirrorTarget, Target
from pipelines.failpoints import Failpoints, Victims
from schemas.ledger import LedgerRow
from schemas.letters import LetterId, LetterState
from schemas.xdr.options import DecodeOptions, RecordType
from sinks.contract import Fence
from sinks.delta.dead_letters import DeadLetters
from sinks.delta.history import DeltaHistory
from sinks.delta.late_rows import LateRows
from sinks.delta.ledger import LedgerTable
from sinks.delta.letter_book import LetterBook, Wanted
from sinks.delta.letter_keys import LetterKey
from sinks.delta.letter_states import Act, LetterStates
from sinks.testing import MemorySink

AT = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
OPTIONS = DecodeOptions(records=(RecordType("payments"),))
OFF = Failpoints(None, Victims(-1))


class AnyTime:
    """Every letter is ready, as in a flow that has read everything."""

    def __init__(self, outputs: Sequence[str]) -> None:
        self._outputs = list(outputs)

    def outputs_of(self, key: LetterKey) -> list[str]:
        return self._outputs if key.id.output is None else [name for name in self._outputs if name == key.id.output]

    def lane_before(self, key: LetterKey) -> str | None:
        return None

    def split(self, keys: Any) -> Ready:
        return Ready([key for key in keys if self.outputs_of(key)], {}, {})


class Tables:
    """The tables of flow `f` below `folder`; `mirror` and `history` are its outputs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.letters = DeadLetters("f", str(folder / "letters"))
        self.letters.prepare()
        self.states = LetterStates("f", str(folder / "states"))
        self.states.prepare()
        self.book = LetterBook("f", self.letters.path, self.states)
        self.ledger = LedgerTable("f", str(folder / "ledger"))
        self.ledger.prepare()
        self.mirror = MemorySink("mirror")
        self.history = DeltaHistory("f", "history", str(folder / "history"))
        self.history.prepare()
        self.turn = 0
        self._batch = 0

    def letter(self, offset: int, value: bytes | None = b"{", *, output: str | None = None, **changes: Any) -> LetterKey:
        """Put a letter there, as a batch of its own, and return its key."""
        epoch = changes.pop("epoch", "e")
        row = {
            "code": "D108", "detail": "bin 'a' is odd", "topic": "t", "partition": 0, "offset": offset, "element": 0,
            "kafka_timestamp": AT, "key": b"k", "value": value, **changes,
        }  # fmt: skip
        types = {
            "partition": pa.int32(), "offset": pa.int64(), "element": pa.int32(), "value": pa.binary(),
            "kafka_timestamp": pa.timestamp("us", "UTC"),
        }  # fmt: skip
        rows = pa.table({name: pa.array([cell], types.get(name)) for name, cell in row.items()})
        self._batch += 1
        assert self.letters.append(rows, lane="bulk", output=output, fence=Fence(epoch, self._batch), format="json") == 1
        at = row["kafka_timestamp"]
        us = None if at is None else int(at.timestamp() * 1_000_000)
        return LetterKey(LetterId(row["topic"], row["partition"], offset, row["element"], output), us)

    def act(self, kind: str = "replay") -> Act:
        self.turn += 1
        return Act(kind, f"{self.turn:08d}-act", self.turn, "somebody@here", "because")

    def targets(self) -> dict[str, Target]:
        history = HistoryTarget(LateRows(self.history))
        history.prepare()
        return {"mirror": MirrorTarget(self.mirror, 5.0, OFF), "history": history}

    def replay(
        self,
        *,
        options: DecodeOptions = OPTIONS,
        wrap: Callable[[dict[str, Target]], dict[str, Target]] = dict,
        failpoints: Failpoints = OFF,
        require_lease: Callable[[], None] = lambda: None,
    ) -> Done:
        """As the command does it: what was cut first, then every waiting letter. The two are added up."""
        targets = wrap(self.targets())
        own = elements_with_letters(self.book.standing())
        ready: Any = AnyTime(list(targets))
        runner = Replay("f", options, targets, ready, self.book, self.ledger, failpoints, require_lease=require_lease)
        first = runner.finish_cut_part(own)
        waiting = self.book.standing().only(Wanted(states=frozenset({LetterState.WAITING}))).letters()
        done = runner.run(self.act(), ready.split(waiting).keys, own)
        done.states += first.states
        for name, counts in first.fates.items():
            done.fates[name] = done.fates[name] + counts if name in done.fates else counts
        return done

    def history_rows(self) -> list[tuple[int, int]]:
        """(offset, element) of the history's rows, sorted."""
        rows = DeltaTable(self.history.path).to_pyarrow_table(columns=["offset", "element"]).to_pylist()
        return sorted((row["offset"], row["element"]) for row in rows)

    def accounts(self) -> list[LedgerRow]:
        """The ledger's rows of replays; every one balances, and stands in the table once."""
        rows = self.ledger.read(lane="@replay")
        assert DeltaTable(self.ledger.path).to_pyarrow_table(columns=["lane"]).num_rows == len(rows)
        for row in rows:
            row.require_balance()
        return rows


def array(*values: bytes) -> bytes:
    """Messages in one, as a batch formatter writes them."""
    return json.dumps([json.loads(value) for value in values]).encode()


__all__ = ["AT", "AnyTime", "OFF", "OPTIONS", "Tables", "array"]
