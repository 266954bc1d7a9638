"""`millrace local fault`: make the embedded node do wrong, for drills and tests."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class FaultChoice(StrEnum):
    """The faults of `deploy.local.node.faults`, for the help text and for completion."""

    LATENCY = "latency"
    TIMEOUT_AFTER_EFFECT = "timeout-after-effect"
    OVERLOAD = "overload"
    HOT_KEY = "hot-key"
    QUOTA = "quota"
    RESET = "reset"
    PARTIAL_BATCH = "partial-batch"
    DOWN = "down"


def fault(
    name: Annotated[FaultChoice | None, typer.Argument(help="The fault to set.", show_default=False)] = None,
    namespace: Annotated[str | None, typer.Option(help="Only commands of this namespace.")] = None,
    kind: Annotated[str | None, typer.Option(help="Which commands: any, read, write, batch, query, info.")] = None,
    share: Annotated[float | None, typer.Option(help="Share of the matching commands; 1 when not given.")] = None,
    times: Annotated[int | None, typer.Option(help="Fire at most so often.")] = None,
    after: Annotated[int | None, typer.Option(help="Let so many matching commands pass first.")] = None,
    for_s: Annotated[float | None, typer.Option("--for-s", help="End after so many seconds; down: stay down so long.")] = None,
    ms: Annotated[int | None, typer.Option(help="latency: milliseconds a command waits.")] = None,
    rows: Annotated[int | None, typer.Option(help="reset: rows answered before it.")] = None,
    per_s: Annotated[int | None, typer.Option("--per-s", help="Rows a second that overload and quota still take.")] = None,
    row_share: Annotated[float | None, typer.Option("--row-share", help="Share of a batch's rows that fail.")] = None,
    code: Annotated[str | None, typer.Option(help="partial-batch: result code of rows that fail, a number or a name.")] = None,
    seed: Annotated[int | None, typer.Option(help="Decides which commands and rows.")] = None,
    list_: Annotated[bool, typer.Option("--list", help="Show the faults that are set.")] = False,
    stats: Annotated[bool, typer.Option("--stats", help="Show how often each fault really fired.")] = False,
    clear: Annotated[bool, typer.Option("--clear", help="Take back the named fault, or all.")] = False,
    address: Annotated[
        str | None, typer.Option("--node", metavar="HOST:PORT", help="The node; default: that of the local stack.")
    ] = None,
    folder: Annotated[Path | None, typer.Option("--folder", help="Folder of the stack.", show_default=False)] = None,
) -> None:
    """Set a fault of the embedded node, take it back, or show what fired. See docs/embedded-node.md."""
    from deploy.local.node_info import ask
    from deploy.local.node_info import rows as table_rows

    options = {
        "namespace": namespace,
        "kind": kind,
        "share": share,
        "times": times,
        "after": after,
        "for_s": for_s,
        "ms": ms,
        "rows": rows,
        "per_s": per_s,
        "row_share": row_share,
        "code": code,
        "seed": seed,
    }
    given = {option: value for option, value in options.items() if value is not None}
    asked = [flag for flag, on in (("list", list_), ("stats", stats), ("clear", clear)) if on]
    if len(asked) > 1 or (asked and given) or (not asked and name is None):
        raise typer.BadParameter("name a fault to set, or use exactly one of --list, --stats and --clear")
    if asked == ["clear"]:
        command = f"clear={name.value}" if name else "clear"
    elif asked:
        command = asked[0]
    else:
        assert name is not None
        command = ";".join([f"name={name.value}", *(f"{option}={value}" for option, value in given.items())])
    answer = ask(address or _stack_node(folder), f"millrace-fault:{command}")
    if asked == ["clear"]:
        print(answer)
        return
    found = table_rows(answer)
    for row in found:
        print(_line(row))
    if not found:
        print("no fault is set" if list_ else "no fault was ever set")


def _stack_node(folder: Path | None) -> str:
    from deploy.local.stack import Stack

    return Stack(folder).node().address


def _line(row: dict[str, str]) -> str:
    """One fault: its name, then the rest. A table would not fit a terminal's width."""
    return " ".join([row["name"], *(f"{name}={value}" for name, value in row.items() if name != "name")])


def register(local: typer.Typer) -> None:
    """Add `fault` to the app of `millrace local`."""
    local.command("fault")(fault)


app = typer.Typer(add_completion=False)
register(app)

__all__ = ["app", "fault", "register"]
