"""`json`, the typed encoding: identity as an array of four, bins as a list of {name, type, value}.

Members in the order of real output: msg, key, gen, exp, lut, bins; deletes: msg, key, durable, gen, lut. A deleted bin (bin
policy only-changed) is printed with a null value; no source shows the connector's own form. (xdr-kafka reference 1.2)
"""

from typing import Any

from deploy.local.node.changes import Particle
from deploy.local.xdr.change import Change, Message
from deploy.local.xdr.formats.durable import durable_member
from deploy.local.xdr.keys import as_bytes, key_array
from deploy.local.xdr.settings import XdrSettings
from deploy.local.xdr.values import JsonValues


class TypedJson:
    """Encodes typed JSON."""

    def __init__(self, settings: XdrSettings) -> None:
        self._values = JsonValues(stringify_map_keys=settings.stringify_map_keys, nonfinite=settings.nonfinite)
        self._durable_flag = settings.durable_flag

    def encode(self, change: Change) -> Message:
        """The Kafka record for `change`. Raises Unserialisable."""
        key = key_array(change)
        message: dict[str, Any] = {"msg": change.op, "key": key}
        if change.op == "delete":
            message |= durable_member(change, self._durable_flag)
            message |= {"gen": change.gen, "lut": change.lut_ms}
        else:
            message |= {"gen": change.gen, "exp": change.exp_s, "lut": change.lut_ms}
            message["bins"] = [self._bin(name, particle) for name, particle in change.bins.items()]
        return Message(as_bytes(key), as_bytes(message))

    def _bin(self, name: str, particle: Particle | None) -> dict[str, Any]:
        if particle is None:
            return {"name": name, "type": "null", "value": None}
        value = self._values.bin(particle)
        entry = {"name": name, "type": value.type, "value": value.value}
        if value.ordered is not None:
            entry["ordered"] = value.ordered
        if value.order is not None:
            entry["order"] = value.order
        return entry


__all__ = ["TypedJson"]
