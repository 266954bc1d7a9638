"""A record command taken apart: what a single-record message and a batch row have in common.

A request is parsed once, whatever it will meet: everything that can be judged without the record (checks 1 to 4 of a write) is
judged here and kept as `refusal`. Repeated batch rows share one request.
"""

import struct
from collections.abc import Callable, Mapping
from typing import NamedTuple

from deploy.local.node import wire
from deploy.local.node.algebra import expressions
from deploy.local.node.algebra.errors import ServerError
from deploy.local.node.algebra.view import RecordView
from deploy.local.node.changes import Particle
from deploy.local.node.operations import is_ready
from deploy.local.node.wire import Op

MAX_OPS = 32_768
MAX_BIN_NAME_BYTES = 15

Filter = Callable[[RecordView], bool | None]

_READS = frozenset((wire.OP_READ, wire.OP_CDT_READ, wire.OP_EXP_READ, wire.OP_BITS_READ, wire.OP_HLL_READ))
_NEED_OLD_BINS = frozenset(
    (
        wire.OP_TOUCH,
        wire.OP_INCR,
        wire.OP_APPEND,
        wire.OP_PREPEND,
        wire.OP_CDT_MODIFY,
        wire.OP_EXP_MODIFY,
        wire.OP_BITS_MODIFY,
        wire.OP_HLL_MODIFY,
        wire.OP_DELETE_ALL,
    )
)
_KNOWN = _READS | _NEED_OLD_BINS | {wire.OP_WRITE}
_REPLACES = wire.INFO3_REPLACE_ONLY | wire.INFO3_CREATE_OR_REPLACE


class Request(NamedTuple):
    """One command on one record, without the record.

    refusal: the result code every record gets, 0 when the command may be tried.
    filter:  None without one; its payload is compiled when first needed, as a bad filter goes unnoticed on a missing record.
    bins:    of a plain write, which has only WRITE ops, of different bins, with values that are stored as they came; else None.
             Then `ops` is empty, the log keeps `ops_raw`, and `answer` is the reply's ops with RESPOND_ALL_OPS.
    """

    info1: int
    info2: int
    info3: int
    generation: int
    ttl: int
    namespace: bytes
    set_name: str | None
    key: Particle | None
    filter: bytes | None
    op_count: int
    ops: list[Op]
    ops_raw: bytes
    refusal: int
    bins: dict[str, Particle] | None
    answer: bytes


class Target(NamedTuple):
    """What a command's fields say; rows of a batch that begin alike share one. `udf` asks for what this node does not do."""

    namespace: bytes
    set_name: str | None
    key: Particle | None
    filter: bytes | None
    udf: bool


def target(fields: Mapping[int, bytes]) -> Target:
    """The target of a command's fields."""
    key = fields.get(wire.FIELD_KEY)
    set_raw = fields.get(wire.FIELD_SET)
    return Target(
        fields.get(wire.FIELD_NAMESPACE, b""),
        wire.text(set_raw) if set_raw else None,
        (key[0], key[1:]) if key else None,
        fields.get(wire.FIELD_FILTER),
        wire.FIELD_UDF_FILE in fields or wire.FIELD_UDF_OP in fields,
    )


_ANSWERS: dict[tuple[str, ...], bytes] = {}
_ANSWERS_KEPT = 1024


def build(
    info: tuple[int, int, int], generation: int, ttl: int, whose: Target, body: bytes, ops_at: int, op_count: int
) -> tuple[Request, int]:
    """The request of a header's values and fields, its ops taken from `body`; and the place after them. Raises BadRequest."""
    info1, info2, info3 = info
    namespace, set_name, key, test, udf = whose
    refusal, bins, answer = 0, None, b""
    ops: list[Op] = _NO_OPS
    if info2 & 1 and not info2 & wire.INFO2_DELETE:
        bins, end = _plain_bins(body, ops_at, op_count)
        if bins is not None:
            names = tuple(bins)
            answer = _ANSWERS.get(names) or _null_answer(names)
        else:
            ops, end = wire.parse_ops(body, ops_at, op_count)
            refusal = _write_refusal(info1, info3, ops)
    else:
        ops, end = wire.parse_ops(body, ops_at, op_count)
        if not info2 & 1 and not info1 & 1:
            refusal = wire.PARAMETER
    if udf:
        refusal = wire.UNSUPPORTED
    request: Request = tuple.__new__(
        Request,
        (
            info1,
            info2,
            info3,
            generation,
            ttl,
            namespace,
            set_name,
            key,
            test,
            op_count,
            ops,
            body[ops_at:end],
            refusal,
            bins,
            answer,
        ),
    )
    return request, end


