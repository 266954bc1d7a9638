"""Is the mirror still the one this checkpoint has filled? One that was emptied or exchanged is refused, not filled on.

The checkpoint remembers the identity that the mirror carries (`sinks.aerospike.identity`). Going on with another mirror would
leave out every record that changed before, and no event would ever tell. Asked at a start, at each restart of a lane, and while
batches are written, at most once in `EVERY_S`: before the batch is committed.
"""

import json
import time
from collections.abc import Callable
from typing import Protocol

from checkpoints.files import Folder
from schemas.errors import Retryable, Terminal
from sinks.aerospike.identity import Identity

MIRRORS_FILE = "_millrace/mirrors.json"
EVERY_S = 1.0


class Identified(Protocol):
    """A mirror that can be told from another one; as `sinks.aerospike.mirror.AerospikeMirror`."""

    def identity(self, flow: str) -> Identity | None:
        """The identity it carries for `flow`, None without one. Raises Retryable, ConfigError."""

    def give_identity(self, flow: str) -> Identity:
        """Give it one unless it has one; the one it has. Raises Retryable, ConfigError."""


class MirrorIdentity:
    """One output's mirror, and what the flow's checkpoint remembers of it."""

    def __init__(
        self, mirror: Identified, flow: str, output: str, checkpoint: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._mirror = mirror
        self._flow = flow
        self._output = output
        self._folder = Folder(checkpoint)
        self._clock = clock
        self._known: str | None = None
        self._seen_at = float("-inf")

    def require_same(self, *, progressed: bool, remember: bool = True) -> None:
        """Refuse (Terminal E436) a mirror without the remembered identity when the lane has `progressed`: planned a batch.

        A mirror that has none is given one; a new checkpoint, or one from before mirrors had identities, takes the one it finds.
        Asked again, for a restart, a mirror that asks for less (E211) is let pass: the batch then waits at the pace it takes, and
        goes on sooner than a lane that is restarted with growing pauses. The next look is after that batch.
        remember: False looks only, and writes nothing.
        Raises Retryable E210 and E211, ConfigError E120, Terminal E421 for a damaged file.
        """
        known = self._remembered().get(self._output)
        try:
            found = self._mirror.identity(self._flow)
        except Retryable as why:
            if self._known is None or why.code != "E211":
                raise
            self._seen_at = float("-inf")
            return
        if known is not None and progressed:
            self._require(known, found)
        if not remember:
            return
        if found is None:
            found = self._mirror.give_identity(self._flow)
        if known != found.id:
            everyone = self._remembered() | {self._output: found.id}
            self._folder.replace(MIRRORS_FILE, json.dumps(everyone, indent=1, sort_keys=True) + "\n")
        self._known = found.id

    def require_still_same(self) -> None:
        """As `require_same` in the middle of a run, after it; a mirror that does not answer is somebody else's to tell."""
        if self._known is None or self._clock() - self._seen_at < EVERY_S:
            return
        try:
            self._require(self._known, self._mirror.identity(self._flow))
        except Retryable:
            return
        self._seen_at = self._clock()

    def _require(self, known: str, found: Identity | None) -> None:
        if found is not None and found.id == known:
            return
        carries = "none" if found is None else f"{found.id}, given at {found.since}"
        raise Terminal(
            "E436",
            f"output {self._output}: the mirror was emptied or exchanged: this checkpoint has filled mirror {known}, and the one "
            f"there carries {carries}",
            output=self._output,
            file=f"{self._folder.path}/{MIRRORS_FILE}",
        )

    def _remembered(self) -> dict[str, str]:
        text = self._folder.read_text(MIRRORS_FILE)
        if text is None:
            return {}
        try:
            return {str(output): str(identity) for output, identity in json.loads(text).items()}
        except (ValueError, AttributeError) as error:
            file = f"{self._folder.path}/{MIRRORS_FILE}"
            raise Terminal("E421", f"not a JSON object of mirrors' identities: {text[:80]!r}", file=file) from error


__all__ = ["EVERY_S", "Identified", "MIRRORS_FILE", "MirrorIdentity"]
