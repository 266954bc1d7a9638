"""What those who work for a driver ask before they write: does it still hold the lease, and does it live?

A Python worker may outlive its driver, and goes on where it was when its machine was paused. It finds the file of the next token,
or sees that the heartbeat of its own driver stands still for as long as the lease lasts, by its own clock: other machines' clocks
do not matter.
"""

from dataclasses import dataclass
from typing import NamedTuple

from checkpoints.files import Folder
from checkpoints.holder import parsed
from checkpoints.tokens import LEASES, SYSTEM, Clock, file_of
from schemas.errors import Retryable, Terminal


class _Look(NamedTuple):
    """What was seen of a driver's heartbeat: which one, since when it has been this one, and when it was looked at last."""

    beat: float
    since: float
    at: float


_LOOKS: dict[tuple[str, int], _Look] = {}
"""Of this process, by checkpoint and token."""


@dataclass(frozen=True, slots=True)
class LeaseCheck:
    """The lease of one driver, as its workers see it. Pickles.

    checkpoint: the flow's checkpoint folder; token: the driver's; expiry_s: how old its heartbeat may grow.
    """

    checkpoint: str
    token: int
    expiry_s: float

    def require_held(self, clock: Clock = SYSTEM) -> None:
        """Raise Terminal E424 when another driver has taken over, Retryable E243 when this one gives no sign of life any more.

        On a local path each call looks at two files; on other stores one call in a third of the expiry does. Where the checkpoint
        cannot be seen from this machine nothing is known, and nothing refused.
        """
        now = clock.running()
        key = (self.checkpoint, self.token)
        last = _LOOKS.get(key)
        folder = Folder(self.checkpoint)
        if folder.local is None and last is not None and now - last.at < self.expiry_s / 3:
            return
        beat = self._beat(folder)
        if beat is None:
            if folder.names(LEASES):
                raise self._refused("its file is gone: others came after it")
            return
        if folder.exists(file_of(self.token + 1)):
            raise self._refused("another driver has taken over")
        since = last.since if last is not None and last.beat == beat else now
        _LOOKS[key] = _Look(beat, since, now)
        if now - since > self.expiry_s:
            raise Retryable(
                "E243", f"the driver this work is for has given no sign of life for {now - since:.0f} s", file=self._file
            )

    def _beat(self, folder: Folder) -> float | None:
        """The driver's newest heartbeat; None when its file cannot be seen."""
        if folder.local is not None:
            try:
                return (folder.local / file_of(self.token)).stat().st_mtime
            except FileNotFoundError:
                return None
        text = folder.read_text(file_of(self.token))
        return None if text is None else float((parsed(text) or {}).get("beat_s", 0.0))

    def _refused(self, why: str) -> Terminal:
        return Terminal("E424", f"the driver this work is for has lost its lease: {why}", file=self._file)

    @property
    def _file(self) -> str:
        return f"{self.checkpoint}/{file_of(self.token)}"


__all__ = ["LeaseCheck"]
