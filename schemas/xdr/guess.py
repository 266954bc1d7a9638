"""Which of the connector's encodings some bytes look like, from their first few: a hint for people, never a way to read them.

Facts: xdr-kafka message reference, case 33. Plain Avro begins with anything, so nothing is guessed to be Avro.
"""

import re

_HEAD_BYTES = 4096
_IDENTITY = re.compile(rb'"key"\s*:\s*\[')
"""Typed JSON alone gives the key as an array."""
_SCHEMA_ID_BYTES = 5  # 0x00 and the schema's number in four bytes


def guess(value: bytes | None) -> str | None:
    """The encoding's name as in `schemas.xdr.options.Format`; None when the bytes look like none of them, or there are none."""
    if not value:
        return None
    head = value[:_HEAD_BYTES].lstrip()
    if head[:1] in (b"{", b"["):
        return "json" if _IDENTITY.search(head) else "flat-json"
    if value[0] == 0 and len(value) > _SCHEMA_ID_BYTES:
        return "kafka-avro"
    if 0x90 <= value[0] <= 0x9F:  # an array of at most 15 elements
        return "message-pack"
    return None


__all__ = ["guess"]
