"""A replay of a flow's letters from beginning to end, and a drop: what the commands do once letters are chosen."""

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

from checkpoints.lease import current_holder
from pipelines.dead_letters.counters import CountersTarget
from pipelines.dead_letters.desk import act_on, book_of
from pipelines.dead_letters.plan import PlanFile
from pipelines.dead_letters.reading import CONTENT, Letter, read_again
from pipelines.dead_letters.ready import Readiness, Ready
from pipelines.dead_letters.replay import Done, Replay, parts
from pipelines.dead_letters.targets import HistoryTarget, MirrorTarget, Target
from pipelines.failpoints import Failpoints, Victims, armed_file
from pipelines.flow.model import Flow
from pipelines.flow.outputs import AerospikeCounters as CounterOptions
from pipelines.flow.outputs import AerospikeMirror as MirrorOptions
from pipelines.flow.outputs import DeltaHistory as HistoryOptions
from pipelines.table_guards import TableGuards
from pipelines.wiring import LETTERS_WRITER, FlowParts, counting
from schemas.errors import Terminal
from schemas.letters import LetterId, LetterState
from sinks.delta.late_rows import LateRows
from sinks.delta.ledger import LedgerTable
from sinks.delta.letter_book import Standing, Wanted
from sinks.delta.letter_keys import LetterKey
from sinks.delta.letter_states import NewState

_WAITING = frozenset({LetterState.WAITING})
_NO_CONDITIONAL_WRITES = ("s3://", "s3a://", "s3n://")


class Replayed(NamedTuple):
    """What a replay found and did. first: the part finished for a replay that was cut before; act: this one's id."""

    act: str
    first: Done
    done: Done
    ready: Ready


class Forecast(NamedTuple):
    """What a replay would find. readable: letters of which every event can be read now; reasons: the others, by reason."""

    ready: Ready
    readable: int
    reasons: Counter[str]
    cut: int


def replay_letters(
    flow: Flow, wanted: Wanted, by: str, why: str, told: Callable[[Done], None] = lambda done: None, *, dropped: bool = False
) -> Replayed:
    """Replay the waiting letters of `wanted` (with `dropped`, the dropped ones, too), after what an earlier replay left undone.

    Raises: Terminal E451 when somebody else acts on the letters, E436, E453; ConfigError of an output or table that does not fit;
            what an output raises while it is written: nothing is lost then, and the next replay finishes the part.
    """
    _require_apart(flow)
    book = book_of(flow)
    states = _WAITING | {LetterState.DROPPED} if dropped else _WAITING
    with act_on(flow, book.states, "replay", by, why) as (act, require_lease):
        ledger, targets = _outputs(flow)
        readiness = Readiness(flow)
        own = elements_with_letters(book.standing())
        runner = Replay(flow.name, flow.decode_options(), targets, readiness, book, ledger, _failpoints(), told, require_lease)
        first = runner.finish_cut_part(own)
        chosen = book.standing().only(replace(wanted, states=states))
        ready = readiness.split(chosen.letters())
        done = runner.run(act, ready.keys, own)
        return Replayed(act.id, first, done, ready)


def forecast(flow: Flow, wanted: Wanted, *, dropped: bool = False) -> Forecast:
    """Read the letters a replay would take, and write nothing."""
    book = book_of(flow)
    states = _WAITING | {LetterState.DROPPED} if dropped else _WAITING
    standing = book.standing()
    ready = Readiness(flow).split(standing.only(replace(wanted, states=states)).letters())
    own, options = elements_with_letters(standing), flow.decode_options()
    readable, reasons = 0, Counter[str]()
    for letters in parts(Letter(*found) for found in book.stream(ready.keys, CONTENT)):
        reading = read_again(letters, options, own)
        errors = reading.rows.column("error").to_pylist()
        for letter, places in zip(letters, reading.wanted, strict=True):
            codes = [errors[reading.row_at[place]]["code"] for place in places if errors[reading.row_at[place]] is not None]
            if places and not codes:
                readable += 1
            else:
                reasons[codes[0] if codes else letter.content["code"]] += 1
    return Forecast(ready, readable, reasons, letters_of_cut_part(flow))


def drop_letters(flow: Flow, wanted: Wanted, by: str, why: str) -> Sequence[LetterKey]:
    """Give up the waiting letters of `wanted`: they stay in their table, with who gave them up, when and why. Returns them.

    Raises Terminal E451 when somebody else acts on the letters, E452 when one is in the middle of a replay.
    """
    book = book_of(flow)
    with act_on(flow, book.states, "drop", by, why) as (act, require_lease):
        found = book.standing().only(replace(wanted, states=_WAITING))
        keys = found.letters()
        plan = PlanFile(book.states.path).read()
        half = set(keys) & set(plan.keys) if plan and not book.states.holds(plan.act.id, plan.part) else set()
        if half:
            raise Terminal("E452", f"{len(half)} of the {len(keys)} letters are in part {plan.part if plan else 0} of a replay")
        epochs = found.rows.column("epoch").to_pylist()
        states = [NewState(key, epoch, LetterState.DROPPED) for key, epoch in zip(keys, epochs, strict=True)]
        require_lease()
        book.states.append(act, 0, states)
        return keys


def letters_of_cut_part(flow: Flow) -> int:
    """How many letters are in a part that a killed replay has begun and not finished."""
    states = book_of(flow).states
    plan = PlanFile(states.path).read()
    return 0 if plan is None or states.holds(plan.act.id, plan.part) else len(plan.keys)


def elements_with_letters(standing: Standing) -> frozenset[LetterId]:
    """Undecoded elements, other than the first of their message, that have letters of their own."""
    return frozenset(key.id for key in standing.letters() if key.id.element and key.id.output is None)


def _outputs(flow: Flow) -> tuple[LedgerTable, dict[str, Target]]:
    parts_of_flow = FlowParts(flow)
    TableGuards(flow, parts_of_flow.tables).require_same()
    parts_of_flow.ledger.prepare()
    targets: dict[str, Target] = {}
    for name, options in flow.all_outputs().items():
        if isinstance(options, MirrorOptions):
            targets[name] = MirrorTarget(parts_of_flow.sinks[name], options.batch_timeout_s, _failpoints())
        elif isinstance(options, CounterOptions):
            letters = counting(flow, name, options, suffix=LETTERS_WRITER)
            stream = parts_of_flow.counters[name].mark
            targets[name] = CountersTarget(letters, stream, options.batch_timeout_s, _failpoints())
        else:
            targets[name] = HistoryTarget(LateRows(parts_of_flow.histories[name]))
        targets[name].prepare()
    for lane in flow.lanes:
        parts_of_flow.require_mirrors(lane, remember=False)
    return parts_of_flow.ledger, targets


def _failpoints() -> Failpoints:
    return Failpoints(armed_file(), Victims(os.getpid()))


def _require_apart(flow: Flow) -> None:
    """Refuse (Terminal E453) what the storage cannot keep apart: see `sinks.delta.append`."""
    paths = [options.path for options in flow.all_outputs().values() if isinstance(options, HistoryOptions)]
    there = [path for path in paths if path.startswith(_NO_CONDITIONAL_WRITES)]
    holder = current_holder(flow.checkpoint) if there else None
    if holder is not None:
        raise Terminal("E453", f"the flow is run by {holder}", path=there[0])


__all__ = ["Forecast", "Replayed", "drop_letters", "elements_with_letters", "forecast", "letters_of_cut_part", "replay_letters"]
