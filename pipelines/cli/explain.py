"""`millrace explain FLOW`: what a flow will read, write and guarantee, and with which settings. Starts nothing."""

import json
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.cli.validate import AsJson, FlowPath, Output

if TYPE_CHECKING:
    from pipelines.flow.explain import Explanation
    from pipelines.flow.model import Flow


def explain(
    flow: FlowPath,
    output: AsJson = Output.TEXT,
    plan: Annotated[bool, typer.Option("--plan/--no-plan", help="Also show Spark's plan of every lane; starts Spark.")] = True,
) -> None:
    """Show what a flow will read, write and guarantee, its options with secrets hidden, its Spark settings and Spark's plan.

    Asks no server: the plan is made without reading a message. Exit status 2 when the flow is not valid.
    """
    from pipelines.flow import read_flow
    from pipelines.flow.explain import explain_flow

    loaded = read_flow(flow)
    explanation = explain_flow(loaded, _spark_defaults(loaded.flow))
    if plan:
        from pipelines.plan import lane_plans

        explanation = explanation._replace(plans=lane_plans(loaded.flow))
    if output is Output.JSON:
        typer.echo(json.dumps(explanation.as_dict(), indent=2, ensure_ascii=False))
    else:
        typer.echo("\n".join(_text(explanation)))


def _spark_defaults(flow: "Flow") -> dict[str, tuple[str, str]]:
    """Spark's settings as the application resolves them, with the reason of each."""
    from pipelines.session import DEFAULTS, ON_ONE_MACHINE, resolve_settings

    reasons = {setting.name: setting.reason for setting in DEFAULTS + ON_ONE_MACHINE}
    settings = resolve_settings({}, flow.spark.master, local_checkpoint=flow.local_checkpoint)
    return {name: (value, reasons.get(name, "")) for name, value in settings.items()}


def _text(explained: "Explanation") -> Iterator[str]:
    yield f"Flow {explained.flow} ({explained.file})"
    yield from (f"  warning: {warning}" for warning in explained.warnings)
    yield from ("", "Reads", f"  {explained.reads}", *(f"  {line}" for line in explained.takes))
    yield from ("", "Lanes")
    for lane in explained.lanes:
        ceiling = f", so at most {lane.ceiling:,} events/s" if lane.ceiling else ""
        yield f"  {lane.name}: {lane.trigger}, at most {lane.rows_per_batch:,} messages each{ceiling}"
        yield f"    writes {', '.join(lane.outputs)}; checkpoint {lane.checkpoint}"
        if lane.decode_owner:
            yield "    keeps the dead letters of messages that cannot be decoded"
    yield from ("", "Outputs")
    for one in explained.outputs:
        yield f"  {one.name} ({one.kind}, lane {one.lane})"
        yield from (f"    {name:<11}{text}" for name, text in one.guarantee._asdict().items())
    yield from (f"  {table}" for table in explained.tables)
    yield from ("", "Options (* = default)")
    yield from _columns((f"  {'*' if o.default else ' '} {o.option}", _shown(o.value)) for o in explained.options)
    yield from ("", "Spark settings (* = default)")
    yield from _columns(
        (f"  {'*' if s.source == 'default' else ' '} {s.name}", f"{s.value}   # {s.reason}" if s.reason else s.value)
        for s in explained.spark
    )
    yield from _plans(explained.plans)


def _plans(plans: dict[str, str]) -> Iterator[str]:
    """Lanes mostly differ only in the numbers Spark gives to columns; one plan is then shown once."""
    seen: dict[str, str] = {}
    for lane, plan in plans.items():
        yield from ("", f"Spark's plan of lane {lane}, up to its outputs")
        first = seen.setdefault(re.sub(r"#\d+L?", "#", plan), lane)
        yield plan.rstrip() if first == lane else f"  as of lane {first}"


def _columns(pairs: Iterable[tuple[str, str]]) -> Iterator[str]:
    rows = list(pairs)
    width = max((len(left) for left, _ in rows), default=0)
    return (f"{left:<{width}}  {right}" for left, right in rows)


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "none" if value == {} else str(value)


__all__ = ["explain"]
