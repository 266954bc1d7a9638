"""What a replay is about to do, written down before it does it: after a kill the same part is done again as the same part.

As Spark writes a batch's offsets before the batch: the outputs then see the same fence and the same letters, so that ledger and
states read the same whether a part ran once or was cut and ran again.
"""

import json
from typing import NamedTuple

from checkpoints.files import Folder
from schemas.errors import Terminal
from sinks.delta.letter_keys import LetterKey
from sinks.delta.letter_states import Act

PLAN_FILE = "_millrace/replay.json"
"""In the folder of the table of states; names that begin with `_` are nothing to Delta."""


class Plan(NamedTuple):
    """One part of a replay: its number and its letters."""

    act: Act
    part: int
    keys: tuple[LetterKey, ...]


class PlanFile:
    """The one plan of a flow's replay. folder: the table of states."""

    def __init__(self, folder: str) -> None:
        self._folder = Folder(folder)

    def read(self) -> Plan | None:
        """The part a replay was cut in; None when none was. Raises Terminal E425 on a damaged file."""
        text = self._folder.read_text(PLAN_FILE)
        if text is None:
            return None
        try:
            given = json.loads(text)
            keys = tuple(LetterKey.from_list(parts) for parts in given["letters"])
            return Plan(Act(**given["act"]), int(given["part"]), keys)
        except (ValueError, KeyError, TypeError) as error:
            file = f"{self._folder.path}/{PLAN_FILE}"
            raise Terminal("E425", f"the plan of a replay cannot be read: {type(error).__name__}: {error}", file=file) from error

    def write(self, plan: Plan) -> None:
        """Keep the plan, whole or not at all."""
        text = json.dumps(
            {"act": plan.act._asdict(), "part": plan.part, "letters": [key.as_list() for key in plan.keys]}, ensure_ascii=False
        )
        self._folder.replace(PLAN_FILE, text)

    def clear(self) -> None:
        """Nothing is planned any more."""
        self._folder.remove(PLAN_FILE)


__all__ = ["PLAN_FILE", "Plan", "PlanFile"]
