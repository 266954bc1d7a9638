"""What does not fit, in numbers and in words."""

from collections.abc import Iterable
from typing import Any, NamedTuple

KEPT = 100
"""So many misfits are named; the others are counted."""


class Misfit(NamedTuple):
    """One batch of one output that does not fit. output: empty when it is all of the lane's.

    code: of `schemas.error_codes`. what: the numbers. means: what follows from them.
    at: when the batch was committed, or the next one that has an account; ISO 8601.
    """

    code: str
    lane: str
    output: str
    epoch: str
    batch_id: int
    at: str
    what: str
    means: str

    @property
    def place(self) -> str:
        """Lane, output, checkpoint and batch as a person names them."""
        output = f"/{self.output}" if self.output else ""
        return f"{self.lane}{output} batch {self.batch_id:,} of checkpoint {self.epoch}"

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        return self._asdict()


class Misfits:
    """All that was found: the first ones whole, the others counted. `first` is the oldest by time."""

    def __init__(self) -> None:
        self.count = 0
        self.kept: list[Misfit] = []

    def add(self, found: Iterable[Misfit]) -> None:
        """Take more. Within one time, those of the lower batch first."""
        for misfit in found:
            self.count += 1
            self.kept.append(misfit)
        if len(self.kept) > 2 * KEPT:
            self.kept = self.ordered[:KEPT]

    @property
    def ordered(self) -> list[Misfit]:
        """The oldest KEPT, oldest first."""
        return sorted(self.kept, key=lambda one: (one.at, one.batch_id, one.lane, one.output))[:KEPT]

    @property
    def first(self) -> Misfit | None:
        """The oldest, None when everything fits."""
        return next(iter(self.ordered), None)


def counted(number: int, one: str) -> str:
    """A number of things as people say it: 1 row, 1,200 rows."""
    return f"{number:,} {one}" + ("" if number == 1 else "s")


__all__ = ["KEPT", "Misfit", "Misfits", "counted"]
