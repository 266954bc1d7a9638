"""`millrace doctor FLOW` shows what a start would refuse or warn of."""

import json
from pathlib import Path
from typing import Any

import pytest

from deploy import findings
from deploy.doctor import Check
from pipelines.flow import Flow
from pipelines.guards import TOPICS_FILE
from tests.support.kafka_broker import BrokerDouble
from tests.unit.flow.flows import valid

NOW_S = 1_700_000_000.0


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> BrokerDouble:
    double = BrokerDouble({"xdr.payments": {0: (0, 100)}}, cluster="first")
    monkeypatch.setattr(findings, "Broker", lambda *_, **__: double)
    return double


@pytest.fixture
def flow(tmp_path: Path) -> Flow:
    return Flow.model_validate(valid() | {"checkpoint": str(tmp_path)})


def read_to(flow: Flow, offset: int) -> None:
    """The lane `fast` has read up to `offset`."""
    lane = Path(flow.lane_checkpoint("fast"))
    for name, text in (
        ("metadata", '{"id":"11111111-1111-1111-1111-111111111111"}'),
        ("offsets/0", "v1\n{}\n" + json.dumps({"xdr.payments": {"0": offset}})),
        ("commits/0", "v1\n{}"),
    ):
        (lane / name).parent.mkdir(parents=True, exist_ok=True)
        (lane / name).write_text(text)


def found(flow: Flow) -> dict[str, Check]:
    return {check.name: check for check in findings.kafka_findings(flow, 1.0, now_s=lambda: NOW_S)}


def test_nothing_to_tell(flow: Flow, broker: BrokerDouble) -> None:
    read_to(flow, 40)
    assert {check.state for check in found(flow).values()} == {"ok"}
    assert not (Path(flow.checkpoint) / TOPICS_FILE).exists(), "looking changes nothing"


def test_a_refusal_has_its_code_and_remedy(flow: Flow, broker: BrokerDouble) -> None:
    read_to(flow, 40)
    broker.topics["xdr.payments"][0] = (60, 100)
    check = found(flow)["source positions"]
    assert check.state == "fail" and "E431" in check.found and "20 offsets" in check.found and check.remedy


def test_compaction_fails_and_added_partitions_warn(flow: Flow, broker: BrokerDouble) -> None:
    read_to(flow, 40)
    broker.policies["xdr.payments"] = "compact"
    broker.topics["xdr.payments"][1] = (0, 0)
    checks = found(flow)
    assert checks["topic settings"].state == "fail" and "E434" in checks["topic settings"].found
    assert checks["source positions"].state == "warn" and "2 partitions now" in checks["source positions"].found


@pytest.mark.parametrize(("age_s", "state"), [(59.0, "ok"), (200.0, "warn")])
def test_an_open_transaction_is_told_with_its_age(
    flow: Flow, broker: BrokerDouble, monkeypatch: pytest.MonkeyPatch, age_s: float, state: str
) -> None:
    broker.held["xdr.payments", 0] = 70
    asked: list[Any] = []

    def message_time_ms(*place: Any) -> int:
        asked.append(place)
        return int((NOW_S - age_s) * 1000)

    monkeypatch.setattr(broker, "message_time_ms", message_time_ms)
    check = found(flow)["transactions"]
    assert check.state == state
    assert asked == [("xdr.payments", 0, 70)]
    if state == "warn":
        assert "open for 3 min 20 s" in check.found and "30 offsets wait" in check.found


def test_a_broker_that_goes_away_meanwhile_is_a_row_too(flow: Flow, broker: BrokerDouble) -> None:
    broker.away = True
    assert {check.state for check in found(flow).values()} == {"fail"}
