"""What a decoder must be told: nothing in a Kafka record names its format, its bin policy or its lost types."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from schemas.bins import BinType
from schemas.xdr.registry_options import RegistryOptions

Format = Literal["json", "flat-json", "message-pack", "avro", "kafka-avro", "auto"]
Image = Literal["full", "partial", "none"]


NewBin = Literal["rescue", "add", "ignore", "stop"]
TypeChange = Literal["dead-letter", "rescue", "widen", "stop"]
MissingBin = Literal["dead-letter", "null", "stop"]
UserKeyRule = Literal["check", "drop", "trust"]


@dataclass(frozen=True, slots=True)
class Policies:
    """What becomes of messages that are not as their record type says; the words are explained in docs/schemas.md.

    new_bin:     a bin nobody declared. type_change: a value of another type than the declared one.
    missing_bin: a bin that must be there (`RecordType.required`) is not. user_key: a user key that contradicts the digest.
    """

    new_bin: NewBin = "rescue"
    type_change: TypeChange = "dead-letter"
    missing_bin: MissingBin = "dead-letter"
    user_key: UserKeyRule = "check"


@dataclass(frozen=True, slots=True)
class RecordType:
    """Records of one namespace, of the named sets, with the bin types they are known to have.

    sets:     None for every set; "" among them means records without a set.
    bins:     type by bin name. A bin not named keeps the type the message gives or, in flat JSON, the type its JSON value
              suggests. None: schemaless.
    required: declared bins that every whole record has.
    rename:   bins that messages call otherwise than the source: name in the message -> name of the bin.
    """

    namespace: str
    sets: tuple[str, ...] | None = None
    bins: Mapping[str, BinType] | None = None
    required: frozenset[str] = frozenset()
    rename: Mapping[str, str] = field(default_factory=dict)
    policies: Policies = Policies()

    def fits(self, namespace: str, set_name: str | None) -> bool:
        """Whether a record of this namespace and set is of this type."""
        return namespace == self.namespace and (self.sets is None or (set_name or "") in self.sets)


@dataclass(frozen=True, slots=True)
class AvroSchemas:
    """The writer schemas of plain Avro as JSON text, since no message names its own.

    delete: None: deletes are written as writes are. key: of Kafka keys; asked for identity where values carry no metadata.
    """

    write: str
    delete: str | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True)
class DecodeOptions:
    """How to read a topic.

    format:       the connector's value encoding, a name of `schemas.xdr.reader.FORMATS`.
    metadata_key: flat JSON and Avro: the member that holds the metadata, the connector's `metadata-key`.
    wrapped_in:   JSON encodings: the member of a JSON object in which a custom formatter has put the message as text; None: none
                  has.
    image:        what a write carries, by the source's bin-policy: the whole record, some bins, or ("none") no bins at all;
                  with "none", bins are not read.
    records:      the record types that are taken; the first that fits a record's namespace and set counts. None given: all
                  records are taken, schemaless.
    avro:         the writer schemas of the format `avro`; None: none are given.
    registry:     where writer schemas are asked for that a message names by number; None: none names one.
    """

    format: str = "json"
    metadata_key: str = "metadata"
    wrapped_in: str | None = None
    image: Image = "full"
    records: tuple[RecordType, ...] = ()
    avro: AvroSchemas | None = None
    registry: RegistryOptions | None = None


__all__ = [
    "AvroSchemas",
    "DecodeOptions",
    "Format",
    "Image",
    "MissingBin",
    "NewBin",
    "Policies",
    "RecordType",
    "TypeChange",
    "UserKeyRule",
]
