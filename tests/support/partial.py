"""Partial images for tests: what a source would write, and what a reader must see in the end, worked out the plain way.

The oracle replays all events of a record in the order of their versions, as the source went through them; it knows of no joins.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any
from uuid import uuid4

from hypothesis import strategies as st

from schemas.events import ChangeEvent
from tests.support.events import NOW_MS, delete, write

NAMES = ("a", "b", "c")
Draw = Callable[[Any], Any]


def history_of_one_record(draw: Draw, name: str, *, expiring: bool) -> list[ChangeEvent]:
    """Versions of one record, in order, each with some of its bins; a null is a bin that was removed.

    Times repeat and generations wrap. With `expiring`, writes may carry an expiry, past or far ahead, that the next write is in
    time for, or is not; then the record begins anew at generation 1. (Wrapped generations and expiries are not mixed: a record
    that begins anew after 32,768 versions cannot be told from one that has counted on.)
    """
    events: list[ChangeEvent] = []
    lut, gen = draw(st.integers(0, 3)), draw(st.sampled_from([1, 7] if expiring else [1, 7, 65_534]))
    ends_ms: int | None = None
    for _ in range(draw(st.integers(1, 6))):
        if events and draw(st.integers(0, 4)) == 0:
            lut += draw(st.integers(0, 1))
            events.append(delete(name, lut, gen=gen))
            lut, gen, ends_ms = lut + 1, 1, None
            continue
        if ends_ms is not None and ends_ms <= NOW_MS + lut:
            gen = 1
        named = draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=3))
        bins = {bin_name: None if draw(st.integers(0, 3)) == 0 else f"{lut}/{gen}/{bin_name}" for bin_name in named}
        exp_s = None
        if expiring and draw(st.booleans()):
            exp_s = (NOW_MS + lut) // 1000 + draw(st.sampled_from([1, 2, 4, 900]))
        ends_ms = None if exp_s is None else exp_s * 1000
        events.append(write(name, lut, gen=gen, bins=bins, exp_s=exp_s))
        lut, gen = lut + draw(st.sampled_from([0, 1, 900, 2_500] if expiring else [0, 1])), gen % 65_535 + 1
    return events


@st.composite
def deliveries(draw: Draw, *, expiring: bool = False) -> tuple[list[ChangeEvent], list[list[ChangeEvent]]]:
    """Some records' histories, and a delivery of them: any order, repeats, cut into batches anywhere."""
    run = uuid4().hex
    count = draw(st.integers(1, 3))
    truth = [event for n in range(count) for event in history_of_one_record(draw, f"{run}-{n}", expiring=expiring)]
    repeats = draw(st.lists(st.sampled_from(truth), max_size=4))
    order = draw(st.permutations([*truth, *repeats]))
    cuts = sorted(draw(st.lists(st.integers(0, len(order)), max_size=4)))
    return truth, [list(order[start:end]) for start, end in pairwise([0, *cuts, len(order)])]


def end_state(truth: Sequence[ChangeEvent], now_s: float) -> dict[bytes, dict[str, Any]]:
    """What a reader must see at `now_s`: of each record the newest value of every bin of its present life.

    truth: each record's events in the order of their versions.
    """
    records: dict[bytes, tuple[dict[str, Any], int | None]] = {}
    for event in truth:
        bins, exp_s = records.pop(event.digest, ({}, None))
        if event.op == "delete":
            continue
        if exp_s is not None and event.lut_ms is not None and exp_s * 1000 <= event.lut_ms:
            bins = {}
        merged = {**bins, **event.bins}
        records[event.digest] = {name: value for name, value in merged.items() if value is not None}, event.exp_s
    return {digest: bins for digest, (bins, exp_s) in records.items() if exp_s is None or exp_s > now_s}


__all__ = ["NAMES", "deliveries", "end_state", "history_of_one_record"]
