"""Why a message became a dead letter: stable reason codes, each with plain words. Source of docs/dead-letters.md.

D1xx: could not be decoded (decided once, in the JVM, the same for every output).
D2xx: decoded, but one output cannot hold it (decided by that output, for that record alone).
"""

from typing import NamedTuple


class Reason(NamedTuple):
    """One reason code. `detail` of a dead letter adds the place and the kind of value, never a secret."""

    code: str
    title: str
    meaning: str


_REASONS = (
    Reason("D101", "null value", "The Kafka value is null: a tombstone from elsewhere; the connector never writes one."),
    Reason("D102", "not JSON", "The bytes are not one JSON object, or not UTF-8."),
    Reason("D103", "no metadata", "The message has no usable metadata: `msg`, `key` or the metadata object is missing."),
    Reason("D104", "unknown event kind", "`msg` is neither write nor delete."),
    Reason("D105", "bad identity", "Namespace missing, key not four parts, or digest not 20 bytes of Base64."),
    Reason("D106", "bad version", "`gen`, `lut` or `exp` is not an integer in its range, or `lut` is in seconds."),
    Reason("D107", "bad bin", "A bin is not well formed: name, type or value missing or contradictory."),
    Reason(
        "D108", "bin value does not fit its type", "A bin's value cannot be read as the type the message or the flow declares."
    ),
    Reason("D201", "bin name too long", "A bin name is longer than Aerospike's 15 bytes, or empty."),
    Reason(
        "D202",
        "value the client would damage",
        "A string holds NUL or a lone surrogate, or a map key is not an integer, string or blob: it would be cut or dropped.",
    ),
    Reason("D203", "value out of range", "An integer needs more than 64 bits, or a time to live more than ten years."),
    Reason("D204", "record too large", "The server refuses the record as too large."),
    Reason("D205", "refused by the server", "The server refuses this record as written; the server's code is in the detail."),
    Reason(
        "D206", "user key contradicts digest", "The digest of set and user key is not the event's digest: either may be damaged."
    ),
    Reason("D207", "set name too long", "The set name is longer than Aerospike's 63 bytes."),
    Reason("D208", "reserved bin name", "A bin name begins with `_mr_`, which the mirror keeps for itself."),
    Reason(
        "D209", "unknown bin type", "A bin has a type this version of Millrace does not know; Delta outputs keep it as it came."
    ),
)

REASONS: dict[str, Reason] = {reason.code: reason for reason in _REASONS}

__all__ = ["REASONS", "Reason"]
