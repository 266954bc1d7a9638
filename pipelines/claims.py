"""One checkpoint writes a flow's tables: each table names it, so that two flows of one name, or two copies of it, notice.

    <table>/_millrace/claims/<flow>    {"table": address, "checkpoint": address, "id": the checkpoint's own id}
    <checkpoint>/_millrace/id          the id, made once

Transactions tell two checkpoints apart only after both have written. Two that begin at the same moment on a new table would
append every event twice; two copies of one checkpoint have the same application ids, and each would skip what the other has
written.
The claim is taken by creating its file, which only one can do. It is void once its checkpoint is gone from its place, and in a
copy of the table.
"""

import json
import time
from collections.abc import Iterable
from typing import NamedTuple
from uuid import uuid4

from checkpoints.files import Folder
from pipelines.flow.locations import normal
from schemas.errors import Terminal

ID_FILE = "_millrace/id"
TORN_S = 1.0
"""How long a claim that cannot be read may be one that is just being written."""
_CLAIMS = "_millrace/claims"


class _Claim(NamedTuple):
    """Addresses in one spelling."""

    table: str
    checkpoint: str
    id: str


def checkpoint_id(checkpoint: str) -> str:
    """The identity of a flow's checkpoint folder; made when it has none. Raises Terminal E421 when the file is empty."""
    folder = Folder(checkpoint)
    folder.create(ID_FILE, str(uuid4()))
    found = (folder.read_text(ID_FILE) or "").strip()
    if not found:
        raise Terminal("E421", "the checkpoint's id is empty", file=f"{folder.path}/{ID_FILE}")
    return found


def claim_tables(flow: str, checkpoint: str, tables: Iterable[str], *, adopt: bool = False) -> None:
    """Make this checkpoint the one that writes the flow's tables.

    tables: their paths; each is there. adopt: take them from another checkpoint.
    Raises Terminal E442 when another checkpoint of that flow, which is still there, claims one.
    """
    address, identity = normal(checkpoint), checkpoint_id(checkpoint)
    for path in tables:
        folder, name = Folder(path), f"{_CLAIMS}/{flow}"
        mine = _Claim(normal(path), address, identity)
        if folder.create(name, json.dumps(mine._asdict())):
            continue
        other = _claimed(folder, name)
        void = other is None or other.table != mine.table or other.checkpoint == address
        if other is not None and not void and not adopt and _is_there(other):
            copy = "a copy of this one" if other.id == identity else "another one"
            raise Terminal(
                "E442", f"flow {flow} writes this table from checkpoint {other.checkpoint}, {copy}", path=path, flow=flow
            )
        if other != mine:
            folder.replace(name, json.dumps(mine._asdict()))


def _claimed(folder: Folder, name: str) -> _Claim | None:
    """The claim. One that is just being written is waited for; one torn by a kill claims nothing: None."""
    deadline = time.monotonic() + TORN_S
    while (found := _parsed(folder.read_text(name))) is None and time.monotonic() < deadline:
        time.sleep(0.02)
    return found


def _is_there(claim: _Claim) -> bool:
    return (Folder(claim.checkpoint).read_text(ID_FILE) or "").strip() == claim.id


def _parsed(text: str | None) -> _Claim | None:
    try:
        record = json.loads(text or "")
        return _Claim(str(record["table"]), str(record["checkpoint"]), str(record["id"]))
    except (ValueError, KeyError, TypeError):
        return None


__all__ = ["ID_FILE", "checkpoint_id", "claim_tables"]
