"""`make chaos`: strike a running flow at every boundary, many times, and let the oracle look after each scenario.

    python -m tests.chaos [--scenario NAME ...] [--runs N] [--seed N] [--minutes M] [--name RUN] [--output json]
    python -m tests.chaos --without DEFENCE|all [--seed N]

A run that was stopped, by SIGINT or SIGTERM, leaves no process behind, and goes on when it is started again under its name:
scenarios that are done are not done again. Results are lines of JSON in .millrace/chaos/RUN/results.jsonl. `--table` writes the
tables of a run, and of the last one without defences, into docs/guarantees.md and nothing else. Ends with status 1 when anything
was lost, doubled or wrong, or a fault did not fire, or the run was stopped; with --without when nothing was, for the matrix would
not notice then that the defence is gone.
"""

import argparse
import difflib
import json
import signal
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from deploy.paths import work_folder
from tests.chaos.broken_driver import DEFENCES
from tests.chaos.matrix.results import COLUMNS, Results, totals, write_table
from tests.chaos.matrix.run import Outcome, run_scenario
from tests.chaos.matrix.scenarios import SCENARIOS, WITHOUT


def main() -> int:
    """Run the matrix, show progress, print the table."""
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell starts what runs in the background with SIGINT ignored
        signal.signal(number, signal.default_int_handler)
    options = _options()
    results = Results(options.folder or work_folder() / "chaos" / options.name)
    broken = Results(results.folder.with_name("without"))
    if options.table:
        write_table(results, broken)
        return 0
    if options.without:
        return _without(options, broken)
    results.begin(again=options.again)
    began = time.monotonic()
    log = sys.stderr if options.output == "json" else sys.stdout
    done = {(outcome.scenario, outcome.run) for outcome in results.outcomes() if outcome.good}
    for number in range(1, options.runs + 1):
        for name in options.scenario:
            if (name, number) in done:
                continue
            if options.minutes and time.monotonic() - began > options.minutes * 60:
                print("chaos: the time is over; the same command goes on from here", file=log, flush=True)
                return _finish(results, options.output)
            outcome = run_scenario(
                SCENARIOS[name],
                number,
                options.seed * 1_000 + number,
                results.folder / "site" / name,
                lambda line: print(f"{time.monotonic() - began:6.0f} s  {line}", file=log, flush=True),
            )
            results.add(outcome)
            print(_line(outcome), file=log, flush=True)
    return _finish(results, options.output)


def _without(options: argparse.Namespace, results: Results) -> int:
    """Switch each defence off in turn; the matrix must fail without each."""
    names = list(WITHOUT) if options.without == "all" else [options.without]
    results.begin(again=True)
    for name in names:
        outcome = run_scenario(
            WITHOUT[name], 1, options.seed, results.folder / "site", lambda line: print(f"  {line}", flush=True), name
        )
        results.add(outcome)
        print(_line(outcome), flush=True)
        print(f"without {name}: " + ("NOBODY NOTICED" if outcome.good else "noticed"), flush=True)
    unnoticed = [outcome.scenario for outcome in results.outcomes() if outcome.good]
    print(
        f"chaos: {len(names)} defences switched off, {len(names) - len(unnoticed)} noticed"
        + (f"; NOT {unnoticed}" if unnoticed else "")
    )
    return 1 if unnoticed else 0


def _options() -> argparse.Namespace:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--scenario", action="append", metavar="NAME", help=", ".join(SCENARIOS))
    asked.add_argument("--runs", type=int, default=1)
    asked.add_argument("--seed", type=int, default=1)
    asked.add_argument("--minutes", type=float, default=0.0, help="begin no further scenario after so long")
    asked.add_argument("--name", default="matrix", help="name of the run, a folder in .millrace/chaos")
    asked.add_argument("--folder", type=Path, help="the run's folder, instead of --name")
    asked.add_argument("--again", action="store_true", help="forget earlier results of this name")
    asked.add_argument("--output", choices=("text", "json"), default="text")
    asked.add_argument("--without", choices=(*DEFENCES, "all"), default="", help="switch a defence off: the matrix must say no")
    asked.add_argument("--table", action="store_true", help="write the run's table into docs/guarantees.md")
    options = asked.parse_args()
    # Without a choice everything but the short one, whose kills are all among those of the others.
    names = [name for given in options.scenario or list(SCENARIOS)[1:] for name in given.split(",")]
    for name in names:
        if name not in SCENARIOS:
            near = difflib.get_close_matches(name, SCENARIOS, n=1)
            asked.error(
                f"no scenario {name!r}; " + (f"did you mean {near[0]!r}?" if near else f"there are {', '.join(SCENARIOS)}")
            )
    options.scenario = names
    return options


def _line(outcome: Outcome) -> str:
    counts = f"{outcome.kills} kills, {outcome.replayed} replayed, {outcome.events} events, {outcome.lost} lost, "
    counts += f"{outcome.doubled} doubled, {outcome.wrong} wrong, {outcome.seconds:.0f} s"
    more = [outcome.failed[:3000]] if outcome.failed else []
    return "\n    ".join([f"{outcome.scenario} {outcome.run}: {counts}", *outcome.problems, *more])


def _finish(results: Results, output: str) -> int:
    outcomes, rows = results.outcomes(), totals(results.outcomes())
    good = bool(rows) and not any(row.lost or row.doubled or row.wrong or row.failed for row in rows)
    if output == "json":
        print(json.dumps({**results.about(), "good": good, "scenarios": [row._asdict() for row in rows]}))
        return 0 if good else 1
    table = Table(title=f"Chaos: {results.folder}")
    for column in (*COLUMNS, "failed"):
        table.add_column(column, justify="left" if column == "scenario" else "right")
    for row in rows:
        shown = (row.runs, row.kills, row.replayed, row.events, row.lost, row.doubled, row.wrong, row.failed)
        table.add_row(row.scenario, *(f"{number:,}" for number in shown))
    Console().print(table)
    kills, seconds = sum(row.kills for row in rows), sum(outcome.seconds for outcome in outcomes)
    verdict = ", ".join(f"{sum(getattr(row, what) for row in rows)} {what}" for what in ("lost", "doubled", "wrong"))
    print(f"chaos: {kills} kills in {seconds:.0f} s, {verdict}" + ("" if good else "; NOT GOOD"))
    return 0 if good else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("chaos: stopped; the same command goes on with the scenario it was in, from its beginning")
