"""How far a lane has shipped, on disk: the last-update time before which every change was delivered.

One small file per namespace and topic, replaced as a whole, so that a kill leaves the old position or the new one.
"""

import json
from pathlib import Path


class ShipPosition:
    """The ship position of one lane. `load` is None when nothing was ever shipped from here."""

    def __init__(self, folder: Path, namespace: str, topic: str) -> None:
        self._path = folder / f"{namespace}@{topic}.json"
        self._saved: int | None = None

    def load(self) -> int | None:
        """The saved position, Unix milliseconds. Raises ValueError naming the file when it is not readable as one."""
        try:
            text = self._path.read_text()
        except FileNotFoundError:
            return None
        try:
            self._saved = int(json.loads(text)["position_ms"])
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{self._path}: not a ship position; remove it to ship only new changes from now on") from error
        return self._saved

    def save(self, position_ms: int) -> None:
        """Replace the saved position; nothing is written when it did not change."""
        if position_ms == self._saved:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._path.with_name(self._path.name + ".tmp")
        temporary.write_text(json.dumps({"position_ms": position_ms}))
        temporary.replace(self._path)
        self._saved = position_ms


__all__ = ["ShipPosition"]
