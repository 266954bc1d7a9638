"""`kafka-avro`: Avro binary behind a zero byte and the id under which a registry has the schema.

Writes and deletes have different schemas in one topic, so subjects are named after the records: `record-name` is the full name
alone, `topic-record-name` the topic, a dash and the full name. Without a metadata key, values carry no metadata.
(xdr-kafka reference 1.5)
"""

from deploy.local.xdr.avro_schemas import Written
from deploy.local.xdr.formats.avro import PlainAvro
from deploy.local.xdr.settings import XdrSettings
from pipelines.schema_registry import SchemaRegistry
from schemas.errors import ConfigError
from schemas.xdr.registry_options import RegistryOptions


class KafkaAvro(PlainAvro):
    """Encodes Avro with schema ids; the schemas are registered when it is made.

    Raises ConfigError E143 without a registry, and what SchemaRegistry.register raises.
    """

    def __init__(self, settings: XdrSettings) -> None:
        super().__init__(settings)
        if settings.registry is None:
            raise ConfigError("E143", "--xdr: format kafka-avro needs registry=URL", option="xdr")
        registry = SchemaRegistry(RegistryOptions(urls=(settings.registry,)))
        prefix = f"{settings.registry_topic or settings.topic}-" if settings.subjects == "topic-record-name" else ""
        self._frames = {
            schema.text: b"\0" + registry.register(prefix + schema.subject, schema.text).to_bytes(4, "big")
            for schema in self.schemas
        }

    def framed(self, schema: Written, data: bytes) -> bytes:
        """The zero byte, the schema's id, the data."""
        return self._frames[schema.text] + data


__all__ = ["KafkaAvro"]
