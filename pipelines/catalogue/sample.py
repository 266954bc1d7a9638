"""Samples of records for `millrace schemas infer`: the newest messages of topics, or some partitions of a namespace. No Spark."""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from uuid import uuid4

from aerospike import GeoJSON
from aerospike_helpers import HyperLogLog
from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from pipelines.kafka_offsets import Broker
from pipelines.schema_registry import schema_source
from schemas.errors import ConfigError, Retryable
from schemas.inference import Sample, type_of_value
from schemas.xdr.options import DecodeOptions
from schemas.xdr.reader import Reader
from sinks.aerospike.config import ClientConfig
from sinks.aerospike.scan import PARTITIONS, scan_partitions

_PATIENCE_S = 30.0
_PER_SCAN = 16
_TYPE_NAMES: dict[type, str] = {
    bool: "bool",
    int: "int",
    float: "float",
    str: "str",
    bytes: "blob",
    bytearray: "blob",
    HyperLogLog: "hll",
    list: "list",
    dict: "map",
    GeoJSON: "geojson",
    type(None): "null",
}


def sample_topics(settings: Mapping[str, str], topics: Sequence[str], options: DecodeOptions, messages: int) -> Sample:
    """The newest `messages` of all topics together, as many of each partition, read as `options` say.

    settings: of the C client (`pipelines.kafka_offsets.client_settings`).
    Raises ConfigError E150 for a topic that is not there, E151; Retryable E220 when the broker does not answer, E221 when the
    schema registry does not.
    """
    broker = Broker(settings)
    partitions = broker.partitions(topics)
    absent = [topic for topic in topics if topic not in partitions]
    if absent:
        raise ConfigError("E150", f"no such topic: {', '.join(absent)}", servers=settings["bootstrap.servers"])
    bounds = broker.bounds(partitions)
    each = max(1, messages // max(1, sum(map(len, partitions.values()))))
    ends: dict[tuple[str, int], int] = {}
    starts = []
    for topic, numbers in bounds.newest.items():
        for partition, end in numbers.items():
            start = max(bounds.oldest[topic][partition], end - each)
            if start < end:
                ends[topic, partition] = end
                starts.append(TopicPartition(topic, partition, start))
    sample, reader = Sample(), Reader(options, schema_source(options))
    for message in _messages(settings, starts, ends):
        sample.add_readings(reader.read(message.value(), message.key()))
    return sample


def _messages(settings: Mapping[str, str], starts: list[TopicPartition], ends: dict[tuple[str, int], int]) -> Iterator[Message]:
    """From each partition's start to its end; what a transaction left out never comes, so a partition says when it is over."""
    ours: dict[str, Any] = {"group.id": f"millrace-schemas-{uuid4()}", "enable.auto.commit": False, "enable.partition.eof": True}
    consumer = Consumer({**settings, **ours, "log_level": 0})
    heard = time.monotonic()
    try:
        consumer.assign(starts)
        while ends:
            message = consumer.poll(0.5)
            if message is None:
                if time.monotonic() - heard > _PATIENCE_S:
                    raise Retryable("E220", f"no message came from {settings['bootstrap.servers']} within {_PATIENCE_S:g} s")
                continue
            error = message.error()
            if error is not None and error.code() != KafkaError._PARTITION_EOF:
                raise Retryable("E220", f"{settings['bootstrap.servers']}: {error.str()}")
            heard = time.monotonic()
            place, offset = (message.topic() or "", message.partition() or 0), message.offset() or 0
            if error is None and offset < ends.get(place, 0):
                yield message
            if error is not None or offset + 1 >= ends.get(place, 0):
                ends.pop(place, None)
    finally:
        consumer.close()


def sample_namespace(config: ClientConfig, namespace: str, records: int, set_name: str | None = None) -> Sample:
    """At least `records` records of a namespace (all, when it has fewer), of one set or of every: digests spread them evenly.

    Raises Retryable E210, Terminal E440.
    """
    sample = Sample()
    for first in range(0, PARTITIONS, _PER_SCAN):
        for record in scan_partitions(config, namespace, first, _PER_SCAN):
            if set_name is not None and record.set != set_name:
                continue
            sample.looked_at += 1
            types = {name: type_of_value(value, _TYPE_NAMES) for name, value in record.bins.items()}
            sample.of(namespace, record.set).add(types)
        if sample.looked_at >= records:
            break
    return sample


__all__ = ["sample_namespace", "sample_topics"]
