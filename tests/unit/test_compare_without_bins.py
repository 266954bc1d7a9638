"""Two copies of records of which no bins are shipped: everything counts but the bins."""

from typing import Any

from pipelines.reconcile.compare import Difference, Form, compare
from sinks.aerospike.scan import StoredRecord

NOW_S = 1_000_000.0


def record(**changes: Any) -> StoredRecord:
    fields: dict[str, Any] = {"digest": b"d" * 20, "set": "s", "user_key": "k", "bins": {"a": 1}, "expiry_s": NOW_S + 100}
    return StoredRecord(**{**fields, **changes})


def found(wanted: StoredRecord | None, other: StoredRecord | None, *, bins: bool) -> list[Difference]:
    sides = [{} if one is None else {one.digest: one} for one in (wanted, other)]
    _, findings = compare(sides[0], sides[1], Form(True, None, bins=bins), NOW_S, 3.0)
    return [finding.kind for finding in findings]


def test_bins_are_compared_where_there_are_any() -> None:
    assert found(record(), record(bins={}), bins=True) == [Difference.BINS]
    assert found(record(), record(bins={}), bins=False) == []


def test_expiries_differ_only_where_the_scans_leave_no_doubt() -> None:
    late = record(expiry_s=NOW_S + 110)
    assert found(record(), late, bins=True) == [Difference.EXPIRY]
    assert found(record(), late._replace(earlier_s=6.9), bins=True) == [Difference.EXPIRY]
    assert found(record(), late._replace(earlier_s=7.1), bins=True) == []
    assert found(late._replace(earlier_s=7.1), record(), bins=True) == []
    assert found(record(earlier_s=50.0), late, bins=True) == [Difference.EXPIRY], "it may be earlier, not later"


def test_what_may_have_expired_during_the_scan_may_be_missing() -> None:
    soon = record(expiry_s=NOW_S + 10)
    assert found(soon, None, bins=True) == [Difference.MISSING]
    assert found(soon._replace(earlier_s=7.1), None, bins=True) == []


def test_all_the_rest_is_compared_anyhow() -> None:
    assert found(record(), record(expiry_s=None), bins=False) == [Difference.EXPIRY]
    assert found(record(), record(user_key=None), bins=False) == [Difference.USER_KEY]
    assert found(record(), record(set=None), bins=False) == [Difference.SET]
    assert found(record(), None, bins=False) == [Difference.MISSING]
    assert found(None, record(), bins=False) == [Difference.EXTRA]
