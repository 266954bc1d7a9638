"""Particles as MessagePack values, as the connector packs them: every type kept, also inside lists and maps.

Inside, GeoJSON, HyperLogLogs and language blobs are extensions of their particle type; map keys keep their type. What the form
does not carry is the order of lists and maps that stand inside others. (xdr-kafka reference 1.6)
"""

from collections.abc import Sequence

from ormsgpack import Ext, packb

from deploy.local.node.algebra import msgpack
from deploy.local.node.algebra.elements import Ext as StoredExt
from deploy.local.node.algebra.elements import ListValue, MapValue, Value
from deploy.local.node.algebra.view import BLOB, BOOL, FLOAT, GEOJSON, INTEGER, LIST, MAP, STRING
from deploy.local.node.changes import Particle
from deploy.local.xdr.change import Unserialisable

LIST_ORDERED, KEY_ORDERED, KEY_VALUE_ORDERED = 1, 1, 3
_INT64_MAX = (1 << 63) - 1


def array(packed: Sequence[bytes]) -> bytes:
    """Packed values as one array."""
    return _head(len(packed), 0x90, 0xDC) + b"".join(packed)


def text(value: str) -> bytes:
    """Text that must be UTF-8; the node keeps other bytes as lone surrogates. Raises Unserialisable."""
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise Unserialisable("text is not UTF-8") from error
    return packb(value)


def packed_bin(name: str, particle: Particle | None) -> bytes:
    """`[name, particle type, flags, value]`; a deleted bin is nil of type 0. Raises Unserialisable."""
    if particle is None:
        return array([text(name), packb(0), packb(0), packb(None)])
    kind, raw = particle
    if kind in (LIST, MAP):
        flags, value = _collection(kind, raw)
    else:
        flags, value = 0, _scalar(kind, raw)
    return array([text(name), packb(kind), packb(flags), value])


def packed_user_key(key: Particle | None) -> bytes:
    """A stored user key, or nil. Raises Unserialisable for key types no client offers."""
    if key is None:
        return packb(None)
    if key[0] not in (INTEGER, FLOAT, STRING, BLOB):
        raise Unserialisable(f"user key of particle type {key[0]}")
    return _scalar(*key)


def _scalar(kind: int, raw: bytes) -> bytes:
    """The value of a bin that holds no others; of any type that has no value of its own in MessagePack its bytes."""
    if kind == INTEGER:
        return packb(int.from_bytes(raw, "big", signed=True))
    if kind == FLOAT:
        return b"\xcb" + raw
    if kind == STRING:
        return packb(_decoded(raw))
    if kind == BOOL:
        return packb(raw != b"\0")
    if kind == GEOJSON:
        return packb(_decoded(raw[3 + 8 * int.from_bytes(raw[1:3], "big") :]))
    return packb(raw)


def _collection(kind: int, raw: bytes) -> tuple[int, bytes]:
    """Order flags and value of a list or map."""
    try:
        value = msgpack.decode(raw)
    except msgpack.MsgpackError as error:
        raise Unserialisable(f"collection cannot be read: {error}") from error
    if not isinstance(value, ListValue if kind == LIST else MapValue):
        raise Unserialisable("list and map are mixed up")
    if isinstance(value, ListValue):
        flags = LIST_ORDERED if value.ordered else 0
    else:
        flags = value.flags & KEY_VALUE_ORDERED if value.key_ordered else 0
    return flags, _element(value)


def _element(value: Value) -> bytes:
    if isinstance(value, ListValue):
        return array([_element(item) for item in value.items])
    if isinstance(value, MapValue):
        return _head(len(value.pairs), 0x80, 0xDE) + b"".join(_element(key) + _element(item) for key, item in value.pairs)
    if isinstance(value, bytes):
        return _particle(value)
    if isinstance(value, StoredExt):
        return packb(Ext(value.kind, value.data))
    if value is None or isinstance(value, bool | float) or (isinstance(value, int) and value <= _INT64_MAX):
        return packb(value)
    raise Unserialisable(f"element {value!r:.40} of a collection")


def _particle(packed: bytes) -> bytes:
    """Strings, blobs and the like share one packing; the first byte is the particle type."""
    if not packed:
        raise Unserialisable("element without a particle type")
    kind, body = packed[0], packed[1:]
    if kind == STRING:
        return packb(_decoded(body))
    return packb(body) if kind == BLOB else packb(Ext(kind, body))


def _decoded(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        # The server keeps any bytes. Replacing them would ship something the record does not hold.
        raise Unserialisable("string is not UTF-8") from error


def _head(count: int, short: int, marker: int) -> bytes:
    if count < 16:
        return bytes([short | count])
    return bytes([marker]) + count.to_bytes(2, "big") if count < 1 << 16 else bytes([marker + 1]) + count.to_bytes(4, "big")


__all__ = ["array", "packed_bin", "packed_user_key", "text"]
