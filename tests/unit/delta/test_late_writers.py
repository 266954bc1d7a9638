"""A driver paused between its look at a table and its commit, while its replacement commits the same batch, is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable

from checkpoints.journal import Journal
from schemas.errors import Retryable
from schemas.letters import LetterState
from sinks.contract import Fence
from sinks.delta import dead_letters, late_rows, ledger, letter_states
from sinks.delta.dead_letters import DeadLetters
from sinks.delta.late_rows import LateRows
from sinks.delta.letter_states import Act, LetterStates, NewState
from tests.support.letters import Tables
from tests.support.typed_json import Change
from tests.unit.delta.test_ledger_table import row

Write = Callable[[], object]
"""One driver's write of a batch."""


def of_the_ledger(tables: Tables) -> tuple[Any, str, Write]:
    journal = Journal(str(tables.folder / "ck"))
    for batch_id in range(3):
        journal.put("fast", [row(batch_id)])
    return ledger, tables.ledger.path, lambda: tables.ledger.flush(Journal(str(tables.folder / "ck")), "fast")


def of_a_replays_account(tables: Tables) -> tuple[Any, str, Write]:
    return ledger, tables.ledger.path, lambda: tables.ledger.append([row(0, lane="@replay")])


def of_dead_letters(tables: Tables) -> tuple[Any, str, Write]:
    rows = pa.table(
        {
            "code": ["D101"], "topic": ["t"], "partition": pa.array([0], pa.int32()), "offset": pa.array([5], pa.int64()),
            "element": pa.array([0], pa.int32()),
        }
    )  # fmt: skip

    def write() -> int:
        letters = DeadLetters("f", tables.letters.path)
        return letters.append(rows, lane="bulk", output="mirror", fence=Fence("e", 7), format="json")

    return dead_letters, tables.letters.path, write


def of_letter_states(tables: Tables) -> tuple[Any, str, Write]:
    key = tables.letter(1)
    act = Act("replay", "00000001-act", 1, "somebody", "because")
    return (
        letter_states,
        tables.states.path,
        lambda: LetterStates("f", tables.states.path).append(act, 0, [NewState(key, "e", LetterState.DROPPED)]),
    )


def of_late_rows(tables: Tables) -> tuple[Any, str, Write]:
    from pipelines.dead_letters.reading import CONTENT, Letter, read_again
    from tests.support.letters import OPTIONS

    key = tables.letter(2, Change("k", 1_700_000_000_000, 1, {"n": 1}).message()[1])
    letters = [Letter(*found) for found in tables.book.stream([key], CONTENT)]
    events = read_again(letters, OPTIONS, frozenset()).rows
    return late_rows, tables.history.path, lambda: LateRows(tables.history).append(events, Fence("00000001-act", 0))


PLACES = (of_the_ledger, of_a_replays_account, of_dead_letters, of_letter_states, of_late_rows)


def paused(module: Any, write: Write, monkeypatch: pytest.MonkeyPatch, again: Callable[[DeltaTable], DeltaTable]) -> Write:
    """The same write by a driver that is paused just before its commit, and meanwhile replaced by one that makes it, too."""

    def run() -> object:
        intact = module.append_rows

        def late(rows: pa.Table, table: DeltaTable, *rest: Any, **more: Any) -> None:
            with monkeypatch.context() as patch:
                patch.setattr(module, "append_rows", intact)
                patch.setattr(module, "path_lock", unlocked)  # as broken by whoever takes over
                write()
            intact(rows, again(table), *rest, **more)

        monkeypatch.setattr(module, "append_rows", late)
        return write()

    return run


class unlocked:
    def __init__(self, _: str) -> None:
        pass

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass


@pytest.mark.parametrize("place", PLACES)
def test_the_late_commit_is_refused(
    place: Callable[[Tables], tuple[Any, str, Write]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, path, write = place(Tables(tmp_path))
    before = DeltaTable(path).to_pyarrow_table().num_rows
    with pytest.raises(Retryable, match="E230"):
        paused(module, write, monkeypatch, lambda table: table)()
    rows = DeltaTable(path).to_pyarrow_table().num_rows
    assert rows - before == (3 if place is of_the_ledger else 1)
    monkeypatch.undo()
    write()
    assert DeltaTable(path).to_pyarrow_table().num_rows == rows, "asked again it finds the batch there"


@pytest.mark.parametrize("place", PLACES)
def test_with_a_table_opened_anew_the_late_commit_would_double(
    place: Callable[[Tables], tuple[Any, str, Write]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The defence switched off: delta-rs looks at a snapshot's transactions only when another commit came after it."""
    module, path, write = place(Tables(tmp_path))
    before = DeltaTable(path).to_pyarrow_table().num_rows
    paused(module, write, monkeypatch, lambda table: DeltaTable(table.table_uri))()
    assert DeltaTable(path).to_pyarrow_table().num_rows - before == (6 if place is of_the_ledger else 2)
