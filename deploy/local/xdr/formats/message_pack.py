"""`message-pack`: `[1, 1, [key, gen, exp, lut, bins]]`, deletes `[1, 2, [key, flags, gen, lut]]`; the Kafka key is the key alone.

No source shows gen and lut in deletes, where the JSON encodings have them; a mirror could not order a delete without. The
documented form without them is there to test consumers with (`delete_versions`). (xdr-kafka reference 1.6 and 1.8)
"""

from ormsgpack import packb

from deploy.local.xdr.change import Change, Message
from deploy.local.xdr.formats.durable import durable_member
from deploy.local.xdr.packed_values import array, packed_bin, packed_user_key, text
from deploy.local.xdr.settings import XdrSettings

_VERSION, _WRITE, _DELETE = packb(1), packb(1), packb(2)


class MessagePack:
    """Encodes MessagePack."""

    def __init__(self, settings: XdrSettings) -> None:
        self._durable_flag = settings.durable_flag
        self._delete_versions = settings.delete_versions

    def encode(self, change: Change) -> Message:
        """The Kafka record for `change`. Raises Unserialisable."""
        set_name = packb(None) if change.set_name is None else text(change.set_name)
        key = array([text(change.namespace), set_name, packb(change.digest), packed_user_key(change.key)])
        version = [packb(change.gen), packb(change.lut_ms)]
        if change.op == "delete":
            flags = packb(int(durable_member(change, self._durable_flag).get("durable", False)))
            payload = array([key, flags, *(version if self._delete_versions else ())])
            return Message(key, array([_VERSION, _DELETE, payload]))
        bins = array([packed_bin(name, particle) for name, particle in change.bins.items()])
        payload = array([key, version[0], packb(change.exp_s), version[1], bins])
        return Message(key, array([_VERSION, _WRITE, payload]))


__all__ = ["MessagePack"]
