"""What the policies of a flow's record types come to where they act: reader, mirror, history, reconcile."""

from pathlib import Path
from typing import Any

import pytest

from pipelines.flow import Flow
from pipelines.reconcile.compare import Form
from pipelines.reconcile.jobs import Scope
from pipelines.wiring import FlowParts
from schemas.xdr.options import Policies
from sinks.aerospike.mirror import AerospikeMirror
from sinks.aerospike.scan import StoredRecord
from tests.unit.flow.flows import valid


def flow(*entries: dict[str, Any]) -> Flow:
    records = [{"namespace": "payments", "sets": [f"s{place}"], **entry} for place, entry in enumerate(entries)]
    return Flow.model_validate({**valid(), "records": records})


@pytest.mark.parametrize(("words", "told"), [(("check", "drop"), "proved"), (("check", "trust"), "trust")])
def test_a_mirror_knows_whether_the_reader_has_proved_its_keys(words: tuple[str, ...], told: str) -> None:
    parts = FlowParts(flow(*({"policies": {"user_key": word}} for word in words)))
    mirror = parts.sinks["mirror"]
    assert isinstance(mirror, AerospikeMirror) and mirror.config.user_keys == told


def test_a_history_knows_which_record_types_add_and_widen() -> None:
    adding = {"bins": {"f": "float"}, "policies": {"new_bin": "add", "type_change": "widen"}}
    rules = FlowParts(flow(adding, {"bins": {"i": "int"}})).histories["history"].rules
    assert (rules.widened, [record.sets for record in rules.adding]) == (frozenset({"f"}), [("s0",)])


def test_a_record_type_without_any_bins_may_still_add_them(tmp_path: Path) -> None:
    assert flow({"bins": {}, "policies": {"new_bin": "add"}}).declared_bins() == {}
    assert flow({}).declared_bins() is None


def test_reconcile_leaves_out_what_the_policies_leave_out() -> None:
    records = (
        flow({"bins": {"a": "int"}, "policies": {"new_bin": "ignore", "user_key": "drop"}}, {"bins": {"a": "int"}})
        .decode_options()
        .records
    )
    scope = Scope(records, "payments", Form(True, None), 0.0)

    def kept(set_name: str) -> tuple[dict[str, Any], Any]:
        row = scope.as_asked(StoredRecord(bytes(20), set_name, "k", {"a": 1, "b": 2}, None))
        return row.bins, row.user_key

    assert kept("s0") == ({"a": 1}, None)
    assert kept("s1") == kept("other") == ({"a": 1, "b": 2}, "k")
    assert records[0].policies == Policies(new_bin="ignore", user_key="drop")
