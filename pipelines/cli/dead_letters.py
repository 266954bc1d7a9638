"""`millrace dead-letters list | show | replay | drop FLOW`: what could not be used, why, and what became of it."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.cli.letter_choice import (
    Codes,
    Ids,
    RefusedBy,
    Since,
    State,
    Topics,
    Until,
    chosen,
)
from pipelines.cli.validate import AsJson, FlowPath, Output

if TYPE_CHECKING:
    from pipelines.dead_letters.ready import Ready
    from pipelines.dead_letters.replay import Done
    from sinks.delta.letter_book import LetterBook, Standing, Sums

UNSETTLED = 1
"""Exit status of an answer that is bad: sums that do not hold, letters that still wait after a replay."""

app = typer.Typer(
    name="dead-letters",
    help="Messages that could not be read or written: list them, look at them, replay them, or give them up.",
    no_args_is_help=True,
)

By = Annotated[str | None, typer.Option("--by", metavar="WHO", help="Who does it; user@host when absent.")]
Dropped = Annotated[bool, typer.Option("--dropped", help="Letters that were dropped, too.")]


@app.command("list")
def list_letters(
    flow: FlowPath,
    output: AsJson = Output.TEXT,
    code: Codes = None,
    topic: Topics = None,
    refused_by: RefusedBy = None,
    state: State = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int, typer.Option(min=0, help="How many letters to list, the newest first; 0 for none.")] = 20,
) -> None:
    """List dead letters: how many there are by reason, then the newest, each with its name, state and reason.

    The sums are over all letters of the flow, whatever is chosen: letters = waiting + replayed + superseded + dropped. A running
    flow is not disturbed. Exit status 0 when the sums hold, 1 when not.
    """
    from pipelines.dead_letters.desk import book_of
    from pipelines.dead_letters.job import letters_of_cut_part
    from pipelines.flow import load_flow

    model = load_flow(flow)
    wanted = chosen(code=code, topic=topic, refused_by=refused_by, state=state, since=since, until=until)
    book = book_of(model)
    standing = book.standing()
    sums, found, cut = standing.sums(), standing.only(wanted), letters_of_cut_part(model)
    rows = _rows(book, found, limit)
    if output is Output.JSON:
        answer = {
            "flow": model.name,
            "sums": {**sums._asdict(), "hold": sums.hold},
            "in_cut_replay": cut,
            "chosen": found.rows.num_rows,
            "reasons": [{"code": code, "title": _title(code), "letters": number} for code, number in found.by_reason()],
            "letters": rows,
        }
        typer.echo(json.dumps(answer, indent=2, ensure_ascii=False))
    else:
        typer.echo("\n".join(_list_text(model.name, sums, found, rows, cut)))
    if not sums.hold:
        raise typer.Exit(UNSETTLED)


@app.command()
def show(
    flow: FlowPath,
    letter: Annotated[list[str], typer.Argument(metavar="LETTER...", help="Names as `list` shows them.")],
    output: AsJson = Output.TEXT,
) -> None:
    """Show letters: the message with the failing place marked, why it failed, what to do, and how it would be read now."""
    from pipelines.cli.letter_view import letter_as_dict, letter_as_text
    from pipelines.dead_letters.desk import book_of
    from pipelines.flow import load_flow

    model = load_flow(flow)
    wanted = chosen(ids=letter)
    book = book_of(model)
    found = book.standing().only(wanted)
    _require_all(wanted.ids, {key.id for key in found.letters()})
    states = dict(zip(found.letters(), found.rows.column("state").to_pylist(), strict=True))
    views = [
        letter_as_dict(model, key, row, states[key], book.states.told_of(key))
        for key, row in book.contents(found.letters()).items()
    ]
    if output is Output.JSON:
        typer.echo(json.dumps(views, indent=2, ensure_ascii=False))
    else:
        typer.echo("\n\n".join(letter_as_text(view) for view in views))


@app.command()
def replay(
    flow: FlowPath,
    output: AsJson = Output.TEXT,
    code: Codes = None,
    topic: Topics = None,
    refused_by: RefusedBy = None,
    since: Since = None,
    until: Until = None,
    letter: Ids = None,
    dropped: Dropped = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only read the letters and say what would become of them.")] = False,
    by: By = None,
    why: Annotated[str, typer.Option("--why", metavar="TEXT", help="Kept with each letter: what was mended.")] = "",
) -> None:
    """Run waiting letters again through the flow's decoder, schema and outputs as the flow file says now.

    Safe at any time, in any order, and beside the running flow: a mirror takes what is newer than what it has, a history what it
    lacks. What an earlier replay left undone is finished first. Without a choice all waiting letters are taken.
    Exit status 0 when every letter taken is settled, 1 when some still wait.
    """
    from pipelines.dead_letters.desk import this_person
    from pipelines.dead_letters.job import forecast, replay_letters
    from pipelines.flow import load_flow

    model = load_flow(flow)
    wanted = chosen(code=code, topic=topic, refused_by=refused_by, since=since, until=until, ids=letter)
    if dry_run:
        expected = forecast(model, wanted, dropped=dropped)
        unreadable = sum(expected.reasons.values())
        answer: dict[str, Any] = {
            "flow": model.name,
            "readable": expected.readable,
            "unreadable": dict(expected.reasons),
            "not_yet": expected.ready.later,
            "no_such_output": expected.ready.homeless,
            "in_cut_replay": expected.cut,
        }
        lines = [f"{_letters(expected.readable)} can be read now, {unreadable:,} cannot; nothing was written"]
        lines += [f"  {number:,} {reason} {_title(reason)}" for reason, number in expected.reasons.most_common()]
        lines += _set_aside(expected.ready)
    else:
        done = replay_letters(model, wanted, by or this_person(), why, _progress(output), dropped=dropped)
        unreadable = done.done.reasons.total() + done.first.reasons.total()
        answer = {
            "flow": model.name,
            "replay": done.act,
            "letters": {state.value: number for state, number in done.done.states.items()},
            "finished_first": {state.value: number for state, number in done.first.states.items()},
            "outputs": {name: {fate.value: number for fate, number in fates.items()} for name, fates in done.done.fates.items()},
            "still_waiting": dict(done.done.reasons),
            "not_yet": done.ready.later,
            "no_such_output": done.ready.homeless,
        }
        lines = []
        if done.first.letters:
            lines.append(f"finished a replay that was cut: {_spoken(done.first)}")
        lines.append(f"replay {done.act}: {_spoken(done.done)}")
        for name, fates in done.done.fates.items():
            lines.append(f"  {name}: " + " + ".join(f"{number:,} {fate.value}" for fate, number in fates.items()))
        lines += [f"  still waiting: {number:,} {reason} {_title(reason)}" for reason, number in done.done.reasons.most_common()]
        lines += _set_aside(done.ready)
    typer.echo(json.dumps(answer, indent=2, ensure_ascii=False) if output is Output.JSON else "\n".join(lines))
    if unreadable:
        raise typer.Exit(UNSETTLED)


@app.command()
def drop(
    flow: FlowPath,
    why: Annotated[str, typer.Option("--why", metavar="TEXT", help="Why these letters are given up; kept with each.")],
    output: AsJson = Output.TEXT,
    code: Codes = None,
    topic: Topics = None,
    refused_by: RefusedBy = None,
    since: Since = None,
    until: Until = None,
    letter: Ids = None,
    every: Annotated[bool, typer.Option("--all", help="All waiting letters of the flow.")] = False,
    by: By = None,
) -> None:
    """Give up waiting letters: nothing is deleted, and who did it, when and why is kept beside them.

    `replay --dropped` takes them up again.
    """
    from pipelines.dead_letters.desk import this_person
    from pipelines.dead_letters.job import drop_letters
    from pipelines.flow import load_flow
    from schemas.errors import ConfigError
    from sinks.delta.letter_book import Wanted

    model = load_flow(flow)
    wanted = chosen(code=code, topic=topic, refused_by=refused_by, since=since, until=until, ids=letter)
    if not why.strip():
        raise ConfigError("E161", "no reason is given", remedy="Say with --why why the letters are given up.")
    if every == (wanted != Wanted()):
        raise ConfigError(
            "E161",
            "--all stands beside a choice of letters" if every else "no letters are chosen",
            remedy="Choose letters by --letter, --code, --topic, --refused-by, --since or --until, or all of them by --all.",
        )
    keys = drop_letters(model, wanted, by or this_person(), why.strip())
    if output is Output.JSON:
        typer.echo(json.dumps({"flow": model.name, "dropped": [str(key.id) for key in keys]}, indent=2, ensure_ascii=False))
    else:
        typer.echo(f"{_letters(len(keys))} dropped" if keys else "no waiting letter is chosen; nothing was dropped")


def _rows(book: "LetterBook", found: "Standing", limit: int) -> list[dict[str, Any]]:
    """The first letters of `found`, with their details: only theirs are read."""
    from sinks.delta.letter_keys import keys_of

    shown = found.rows.slice(0, limit)
    keys = keys_of(shown)
    details = book.contents(keys, ["detail", "format", "format_guess"])
    rows = []
    for key, row in zip(keys, shown.to_pylist(), strict=True):
        content = details.get(key, {})
        rows.append(
            {
                "letter": str(key.id),
                "state": row["state"],
                "code": row["code"],
                "title": _title(row["code"]),
                "detail": content.get("detail"),
                "seen_at": row["seen_at"].isoformat(timespec="seconds"),
                "format": content.get("format"),
                "format_guess": content.get("format_guess"),
                "lane": row["lane"],
                "epoch": row["epoch"],
                "batch_id": row["batch_id"],
                "state_at": row["at"].isoformat(timespec="seconds") if row["at"] else None,
            }
        )
    return rows


def _list_text(flow: str, sums: "Sums", found: "Standing", rows: list[dict[str, Any]], cut: int) -> list[str]:
    lines = [sums_line(flow, sums)]
    if cut:
        lines.append(f"a replay was cut in a part of {_letters(cut)}: the next replay finishes it first")
    if found.rows.num_rows:
        lines += ["", f"{found.rows.num_rows:,} of them, by reason:"]
        lines += [f"  {number:>9,}  {code}  {_title(code)}" for code, number in found.by_reason()]
    if rows:
        lines += ["", "seen (UTC)           state       reason  letter"]
        for row in rows:
            seen = row["seen_at"][:19].replace("T", " ")
            lines.append(f"{seen}  {row['state']:<10}  {row['code']}    {row['letter']}")
            lines.append(f"{'':21}{row['detail'] or ''}")
        if found.rows.num_rows > len(rows):
            lines.append(f"... and {found.rows.num_rows - len(rows):,} more; --limit lists them")
    return lines


def sums_line(flow: str, sums: "Sums") -> str:
    """The account of a flow's letters in one line."""
    text = (
        f"flow {flow}: {sums.letters:,} dead letter{_plural(sums.letters)} = "
        f"{sums.waiting:,} waiting + {sums.replayed:,} replayed + {sums.superseded:,} superseded + {sums.dropped:,} dropped"
    )
    if sums.without_letter:
        text += f"; {sums.without_letter:,} with a state are not in their table any more"
    return text if sums.hold else f"{text}  THE SUMS DO NOT HOLD"


