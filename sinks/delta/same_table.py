"""Whether a table is still the one the checkpoint has written to, and holds what the checkpoint has finished: pure judgements.

Each refusal stands for rows that were in the table and are not, while the checkpoint goes on after them: a table that was deleted
is made anew and begins in the middle; a clone or an older copy lacks batches; a RESTORE takes rows and keeps the transaction ids.
"""

from typing import Any

from schemas.errors import Terminal
from sinks.delta.table_log import StoredTxn, TableLog


def require_same_table(known_id: str, known_version: int, log: TableLog, path: str, **where: Any) -> None:
    """Refuse (Terminal E441) when the table is gone, is another one, or is at an older version than it was.

    known_id, known_version: as the table was when last looked at. where: for the message.
    """
    if log.version < 0:
        raise Terminal(
            "E441", f"there is no table any more; it was at version {known_version} when last looked at", path=path, **where
        )
    if log.table_id != known_id:
        raise Terminal(
            "E441",
            f"this is another table: its id is {log.table_id}, and that of the one written so far {known_id} "
            f"(version {known_version} when last looked at)",
            path=path,
            **where,
        )
    if log.version < known_version:
        raise Terminal(
            "E441",
            f"the table is at version {log.version}, and was at {known_version} when last looked at: "
            "an older copy is in its place",
            path=path,
            **where,
        )


def require_finished_batches(
    held: StoredTxn | None, last_commit: int | None, accepted: int | None, path: str, **where: Any
) -> None:
    """Refuse (Terminal E441) a table that lacks batches which the checkpoint counts as done: nobody would write them again.

    held:        the newest batch of this checkpoint in the table, for a writer that marks every batch.
    last_commit: the last batch the checkpoint has finished. accepted: an operator has accepted that batches up to it are missing.
    """
    if last_commit is None or (accepted is not None and last_commit <= accepted):
        return
    newest = -1 if held is None else held.version
    if newest < last_commit:
        has = "none of them" if held is None else f"those up to {newest}"
        raise Terminal(
            "E441",
            f"the checkpoint has finished batches up to {last_commit}, and the table holds {has}: "
            "what the others held is missing",
            path=path,
            **where,
        )


def require_not_set_back(log: TableLog, ours: StoredTxn | None, seen: int | None, path: str, **where: Any) -> None:
    """Refuse (Terminal E426) a table that was set back (RESTORE and its like) after rows of ours were appended.

    ours: the newest transaction of ours in the table, None when it holds none. seen: the table's version when it was last looked
    at; None: it never was, and what lies before our newest transaction passes.
    """
    if ours is None:
        return
    floor = seen if seen is not None else -1 if ours.committed is None else ours.committed
    later = [one for one in log.set_back if one.version > floor]
    if later:
        newest = later[-1]
        appended = f"batch {ours.version} of this checkpoint was appended" + (
            f" as version {ours.committed}" if ours.committed is not None else ""
        )
        last = appended if seen is None else f"version {seen}, the last one looked at"
        raise Terminal("E426", f"table version {newest.version} is {newest.operation}, after {last}", path=path, **where)
    if seen is not None and log.looked_from > seen + 1:
        raise Terminal(
            "E426",
            f"versions {seen + 1} to {log.looked_from - 1} of the table are cleaned out of its log since it was last looked at: "
            "whether one of them was a RESTORE cannot be known",
            path=path,
            **where,
        )


__all__ = ["require_finished_batches", "require_not_set_back", "require_same_table"]
