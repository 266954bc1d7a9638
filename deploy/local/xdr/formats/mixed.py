"""`auto`: a topic that mixes encodings, as the connector's overrides per namespace and set leave behind.

Each record keeps to one encoding, chosen by its digest: typed JSON, flat JSON, MessagePack and, where there is a registry, Avro
with schema ids. (xdr-kafka reference, facts 1 and section 2, `namespaces`)
"""

from deploy.local.xdr.change import Change, Message
from deploy.local.xdr.formats.flat_json import FlatJson
from deploy.local.xdr.formats.json import TypedJson
from deploy.local.xdr.formats.kafka_avro import KafkaAvro
from deploy.local.xdr.formats.message_pack import MessagePack
from deploy.local.xdr.settings import XdrSettings


class Mixed:
    """Encodes each record in one of several encodings."""

    def __init__(self, settings: XdrSettings) -> None:
        plain = (TypedJson(settings), FlatJson(settings), MessagePack(settings))
        self._encodings = plain if settings.registry is None else (*plain, KafkaAvro(settings))

    def encode(self, change: Change) -> Message:
        """The Kafka record for `change`. Raises Unserialisable."""
        return self._encodings[change.digest[0] % len(self._encodings)].encode(change)


__all__ = ["Mixed"]
