"""Only messages of committed transactions are read, unless the flow insists."""

from pipelines.flow import Flow
from pipelines.flow.warnings import warnings_about
from pipelines.runner import broker_of
from tests.unit.flow.flows import changed, valid


def test_committed_messages_only_by_default() -> None:
    flow = Flow.model_validate(valid())
    assert {flow.reader_options(lane)["kafka.isolation.level"] for lane in flow.lanes} == {"read_committed"}
    assert flow.source.committed and broker_of(flow)._isolation.name == "READ_COMMITTED"
    assert not [one for one in warnings_about(flow) if "isolation" in one.option]


def test_the_flow_may_insist_and_is_warned() -> None:
    flow = Flow.model_validate(changed("source/options", {"isolation.level": "read_uncommitted"}))
    assert flow.reader_options("fast")["kafka.isolation.level"] == "read_uncommitted"
    assert not flow.source.committed and broker_of(flow)._isolation.name == "READ_UNCOMMITTED"
    (warning,) = [one for one in warnings_about(flow) if one.option.startswith("source.options")]
    assert "aborted" in warning.message
