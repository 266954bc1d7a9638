"""Batches: field 41 taken apart into rows, the rows run in request order, one reply for all (wire protocol reference, 5)."""

import struct
from collections.abc import Mapping
from typing import NamedTuple

from deploy.local.node import wire
from deploy.local.node.commands import execute
from deploy.local.node.hooks import Fault
from deploy.local.node.namespace import Namespace
from deploy.local.node.requests import Request, build, compiled, target
from deploy.local.node.wire import BadRequest, parse_fields

REPEAT, HAS_INFO, HAS_GENERATION, HAS_TTL, HAS_INFO4 = 0x01, 0x02, 0x04, 0x08, 0x10
RESPOND_ALL_KEYS = 4
_ROW_HEAD = struct.Struct(">I20sBB")
"""row number, digest, kind, info1 (a repeating row ends before it)."""
_INFO = struct.Struct(">BB")
_COUNTS = struct.Struct(">HH")
_SOFT = frozenset((wire.OK, wire.NOT_FOUND, wire.FILTERED_OUT))
"""Row results that are no failure of the batch."""


class Row(NamedTuple):
    """One row: its number in the reply, whose record, and what to do."""

    number: int
    digest: bytes
    request: Request


def parse_rows(field: bytes) -> tuple[list[Row], int]:
    """The rows of field 41 and its flags. Raises BadRequest, also for a repeat of nothing or of a row with a key."""
    if len(field) < 5:
        raise BadRequest("batch without a row count")
    count, flags = int.from_bytes(field[:4], "big"), field[4]
    pos, end = 5, len(field)
    # A repeating row is one byte shorter than the head that is read: the last one needs a byte after it.
    field += b"\0"
    rows: list[Row] = []
    request: Request | None = None
    # Rows mostly begin with the same namespace and set: what was read last is compared before anything is read again.
    same, same_count, whose = b"", -1, _NOBODY
    make, row_head, row_info, counts = tuple.__new__, _ROW_HEAD.unpack_from, _INFO.unpack_from, _COUNTS.unpack_from
    try:
        for _ in range(count):
            number, digest, kind, info1 = row_head(field, pos)
            if kind & REPEAT:
                if request is None or request.key is not None:
                    raise BadRequest("batch row repeats nothing")
                pos += 25
                rows.append(make(Row, (number, digest, request)))
                continue
            pos += 26
            info2 = info3 = generation = ttl = 0
            if kind & HAS_INFO:
                info2, info3 = row_info(field, pos)
                pos += 2
            if kind & HAS_INFO4:
                pos += 1
            if kind & HAS_GENERATION:
                generation = int.from_bytes(field[pos : pos + 2], "big")
                pos += 2
            if kind & HAS_TTL:
                ttl = int.from_bytes(field[pos : pos + 4], "big")
                pos += 4
            field_count, op_count = counts(field, pos)
            pos += 4
            if field_count == same_count and field.startswith(same, pos):
                ops_at = pos + len(same)
            else:
                fields, ops_at = parse_fields(field, pos, field_count)
                same, same_count, whose = field[pos:ops_at], field_count, target(fields)
            request, pos = build((info1, info2, info3), generation, ttl, whose, field, ops_at, op_count)
            rows.append(make(Row, (number, digest, request)))
    except struct.error:
        raise BadRequest("batch row beyond the end of the field") from None
    if pos > end:
        raise BadRequest("batch row beyond the end of the field")
    return rows, flags


_NOBODY = target({})


class BatchReply(NamedTuple):
    """Messages of the rows, ready to be framed, and the message that ends the batch (None when the fault cuts it off)."""

    rows: list[bytes]
    last: bytes | None


def run(namespaces: Mapping[bytes, Namespace], fields: Mapping[int, bytes], fault: Fault | None = None) -> BatchReply:
    """Run every row in order; each answers for itself. Rows that cannot be parsed: nothing runs, 4."""
    field = fields.get(wire.FIELD_BATCH) or fields.get(wire.FIELD_BATCH_WITH_SET)
    if not field:
        return BatchReply([], wire.last_message(wire.PARAMETER))
    batch_filter = fields.get(wire.FIELD_FILTER)
    if batch_filter is not None and compiled(batch_filter) is None:
        return BatchReply([], wire.last_message(wire.PARAMETER))
    try:
        rows, flags = parse_rows(field)
    except BadRequest:
        return BatchReply([], wire.last_message(wire.PARAMETER))
    if not rows:
        return BatchReply([], wire.last_message(wire.PARAMETER))
    return _run_rows(namespaces, rows, flags, batch_filter, fault)


def _run_rows(
    namespaces: Mapping[bytes, Namespace], rows: list[Row], flags: int, batch_filter: bytes | None, fault: Fault | None
) -> BatchReply:
    replies: list[bytes] = []
    first_failure = 0
    pack = wire.HEADER.pack
    overridden = fault.result_code if fault is not None else 0
    if fault is not None and fault.action == "reset_mid_batch":
        rows = rows[: fault.rows_before_reset]
    for position, (number, digest, request) in enumerate(rows):
        namespace = namespaces.get(request.namespace)
        if namespace is None:
            return BatchReply(replies, wire.last_message(wire.PARAMETER))
        limit = namespace.config.batch_max_rows
        if limit and len(rows) > limit and not replies:
            return BatchReply([], wire.last_message(wire.TOO_MANY_ROWS))
        if overridden and (fault.rows is None or position in fault.rows):  # type: ignore[union-attr]
            code, generation, void_time, ops, op_count = overridden, 0, 0, b"", 0
        else:
            code, generation, void_time, ops, op_count = execute(namespace, digest, request, batch_filter)
        if code not in _SOFT and not first_failure:
            first_failure = code
        replies.append(pack(22, 0, 0, 0, 0, code, generation, void_time, number, 0, op_count) + ops)
    if fault is not None and fault.action == "reset_mid_batch":
        return BatchReply(replies, None)
    return BatchReply(replies, wire.last_message(0 if flags & RESPOND_ALL_KEYS else first_failure))
