"""Why a message became a dead letter: stable reason codes, each with plain words. Source of docs/dead-letters.md.

D1xx: could not be decoded (decided by the reader, the same for every output).
D2xx: decoded, but one output cannot hold it (decided by that output, for that record alone).
"""

from typing import NamedTuple


class Reason(NamedTuple):
    """One reason code. `detail` of a dead letter adds the place and the kind of value, never a secret.

    meaning: what is wrong with the message; remedy: what a person does, so that the next one is not.
    """

    code: str
    title: str
    meaning: str
    remedy: str


_REASONS = (
    Reason(
        "D101",
        "null value",
        "The Kafka value is null: a tombstone from elsewhere; the connector never writes one.",
        "No change is missing. Find who else writes to the topic, and give the connector a topic of its own.",
    ),
    Reason(
        "D102",
        "not a message of this format",
        "The bytes are not one whole JSON object in UTF-8 or, in message-pack, not one whole MessagePack message of version 1.",
        "Make the flow's `source.format` what the connector is set to, let nothing else write to the topic, and look for limits "
        "that cut messages.",
    ),
    Reason(
        "D103",
        "no metadata",
        "The message has no usable metadata: `msg`, `key`, the payload or the metadata object is missing.",
        "Make the flow's `source.format` and, for flat-json, `source.metadata_key` what the connector is set to.",
    ),
    Reason(
        "D104",
        "unknown event kind",
        "`msg` is neither write nor delete; in message-pack the type neither 1 nor 2.",
        "Find who wrote the message: the connector, or a transform on the way, must give `msg` as write or delete.",
    ),
    Reason(
        "D105",
        "bad identity",
        "Namespace missing, key not four parts, or digest not 20 bytes (in JSON: of Base64).",
        "Find who wrote the message, or what rewrites it on the way: it must keep namespace, key and digest as they were.",
    ),
    Reason(
        "D106",
        "bad version",
        "`gen`, `lut` or `exp` is not an integer in its range, or `lut` is in seconds.",
        "Find what writes them so: `lut` is in milliseconds since 1970, `exp` in seconds, and `gen` stands beside `lut`.",
    ),
    Reason(
        "D107",
        "bad bin",
        "A bin is not well formed: name, type or value missing or contradictory.",
        "Make the flow's `source.format` what the connector is set to, and look for what rewrites messages on the way.",
    ),
    Reason(
        "D108",
        "bin value does not fit its type",
        "A bin's value cannot be read as the type the message or the flow declares.",
        "Where the flow declares the bin in `records`, declare the type it really has; else find who writes that value.",
    ),
    Reason(
        "D109",
        "not Avro of its schema",
        "The bytes are not one whole message of their writer schema: cut short, too long, not framed, or of another schema.",
        "Give the flow the connector's own schemas in `source.avro`, or its registry; look for what cuts or rewrites messages.",
    ),
    Reason(
        "D110",
        "unknown schema id",
        "The message names a writer schema that the registry does not have.",
        "Point `source.registry` at the connector's registry. Once that has the schema, the message can be read.",
    ),
    Reason(
        "D111",
        "unusable schema",
        "The registry's schema of that id is not Avro, or none that change events can be read by; the detail says why.",
        "Find out who registered it; the connector's schemas are a record whose fields are bins, or a map.",
    ),
    Reason(
        "D112",
        "two schemas fit",
        "The bytes are a whole message of the write schema and of the delete schema, and nothing in them says which of the two.",
        "Give the schemas a metadata member, or make them differ: a message of plain Avro does not name its schema.",
    ),
    Reason(
        "D113",
        "user key contradicts digest",
        "The digest of set and user key is not the event's digest: either may be damaged, or a transform has rewritten one.",
        "Find what rewrites set, user key or digest on the way. Where that is meant so, `policies.user_key` of the record type "
        "takes the event without its key (drop) or with it (trust).",
    ),
    Reason(
        "D114",
        "two bins of one name",
        "By the flow's `rename`, two of the message's bins would be the same bin.",
        "Make `rename` of the record type what the connector's `bin-transforms` are.",
    ),
    Reason(
        "D115",
        "bin missing",
        "A bin that the flow declares as not nullable is not in the message, or null.",
        "Find out whether the source has such records: then declare the bin nullable, or set `policies.missing_bin` to null.",
    ),
    Reason(
        "D201",
        "bin name too long",
        "A bin name is longer than Aerospike's 15 bytes, or empty.",
        "Find who wrote the message, as Aerospike has no such bin: a transform that renames bins must keep to 1 to 15 bytes.",
    ),
    Reason(
        "D202",
        "value the client would damage",
        "A string holds NUL or a lone surrogate, or a map key is not an integer, string or blob: it would be cut or dropped.",
        "Write the value differently in the source: a blob holds any bytes, and map keys may be integers, strings or blobs.",
    ),
    Reason(
        "D203",
        "value out of range",
        "An integer needs more than 64 bits, or a time to live more than ten years.",
        "Write a smaller integer, or give the record a time to live within ten years or none at all.",
    ),
    Reason(
        "D204",
        "record too large",
        "The server refuses the record as too large.",
        "Give the mirror's namespace the record size limit of the source's, or make the record smaller.",
    ),
    Reason(
        "D205",
        "refused by the server",
        "The server refuses this record as written; the server's code is in the detail.",
        "Look that code up and read the server's log of the moment; mend the namespace's setting, or the record in the source.",
    ),
    Reason(
        "D206",
        "user key contradicts digest",
        "The digest of set and user key is not the event's digest: either may be damaged.",
        "Find what rewrites set, user key or digest on the way. `send_key: false` of the output does without a wrong user key.",
    ),
    Reason(
        "D207",
        "set name too long",
        "The set name is longer than Aerospike's 63 bytes.",
        "Find who wrote the message, as Aerospike has no such set: a transform that renames sets must keep to 63 bytes.",
    ),
    Reason(
        "D208",
        "reserved bin name",
        "A bin name begins with `_mr_`, which the mirror keeps for itself.",
        "Rename the bin in the source. If the source is itself a mirror, let XDR ignore its private bins.",
    ),
    Reason(
        "D209",
        "unknown bin type",
        "A bin has a type this version of Millrace does not know; Delta outputs keep it as it came.",
        "Update Millrace. If there is no version that knows the type, report it with the message.",
    ),
    Reason(
        "D210",
        "no key for the counters",
        "The event lacks what its target record is known by: bin or user key is missing, or no possible key.",
        "Key the output by what every record has (its digest always is there), or let the source write that bin.",
    ),
    Reason(
        "D211",
        "value cannot be counted",
        "A bin that an operation adds is no finite number of the declared type, or one that names a map entry is not an "
        "integer, string or blob.",
        "Declare the bin's type in `records`, or the operation's `number` as what it holds; else find who writes that value.",
    ),
)

MAY_PASS = frozenset({"D110"})
"""Reasons that may pass by themselves: what one lane could not read, another may have read a moment later."""

REASONS: dict[str, Reason] = {reason.code: reason for reason in _REASONS}

__all__ = ["MAY_PASS", "REASONS", "Reason"]
