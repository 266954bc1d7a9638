"""The Kafka key of a change: the record's identity once more, in the encoding of the values; read in every form it comes in.

Typed JSON: the array `[namespace, set, digest, user key]`; flat JSON: an object of `namespace`, `set`, `digest`, `userKey`;
MessagePack: an array of four. The first byte tells them apart. Avro has no mark of its own: who has its schema hands in what
reads it. A custom formatter may set any key; then there is no identity in it, which no message is at fault for.
Facts: xdr-kafka message reference, 1.8.
"""

from collections.abc import Callable, Mapping
from typing import Any

from schemas.xdr.json_text import Object, read_object
from schemas.xdr.message_pack import KEY_PARTS, key_parts
from schemas.xdr.metadata import Metadata
from schemas.xdr.packed import Unpacker
from schemas.xdr.problem import Undecodable

_PARTS = {name: f"key[{place}]" for place, name in enumerate(KEY_PARTS)}
_MEMBERS = {name: f"key.{name}" for name in ("namespace", "set", "digest")} | {"user_key": "key.userKey"}

AvroKey = Callable[[bytes], Mapping[str, Any]]
"""Reads an Avro key as its members, named as in flat JSON. Raises Undecodable."""


def read_key(key: bytes | None, avro: AvroKey | None = None) -> Metadata:
    """The identity a Kafka key gives: namespace, set, digest and user key, nothing else.

    avro: reads keys in Avro, where they are expected. Raises Undecodable D101, D102 or D105 when it gives none.
    """
    if key is None:
        raise Undecodable("D101", "the Kafka key is null")
    start = key.lstrip(b" \t\r\n")[:1] or b"\0"
    if start == b"{":
        given, places = _flat(read_object(key)), _MEMBERS
    elif start == b"[":
        given, places = _array(key), _PARTS
    elif 0x90 <= key[:1].ljust(1)[0] <= 0x9F or key[:1] in (b"\xdc", b"\xdd"):
        given, places = _packed(key), _PARTS
    elif avro is not None:
        given, places = _flat(avro(key)), _MEMBERS
    else:
        raise Undecodable("D105", f"the Kafka key is {len(key)} bytes of something else than an identity in JSON or MessagePack")
    identity = Metadata()
    identity.identify(given, places)
    return identity


def _flat(members: Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(members, Object):
        members.require_once("namespace", "set", "digest", "userKey")
    return {**members, "user_key": members.get("userKey")}


def _array(key: bytes) -> dict[str, Any]:
    """The parts of a JSON array, read as a member of an object, since that is what can be read exactly."""
    found = read_object(b'{"key":' + key + b"}")
    parts = found.get("key")
    if not isinstance(parts, list) or len(found) != 1 or found.twice:
        raise Undecodable("D102", "the Kafka key is not one JSON array")
    if len(parts) != len(KEY_PARTS):
        raise Undecodable("D105", f"key has {len(parts)} parts, not 4")
    return dict(zip(KEY_PARTS, parts, strict=True))


def _packed(key: bytes) -> dict[str, Any]:
    packed = Unpacker(key)
    given = key_parts(packed)
    packed.end()
    return given


__all__ = ["AvroKey", "read_key"]
