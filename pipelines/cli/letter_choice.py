"""Which letters a command is about: the options that choose them, and what they mean."""

import re
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from sinks.delta.letter_book import Wanted

_AGO = re.compile(r"^(\d+)([smhdw])$")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_TIME = "2026-03-01, 2026-03-01T12:00 (UTC unless it says otherwise), or as long ago as 90m, 24h, 7d."


class StateName(StrEnum):
    """How a letter stands."""

    WAITING = "waiting"
    REPLAYED = "replayed"
    SUPERSEDED = "superseded"
    DROPPED = "dropped"


Codes = Annotated[list[str] | None, typer.Option("--code", metavar="D108", help="Letters of this reason; may be given again.")]
Topics = Annotated[list[str] | None, typer.Option("--topic", help="Letters of this topic; may be given again.")]
RefusedBy = Annotated[
    list[str] | None,
    typer.Option("--refused-by", metavar="OUTPUT", help="Letters of this output; @decode for messages nobody could read."),
]
State = Annotated[list[StateName] | None, typer.Option("--state", help="Letters in this state; may be given again.")]
Since = Annotated[str | None, typer.Option("--since", metavar="TIME", help=f"Letters written at this time or later: {_TIME}")]
Until = Annotated[str | None, typer.Option("--until", metavar="TIME", help="Letters written before this time.")]
Ids = Annotated[
    list[str] | None, typer.Option("--letter", metavar="LETTER", help="This letter, by its name; may be given again.")
]


def chosen(
    *,
    code: list[str] | None = None,
    topic: list[str] | None = None,
    refused_by: list[str] | None = None,
    state: list[StateName] | None = None,
    since: str | None = None,
    until: str | None = None,
    ids: list[str] | None = None,
) -> "Wanted":
    """The choice as data. Raises ConfigError E161 for a name, time or reason that is not well formed or unknown."""
    from schemas.errors import ConfigError
    from schemas.letters import LetterId, LetterState
    from schemas.reasons import REASONS
    from sinks.delta.letter_book import Wanted

    unknown = [name for name in code or () if name not in REASONS]
    if unknown:
        raise ConfigError(
            "E161", f"{unknown[0]!r} is no reason", remedy=f"There are {', '.join(REASONS)}; see docs/dead-letters.md."
        )
    try:
        names = frozenset(LetterId.parse(name) for name in ids or ())
    except ValueError as error:
        raise ConfigError("E161", str(error)) from None
    return Wanted(
        codes=frozenset(code or ()),
        topics=frozenset(topic or ()),
        outputs=frozenset(refused_by or ()),
        states=frozenset(LetterState(name.value) for name in state or ()),
        ids=names,
        since=_time(since),
        until=_time(until),
    )


def _time(text: str | None, now: datetime | None = None) -> datetime | None:
    from schemas.errors import ConfigError

    if text is None:
        return None
    ago = _AGO.match(text)
    if ago:
        return (now or datetime.now(UTC)) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError("E161", f"{text!r} is no time", remedy=f"Write {_TIME}") from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


__all__ = ["Codes", "Ids", "RefusedBy", "Since", "State", "StateName", "Topics", "Until", "chosen"]
