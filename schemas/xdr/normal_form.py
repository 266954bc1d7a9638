"""One message in the normal form of `schemas.events`: what reading a Kafka value comes to, whatever its encoding."""

from typing import NamedTuple

from schemas.xdr.metadata import Metadata

Bin = tuple[str, str, str | None]
"""Name, type, text; types and texts are those of `schemas.bins`."""


class Read(NamedTuple):
    """A message as it was read.

    metadata: identity, kind and version; what could be read of them when there is a problem.
    bins:     of a write, each name once; None in deletes and where there is a problem.
    error:    (reason code, detail) when the message is a dead letter, else None.
    """

    metadata: Metadata
    bins: list[Bin] | None
    error: tuple[str, str] | None = None


def last_of_each_name(bins: list[Bin]) -> list[Bin]:
    """`bins` without those whose name comes again: the last one counts."""
    places = {name: place for place, (name, _, _) in enumerate(bins)}
    return bins if len(places) == len(bins) else [entry for place, entry in enumerate(bins) if places[entry[0]] == place]


__all__ = ["Bin", "Read", "last_of_each_name"]
