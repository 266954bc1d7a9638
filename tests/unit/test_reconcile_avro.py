"""What reconcile takes for the same when the messages are Avro: what Avro loses, and nothing else."""

from typing import Any

import aerospike
import pytest

from pipelines.reconcile.compare import Form, compare
from sinks.aerospike.scan import StoredRecord

DIGEST = bytes(20)
POINT = {"type": "Point", "coordinates": [8.5, 47.4]}
TEXT = '{"type": "Point", "coordinates": [8.50, 47.4]}'


def record(value: Any) -> StoredRecord:
    return StoredRecord(DIGEST, None, None, {"a": value}, None)


def judged(source: Any, mirror: Any, *, avro: bool = True) -> str:
    tally, findings = compare({DIGEST: record(source)}, {DIGEST: record(mirror)}, Form(False, None, avro=avro), 0.0, 1.0)
    return "differing" if findings else "by form" if tally.form_limited else "equal"


@pytest.mark.parametrize(
    ("source", "mirror"),
    [
        (aerospike.GeoJSON(POINT), TEXT),
        ([aerospike.GeoJSON(POINT), 1], [TEXT, 1]),
        ({7: 1, "x": {1.5: 2}}, {"7": 1, "x": {"1.5": 2}}),
    ],
)
def test_what_avro_loses(source: Any, mirror: Any) -> None:
    assert judged(source, mirror) == "by form"


@pytest.mark.parametrize(
    ("source", "mirror"),
    [
        (aerospike.GeoJSON(POINT), '{"type":"Point","coordinates":[8.5,47.5]}'),
        (aerospike.GeoJSON(POINT), "no JSON"),
        ("AP8=", b"\0\xff"),
        ([b"\0\xff"], ["AP8="]),
        ([1], [True]),
        ([1], [1, 2]),
        ({7: 1}, {"7": 2}),
        ({7: 1}, {"8": 1}),
        (TEXT, '{"type":"Point","coordinates":[8.5,47.4]}'),
        (1, 1.0),
        (-0.0, 0.0),
    ],
)
def test_what_avro_keeps(source: Any, mirror: Any) -> None:
    assert judged(source, mirror) == "differing"


def test_other_forms_are_judged_as_before() -> None:
    assert judged([b"\0\xff"], ["AP8="], avro=False) == "by form"
    assert judged(aerospike.GeoJSON(POINT), TEXT, avro=False) == "differing"


@pytest.mark.parametrize(
    ("source", "mirror", "said"),
    [
        (b"\x00\xff", "AP8=", "by form"),
        ({7: 1}, {"7": 1}, "by form"),
        (aerospike.GeoJSON(POINT), TEXT, "by form"),
        (1, 2, "differing"),
        (1, "1", "differing"),
        ([1, 2], [2, 1], "differing"),
    ],
)
def test_a_mixed_topic_may_have_lost_what_any_form_loses_and_nothing_else(source: Any, mirror: Any, said: str) -> None:
    tally, findings = compare({DIGEST: record(source)}, {DIGEST: record(mirror)}, Form(False, None, mixed=True), 0.0, 1.0)
    assert ("differing" if findings else "by form" if tally.form_limited else "equal") == said
