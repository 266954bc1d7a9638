"""Counters under test: their configuration, what readers see of them, and changes made of short descriptions."""

from dataclasses import replace
from typing import Any

from aerospike.exception import RecordNotFound

from sinks.aerospike import AerospikeCounters, CountersConfig
from sinks.aerospike.config import ClientConfig
from sinks.aerospike.connection import client_for
from sinks.aerospike.record_changes import Contribution, Operation, Place, Target

WRITER = "flow/counters"


def counters_config(address: str, namespace: str, timeout_ms: int = 10_000, **changes: Any) -> CountersConfig:
    """Counters at `host:port`; timeout_ms: of one call, small where answers get lost."""
    host, port = address.rsplit(":", 1)
    config = CountersConfig(
        name="counters",
        writer=WRITER,
        client=ClientConfig(hosts=((host, int(port), None),), socket_timeout_ms=timeout_ms, total_timeout_ms=timeout_ms),
        namespace=namespace,
        max_batch_records=7,
        first_backoff_ms=2,
        max_backoff_ms=10,
    )
    return replace(config, **changes)


def stored(sink: AerospikeCounters, target: Target) -> dict[str, Any] | None:
    """Bins of a record, private ones included; None when it is not there."""
    key: Any = (sink.config.namespace, target.set, target.user_key)
    if target.user_key is None:
        key = (sink.config.namespace, target.set, None, bytearray(target.digest or b""))
    try:
        return dict(client_for(sink.config.client).get(key, {"total_timeout": 30_000, "socket_timeout": 30_000})[2])
    except RecordNotFound:
        return None


def shown(sink: AerospikeCounters, target: Target) -> dict[str, Any] | None:
    """Bins of a record as a reader sees them."""
    bins = stored(sink, target)
    return None if bins is None else {name: value for name, value in bins.items() if not name.startswith("_mr_")}


def event(target: Target, offset: int, *operations: Operation, partition: int = 0, element: int = 0) -> Contribution:
    """What one event at a place in Kafka does."""
    return Contribution(target, Place("t", partition, offset, element), operations)


__all__ = ["WRITER", "counters_config", "event", "shown", "stored"]
