"""Compacted topics: which outputs still come out right when Kafka keeps only the last message of each key.

Compaction removes a message once a later one with its key has been written, whether anybody has read it or not. A mirror of whole
images needs the newest event of a record only, so it is right as long as the last message is the newest; a history, or a mirror
that merges changed bins, needs every event. Source of the policy: the topic's `cleanup.policy`.
"""

from collections.abc import Mapping

from pipelines.flow.model import Flow
from pipelines.flow.outputs import DeltaHistory
from schemas.errors import Terminal


def judge_compaction(flow: Flow, policies: Mapping[str, str | None]) -> list[str]:
    """Lines that warn about compacted topics and about topics whose policy we may not see (None).

    Raises Terminal E434 when an output needs every event, unless the flow says `source.compacted: accept`.
    """
    lines = []
    hidden = sorted(topic for topic, policy in policies.items() if policy is None)
    if hidden:
        lines.append(
            f"cleanup.policy of {', '.join(hidden)} may not be read (DescribeConfigs on the topic): a compacted topic would lose "
            "events unseen"
        )
    compacted = {topic: policy for topic, policy in sorted(policies.items()) if policy and "compact" in policy.split(",")}
    if not compacted:
        return lines
    told = ", ".join(f"{topic} (cleanup.policy={policy})" for topic, policy in compacted.items())
    needing = [name for name, output in flow.all_outputs().items() if isinstance(output, DeltaHistory)]
    merging = flow.source.image == "partial"
    harmed = list(flow.all_outputs()) if merging else needing
    if harmed and flow.source.compacted == "refuse":
        why = "partial images are merged from every event" if merging else "a history holds every event"
        raise Terminal(
            "E434", f"compacted: {told}; {why}, and output {', '.join(harmed)} would miss those removed before they are read"
        )
    if harmed:
        lines.append(
            f"compacted, and accepted by the flow: {told}; output {', '.join(harmed)} misses what is removed before it is read"
        )
    else:
        lines.append(
            f"compacted: {told}; the mirror gets the last message of each key, which is the newest event unless XDR shipped "
            "them out of order; delete markers of Kafka (messages without a value) are no events and become dead letters"
        )
    return lines


__all__ = ["judge_compaction"]
