"""What `millrace ledger --check` prints."""

from typing import Any

from pipelines.cli.ledger import columns
from pipelines.ledger_check.check import Part, Proof
from pipelines.ledger_check.misfit import KEPT, Misfit
from pipelines.ledger_check.series import SUMMED

_SHOWN = 10
_HEAD = (
    *("output", "checkpoint", "batches", "messages", "gaps", "unselected", "in", "applied", "superseded", "duplicate", "dead"),
    "history rows",
)


def proof_as_text(flow: str, proof: Proof) -> list[str]:
    """For people: a line per output and checkpoint, notes, then what does not fit, the oldest first."""
    if not proof.parts and not proof.misfits.count:
        return [f"flow {flow}: the ledger is empty"]
    lines = columns([_HEAD, *map(_row, proof.parts)], left=2) if proof.parts else []
    lines += [f"note: {note}" for note in proof.notes]
    lines.append("")
    first = proof.misfits.first
    if first is None:
        lines.append(
            f"flow {flow}: every batch fits, from the first to the last: none is missing or twice, each offset was read once, "
            "and the tables hold what the ledger says"
        )
        return lines
    lines += [f"FLOW {flow} DOES NOT FIT, first in {first.place}:", *_told(first)]
    others = proof.misfits.ordered[1:_SHOWN]
    for other in others:
        lines += [f"then in {other.place}:", *_told(other)]
    left = proof.misfits.count - 1 - len(others)
    if left:
        lines.append(f"and {left:,} more; --output json names the first {KEPT}")
    return lines


def proof_as_dict(flow: str, proof: Proof) -> dict[str, Any]:
    """For machines. misfits: the oldest; misfit_count: of all."""
    first = proof.misfits.first
    return {
        "flow": flow,
        "fits": first is None,
        "first": None if first is None else first.as_dict(),
        "misfit_count": proof.misfits.count,
        "misfits": [one.as_dict() for one in proof.misfits.ordered],
        "dead_letters": proof.letters,
        "notes": proof.notes,
        "outputs": [
            {
                "lane": part.lane,
                "output": part.output,
                "epoch": part.epoch,
                "first_batch": part.judged.first,
                "last_batch": part.judged.last,
                "batches": part.judged.batches,
                **{name: part.judged.sums[name] for name in SUMMED},
                "history_rows": part.rows,
            }
            for part in proof.parts
        ],
    }


def _told(misfit: Misfit) -> list[str]:
    return [f"  [{misfit.code}] {misfit.what}", f"  that is: {misfit.means}"]


def _row(part: Part) -> tuple[str, ...]:
    judged, sums = part.judged, part.judged.sums
    numbers = ("messages", "gaps", "unselected", "events_in", "applied", "superseded", "duplicate", "dead")
    return (
        f"{part.lane}/{part.output}",
        part.epoch[:13],
        f"{judged.first:,}" if judged.first == judged.last else f"{judged.first:,}-{judged.last:,}",
        *(f"{sums[name]:,}" for name in numbers),
        "" if part.rows is None else f"{part.rows:,}",
    )


__all__ = ["proof_as_dict", "proof_as_text"]
