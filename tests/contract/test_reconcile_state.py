"""The state that SQL makes of a history of partial images is the one that the source had."""

import random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession

from pipelines.reconcile.state import merged_per_record
from schemas.events import ChangeEvent
from tests.support.events import delete, write
from tests.support.partial import end_state, history_of_one_record

pytestmark = pytest.mark.spark
DDL = (
    "namespace STRING, digest BINARY, op STRING, gen INT, lut_ms BIGINT, exp_s BIGINT, `offset` BIGINT, element INT, "
    "bins ARRAY<STRUCT<name: STRING, type: STRING, value: STRING>>"
)


def state_of(spark: SparkSession, events: list[ChangeEvent]) -> dict[bytes, dict[str, Any]]:
    rows = [
        (
            *(e.namespace, bytearray(e.digest), e.op, e.gen, e.lut_ms, e.exp_s, e.offset, e.element),
            [(name, "null" if value is None else "str", value) for name, value in e.bins.items()],
        )
        for e in events
    ]
    found = merged_per_record(spark.createDataFrame(rows, DDL)).collect()
    assert len({bytes(row.digest) for row in found}) == len(found)
    return {bytes(row.digest): {name: value for name, _, value in row.bins} for row in found}


@st.composite
def many_histories(draw: st.DrawFn) -> list[list[ChangeEvent]]:
    run = draw(st.integers(0, 1 << 60))
    return [history_of_one_record(draw, f"{run}-{n}", expiring=draw(st.booleans())) for n in range(60)]


@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(many_histories(), st.randoms(use_true_random=False))
def test_any_order_any_repetition_is_the_state_of_the_source(
    spark: SparkSession, histories: list[list[ChangeEvent]], rng: random.Random
) -> None:
    events = [event for history in histories for event in history]
    shuffled = events + rng.choices(events, k=len(events) // 4)
    rng.shuffle(shuffled)
    assert state_of(spark, shuffled) == end_state(events, 0)


def test_legacy_events_rank_below_all_others_in_kafka_order(spark: SparkSession) -> None:
    legacy: dict[str, Any] = {"gen": None, "lut_ms": None}
    events = [write("r", 0, bins={"n": str(n), f"n{n}": "x"}, offset=10 * n, **legacy) for n in (1, 2)]
    events += [delete("s", 0, offset=30, **legacy), write("s", 0, bins={"a": "old"}, offset=20, **legacy)]
    events += [write("s", 0, bins={"b": "new"}, offset=40, **legacy), write("r", 1, bins={"n": "versioned"})]
    found = state_of(spark, events[::-1])
    assert found == {events[0].digest: {"n": "versioned", "n1": "x", "n2": "x"}, events[2].digest: {"b": "new"}}


def test_a_record_without_bins_is_one(spark: SparkSession) -> None:
    touched = write("r", 1, bins={})
    assert state_of(spark, [touched, delete("gone", 1)]) == {touched.digest: {}}
