"""Start-up refusals of Delta outputs: pure judgements on what table and checkpoint say of each other's batches.

Each refusal stands for a way to lose or double events without any error: batch ids that come back under an id the table has seen
are skipped, batches of a new checkpoint are appended beside those of the old one.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from schemas.errors import ConfigError, Terminal
from sinks.delta.table_log import StoredTxn
from sinks.delta.transactions import PREFIX, app_id


def require_checkpoint_not_older(
    stored: Mapping[str, StoredTxn], flow: str, writer: str, epoch: str | None, last_offsets: int | None, path: str
) -> None:
    """Refuse (Terminal E422) when the table holds a later batch of this checkpoint than the checkpoint ever planned.

    Compared with the last *offsets* file: after an ordinary kill the table is one ahead of the commits. Fits every writer: an
    output, or `dead_letters_writer` and `ledger_writer` of `sinks.delta.transactions`.
    """
    held = None if epoch is None else stored.get(app_id(flow, writer, epoch))
    if held is not None and held.version > (-1 if last_offsets is None else last_offsets):
        knows = "has planned no batch" if last_offsets is None else f"has planned batches up to {last_offsets}"
        raise Terminal(
            "E422",
            f"the table holds batches up to {held.version} of checkpoint {epoch}{_when(held)}, but the checkpoint {knows}",
            path=path,
            flow=flow,
            output=writer,
        )


def require_own_table(
    stored: Mapping[str, StoredTxn], flow: str, output: str, epoch: str | None, path: str, *, adopt: bool
) -> None:
    """Refuse (Terminal E423) a table that another checkpoint of the same flow and output wrote, or wrote last.

    A fresh checkpoint (epoch None) is another checkpoint. `adopt` lets it pass once our own first batch is to be written, and for
    good from then on: what counts is who wrote last.
    """
    others = {key: txn for key, txn in _of_output(stored.values(), flow, output).items() if key != epoch}
    if not others or adopt:
        return
    other, last = max(others.items(), key=lambda item: _order(item[1]))
    ours = None if epoch is None else stored.get(app_id(flow, output, epoch))
    if ours is not None and _order(ours) >= _order(last):
        return
    mine = "this checkpoint is new" if epoch is None else f"this checkpoint is {epoch}"
    wrote = f" and last wrote batch {ours.version}{_when(ours)}" if ours else " and wrote none" if epoch else ""
    raise Terminal(
        "E423",
        f"the table holds batches up to {last.version} of checkpoint {other}{_when(last)}; {mine}{wrote}",
        path=path,
        flow=flow,
        output=output,
    )


def newest_of(stored: Mapping[str, StoredTxn], flow: str, writer: str = "") -> StoredTxn | None:
    """The transaction the flow, or one writer of it, wrote last; None when the table holds none."""
    start = f"{PREFIX}/{flow}/{writer}"
    return max((txn for txn in stored.values() if txn.app_id.startswith(start)), key=_order, default=None)


def require_distinct_writers(outputs: Iterable[tuple[str, str]]) -> None:
    """Refuse (ConfigError E121) two outputs of a flow with one (table, name): they would share an application id.

    outputs: (table path, output name). Delta would skip the second append of every batch.
    """
    seen: set[tuple[str, str]] = set()
    for path, name in outputs:
        if (path, name) in seen:
            raise ConfigError("E121", f"two outputs named {name!r} append to one table; the second would be skipped", path=path)
        seen.add((path, name))


def _of_output(stored: Iterable[StoredTxn], flow: str, output: str) -> dict[str, StoredTxn]:
    """By epoch, the transactions of this flow and output."""
    start = f"{PREFIX}/{flow}/{output}/"
    return {
        txn.app_id.removeprefix(start): txn
        for txn in stored
        if txn.app_id.startswith(start) and "/" not in txn.app_id.removeprefix(start)
    }


def _order(txn: StoredTxn) -> tuple[int, int]:
    """Who wrote later: by table version where known (later than all that only the table checkpoint knows), else by the clock."""
    return (-1 if txn.committed is None else txn.committed, txn.updated_ms or 0)


def _when(txn: StoredTxn) -> str:
    if txn.updated_ms is None:
        return ""
    return f" (written {datetime.fromtimestamp(txn.updated_ms / 1000, UTC).isoformat(timespec='seconds')})"


__all__ = ["newest_of", "require_checkpoint_not_older", "require_distinct_writers", "require_own_table"]