_NO_OPS: list[Op] = []
_CLEAN_NAMES: dict[bytes, str] = {}
"""Bin names that were found to be legal, by their bytes."""
_NAMES_KEPT = 65_536


def _plain_bins(body: bytes, pos: int, count: int) -> tuple[dict[str, Particle] | None, int]:
    """The bins a plain write writes, and the place after its ops; None when it is another write, or none at all."""
    bins: dict[str, Particle] = {}
    unpack, known = wire.OP_HEAD.unpack_from, _CLEAN_NAMES.get
    try:
        for _ in range(count):
            size, code, kind, _flags, name_size = unpack(body, pos)
            name_at = pos + 8
            value_at = name_at + name_size
            pos += 4 + size
            if code != 2 or value_at > pos:
                return None, 0
            raw = body[name_at:value_at]
            name = known(raw)
            if name is None:
                if not _learn(raw):
                    return None, 0
                name = _CLEAN_NAMES[raw]
            value = body[value_at:pos]
            # Strings, blobs, and integers and floats of full size need no look; the rest does.
            if kind == 3 or kind == 4 or (0 < kind < 3 and len(value) == 8) or is_ready(kind, value):
                bins[name] = (kind, value)
            else:
                return None, 0
    except struct.error:
        return None, 0
    if len(bins) != count or not count or pos > len(body):
        return None, 0
    return bins, pos


def _learn(raw: bytes) -> bool:
    """Note a bin name when it is legal; whether it is."""
    if len(raw) > MAX_BIN_NAME_BYTES or b"\0" in raw:
        return False
    if len(_CLEAN_NAMES) >= _NAMES_KEPT:
        _CLEAN_NAMES.clear()
    _CLEAN_NAMES[raw] = wire.text(raw)
    return True


def _null_answer(names: tuple[str, ...]) -> bytes:
    if len(_ANSWERS) >= _ANSWERS_KEPT:
        _ANSWERS.clear()
    answer = _ANSWERS[names] = b"".join(wire.op_bytes(wire.OP_WRITE, name, None) for name in names)
    return answer


def _write_refusal(info1: int, info3: int, ops: list[Op]) -> int:
    """Checks 1 to 4 of a write, in the server's order."""
    if not ops or len(ops) > MAX_OPS:
        return wire.PARAMETER
    replaces = info3 & _REPLACES
    results = False
    for op in ops:
        if op.code not in _KNOWN:
            return wire.PARAMETER
        if replaces and (op.code in _NEED_OLD_BINS or (op.code == wire.OP_WRITE and op.type == wire.NULL)):
            return wire.PARAMETER
        if not _is_legal(op.name):
            return wire.BIN_NAME
        if op.code in _READS:
            if not info1 & wire.INFO1_READ:
                return wire.PARAMETER
            results = True
    if info1 & wire.INFO1_GET_ALL and results:
        return wire.PARAMETER
    return 0


def _is_legal(name: str) -> bool:
    return "\0" not in name and len(wire.name_bytes(name)) <= MAX_BIN_NAME_BYTES


def compiled(payload: bytes) -> Filter | None:
    """The filter, or None when it cannot be built (result code 4)."""
    global _last_compiled
    # One filter for a whole batch, or for repeated rows, is one object.
    if payload is not _last_compiled[0]:
        try:
            _last_compiled = payload, expressions.compile_filter(payload)
        except ServerError:
            return None
    return _last_compiled[1]


_last_compiled: tuple[bytes, Filter | None] = b"", None
