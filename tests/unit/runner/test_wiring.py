"""What a flow says reaches the sinks that are built from it."""

import pytest

from pipelines.flow import Flow
from pipelines.wiring import FlowParts
from sinks.aerospike import AerospikeMirror
from tests.unit.flow.flows import changed


@pytest.mark.parametrize("image", ["full", "partial", "none"])
def test_a_mirror_knows_what_events_carry_of_a_record(image: str) -> None:
    sink = FlowParts(Flow.model_validate(changed("source/image", image))).sinks["mirror"]
    assert isinstance(sink, AerospikeMirror)
    assert sink.config.image == image
