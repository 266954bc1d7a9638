"""Sums over accounts, in Arrow: totals per output, running sums for the batches shown, and which batches do not balance."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from schemas.lateness import NAMES, Lateness, added, from_text

if TYPE_CHECKING:
    import pyarrow as pa

COUNTS = (
    *("messages", "rows_read", "unselected", "events_in", "applied", "superseded", "duplicate", "dead"),
    *("past_horizon", "unversioned"),
)
_NAMED = 20


@dataclass(frozen=True, slots=True)
class Totals:
    """The sums of one output over its batches; `unbalanced` names batches whose account does not add up, the first ones.

    gaps: offsets without a message; accounts of earlier releases, which do not say, count as none.
    lateness: how late events came; None where that is not measured.
    """

    lane: str
    output: str
    batches: int
    counts: dict[str, int]
    gaps: int
    lateness: Lateness | None
    seconds: float
    first_at: str
    last_at: str
    unbalanced: tuple[int, ...]

    @property
    def balanced(self) -> bool:
        """Whether every batch adds up."""
        return not self.unbalanced

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "lane": self.lane,
            "output": self.output,
            "batches": self.batches,
            **self.counts,
            "gaps": self.gaps,
            "lateness": None if self.lateness is None else dict(zip(NAMES, self.lateness, strict=True)),
            "seconds": round(self.seconds, 3),
            "first_at": self.first_at,
            "last_at": self.last_at,
            "balanced": self.balanced,
            "unbalanced_batches": list(self.unbalanced),
        }


def totals_of(accounts: "pa.Table") -> list[Totals]:
    """The totals per lane and output, in the order they first appear. accounts: as `LedgerTable.accounts` gives them."""
    unbalanced = accounts.filter(_unbalanced(accounts)).select(["lane", "output", "batch_id"])
    wrong: dict[tuple[str, str], list[int]] = {}
    for row in unbalanced.to_pylist():
        wrong.setdefault((row["lane"], row["output"]), []).append(row["batch_id"])
    late: dict[tuple[str, str], list[Lateness]] = {}
    for row in accounts.group_by(["lane", "output", "lateness"]).aggregate([([], "count_all")]).to_pylist():
        counts = from_text(row["lateness"])
        if counts is not None:
            times = tuple(number * row["count_all"] for number in counts)
            late.setdefault((row["lane"], row["output"]), []).append(times)
    sums = accounts.group_by(["lane", "output"], use_threads=False).aggregate(
        [
            *((name, "sum") for name in (*COUNTS, "gaps", "seconds")),
            ("committed_at", "min"),
            ("committed_at", "max"),
            ([], "count_all"),
        ]
    )
    return [
        Totals(
            lane=row["lane"],
            output=row["output"],
            batches=row["count_all"],
            counts={name: row[f"{name}_sum"] for name in COUNTS},
            gaps=row["gaps_sum"] or 0,
            lateness=added(late[key]) if (key := (row["lane"], row["output"])) in late else None,
            seconds=row["seconds_sum"],
            first_at=row["committed_at_min"].isoformat(timespec="milliseconds"),
            last_at=row["committed_at_max"].isoformat(timespec="milliseconds"),
            unbalanced=tuple(wrong.get((row["lane"], row["output"]), ())),
        )
        for row in sums.to_pylist()
    ]


def _unbalanced(accounts: "pa.Table") -> Any:
    """What `LedgerRow.require_balance` refuses, for all accounts at once."""
    import pyarrow.compute as pc

    column = accounts.column
    out = pc.add(pc.add(column("applied"), column("superseded")), pc.add(column("duplicate"), column("dead")))
    wrong = pc.not_equal(column("events_in"), out)
    wrong = pc.or_(wrong, pc.not_equal(column("rows_read"), pc.add(column("events_in"), column("unselected"))))
    wrong = pc.or_(wrong, pc.greater(column("messages"), column("rows_read")))
    return pc.or_(wrong, pc.fill_null(pc.less(column("gaps"), 0), False))


def running_sums(accounts: "pa.Table", last: int) -> list[dict[str, int]]:
    """For each of the last accounts the sums of COUNTS over its output's accounts up to and with it, as they stand in order."""
    import pyarrow as pa
    import pyarrow.compute as pc

    first = max(0, accounts.num_rows - last)
    found: dict[int, dict[str, int]] = {}
    shown = accounts.slice(first)
    for lane, output in {(row["lane"], row["output"]) for row in shown.select(["lane", "output"]).to_pylist()}:
        mine = pc.and_(pc.equal(accounts.column("lane"), lane), pc.equal(accounts.column("output"), output))
        places = pc.indices_nonzero(mine)
        wanted = pc.greater_equal(places, pa.scalar(first, pa.uint64()))
        rows = accounts.select(list(COUNTS)).filter(mine)
        sums = {name: pc.cumulative_sum(rows.column(name)).filter(wanted).to_pylist() for name in COUNTS}
        for at, place in enumerate(places.filter(wanted).to_pylist()):
            found[place] = {name: sums[name][at] for name in COUNTS}
    return [found[place] for place in range(first, accounts.num_rows)]


def named(batches: Sequence[int]) -> str:
    """Batch numbers for people; of many the first."""
    more = f" and {len(batches) - _NAMED:,} more" if len(batches) > _NAMED else ""
    return ", ".join(map(str, batches[:_NAMED])) + more


__all__ = ["COUNTS", "Totals", "named", "running_sums", "totals_of"]
