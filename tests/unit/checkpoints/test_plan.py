"""What may change in a flow over old state: pure judgements, and the record they rest on."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from checkpoints.plan import PLAN_FILE, Change, KeptPlan, Plan, changes, read_plan, with_lanes_of, write_plan
from schemas.errors import Terminal

MIRROR = {"type": "aerospike", "namespace": "m", "tombstone_set": "t"}
HISTORY = {"type": "delta_history"}
PLAN = Plan(
    flow="f",
    sources={"kafka": {"topics": ["a", "b"], "image": "full"}},
    records={"ns/s": {"rename": {}, "only_bins": None}, "other/*": {"rename": {}, "only_bins": None}},
    lanes={"fast": {"mirror": MIRROR}, "bulk": {"history": HISTORY}},
    letters_lane="bulk",
)
STATE = {"fast": 7, "bulk": 3}


def names(now: Plan, before: Plan = PLAN, state: dict[str, int] | None = None, unread: int = 0) -> list[str]:
    return [change.name for change in changes(before, now, STATE if state is None else state, unread)]


def source(**content: Any) -> Plan:
    return replace(PLAN, sources={"kafka": {**PLAN.sources["kafka"], **content}})


def records(**content: dict[str, Any]) -> Plan:
    return replace(PLAN, records={name.replace("__", "/").replace("ALL", "*"): value for name, value in content.items()})


def lanes(**outputs: dict[str, Any]) -> Plan:
    return replace(PLAN, lanes=outputs)


PLAIN = {"rename": {}, "only_bins": None}
REFUSED = {
    "renamed flow": (replace(PLAN, flow="g"), ["flow-name"]),
    "bins no longer shipped": (source(image="none"), ["image:kafka"]),
    "source added": (replace(PLAN, sources={**PLAN.sources, "second": {}}), ["source-added:second"]),
    "source removed": (replace(PLAN, sources={}), ["source-removed:kafka"]),
    "set added": (records(ns__s=PLAIN, ns__t=PLAIN, other__ALL=PLAIN), ["records-added:ns/t"]),
    "all sets instead of one": (records(ns__ALL=PLAIN, other__ALL=PLAIN), ["records-added:ns/*"]),
    "records without set added": (records(ns__s=PLAIN, ns__=PLAIN, other__ALL=PLAIN), ["records-added:ns/"]),
    "bins renamed": (records(ns__s=PLAIN | {"rename": {"x": "y"}}, other__ALL=PLAIN), ["records-changed:ns/s"]),
    "bins left out": (records(ns__s=PLAIN | {"only_bins": ["x"]}, other__ALL=PLAIN), ["records-changed:ns/s"]),
    "narrowed and renamed": (records(ns__s=PLAIN, other__s=PLAIN | {"rename": {"x": "y"}}), ["records-changed:other/s"]),
    "output added": (lanes(fast={"mirror": MIRROR}, bulk={"history": HISTORY, "more": HISTORY}), ["output-added:more"]),
    "output moved": (lanes(fast={"mirror": MIRROR, "history": HISTORY}), ["output-moved:history"]),
    "another namespace": (lanes(fast={"mirror": MIRROR | {"namespace": "n"}}), ["output-changed:mirror"]),
    "another set of tombstones": (lanes(fast={"mirror": MIRROR | {"tombstone_set": "u"}}), ["output-changed:mirror"]),
    "another kind": (lanes(fast={"mirror": HISTORY}), ["output-changed:mirror"]),
    "sum to max": (replace(PLAN, steps={"total": {"aggregate": "max"}}), ["step-added:total"]),
}
FREE = {
    "nothing": (PLAN, 0),
    "order of sources, records and lanes": (
        replace(PLAN, records=dict(reversed(PLAN.records.items())), lanes=dict(reversed(PLAN.lanes.items()))), 0,
    ),
    "topic added": (source(topics=["a", "b", "c"]), 1),
    "topic removed, which the Kafka guards judge": (source(topics=["a"]), 0),
    "partial images": (source(image="partial"), 1),
    "one set of all": (records(ns__s=PLAIN, other__s=PLAIN), 1),
    "set no longer taken": (records(ns__s=PLAIN), 1),
    "output removed": (lanes(fast={"mirror": MIRROR}, bulk={}), 1),
    "lane removed": (lanes(fast={"mirror": MIRROR}), 0),
    "lane added": (lanes(fast={"mirror": MIRROR}, bulk={"history": HISTORY}, new={"more": HISTORY}), 0),
    "output moved into a new lane": (lanes(fast={"mirror": MIRROR}, new={"history": HISTORY}), 0),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_changes_that_would_miss_or_mix_events_have_a_name(case: str) -> None:
    now, expected = REFUSED[case]
    assert [name for name in names(now) if name] == expected
    assert names(now, state={}) == [], "without state everything may change"
    assert names(PLAN) == []


@pytest.mark.parametrize("case", FREE)
def test_changes_that_harm_nothing_are_told_at_most(case: str) -> None:
    now, told = FREE[case]
    assert names(now) == [""] * told


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        ({"total": {"sum": "x"}}, {"total": {"max": "x"}}, ["step-changed:total"]),
        ({"total": {"sum": "x"}}, {}, ["step-removed:total"]),
        ({"a": {"sum": "x"}, "b": {"sum": "y"}}, {"b": {"sum": "y"}, "a": {"sum": "x"}}, []),
    ],
)
def test_steps_are_compared_by_content(before: dict[str, Any], now: dict[str, Any], expected: list[str]) -> None:
    assert names(replace(PLAN, steps=now), replace(PLAN, steps=before)) == expected


def test_sources_are_compared_by_name() -> None:
    two = {"orders": {"topics": ["o"], "image": "full"}, "payments": {"topics": ["p"], "image": "full"}}
    assert names(replace(PLAN, sources=dict(reversed(two.items()))), replace(PLAN, sources=two)) == []


def test_letters_of_a_lane_that_is_ahead_would_be_missing() -> None:
    now = replace(PLAN, letters_lane="fast")
    assert names(now) == []
    (change,) = changes(PLAN, now, STATE, unread=1_234)
    assert change.name == "letters-lane" and "1,234 messages ahead" in change.told


def test_evidence_is_named() -> None:
    now = lanes(fast={"mirror": MIRROR}, bulk={"history": HISTORY, "more": HISTORY})
    assert changes(PLAN, now, STATE) == [
        Change("output-added:more", "output more was added to lane bulk: the lane is past batch 3, and does not go back")
    ]
    told = changes(PLAN, lanes(fast={"mirror": MIRROR | {"namespace": "n"}}), STATE)[0].told
    assert "namespace was m and is n; lane fast is past batch 7" in told


def test_a_lane_that_comes_back_is_compared_with_what_it_was() -> None:
    without = with_lanes_of(PLAN, lanes(fast={"mirror": MIRROR}))
    assert names(PLAN, without) == []
    assert names(lanes(bulk={"more": HISTORY}), without) == ["output-added:more", ""]


def test_an_output_removed_and_added_back_misses_what_came_between() -> None:
    without = with_lanes_of(PLAN, lanes(fast={"mirror": MIRROR}, bulk={"x": HISTORY}))
    assert "output-added:history" in names(PLAN, without)


def test_the_record_comes_back_as_it_was(tmp_path: Path) -> None:
    assert read_plan(str(tmp_path)) is None
    kept = KeptPlan(PLAN, ("image:kafka",))
    write_plan(str(tmp_path), kept)
    assert read_plan(str(tmp_path)) == kept


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"format": 1}', '{"format": 1, "plan": {"flow": "f"}}'])
def test_a_damaged_record_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "_millrace").mkdir()
    (tmp_path / PLAN_FILE).write_text(text)
    with pytest.raises(Terminal, match=r"E421.*not a flow's plan.*plan\.json"):
        read_plan(str(tmp_path))


def test_parts_of_the_wrong_shape_and_newer_formats_are_refused(tmp_path: Path) -> None:
    write_plan(str(tmp_path), KeptPlan(PLAN, ()))
    record = json.loads((tmp_path / PLAN_FILE).read_text())
    record["plan"]["lanes"] = {"fast": ["mirror"]}
    (tmp_path / PLAN_FILE).write_text(json.dumps(record))
    with pytest.raises(Terminal, match="E421"):
        read_plan(str(tmp_path))
    (tmp_path / PLAN_FILE).write_text(json.dumps({"format": 2, "anything": "else"}))
    with pytest.raises(Terminal, match=r"E445.*has format 2, and this release knows 1"):
        read_plan(str(tmp_path))
