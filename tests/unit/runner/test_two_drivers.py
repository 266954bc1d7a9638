"""A driver paused anywhere in a batch, replaced, and woken up: it stops with E424, and the account of the batch is right."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from checkpoints.journal import Journal
from checkpoints.lease import Lease
from checkpoints.tokens import SYSTEM, Clock
from pipelines.failpoints import Failpoints, Victims
from pipelines.ledger_keeper import LedgerKeeper
from pipelines.letters import LaneLetters
from pipelines.micro_batch import MicroBatch
from pipelines.outputs import Account
from schemas.errors import MillraceError, Retryable, Terminal
from schemas.ledger import LedgerRow
from sinks.contract import Fence
from sinks.delta.ledger import LedgerTable

GOLDEN = Path(__file__).resolve().parents[1] / "checkpoints" / "golden" / "planned"
BATCH = 2
AN_HOUR_ON = Clock(lambda: SYSTEM.wall() + 3_600, SYSTEM.running)
RIGHT, LATE = (3, 0), (0, 3)
"""Applied and superseded: as it is, and as a driver counts whose records others have written on since."""


class Output:
    """An output that counts as told, and does something while it is written."""

    name = "mirror"
    keeps_undecoded = False
    messages_per_task = 1000

    def __init__(self, counts: tuple[int, int], meanwhile: Callable[[], None] = lambda: None) -> None:
        self.counts = counts
        self.meanwhile = meanwhile
        self.calls = 0

    def apply(self, frame: Any, fence: Fence) -> Account:
        assert fence.batch_id == BATCH
        self.calls += 1
        applied, superseded = self.counts
        self.meanwhile()
        return Account(3, 3, 0, applied, superseded, 0, 0, 0, 0, 0, None, 0.1)


class Letters:
    """No letters; something happens while they are appended."""

    def __init__(self, meanwhile: Callable[[], None] = lambda: None) -> None:
        self.meanwhile = meanwhile
        self.appended = 0

    def require_few(self, *_: Any) -> None:
        pass

    def append(self, *_: Any) -> None:
        self.appended += 1
        self.meanwhile()


class Frame:
    def coalesce(self, _: int) -> "Frame":
        return self


class Quiet:
    def __init__(self) -> None:
        self.batches = 0

    def batch(self, _: Any) -> None:
        self.batches += 1

    def event(self, *_: Any, **__: Any) -> None:
        pass


class OnTheWay(Failpoints):
    """Something happens at one point of a batch."""

    def __init__(self, point: str, meanwhile: Callable[[], None]) -> None:
        super().__init__(None, Victims(-1))
        self._point, self._meanwhile = point, meanwhile

    def hit(self, point: str, **_: object) -> None:
        if point == f"fast:{self._point}":
            self._meanwhile()


class World:
    """One checkpoint and its drivers. `replace_first` is what happens while the first one is paused."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(GOLDEN, folder / "fast")
        self.journal = Journal(str(folder))
        self.first = Lease(str(folder), "f").__enter__()
        self.second: Lease | None = None

    def batch(
        self,
        lease: Callable[[], None],
        output: Output,
        letters: Letters | None = None,
        points: Failpoints | None = None,
    ) -> MicroBatch:
        off = Failpoints(None, Victims(-1))
        return MicroBatch(
            "f", "fast", str(self.folder / "fast"), [cast(Any, output)], cast(LaneLetters, letters or Letters()), self.journal,
            lease, cast(Any, Quiet()), lambda: None, points or off,
        )  # fmt: skip

    def replace_first(self) -> None:
        """The first driver's heart has not been heard for an hour: a second one takes over, and runs the batch."""
        self.second = Lease(str(self.folder), "f", clock=AN_HOUR_ON).__enter__()
        self.batch(self.second.require_held, Output(RIGHT))(cast(Any, Frame()), BATCH)

    def account(self) -> tuple[int, int]:
        (entry,) = self.journal.pending("fast")
        return entry.rows[0].applied, entry.rows[0].superseded


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path / "ck")
    yield made
    for lease in (made.first, made.second):
        if lease is not None:
            lease.__exit__(None, None, None)


