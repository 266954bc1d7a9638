"""Every kind of difference between two versions of a schema, and what each breaks."""

from typing import Any

import pytest

from pipelines.catalogue.changes import changes
from pipelines.flow.records import RecordSchema

BEFORE: dict[str, Any] = {
    "version": 1,
    "namespace": "shop",
    "sets": ["orders"],
    "bins": {"id": {"type": "int", "nullable": False}, "total": "float", "tags": "list"},
    "rename": {"TOTAL": "total"},
}


def between(**after: Any) -> dict[str, str]:
    """What breaks by option, when BEFORE becomes this; the version is raised."""
    found = changes(RecordSchema(**BEFORE), RecordSchema(**{**BEFORE, "version": 2, **after}))
    return {change.option: change.breaks for change in found}


def bins(**more: Any) -> dict[str, Any]:
    return {name: kind for name, kind in {**BEFORE["bins"], **more}.items() if kind is not None}


def test_nothing_differs() -> None:
    assert changes(RecordSchema(**BEFORE), RecordSchema(**BEFORE)) == []


@pytest.mark.parametrize(
    ("after", "option", "breaks"),
    [
        ({"bins": bins(note="str")}, "bins.note", ""),
        ({"bins": bins(note={"type": "str", "nullable": False})}, "bins.note", "no such bin"),
        ({"bins": bins(total=None)}, "bins.total", "its column gets no values any more"),
        ({"bins": bins(total="int")}, "bins.total", "its column is DOUBLE and cannot become BIGINT"),
        ({"bins": bins(tags="map")}, "bins.tags", "values of the old type do not fit"),
        ({"bins": bins(id="int")}, "bins.id", ""),
        ({"bins": bins(total={"type": "float", "nullable": False})}, "bins.total", "records without it were taken"),
        ({"bins": bins(total={"type": "float", "description": "gross"})}, "bins.total", ""),
        ({"sets": ["orders", "refunds"]}, "sets", ""),
        ({"sets": ["refunds"]}, "sets", "events of sets that are left out"),
        ({"sets": None}, "sets", ""),
        ({"namespace": "other"}, "namespace", "other records"),
        ({"rename": {}}, "rename.TOTAL", "are read otherwise"),
        ({"rename": {"TOTAL": "total", "TAGS": "tags"}}, "rename.TAGS", ""),
        ({"policies": {"new_bin": "add"}}, "policies.new_bin", ""),
        ({"description": "new"}, "description", ""),
    ],
)
def test_each_difference_and_what_it_breaks(after: dict[str, Any], option: str, breaks: str) -> None:
    found = between(**after)
    assert list(found) == ["version", option] and found["version"] == ""
    assert breaks in found[option] if breaks else found[option] == ""


@pytest.mark.parametrize(
    ("policy", "breaks"),
    [("add", ""), ("rescue", "`_rescued`"), ("ignore", "left out of every output"), ("stop", "the flow stops")],
)
def test_what_becomes_of_a_bin_that_is_left_out_says_the_policy_for_new_bins(policy: str, breaks: str) -> None:
    before = {**BEFORE, "policies": {"new_bin": policy}}
    after = {**before, "version": 2, "bins": bins(tags=None)}
    [_, change] = changes(RecordSchema(**before), RecordSchema(**after))
    assert change.option == "bins.tags" and (breaks in change.breaks if breaks else not change.breaks)


def test_a_bin_that_differs_only_in_case_takes_the_others_column() -> None:
    found = changes(RecordSchema(**BEFORE), RecordSchema(**{**BEFORE, "version": 2, "bins": bins(Total="float")}))
    assert [(one.option, one.after, "loses its column" in one.breaks) for one in found if one.option == "bins.total"] == [
        ("bins.total", "in `_rescued`", True)
    ]


@pytest.mark.parametrize("version", [1, 0])
def test_a_change_without_a_higher_version_is_told(version: int) -> None:
    before = RecordSchema(**{**BEFORE, "version": version + 1})
    [first, *_] = changes(before, RecordSchema(**{**BEFORE, "version": max(1, version), "description": "x"}))
    assert (first.option, bool(first.breaks)) == ("version", True)
