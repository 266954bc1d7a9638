"""The Kafka record key: the record's Aerospike key in the encoding of the value.

Typed JSON: an array of four, `[namespace, set, digest, userKey]`, absent parts null. Flat JSON: an object without the absent
members. MessagePack: the same four as its array (`formats.message_pack`). Set and user key are inside, so one record may have two
Kafka keys over its life; consumers must not rely on it.
(xdr-kafka reference 1.8; the exact bytes of the array form are not published.)
"""

from base64 import b64encode
from typing import Any

import orjson

from deploy.local.node.changes import Particle
from deploy.local.xdr.change import Change, Unserialisable

INTEGER, DOUBLE, STRING, BLOB = 1, 2, 3, 4


def user_key_value(key: Particle | None) -> Any:
    """A stored user key as JSON shows it: number, string, Base64 text of a blob, or None.

    Raises Unserialisable for text that is not UTF-8 and for key types no client offers.
    """
    if key is None:
        return None
    kind, raw = key
    if kind == INTEGER:
        return int.from_bytes(raw, "big", signed=True)
    if kind == STRING:
        try:
            return raw.decode()
        except UnicodeDecodeError as error:
            raise Unserialisable("user key is not UTF-8") from error
    if kind == BLOB:
        return b64encode(raw).decode()
    raise Unserialisable(f"user key of particle type {kind}")


def key_array(change: Change) -> list[Any]:
    """Identity as typed JSON carries it in `key`."""
    return [change.namespace, change.set_name, b64encode(change.digest).decode(), user_key_value(change.key)]


def key_object(change: Change) -> dict[str, Any]:
    """Identity as flat JSON carries it: set and userKey only when there are any."""
    members: dict[str, Any] = {"namespace": change.namespace}
    if change.set_name is not None:
        members["set"] = change.set_name
    user_key = user_key_value(change.key)
    if user_key is not None:
        members["userKey"] = user_key
    members["digest"] = b64encode(change.digest).decode()
    return members


def as_bytes(value: list[Any] | dict[str, Any]) -> bytes:
    """Compact JSON. Raises Unserialisable for text JSON cannot hold."""
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError as error:
        raise Unserialisable(str(error)) from error


__all__ = ["as_bytes", "key_array", "key_object", "user_key_value"]
