"""What a flow was when it last started, and what may change over old state: `<checkpoint>/_millrace/plan.json`.

Spark compares next to nothing: another sink, another meaning of the same state, sources in another order all go on without error.
Things are compared by name, so that order never matters; whatever has state is compared by its content.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from checkpoints.files import Folder
from schemas.errors import Terminal

PLAN_FILE = "_millrace/plan.json"
FORMAT = 1

Content = Mapping[str, Any]
"""Plain data, as JSON has it."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A flow as far as it has a bearing on what was read and written.

    sources:      by name. steps: by name, by content.
    records:      by `namespace/set`, `namespace/*` for all sets, `namespace/` for those without; how they are written.
    lanes:        by name, their outputs by name, each with what makes it the same output.
    letters_lane: the lane that writes the dead letters of what cannot be decoded.
    """

    flow: str
    sources: Mapping[str, Content]
    records: Mapping[str, Content]
    lanes: Mapping[str, Mapping[str, Content]]
    letters_lane: str
    steps: Mapping[str, Content] = field(default_factory=dict)


class Change(NamedTuple):
    """One difference. name: what an operator accepts it by, "" for a harmless one; told: what it means, with evidence."""

    name: str
    told: str


class KeptPlan(NamedTuple):
    """The plan of the last start. accepted: names of the changes accepted so far."""

    plan: Plan
    accepted: tuple[str, ...]


def changes(before: Plan, now: Plan, last_batch: Mapping[str, int], unread: int = 0) -> list[Change]:
    """Every difference that matters.

    last_batch: by lane, the last batch planned; a lane without one has no state. unread: messages the old `letters_lane` has not
    read and the new one has.
    """
    if not last_batch:
        return []
    found = [
        *_sources(before, now),
        *_records(before, now),
        *(change for lane in now.lanes if lane in last_batch for change in _outputs(before, now, lane, last_batch[lane])),
        *_steps(before, now),
    ]
    if before.flow != now.flow:
        told = f"the flow was called {before.flow} and is called {now.flow}: its batches in tables and ledger go by the old name"
        found.append(Change("flow-name", told))
    if before.letters_lane != now.letters_lane and unread:
        told = (
            f"letters of what cannot be decoded were written by lane {before.letters_lane} and would be by {now.letters_lane}, "
            f"which is {unread:,} messages ahead: theirs would never be written"
        )
        found.append(Change("letters-lane", told))
    return found


def _sources(before: Plan, now: Plan) -> Iterator[Change]:
    for name in sorted(before.sources.keys() | now.sources.keys()):
        if name not in now.sources or name not in before.sources:
            kind = "added" if name in now.sources else "removed"
            yield Change(f"source-{kind}:{name}", f"source {name} was {kind}: the lanes' offsets do not fit")
            continue
        old, new = before.sources[name], now.sources[name]
        if old.get("image") != new.get("image"):
            told = f"source {name} shipped {old.get('image')} images and ships {new.get('image')}"
            if "none" in (old.get("image"), new.get("image")):
                yield Change(f"image:{name}", f"{told}: bins of records that do not change again stay as they are")
            else:
                yield Change("", f"{told}: mirrors go on with either")
        for topic in sorted(set(new.get("topics", ())) - set(old.get("topics", ()))):
            yield Change("", f"topic {topic} was added: it is read from its beginning")


def _records(before: Plan, now: Plan) -> Iterator[Change]:
    for name, content in sorted(now.records.items()):
        known = _covering(before.records, name)
        if known is None:
            yield Change(f"records-added:{name}", f"events of {name} were not taken so far: the earlier ones would be missing")
        elif known != content:
            parts = ", ".join(sorted(key for key in known.keys() | content.keys() if known.get(key) != content.get(key)))
            told = f"events of {name} are written otherwise ({parts}): what is written stays as it is"
            yield Change(f"records-changed:{name}", told)
    for name in sorted(before.records):
        if _covering(now.records, name) is None:
            yield Change("", f"events of {name} are no longer taken: what is written stays, and gets old")


def _covering(records: Mapping[str, Content], name: str) -> Content | None:
    return records.get(name, records.get(f"{name.split('/')[0]}/*"))


def _outputs(before: Plan, now: Plan, lane: str, last_batch: int) -> Iterator[Change]:
    if lane not in before.lanes:
        return
    old, new = before.lanes[lane], now.lanes[lane]
    for name, content in new.items():
        if name not in old:
            home = next((other for other, outputs in before.lanes.items() if name in outputs), None)
            kind = "added" if home is None else "moved"
            whence = "" if home is None else f" from lane {home}, which stood elsewhere"
            told = f"output {name} was {kind} to lane {lane}{whence}: the lane is past batch {last_batch}, and does not go back"
            yield Change(f"output-{kind}:{name}", told)
        elif old[name] != content:
            parts = sorted(key for key in old[name].keys() | content.keys() if old[name].get(key) != content.get(key))
            told = "; ".join(f"{key} was {old[name].get(key)} and is {content.get(key)}" for key in parts)
            yield Change(
                f"output-changed:{name}", f"output {name} is another one: {told}; lane {lane} is past batch {last_batch}"
            )
    for name in sorted(old.keys() - new.keys()):
        yield Change("", f"output {name} was removed from lane {lane}: what it holds stays, and gets old")


def _steps(before: Plan, now: Plan) -> Iterator[Change]:
    for name in sorted(before.steps.keys() | now.steps.keys()):
        old, new = before.steps.get(name), now.steps.get(name)
        if old != new:
            kind = "added" if old is None else "removed" if new is None else "changed"
            yield Change(f"step-{kind}:{name}", f"step {name} was {kind}: what it has kept so far means something else")


def with_lanes_of(before: Plan, now: Plan) -> Plan:
    """`now`, with the lanes of `before` that it lacks: their checkpoints stay, and they may come back."""
    return Plan(now.flow, now.sources, now.records, {**before.lanes, **now.lanes}, now.letters_lane, now.steps)


def read_plan(checkpoint: str) -> KeptPlan | None:
    """The plan kept in a flow's checkpoint; None before the first start.

    Raises Terminal E421 on a file that cannot be understood, E445 on one of a newer Millrace.
    """
    folder = Folder(checkpoint)
    text = folder.read_text(PLAN_FILE)
    if text is None:
        return None
    file = f"{folder.path}/{PLAN_FILE}"
    try:
        record = json.loads(text)
        if int(record["format"]) > FORMAT:
            raise Terminal("E445", f"the file has format {record['format']}, and this release knows {FORMAT}", file=file)
        plan = Plan(**record["plan"])
        named = (plan.sources, plan.records, plan.lanes, plan.steps, *plan.lanes.values())
        if not all(isinstance(part, dict) for part in named):
            raise TypeError("a part is not a mapping")
        return KeptPlan(plan, tuple(map(str, record["accepted"])))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Terminal("E421", f"not a flow's plan ({type(error).__name__}): {text[:80]!r}", file=file) from error


def write_plan(checkpoint: str, kept: KeptPlan) -> None:
    """Replace the kept plan, whole or not at all."""
    record = {
        "format": FORMAT,
        "plan": asdict(kept.plan),
        "accepted": list(kept.accepted),
    }
    Folder(checkpoint).replace(PLAN_FILE, json.dumps(record, indent=1, sort_keys=True) + "\n")


__all__ = ["Change", "Content", "KeptPlan", "PLAN_FILE", "Plan", "changes", "read_plan", "with_lanes_of", "write_plan"]
