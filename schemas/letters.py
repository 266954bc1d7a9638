"""Dead letters by name: what a letter is known by, and how it ends."""

from enum import StrEnum
from typing import NamedTuple

DECODE = "@decode"
"""Stands where an output's name would, in letters of messages that could not be decoded at all."""
REPLAY_LANE = "@replay"
"""The lane under which replays stand in the ledger. No lane of a flow can have that name."""


class LetterState(StrEnum):
    """How a dead letter ends. Every letter is in exactly one of these at any time."""

    WAITING = "waiting"  # nothing was done about it, or a replay could not use it either
    REPLAYED = "replayed"  # its outputs have the event: written by a replay, there already, or not of the flow's records
    SUPERSEDED = "superseded"  # a replay read it, and the mirror already showed a newer version of the record
    DROPPED = "dropped"  # a person gave it up, and said why


class Fate(StrEnum):
    """What became of an event in one output during a replay. The first four are those of the ledger."""

    APPLIED = "applied"
    SUPERSEDED = "superseded"
    DUPLICATE = "duplicate"
    DEAD = "dead"
    UNSELECTED = "unselected"  # it can be read now, and is of no namespace and set the flow takes


class LetterId(NamedTuple):
    """A letter's identity within a flow: where its event stood in Kafka, and the output that refused it (None: not decoded).

    As text `topic/partition/offset/element/output`, with `@decode` for no output: the same whenever and by whomever it is made.
    """

    topic: str
    partition: int
    offset: int
    element: int
    output: str | None

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}/{self.offset}/{self.element}/{self.output or DECODE}"

    @classmethod
    def parse(cls, text: str) -> "LetterId":
        """The identity that `text` spells. Raises ValueError; element and output may be left out: 0 and not decoded."""
        parts = text.split("/")
        if not 3 <= len(parts) <= 5 or not parts[0]:
            raise ValueError(f"{text!r} is not topic/partition/offset[/element[/output]]")
        try:
            numbers = [int(part) for part in parts[1:4]]
        except ValueError:
            raise ValueError(f"{text!r}: partition, offset and element are numbers") from None
        output = parts[4] if len(parts) == 5 and parts[4] != DECODE else None
        return cls(parts[0], numbers[0], numbers[1], numbers[2] if len(numbers) > 2 else 0, output)


class Fates(NamedTuple):
    """What a replay did with one letter: how each output took it, and the reason when one could not."""

    by_output: dict[str, Fate]
    code: str = ""
    detail: str = ""


def state_of(fates: Fates, versioned: frozenset[str]) -> LetterState:
    """The state a letter is in after a replay.

    versioned: outputs that keep the newest version only (mirrors). One refusal leaves the letter waiting. It is superseded when
    no versioned output shows it and one of them has something newer: a history takes old events as well as new ones.
    """
    if Fate.DEAD in fates.by_output.values():
        return LetterState.WAITING
    guarded = [fate for output, fate in fates.by_output.items() if output in versioned]
    shown = any(fate in (Fate.APPLIED, Fate.DUPLICATE) for fate in guarded)
    return LetterState.SUPERSEDED if Fate.SUPERSEDED in guarded and not shown else LetterState.REPLAYED


__all__ = ["DECODE", "Fate", "Fates", "LetterId", "LetterState", "REPLAY_LANE", "state_of"]
