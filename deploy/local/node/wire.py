"""The wire protocol's shapes: frames, message headers, fields and ops, taken apart and put together.

A frame is an 8-byte proto header and a body; a message body is a 22-byte header, fields and ops. Values stay raw bytes.
"""

import struct
from typing import NamedTuple

from deploy.local.node.changes import Particle

PROTO_VERSION = 2
TYPE_INFO, TYPE_SECURITY, TYPE_MESSAGE, TYPE_COMPRESSED = 1, 2, 3, 4
MAX_BODY_BYTES = 128 << 20
EPOCH_S = 1_262_304_000
"""Unix seconds of 2010-01-01 UTC: void times on the wire count from here."""

HEADER = struct.Struct(">BBBBBBIIIHH")
"""size, info1, info2, info3, info4, result, generation, ttl or void time, timeout or batch row, field count, op count."""
HEADER_BYTES = HEADER.size
OP_HEAD = struct.Struct(">IBBBB")
"""length of what follows, op, particle type, flags, name length."""
FIELD_HEAD = struct.Struct(">IB")

INFO1_READ, INFO1_GET_ALL, INFO1_BATCH, INFO1_NO_BINS = 0x01, 0x02, 0x08, 0x20
INFO2_WRITE, INFO2_DELETE, INFO2_GEN_EQUAL, INFO2_GEN_GREATER = 0x01, 0x02, 0x04, 0x08
INFO2_DURABLE, INFO2_CREATE_ONLY, INFO2_RESPOND_ALL = 0x10, 0x20, 0x80
INFO3_LAST, INFO3_PARTITION_DONE, INFO3_UPDATE_ONLY, INFO3_CREATE_OR_REPLACE, INFO3_REPLACE_ONLY = 0x01, 0x04, 0x08, 0x10, 0x20

FIELD_NAMESPACE, FIELD_SET, FIELD_KEY, FIELD_DIGEST = 0, 1, 2, 4
FIELD_JOB, FIELD_PARTITIONS, FIELD_RESUME_DIGESTS, FIELD_MAX_RECORDS, FIELD_INDEX_VALUES = 7, 11, 12, 13, 15
FIELD_INDEX_NAME, FIELD_INDEX_RANGE, FIELD_INDEX_CONTEXT, FIELD_INDEX_EXPRESSION, FIELD_INDEX_TYPE = 21, 22, 23, 24, 26
FIELD_UDF_FILE, FIELD_UDF_OP = 30, 33
FIELD_BATCH, FIELD_BATCH_WITH_SET, FIELD_FILTER = 41, 42, 43

OP_READ, OP_WRITE, OP_CDT_READ, OP_CDT_MODIFY, OP_INCR = 1, 2, 3, 4, 5
OP_EXP_READ, OP_EXP_MODIFY, OP_APPEND, OP_PREPEND, OP_TOUCH = 7, 8, 9, 10, 11
OP_BITS_READ, OP_BITS_MODIFY, OP_DELETE_ALL, OP_HLL_READ, OP_HLL_MODIFY = 12, 13, 14, 15, 16

NULL, INTEGER, FLOAT, STRING, BLOB, BOOL, HLL, MAP, LIST, GEOJSON = 0, 1, 2, 3, 4, 17, 18, 19, 20, 23

OK, UNKNOWN_ERROR, NOT_FOUND, GENERATION, PARAMETER, RECORD_EXISTS = 0, 1, 2, 3, 4, 5
TOO_BIG, UNSUPPORTED, KEY_MISMATCH, NO_NAMESPACE, BIN_NAME, FORBIDDEN = 13, 16, 19, 20, 21, 22
INCOMPATIBLE_TYPE, ENTERPRISE_ONLY, NOT_APPLICABLE, FILTERED_OUT, TOO_MANY_ROWS, GEOJSON_INVALID = 12, 25, 26, 27, 151, 160
INDEX_NOT_FOUND = 201


class BadRequest(Exception):
    """The body is not what the protocol allows: the connection is closed, as nothing sensible can be answered."""


class Op(NamedTuple):
    """One operation of a request. `name` is the bin's, "" where the op has none."""

    code: int
    type: int
    name: str
    value: bytes


_NAMES: dict[bytes, str] = {}
_NAMES_KEPT = 65_536


def text(raw: bytes) -> str:
    """A name's bytes as text, one object per name; bytes that are no UTF-8 survive the way back through `name_bytes`."""
    got = _NAMES.get(raw)
    if got is None:
        if len(_NAMES) >= _NAMES_KEPT:
            _NAMES.clear()
        got = _NAMES[raw] = raw.decode("utf-8", "surrogateescape")
    return got


def name_bytes(name: str) -> bytes:
    """The inverse of `text`."""
    return name.encode("utf-8", "surrogateescape")


def parse_fields(body: bytes, pos: int, count: int) -> tuple[dict[int, bytes], int]:
    """`count` fields from `pos` on, by type (the last wins), and the place after them."""
    fields: dict[int, bytes] = {}
    end = len(body)
    for _ in range(count):
        if pos + 5 > end:
            raise BadRequest("field beyond the end of the message")
        size = int.from_bytes(body[pos : pos + 4], "big")
        after = pos + 4 + size
        if not size or after > end:
            raise BadRequest("field length beyond the end of the message")
        fields[body[pos + 4]] = body[pos + 5 : after]
        pos = after
    return fields, pos


def parse_ops(body: bytes, pos: int, count: int) -> tuple[list[Op], int]:
    """`count` ops from `pos` on, and the place after them."""
    ops: list[Op] = []
    end = len(body)
    unpack, known = OP_HEAD.unpack_from, _NAMES.get
    make = tuple.__new__
    for _ in range(count):
        if pos + 8 > end:
            raise BadRequest("op beyond the end of the message")
        size, code, kind, _flags, name_size = unpack(body, pos)
        after = pos + 4 + size
        name_end = pos + 8 + name_size
        if after > end or name_end > after:
            raise BadRequest("op length beyond the end of the message")
        raw = body[pos + 8 : name_end]
        ops.append(make(Op, (code, kind, known(raw) or text(raw), body[name_end:after])))
        pos = after
    return ops, pos


def op_bytes(code: int, name: str, particle: Particle | None) -> bytes:
    """An op of a reply, or of a stored record; None is the null particle."""
    raw = name.encode("utf-8", "surrogateescape")
    if particle is None:
        return OP_HEAD.pack(4 + len(raw), code, NULL, 0, len(raw)) + raw
    kind, value = particle
    return OP_HEAD.pack(4 + len(raw) + len(value), code, kind, 0, len(raw)) + raw + value


def field_bytes(kind: int, data: bytes) -> bytes:
    """A field of a reply."""
    return FIELD_HEAD.pack(1 + len(data), kind) + data


def frame(kind: int, body: bytes) -> bytes:
    """A whole frame: proto header and body."""
    return (PROTO_VERSION << 56 | kind << 48 | len(body)).to_bytes(8, "big") + body


def message(code: int, generation: int = 0, void_time: int = 0, ops: bytes = b"", op_count: int = 0, *, row: int = 0) -> bytes:
    """A reply message without fields (not yet framed)."""
    return HEADER.pack(HEADER_BYTES, 0, 0, 0, 0, code, generation, void_time, row, 0, op_count) + ops


def last_message(code: int = OK) -> bytes:
    """The message that ends a batch's or a query's reply."""
    return HEADER.pack(HEADER_BYTES, 0, 0, INFO3_LAST, 0, code, 0, 0, 0, 0, 0)