def _letters(number: int) -> str:
    return f"{number:,} letter{_plural(number)}"


def _plural(number: int) -> str:
    return "" if number == 1 else "s"


def _title(code: str) -> str:
    from schemas.reasons import REASONS

    return REASONS[code].title if code in REASONS else "not a reason of this release"


def _spoken(done: "Done") -> str:
    if not done.letters:
        return "no letter was waiting for it"
    return f"{_letters(done.letters)} = " + " + ".join(f"{number:,} {state.value}" for state, number in done.states.items())


def _set_aside(ready: "Ready") -> list[str]:
    later = [
        f"  not yet: {_letters(number)}, of messages that lane {lane} has not finished" for lane, number in ready.later.items()
    ]
    gone = [
        f"  not taken: {_letters(number)} of output {name!r}, which the flow has not" for name, number in ready.homeless.items()
    ]
    return later + gone


def _progress(output: Output) -> Any:
    def told(done: "Done") -> None:
        if output is Output.TEXT and done.parts % 10 == 0:
            typer.echo(f"{done.letters:,} letters so far ...", err=True)

    return told


def _require_all(wanted: "frozenset[Any]", found: "set[Any]") -> None:
    from schemas.errors import ConfigError

    missing = sorted(str(name) for name in wanted - found)
    if missing:
        raise ConfigError("E161", f"no such letter: {', '.join(missing)}")


__all__ = ["app", "sums_line"]
