"""Moves the ledger from the journal into its table, in the background: a commit inside a micro-batch would cost most of it."""

import threading
from collections.abc import Callable, Sequence

from checkpoints.journal import Journal, JournalEntry
from pipelines.failpoints import Failpoints
from pipelines.progress import Report
from schemas.errors import MillraceError, Retryable, Terminal
from sinks.delta.ledger import LedgerTable


class LedgerKeeper:
    """A thread that flushes every `every_s` seconds, and once at start and at stop.

    A flush that fails costs nothing but time: the journal keeps the rows, readers see both. It is told once, and once when it
    works again. `error` holds what must not be ignored (a damaged journal file) for the runner to raise at the end.

    require_lease: raises Terminal E424 once another driver has the checkpoint; its keeper flushes from then on, and this one not.
    """

    def __init__(
        self,
        journal: Journal,
        table: LedgerTable,
        report: Report,
        failpoints: Failpoints,
        every_s: float = 5.0,
        require_lease: Callable[[], None] = lambda: None,
    ) -> None:
        self.error: MillraceError | None = None
        self._journal = _StruckJournal(journal, failpoints)
        self._table = table
        self._report = report
        self._every_s = every_s
        self._require_lease = require_lease
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="millrace-ledger", daemon=True)
        self._failing = False

    def start(self) -> None:
        """Begin, with a flush of what a killed driver left."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread and flush what is left."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        self._flush()

    def _run(self) -> None:
        while True:
            self._flush()
            if self._stop.wait(self._every_s):
                return

    def _flush(self) -> None:
        try:
            self._require_lease()
        except Terminal:
            return  # the runner says so
        try:
            self._table.flush_all(self._journal)
        except MillraceError as error:
            if not isinstance(error, Retryable):
                self.error = error
            if not self._failing:
                self._failing = True
                self._report.event("ledger_waits", f"ledger rows stay in the journal for now: {error}", code=error.code)
        else:
            if self._failing:
                self._failing = False
                self._report.event("ledger_back", "the ledger table takes rows again")


class _StruckJournal:
    """The journal as the ledger table asks it, with the fail points of a flush between the questions."""

    def __init__(self, journal: Journal, failpoints: Failpoints) -> None:
        self._journal = journal
        self._failpoints = failpoints

    def lanes(self) -> list[str]:
        return self._journal.lanes()

    def pending(self, lane: str) -> Sequence[JournalEntry]:
        found = self._journal.pending(lane)
        if found:
            self._failpoints.hit("flow:before_ledger", ledger_of=lane, batches=len(found))
        return found

    def drop_through(self, lane: str, epoch: str, batch_id: int) -> None:
        self._failpoints.hit("flow:mid_ledger", ledger_of=lane, batch_id=batch_id)
        self._journal.drop_through(lane, epoch, batch_id)
        self._failpoints.hit("flow:after_ledger", ledger_of=lane, batch_id=batch_id)


__all__ = ["LedgerKeeper"]
