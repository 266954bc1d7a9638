"""The results of a run of the matrix: kept as lines of JSON as they come, shown as a table, and put into the docs."""

import json
import subprocess
from collections.abc import Iterable
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from deploy.paths import PROJECT
from tests.chaos.matrix.run import Outcome
from tests.chaos.matrix.scenarios import SCENARIOS

BEGIN, END = "<!-- chaos: begin -->", "<!-- chaos: end -->"
PAGE = PROJECT / "docs" / "guarantees.md"
COLUMNS = ("scenario", "runs", "kills", "replayed batches", "events", "lost", "doubled", "wrong")


class Total(NamedTuple):
    """All runs of one scenario. failed: runs that could not be judged."""

    scenario: str
    runs: int
    kills: int
    blows: int
    replayed: int
    events: int
    lost: int
    doubled: int
    wrong: int
    failed: int


class Results:
    """The results of one run of the matrix, in its folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file = folder / "results.jsonl"
        self._about = folder / "about.json"

    def begin(self) -> None:
        """Note once what is tested: commit and date."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self._about.exists():
            self._about.write_text(json.dumps({"commit": _commit(), "began": datetime.now(UTC).isoformat(timespec="seconds")}))

    def about(self) -> dict[str, str]:
        """Commit and date of the beginning."""
        found: dict[str, str] = json.loads(self._about.read_text())
        return found

    def add(self, outcome: Outcome) -> None:
        """Keep one outcome."""
        with self._file.open("a") as file:
            file.write(json.dumps(outcome.as_dict(), ensure_ascii=False) + "\n")

    def outcomes(self) -> list[Outcome]:
        """All outcomes so far; a last line that was torn by a kill does not count."""
        if not self._file.exists():
            return []
        names = {field.name for field in fields(Outcome)}
        lines = [line for line in self._file.read_text().splitlines() if line.endswith("}")]
        rows: list[dict[str, Any]] = [json.loads(line) for line in lines]
        return [Outcome(**{name: row[name] for name in names}) for row in rows]


def totals(outcomes: Iterable[Outcome]) -> list[Total]:
    """The outcomes by scenario, in the order of the matrix. A run that failed counts its kills, too."""
    by_name: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        by_name.setdefault(outcome.scenario, []).append(outcome)
    order = [*SCENARIOS, *(name for name in by_name if name not in SCENARIOS)]
    summed = ("kills", "blows", "replayed", "events", "lost", "doubled", "wrong")
    return [
        Total(
            name,
            len(by_name[name]),
            *(sum(getattr(outcome, column) for outcome in by_name[name]) for column in summed),
            failed=sum(bool(outcome.failed) for outcome in by_name[name]),
        )
        for name in order
        if name in by_name
    ]


def markdown(results: Results) -> str:
    """The table for the docs, with date and commit."""
    about, rows = results.about(), totals(results.outcomes())
    lines = [
        f"`make chaos`, begun {about['began'][:10]} at commit {about['commit']}:",
        "",
        "| " + " | ".join(COLUMNS) + " |",
        "| --- " + "| ---: " * (len(COLUMNS) - 1) + "|",
    ]
    for row in rows:
        what = SCENARIOS[row.scenario].about if row.scenario in SCENARIOS else row.scenario
        shown = (row.runs, row.kills, row.replayed, row.events, row.lost, row.doubled, row.wrong)
        lines.append(f"| `{row.scenario}`: {what} | " + " | ".join(f"{number:,}" for number in shown) + " |")
    sums = [
        sum(getattr(row, name) for row in rows) for name in ("runs", "kills", "replayed", "events", "lost", "doubled", "wrong")
    ]
    lines.append("| all | " + " | ".join(f"{number:,}" for number in sums) + " |")
    failed = sum(row.failed for row in rows)
    if failed:
        lines += ["", f"{failed} runs could not be judged, because a fault did not fire or the flow did not get up again."]
    return "\n".join(lines)


def write_table(results: Results, page: Path = PAGE) -> None:
    """Put the table between its marks on the page. Raises ValueError when the marks are not there."""
    text = page.read_text()
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{page} has no {BEGIN} ... {END}")
    page.write_text(f"{head}{BEGIN}\n{markdown(results)}\n{END}{tail}")


def _commit() -> str:
    done = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=PROJECT, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


__all__ = ["Results", "Total", "markdown", "totals", "write_table"]
