"""Looks at a running flow's tables now and then: a RESTORE is noticed while it is fresh, and a start has little to read."""

import threading
from collections.abc import Callable, Collection
from dataclasses import replace

from checkpoints.known_tables import read_tables, write_tables
from schemas.errors import MillraceError, Retryable, Terminal
from sinks.delta.table_log import commits_after


class TableWatch:
    """A thread that looks every `every_s` seconds, and once at stop. A look reads the commits since the one before, nothing else.

    tables: names, as they are remembered. require_lease: raises Terminal E424 when another driver has taken over.
    `error` holds what must not be ignored, for the runner to stop on: Terminal E426, a table that was set back under the flow, or
    E441, one that became another. A storage that does not answer is asked again next time.
    """

    def __init__(
        self, checkpoint: str, tables: Collection[str], require_lease: Callable[[], None], every_s: float = 60.0
    ) -> None:
        self.error: MillraceError | None = None
        self._checkpoint = checkpoint
        self._tables = frozenset(tables)
        self._require_lease = require_lease
        self._every_s = every_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="millrace-tables", daemon=True)

    def start(self) -> None:
        """Begin; the first look comes after `every_s` seconds."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread, and look once more."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        self.look()

    def look(self) -> None:
        """Look at every remembered table, and remember how far."""
        try:
            known = read_tables(self._checkpoint)
            seen = dict(known)
            for name, table in ((name, table) for name, table in known.items() if name in self._tables):
                log = commits_after(table.path, table.version)
                if log.set_back:
                    told = f"table version {log.set_back[-1].version} is {log.set_back[-1].operation}, while the flow was running"
                    raise Terminal("E426", told, path=table.path, table=name)
                if log.table_id not in (None, table.id):
                    told = (
                        f"the table became another one while the flow was running: its id is {log.table_id}, and was {table.id}"
                    )
                    raise Terminal("E441", told, path=table.path, table=name)
                seen[name] = replace(table, version=log.version)
            if seen != known and self.error is None:
                self._require_lease()  # the record is another driver's, once it has taken over
                write_tables(self._checkpoint, seen)
        except Retryable:
            return
        except MillraceError as error:
            self.error = error

    def _run(self) -> None:
        while not self._stop.wait(self._every_s) and self.error is None:
            self.look()


__all__ = ["TableWatch"]
