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
from tests.chaos.matrix.scenarios import SCENARIOS, WITHOUT

BEGIN, END = "<!-- chaos: begin -->", "<!-- chaos: end -->"
BEGIN_WITHOUT, END_WITHOUT = "<!-- chaos without: begin -->", "<!-- chaos without: end -->"
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

    def begin(self, *, again: bool = False) -> None:
        """Note once what is tested: commit and date. again: forget earlier results."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if again:
            self._file.unlink(missing_ok=True)
            self._about.unlink(missing_ok=True)
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


def markdown_without(results: Results) -> str:
    """The same for defences that were switched off."""
    about = results.about()
    lines = [
        f"`make chaos WITHOUT=all`, {about['began'][:10]} at commit {about['commit']}:",
        "",
        "| switched off | struck | lost | doubled | wrong | else |",
        "| --- | --- | ---: | ---: | ---: | --- |",
    ]
    for outcome in results.outcomes():
        scenario = WITHOUT[outcome.scenario]
        struck = ", ".join(f"`{blow.name}`" for blow in scenario.blows)
        shown = " | ".join(f"{number:,}" for number in (outcome.lost, outcome.doubled, outcome.wrong))
        lines.append(f"| `{scenario.name}`: {scenario.about} | {struck} | {shown} | {outcome.failed.partition(chr(10))[0]} |")
    return "\n".join(lines)


def write_table(results: Results, without: Results | None = None, page: Path = PAGE) -> None:
    """Put the tables between their marks on the page. without: of defences that were switched off, if there are any.

    Raises ValueError when the marks are not there.
    """
    text = _between(page.read_text(), BEGIN, END, markdown(results))
    if without is not None and without.outcomes():
        text = _between(text, BEGIN_WITHOUT, END_WITHOUT, markdown_without(without))
    page.write_text(text)


def _between(text: str, begin: str, end: str, content: str) -> str:
    head, begun, rest = text.partition(begin)
    _, ended, tail = rest.partition(end)
    if not (begun and ended):
        raise ValueError(f"no {begin} ... {end}")
    return f"{head}{begin}\n{content}\n{end}{tail}"


def _commit() -> str:
    done = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=PROJECT, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


__all__ = ["Results", "Total", "markdown", "markdown_without", "totals", "write_table"]
