"""A compacted topic is right for mirrors of whole images only."""

import pytest

from pipelines.compaction import judge_compaction
from pipelines.flow import Flow
from schemas.errors import Terminal
from tests.unit.flow.flows import changed, valid


def flow(path: str = "source/compacted", value: object = "refuse", *, history: bool = True) -> Flow:
    data = changed(path, value)
    if not history:
        del data["lanes"]["bulk"]
    return Flow.model_validate(data)


def test_a_topic_that_keeps_every_message_is_nothing_to_tell() -> None:
    assert judge_compaction(flow(), {"xdr.payments": "delete"}) == []


@pytest.mark.parametrize("policy", ["compact", "compact,delete"])
def test_a_history_of_a_compacted_topic_is_refused_unless_accepted(policy: str) -> None:
    with pytest.raises(Terminal, match=r"E434.*xdr\.payments \(cleanup\.policy=compact.*output history would miss") as error:
        judge_compaction(flow(), {"xdr.payments": policy})
    assert "source.compacted: accept" in error.value.remedy
    (line,) = judge_compaction(flow(value="accept"), {"xdr.payments": policy})
    assert "accepted by the flow" in line and "output history misses" in line


def test_a_mirror_of_whole_images_is_warned_only() -> None:
    (line,) = judge_compaction(flow(history=False), {"xdr.payments": "compact"})
    assert "last message of each key" in line


def test_a_mirror_that_merges_needs_every_event() -> None:
    with pytest.raises(Terminal, match=r"E434.*partial images.*output mirror would miss"):
        judge_compaction(flow("source/image", "partial", history=False), {"xdr.payments": "compact"})


def test_a_policy_we_may_not_see_is_told() -> None:
    (line,) = judge_compaction(Flow.model_validate(valid()), {"xdr.payments": None})
    assert "may not be read" in line