PAUSES = (
    "before",
    "before_sink",
    "in the output",
    "after_mirror",
    "after_sink",
    "in the letters",
    "after_letters",
    "after_journal",
)


@pytest.mark.parametrize("pause", PAUSES)
def test_a_driver_replaced_anywhere_in_a_batch_stops_and_its_counts_go_nowhere(world: World, pause: str) -> None:
    output = Output(LATE, world.replace_first if pause == "in the output" else lambda: None)
    letters = Letters(world.replace_first if pause == "in the letters" else lambda: None)
    batch = world.batch(world.first.require_held, output, letters, OnTheWay(pause, world.replace_first))
    if pause == "before":
        world.replace_first()
    with pytest.raises(Terminal, match="E424"):
        batch(cast(Any, Frame()), BATCH)
    assert isinstance(batch.error, Terminal) and batch.error.code == "E424", "what the lane is told"
    assert batch.done == 0, "nothing was shown, and Spark does not write the commit of a batch that raised"
    # Paused after its own account the first driver was right: nobody had written on. That account stays.
    assert world.account() == (LATE if pause == "after_journal" else RIGHT)
    assert output.calls == (0 if pause in ("before", "before_sink") else 1)
    assert letters.appended == (1 if pause in ("in the letters", "after_letters", "after_journal") else 0)


def test_paused_between_the_last_look_and_the_account_the_first_account_stays(world: World) -> None:
    """Check, then paused, then write: nothing but the write itself can refuse here."""
    looks: list[int] = []

    def look_then_pause() -> None:
        looks.append(1)
        if len(looks) == 4:  # before the batch, the output, the letters, the account
            world.first.require_held()
            world.replace_first()
        elif len(looks) < 4:
            world.first.require_held()

    world.batch(look_then_pause, Output(LATE))(cast(Any, Frame()), BATCH)
    assert len(looks) == 5 and world.account() == RIGHT


def test_without_token_and_first_account_the_ledger_would_be_wrong(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both defences switched off, as it once was: the woken driver writes over what its replacement has counted."""

    def put(self: Journal, lane: str, rows: list[LedgerRow]) -> bool:
        self._folder.replace(
            f"_millrace/journal/{lane}/{rows[0].epoch}/{BATCH:019d}.json", json.dumps({"rows": [row.as_dict() for row in rows]})
        )
        return True

    monkeypatch.setattr(Journal, "put", put)
    batch = world.batch(lambda: None, Output(LATE, world.replace_first))
    batch(cast(Any, Frame()), BATCH)
    assert world.account() == LATE


@pytest.mark.parametrize("error", [Retryable("E230", "refused"), Terminal("E422", "later batches"), ConnectionError("JVM gone")])
def test_what_a_replaced_driver_runs_into_is_told_as_the_lost_lease(world: World, error: Exception) -> None:
    def stumble() -> None:
        world.replace_first()
        raise error

    batch = world.batch(world.first.require_held, Output(RIGHT, stumble))
    with pytest.raises(Terminal, match="E424") as told:
        batch(cast(Any, Frame()), BATCH)
    assert told.value.__cause__ is error


def test_an_error_of_a_driver_that_holds_its_lease_stays_what_it_is(world: World) -> None:
    def stumble() -> None:
        raise Retryable("E243", "silence")

    batch = world.batch(world.first.require_held, Output(RIGHT, stumble))
    with pytest.raises(MillraceError, match="E243"):
        batch(cast(Any, Frame()), BATCH)


def test_the_keeper_of_a_replaced_driver_moves_nothing(world: World, tmp_path: Path) -> None:
    table = LedgerTable("f", str(tmp_path / "ledger"))
    table.prepare()
    world.replace_first()
    keeper = LedgerKeeper(world.journal, table, cast(Any, Quiet()), Failpoints(None, Victims(-1)), 60.0, world.first.require_held)
    keeper.start()
    keeper.stop()
    assert keeper.error is None and table.read() == [] and world.account() == RIGHT
    assert world.second is not None
    keeper = LedgerKeeper(
        world.journal, table, cast(Any, Quiet()), Failpoints(None, Victims(-1)), 60.0, world.second.require_held
    )
    keeper.start()
    keeper.stop()
    assert [row.applied for row in table.read()] == [3]
