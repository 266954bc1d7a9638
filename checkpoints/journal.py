"""Ledger rows on their way to the ledger table: one small file per batch and lane, written inside the batch.

    <checkpoint>/_millrace/journal/<lane>/<epoch>/<batch id>.json

The first account of a batch stays, however often the batch runs: a driver that was paused, replaced and woken up again counts
otherwise, for records have gone on since. Whoever moves rows into the table removes the files afterwards; rows may for a while be
in both places and are the same. A late account of a batch that is in the table is dropped with the next flush.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import NamedTuple

from checkpoints.files import Folder
from schemas.errors import Terminal
from schemas.ledger import LedgerRow

_DIGITS = 19
"""Batch ids are 63 bits: with leading zeros names sort as numbers do."""


class JournalEntry(NamedTuple):
    """The account of one batch of one lane: a row per output."""

    lane: str
    epoch: str
    batch_id: int
    rows: tuple[LedgerRow, ...]


class Journal:
    """The journal of one flow's checkpoint folder.

    checkpoint: the flow's checkpoint folder, plain path, file:// or any fsspec address.
    """

    def __init__(self, checkpoint: str) -> None:
        self._folder = Folder(checkpoint)

    def put(self, lane: str, rows: Sequence[LedgerRow]) -> bool:
        """Keep the account of one batch: whole or not at all, also when killed. Rows share lane, epoch and batch.

        False when the batch has an account already, which stays as it is.
        """
        batches = {(row.lane, row.epoch, row.batch_id) for row in rows}
        if len(batches) != 1 or rows[0].lane != lane:
            raise ValueError(f"rows of one batch of lane {lane} are wanted, got {sorted(batches)}")
        text = json.dumps({"rows": [row.as_dict() for row in rows]}, ensure_ascii=False)
        return self._folder.create(_name(lane, rows[0].epoch, rows[0].batch_id), text)

    def pending(self, lane: str) -> list[JournalEntry]:
        """The lane's accounts not yet dropped, by epoch and then ascending batch id.

        Raises Terminal E425 on a file that cannot be understood: rows are never skipped in silence.
        """
        return list(self._entries(lane))

    def lanes(self) -> list[str]:
        """Lanes that have a journal."""
        return self._folder.names(_ROOT)

    def drop_through(self, lane: str, epoch: str, batch_id: int) -> None:
        """Remove the lane's accounts of `epoch` up to and including `batch_id`: they are in the ledger table."""
        for name in self._folder.names(f"{_ROOT}/{lane}/{epoch}"):
            if _batch_id(name) is not None and int(name.removesuffix(".json")) <= batch_id:
                self._folder.remove(f"{_ROOT}/{lane}/{epoch}/{name}")

    def _entries(self, lane: str) -> Iterator[JournalEntry]:
        for epoch in self._folder.names(f"{_ROOT}/{lane}"):
            for file in self._folder.names(f"{_ROOT}/{lane}/{epoch}"):
                batch_id = _batch_id(file)
                name = f"{_ROOT}/{lane}/{epoch}/{file}"
                if batch_id is None:
                    raise self._damaged(name, "not a journal file's name")
                text = self._folder.read_text(name)
                if text is not None:  # gone between listing and reading: another reader's keeper moved it to the table
                    yield JournalEntry(lane, epoch, batch_id, self._rows(name, text, (lane, epoch, batch_id)))

    def _rows(self, name: str, text: str, batch: tuple[str, str, int]) -> tuple[LedgerRow, ...]:
        try:
            rows = tuple(LedgerRow(**row) for row in json.loads(text)["rows"])
        except (ValueError, KeyError, TypeError) as error:
            raise self._damaged(name, f"{type(error).__name__}: {error}") from error
        for row in rows:
            wrong = [field.name for field in fields(row) if not _fits(getattr(row, field.name), str(field.type))]
            if wrong:
                raise self._damaged(name, f"wrong type of value in {', '.join(wrong)}")
            if (row.lane, row.epoch, row.batch_id) != batch:
                raise self._damaged(name, f"holds a row of lane {row.lane}, epoch {row.epoch}, batch {row.batch_id}")
        if not rows:
            raise self._damaged(name, "holds no row")
        return rows

    def _damaged(self, name: str, why: str) -> Terminal:
        return Terminal("E425", f"journal file cannot be read: {why}", file=f"{self._folder.path}/{name}")


_ROOT = "_millrace/journal"
_KINDS: dict[str, tuple[type, ...]] = {
    str(str): (str,),
    str(int): (int,),
    str(float): (int, float),
    "int | None": (int, type(None)),
    "str | None": (str, type(None)),
}


def _fits(value: object, kind: str) -> bool:
    """Whether a value read from JSON is of a LedgerRow field's type. `true` is not the integer 1."""
    return isinstance(value, _KINDS[kind]) and not isinstance(value, bool)


def _name(lane: str, epoch: str, batch_id: int) -> str:
    return f"{_ROOT}/{lane}/{epoch}/{batch_id:0{_DIGITS}d}.json"


def _batch_id(name: str) -> int | None:
    digits = name.removesuffix(".json")
    return int(digits) if name.endswith(".json") and digits.isascii() and digits.isdigit() else None


__all__ = ["Journal", "JournalEntry"]
