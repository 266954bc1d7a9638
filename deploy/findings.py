"""What a start of a flow would refuse or warn of at its servers, for `millrace doctor FLOW`: looked at, nothing begun."""

import time
from collections.abc import Callable, Iterator
from functools import partial

from deploy.doctor import Check
from pipelines.clock import judge_clock
from pipelines.compaction import judge_compaction
from pipelines.flow import Flow
from pipelines.guards import check_kafka
from pipelines.kafka_offsets import Broker, client_settings
from pipelines.open_transactions import TOLD_AFTER_S, held_back
from pipelines.runner import lane_position
from pipelines.wiring import FlowParts
from schemas.errors import MillraceError
from sinks.aerospike.mirror import AerospikeMirror


def kafka_findings(flow: Flow, timeout_s: float, now_s: Callable[[], float] = time.time) -> Iterator[Check]:
    """The lanes' positions, topics' settings and open transactions. The brokers are known to answer."""
    options = flow.source.client_options()
    settings = client_settings(options.pop("bootstrap.servers"), options)
    broker = Broker(settings, timeout_s, committed=flow.source.committed)
    told: list[str] = []

    def positions() -> list[str]:
        lanes = [lane_position(flow, lane) for lane in flow.lanes]
        check_kafka(broker, flow.source.topics, lanes, flow.checkpoint, told.append, remember=False)
        return told

    yield from _rows("source positions", positions, "every lane can go on where it stands")
    yield from _rows(
        "topic settings", lambda: judge_compaction(flow, broker.cleanup_policies(flow.source.topics)), "topics keep every message"
    )
    yield from _rows("transactions", lambda: _open_transactions(flow, broker, now_s()), "nothing waits for a transaction")


def mirror_findings(flow: Flow) -> Iterator[Check]:
    """Whether each mirror is the one the checkpoint has filled, and the clocks.

    Writes and removes one record, as a start does.
    """
    parts = FlowParts(flow)
    for lane, options in flow.lanes.items():
        mirrors = {name: parts.sinks[name] for name in options.outputs if name in parts.sinks}
        if mirrors:
            same = partial(parts.require_mirrors, lane, remember=False)
            yield from _rows(f"mirrors of lane {lane}", same, f"{', '.join(mirrors)}: filled by this checkpoint, or new to it")
        for name, mirror in mirrors.items():
            yield from _rows(f"clock for {name}", partial(_clock, name, mirror), "agrees with the mirror's servers")


def _clock(name: str, mirror: AerospikeMirror) -> str | None:
    return judge_clock(name, mirror.clock_lead_s())


def _open_transactions(flow: Flow, broker: Broker, now_s: float) -> list[str]:
    bounds = broker.bounds(broker.partitions(flow.source.topics))
    lines = []
    for held in held_back(bounds.readable, bounds.newest):
        began_ms = broker.message_time_ms(held.topic, held.partition, held.offset)
        age_s = 0.0 if began_ms is None else max(0.0, now_s - began_ms / 1000)
        if age_s >= TOLD_AFTER_S or began_ms is None:
            lines.append(str(held._replace(seconds=age_s)))
    return lines


def _rows(name: str, look: Callable[[], list[str] | str | None], well: str) -> Iterator[Check]:
    """One row: ok, a warning for each line found, or the refusal of a start with its code and remedy."""
    try:
        found = look()
    except MillraceError as refused:
        yield Check(name, "fail", f"{refused.code} {refused.message}", refused.remedy)
        return
    lines = [found] if isinstance(found, str) else found or []
    yield from (Check(name, "warn", line, "See docs/kafka.md.") for line in lines)
    if not lines:
        yield Check(name, "ok", well)


__all__ = ["kafka_findings", "mirror_findings"]
