"""What counts as equal when messages carried every type, and what does not."""

from typing import Any

import aerospike
import pytest

from pipelines.reconcile.compare import Form, compare
from schemas.bins import GeoJson
from sinks.aerospike.scan import StoredRecord

EXACT = Form(False, None, exact=True)
SPACED, COMPACT = '{"type": "Point", "coordinates": [8.5, 47.4]}', '{"type":"Point","coordinates":[8.5,47.4]}'


def tally(one: Any, other: Any, form: Form = EXACT) -> tuple[int, int]:
    """How many of the two records are equal, and how many only as far as the form carries them."""
    sides = [{bytes(20): StoredRecord(bytes(20), "s", None, {"a": value}, None)} for value in (one, other)]
    counted, findings = compare(*sides, form, now_s=0.0, tolerance_s=1.0)
    assert len(findings) == 1 - counted.equal
    return counted.equal, counted.form_limited


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([SPACED, {7: SPACED}], [COMPACT, {7: COMPACT}]),
        ([GeoJson(COMPACT)], [SPACED]),
        ({"k": SPACED}, {"k": GeoJson(COMPACT)}),
        ([aerospike.GeoJSON(SPACED)], [COMPACT]),
    ],
)
def test_geojson_inside_may_be_spelled_otherwise(one: Any, other: Any) -> None:
    assert tally(one, other) == (1, 1)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([b"\x00\xff"], ["AP8="]),
        ({7: 1}, {"7": 1}),
        (b"\x00\xff", "AP8="),
        (SPACED, COMPACT),
        (aerospike.GeoJSON(SPACED), COMPACT),
        ([SPACED], [COMPACT.replace("8.5", "8.6")]),
        (["[1]"], ["[ 1]"]),
        ([1], [1.0]),
        ({"k": SPACED, "l": 1}, {"k": COMPACT}),
    ],
)
def test_nothing_else_is_taken_for_equal(one: Any, other: Any) -> None:
    assert tally(one, other) == (0, 0)
