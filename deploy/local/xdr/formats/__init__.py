"""Encodings of change events, by the name the connector's configuration gives them.

An encoding is one module with a class that takes the settings and turns a Change into a Message; adding one is an entry here.
"""

from collections.abc import Callable
from typing import Protocol

from deploy.local.xdr.change import Change, Message
from deploy.local.xdr.formats.avro import PlainAvro
from deploy.local.xdr.formats.flat_json import FlatJson
from deploy.local.xdr.formats.json import TypedJson
from deploy.local.xdr.formats.kafka_avro import KafkaAvro
from deploy.local.xdr.formats.message_pack import MessagePack
from deploy.local.xdr.formats.mixed import Mixed
from deploy.local.xdr.settings import XdrSettings


class Format(Protocol):
    """One encoding, configured for one namespace."""

    def encode(self, change: Change) -> Message:
        """The Kafka record for `change`. Raises Unserialisable when the encoding cannot express it."""


FORMATS: dict[str, Callable[[XdrSettings], Format]] = {
    "json": TypedJson,
    "flat-json": FlatJson,
    "message-pack": MessagePack,
    "avro": PlainAvro,
    "kafka-avro": KafkaAvro,
    "auto": Mixed,
}

__all__ = ["FORMATS", "Format"]
