"""The entries of a log and a snapshot: puts, deletes, truncations, index definitions, the clock.

An entry is absolute: replaying a run of entries over any state from within that run ends in the same state.
"""

import struct
from enum import IntEnum
from typing import NamedTuple

from deploy.local.node.changes import Particle
from deploy.local.node.wire import name_bytes, text

PUT = struct.Struct(">B20sHIQBIHI")
"""kind, digest, generation, void time, lut ms, set length, key length, op count, ops length; then set, key, ops."""
DELETE = struct.Struct(">B20sHQBBI")
"""kind, digest, generation, lut ms, flags, set length, key length; then set, key."""
TEXT = struct.Struct(">BQI")
"""kind, a number (lut ms, or 0), text length; then the text."""

DURABLE, EXPIRED = 1, 2


class Kind(IntEnum):
    """What an entry does. MERGE keeps the record's other bins, REPLACE does not; ops are null-free WRITE ops as on the wire."""

    MERGE = 1
    REPLACE = 2
    DELETE = 3
    TRUNCATE = 4
    INDEX_CREATE = 5
    INDEX_DELETE = 6
    CLOCK = 7


class Put(NamedTuple):
    """A write: the ops' bytes stay as they are."""

    kind: int
    digest: bytes
    generation: int
    void_time: int
    lut_ms: int
    set_name: str | None
    key: Particle | None
    op_count: int
    ops: bytes


class Delete(NamedTuple):
    """A delete or an expiry."""

    digest: bytes
    generation: int
    lut_ms: int
    flags: int
    set_name: str | None
    key: Particle | None


class Text(NamedTuple):
    """TRUNCATE (text: the set, "" for all), INDEX_CREATE (JSON), INDEX_DELETE (its name), CLOCK (number only)."""

    kind: int
    number: int
    text: str


def key_bytes(key: Particle | None) -> bytes:
    """A user key as field 2 carries it: the particle type, then the value; nothing for None."""
    return b"" if key is None else bytes((key[0],)) + key[1]


def delete_entry(entry: Delete) -> bytes:
    """The bytes of a delete."""
    set_raw = name_bytes(entry.set_name or "")
    key = key_bytes(entry.key)
    head = DELETE.pack(Kind.DELETE, entry.digest, entry.generation, entry.lut_ms, entry.flags, len(set_raw), len(key))
    return head + set_raw + key


def text_entry(kind: Kind, number: int, value: str) -> bytes:
    """The bytes of a truncation, an index definition or the clock."""
    raw = name_bytes(value)
    return TEXT.pack(kind, number, len(raw)) + raw


def parse(payload: bytes) -> list[Put | Delete | Text]:
    """Every entry of a block's payload, in order. Raises ValueError on an unknown kind."""
    entries: list[Put | Delete | Text] = []
    pos, end = 0, len(payload)
    while pos < end:
        kind = payload[pos]
        if kind in (Kind.MERGE, Kind.REPLACE):
            _, digest, generation, void_time, lut_ms, set_size, key_size, op_count, ops_size = PUT.unpack_from(payload, pos)
            set_at = pos + PUT.size
            key_at = set_at + set_size
            ops_at = key_at + key_size
            pos = ops_at + ops_size
            entries.append(
                Put(
                    kind,
                    digest,
                    generation,
                    void_time,
                    lut_ms,
                    text(payload[set_at:key_at]) or None,
                    (payload[key_at], payload[key_at + 1 : ops_at]) if key_size else None,
                    op_count,
                    payload[ops_at:pos],
                )
            )
        elif kind == Kind.DELETE:
            _, digest, generation, lut_ms, flags, set_size, key_size = DELETE.unpack_from(payload, pos)
            set_at = pos + DELETE.size
            key_at = set_at + set_size
            pos = key_at + key_size
            key = (payload[key_at], payload[key_at + 1 : pos]) if key_size else None
            entries.append(Delete(digest, generation, lut_ms, flags, text(payload[set_at:key_at]) or None, key))
        elif kind in (Kind.TRUNCATE, Kind.INDEX_CREATE, Kind.INDEX_DELETE, Kind.CLOCK):
            _, number, size = TEXT.unpack_from(payload, pos)
            start = pos + TEXT.size
            pos = start + size
            entries.append(Text(kind, number, payload[start:pos].decode("utf-8", "surrogateescape")))
        else:
            raise ValueError(f"unknown log entry kind {kind}")
    return entries
