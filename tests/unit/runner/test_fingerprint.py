"""A flow over the state it left: what is refused, told, accepted and remembered."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from checkpoints.plan import read_plan
from pipelines.fingerprint import PlanGuard, ahead, plan_of
from pipelines.flow import Flow
from schemas.errors import Terminal
from tests.unit.flow.flows import HISTORY, MIRROR, valid

GOLDEN = Path(__file__).parents[1] / "checkpoints/golden"


class Told:
    """A report that keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str]] = []

    def event(self, kind: str, message: str, **fields: object) -> None:
        self.events.append((kind, message))

    def batch(self, report: object) -> None: ...
    def flush(self) -> None: ...
    def tick(self) -> None: ...


def flow_in(folder: Path, **options: Any) -> Flow:
    source = valid()["source"] | options.pop("source", {})
    return Flow.model_validate({**valid(), "checkpoint": str(folder), "source": source, **options})


def start(flow: Flow, *accept: str) -> list[tuple[str, str]]:
    told = Told()
    guard = PlanGuard(flow, accept)
    guard.require(told)
    guard.remember()
    return told.events


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The checkpoint of a flow that has started, and has finished batches 0 to 2 in both lanes."""
    start(flow_in(tmp_path))
    for lane in ("fast", "bulk"):
        shutil.copytree(GOLDEN / "done", tmp_path / lane)
    return tmp_path


MORE = {"fast": {"outputs": {"mirror": MIRROR}}, "bulk": {"outputs": {"history": HISTORY, "more": HISTORY | {"path": "/more"}}}}


def test_what_is_kept_of_a_flow() -> None:
    records = [
        {"namespace": "ns", "sets": ["a", "b"], "without_set": True, "bins": {"x": "int"}, "rename": {"y": "x"}},
        {"namespace": "other", "bins": {"z": "int"}, "policies": {"new_bin": "ignore"}},
    ]
    plan = plan_of(Flow.model_validate({**valid(), "records": records, "lanes": {"bulk": {"outputs": {"history": HISTORY}}}}))
    assert plan.sources == {"kafka": {"topics": ["xdr.payments"], "image": "full"}}
    assert {name: content["only_bins"] for name, content in plan.records.items()} == {
        "ns/a": None, "ns/b": None, "ns/": None, "other/*": ["z"],
    }  # fmt: skip
    assert plan.records["ns/a"]["rename"] == {"y": "x"}
    assert plan.lanes == {"bulk": {"history": {"type": "delta_history"}}} and plan.letters_lane == "bulk"


def test_the_same_flow_starts_again_and_addresses_limits_and_formats_may_change(folder: Path) -> None:
    assert start(flow_in(folder)) == []
    moved = {
        "bootstrap_servers": "elsewhere:9092",
        "format": "flat-json",
        "max_offsets_per_trigger": 7,
        "topics": ["xdr.payments"],
    }
    lanes = {
        "fast": {"trigger": {"interval_ms": 50}, "outputs": {"mirror": MIRROR | {"hosts": ["other:3000"], "send_key": False}}},
        "bulk": {"outputs": {"history": HISTORY | {"path": "/another"}}},
    }
    assert start(flow_in(folder, source=moved, lanes=lanes)) == []


def test_an_output_added_over_old_state_is_refused_until_it_is_accepted(folder: Path) -> None:
    flow = flow_in(folder, lanes=MORE)
    for _ in range(2):  # a refusal changes nothing
        with pytest.raises(Terminal, match=r"E443.*\[output-added:more\].*lane is past batch 2") as error:
            start(flow)
        assert "--accept output-added:more" in error.value.remedy
    guard = PlanGuard(flow, ["output-added:more"])
    guard.require(Told())
    assert guard.added_outputs == {"more"}
    assert start(flow, "output-added:more")[0][1].startswith("accepted: ")
    assert start(flow) == [], "no second acceptance is needed"
    assert start(flow, "output-added:more") == [], "and one that is left over does no harm"


def test_every_difference_is_named_at_once(folder: Path) -> None:
    changed = flow_in(folder, source={"image": "none"}, lanes=MORE)
    with pytest.raises(Terminal) as error:
        start(changed, "output-added:more")
    assert "[image:kafka]" in str(error.value) and "output-added" not in str(error.value)
    with pytest.raises(Terminal, match=r"\[image:kafka\].*\[output-added:more\]"):
        start(changed)


def test_an_acceptance_of_what_did_not_change_is_refused_with_a_suggestion(folder: Path) -> None:
    with pytest.raises(Terminal, match=r"E443.*output-added:mroe cannot be accepted") as error:
        start(flow_in(folder, lanes=MORE), "output-added:mroe")
    assert error.value.remedy == "Did you mean 'output-added:more'?"
    with pytest.raises(Terminal, match=r"image:kafka cannot be accepted") as error:
        start(flow_in(folder), "image:kafka")
    assert error.value.remedy == "Leave out --accept."


def test_a_renamed_flow_cannot_be_accepted(folder: Path) -> None:
    with pytest.raises(Terminal, match=r"E443.*was called payments and is called orders") as error:
        start(flow_in(folder, name="orders"), "flow-name")
    assert "--accept" not in error.value.remedy


def test_harmless_changes_are_told(folder: Path) -> None:
    events = start(flow_in(folder, source={"topics": ["xdr.payments", "xdr.more"], "image": "partial"}))
    assert [kind for kind, _ in events] == ["changed", "changed"]
    assert "images and ships partial" in events[0][1] and "topic xdr.more was added" in events[1][1]


def test_without_state_everything_may_change(tmp_path: Path) -> None:
    start(flow_in(tmp_path))
    assert start(flow_in(tmp_path, name="orders", lanes=MORE)) == []
    kept = read_plan(str(tmp_path))
    assert kept is not None and kept.plan.flow == "orders"


def test_a_checkpoint_from_before_plans_were_kept_is_taken_as_it_is(folder: Path) -> None:
    shutil.rmtree(folder / "_millrace")
    assert start(flow_in(folder, lanes=MORE)) == []
    assert start(flow_in(folder, lanes=MORE)) == []


def test_what_was_accepted_is_kept(folder: Path) -> None:
    start(flow_in(folder, lanes=MORE), "output-added:more")
    start(flow_in(folder, lanes=MORE))
    kept = read_plan(str(folder))
    assert kept is not None and kept.accepted == ("output-added:more",)


def test_letters_stay_with_a_lane_unless_the_next_one_is_not_ahead(folder: Path) -> None:
    mirror_only = {"fast": {"outputs": {"mirror": MIRROR}}}
    assert len(start(flow_in(folder, lanes=mirror_only))) == 0, "both lanes stand at the same offsets"
    start(flow_in(folder))
    for log in ("offsets", "commits"):
        (folder / "bulk" / log / "2").unlink()
    with pytest.raises(Terminal, match=r"E443.*\[letters-lane\].*fast, which is 7 messages ahead"):
        start(flow_in(folder, lanes=mirror_only))


def test_messages_one_is_past_and_the_other_is_not() -> None:
    assert ahead({"t": {0: 5, 1: 9}}, {"t": {0: 7, 1: 4}}) == 5
    assert ahead({"t": {0: 5}, "u": {0: 2}}, {"t": {0: 5}}) == 2
    assert ahead({}, {"t": {0: 5}}) == 0
