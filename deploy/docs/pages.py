"""The pages of docs/ that are made from the code, so that they cannot say anything else than it does.

`make docs` writes them; a test makes them again and compares.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import typer
from typer.cli import get_docs_for_click

from deploy.cli import EXIT_CODES, INTERRUPTED, app
from deploy.paths import PROJECT
from pipelines.failpoint_names import FLOW, OF_A_HISTORY, OF_A_LANE, OF_A_RECORD_LANE, OF_AN_OUTPUT, OF_THE_FLOW
from pipelines.failpoints import ACTIONS
from pipelines.flow import docs as flow_docs
from schemas.error_codes import CATALOGUE
from schemas.reasons import REASONS
from schemas.tables import DEAD_LETTERS_DDL, LETTER_STATES_DDL

NOTICE = "Made from the code by `make docs`; do not edit.\n"

FAMILIES = {
    "E1": ("E1xx: stopped before starting", "Something written by a person, or the set-up, is wrong. Exit status 2."),
    "E2": (
        "E2xx: nothing happened, repeating is safe",
        "The runner restarts with back-off; another command can be repeated. Exit status 3.",
    ),
    "E3": (
        "E3xx: may have happened",
        "Sent, but the outcome is not known. What Millrace repeats is safe to repeat. Exit status 3.",
    ),
    "E4": ("E4xx: repeating cannot help", "The flow stops and a person decides. Exit status 4."),
}


def cli_page() -> str:
    """docs/cli.md: every command with its arguments and options, and the exit statuses."""
    command = typer.main.get_command(app)
    text = get_docs_for_click(obj=command, ctx=typer.Context(command), name="millrace", title="Command line")
    title, _, rest = text.partition("\n\n")
    statuses = "\n".join(f"| {code} | {meaning} |" for code, meaning in _exit_statuses())
    return (
        f"{title}\n\n{NOTICE}\n## Exit status\n\n| status | meaning |\n| --- | --- |\n{statuses}\n\n"
        "A refusal is printed to standard error as `[code] message`, with the remedy on the next line; "
        "the codes are in [errors.md](errors.md).\n\n## `millrace`\n\n" + re.sub(r" +\n", "\n", rest).rstrip() + "\n"
        # Usage lines of sub-commands come out with the blanks of absent parts.
    )


def errors_page() -> str:
    """docs/errors.md: every error code with its meaning and remedy, by family."""
    lines = ["# Error codes", "", NOTICE]
    lines += ["A code never changes its meaning. The first digit says whether repeating helps.", ""]
    for family, (title, meaning) in FAMILIES.items():
        lines += [f"## {title}", "", meaning, ""]
        for kind in (kind for kind in CATALOGUE.values() if kind.code.startswith(family)):
            lines += [f"### {kind.code}: {kind.title}", "", kind.meaning, "", f"**What to do.** {kind.remedy}", ""]
    return "\n".join(lines).rstrip() + "\n"


def dead_letters_page() -> str:
    """docs/dead-letters.md: what a dead letter is, its columns, every reason code."""
    lines = ["# Dead letters", "", NOTICE]
    lines += [
        "An event that cannot be read, or that one output cannot hold, does not stop a flow and does not disappear: it becomes",
        "one row of the flow's dead-letter table (`dead_letters.path`, a Delta table), with the original bytes, and is counted",
        "as `dead` in the ledger of its batch. A row is written once, also when a batch is repeated after a crash.",
        "",
        "`millrace dead-letters list FLOW` shows them by reason, `show` one with the place marked where it failed, `replay` runs",
        "them again once the cause is mended, `drop` gives them up: [replaying-dead-letters.md](replaying-dead-letters.md).",
        "Limits stop a flow, or warn, before a bad deployment fills the table: `dead_letters.limits` in",
        "[configuration.md](configuration.md).",
        "",
        "## Reason codes",
        "",
        "`D1xx`: cannot be decoded; one letter whatever the number of lanes, `output` is null. `D2xx`: decoded, but the output",
        "named cannot hold it; the other outputs have it.",
        "",
        "A letter is not tried again by itself: `millrace dead-letters replay` does it. In a mirror the record's next change",
        "brings the whole record, too; a history has the event only from a replay.",
        "",
        "| code | reason | meaning | what to do |",
        "| --- | --- | --- | --- |",
    ]
    lines += [f"| {reason.code} | {reason.title} | {reason.meaning} | {reason.remedy} |" for reason in REASONS.values()]
    lines += ["", "## Columns", "", "| column | type |", "| --- | --- |"]
    lines += [f"| `{name}` | {kind} |" for name, kind in _columns(DEAD_LETTERS_DDL)]
    lines += ["", "## Columns of the table of states (`dead_letters.states`)", ""]
    lines += ["A row per letter and act; the newest one says how the letter stands. A letter without a row waits.", ""]
    lines += ["| column | type |", "| --- | --- |"]
    lines += [f"| `{name}` | {kind} |" for name, kind in _columns(LETTER_STATES_DDL)]
    return "\n".join(lines) + "\n"


def drills_page() -> str:
    """docs/drills.md: fail points, actions, and how to use them."""
    lines = ["# Drills: kill it yourself", "", NOTICE]
    lines += [
        "A flow can be killed, stopped or delayed at every boundary of a batch, to see with one's own data that nothing is lost.",
        "Off unless the environment variable `MILLRACE_FAILPOINTS` names a file. The file may change while the flow runs; a line",
        "fires once, is taken out of the file, and leaves a line of JSON in `FILE.fired`: point, action, time, processes, batch.",
        "",
        "```console",
        "$ export MILLRACE_FAILPOINTS=/tmp/drill",
        "$ echo 'fast:mid_sink events=40' > /tmp/drill",
        "$ millrace run examples/payments.yaml      # killed with 40 events of a batch written and the others not",
        "$ cat /tmp/drill.fired",
        "$ millrace run examples/payments.yaml      # goes on",
        "```",
        "",
        "A point that the flow does not have is refused at the start (E102). `make chaos` strikes all of them, many times, and",
        "lets an oracle look: [guarantees.md](guarantees.md).",
        "",
        "## A line",
        "",
        "`LANE:POINT [action=ACTION] [after=N] [events=N] [seconds=S]`; `after`: let N visits pass first; `events`: for points",
        "in the middle of an output.",
        "",
        "| action | what happens |",
        "| --- | --- |",
    ]
    lines += [f"| `{action}` | {meaning} |" for action, meaning in ACTIONS.items()]
    lines += [
        "",
        "## Points",
        "",
        "`OUTPUT` stands for an output's name. Worker: in a Python worker of Spark, once per partition.",
    ]
    lines += ["Watched: a thread sees a file of Spark appear, stops the JVM and strikes; on a local disk only.", ""]
    lines += ["| point | place | what has happened |", "| --- | --- | --- |"]
    kinds = (
        ("LANE", (*OF_A_LANE, *OF_A_RECORD_LANE, *OF_AN_OUTPUT, *OF_A_HISTORY)),
        (FLOW, OF_THE_FLOW),
    )
    lines += [f"| `{whose}:{point.name}` | {point.where} | {point.struck} |" for whose, points in kinds for point in points]
    return "\n".join(lines) + "\n"


PAGES: Mapping[Path, Callable[[], str]] = {
    Path("docs/cli.md"): cli_page,
    Path("docs/errors.md"): errors_page,
    Path("docs/dead-letters.md"): dead_letters_page,
    Path("docs/drills.md"): drills_page,
    flow_docs.PAGE: flow_docs.configuration_page,
}


def write_pages(project: Path = PROJECT) -> list[Path]:
    """Write every page below `project`; returns those that changed."""
    changed = []
    for path, page in PAGES.items():
        target, text = project / path, page()
        if not target.exists() or target.read_text() != text:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
            changed.append(path)
    return changed


def _exit_statuses() -> Iterator[tuple[int, str]]:
    by_code: dict[int, list[str]] = {}
    for kind, code in EXIT_CODES.items():
        by_code.setdefault(code, []).append(f"{kind.family}xx")
    yield 0, "done"
    yield 1, "done, and the answer is bad: something differs, is unhealthy or failed; or a defect of Millrace, with a traceback"
    meanings = {2: "wrong call, flow or set-up; nothing was started", 3: "may be repeated", 4: "a person must decide"}
    for code, meaning in meanings.items():
        yield code, f"{meaning} ({', '.join(by_code[code])})"
    yield INTERRUPTED, "interrupted (Ctrl-C)"


def _columns(ddl: str) -> Iterator[tuple[str, str]]:
    """(name, type) of each column of a Spark DDL text: split at the commas outside angle brackets."""
    for column in re.split(r", (?![^<]*>)", ddl):
        name, _, kind = column.partition(" ")
        yield name.strip("`"), kind


__all__ = ["PAGES", "cli_page", "dead_letters_page", "drills_page", "errors_page", "write_pages"]
