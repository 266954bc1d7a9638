"""`flat-json`: a metadata object and every bin as a top-level member, without types.

Absent set and userKey are omitted; a delete is the metadata object alone. A bin named like the metadata key cannot be expressed
beside it: no source shows what the connector does, here the record is skipped and counted. (xdr-kafka reference 1.3)
"""

from typing import Any

from deploy.local.xdr.change import Change, Message, Unserialisable
from deploy.local.xdr.formats.durable import durable_member
from deploy.local.xdr.keys import as_bytes, key_object
from deploy.local.xdr.settings import XdrSettings
from deploy.local.xdr.values import JsonValues


class FlatJson:
    """Encodes flat JSON."""

    def __init__(self, settings: XdrSettings) -> None:
        self._values = JsonValues(stringify_map_keys=settings.stringify_map_keys, nonfinite=settings.nonfinite)
        self._metadata_key = settings.metadata_key
        self._durable_flag = settings.durable_flag

    def encode(self, change: Change) -> Message:
        """The Kafka record for `change`. Raises Unserialisable."""
        key = key_object(change)
        metadata: dict[str, Any] = {**key, "msg": change.op, "gen": change.gen, "lut": change.lut_ms}
        if change.op == "delete":
            metadata |= durable_member(change, self._durable_flag)
        else:
            metadata["exp"] = change.exp_s
        message: dict[str, Any] = {self._metadata_key: metadata}
        for name, particle in change.bins.items():
            if name == self._metadata_key:
                raise Unserialisable("a bin has the name of the metadata key")
            message[name] = None if particle is None else self._values.bin(particle).value
        return Message(as_bytes(key), as_bytes(message))


__all__ = ["FlatJson"]
