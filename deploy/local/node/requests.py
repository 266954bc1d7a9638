"""A record command taken apart: what a single-record message and a batch row have in common.

A request is parsed once, whatever it will meet: everything that can be judged without the record (checks 1 to 4 of a write) is
judged here and kept as `refusal`. Repeated batch rows share one request.
"""

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
    plain:   only WRITE ops of values ready to be stored; then `bins` holds them, `ops_raw` is what the log keeps and `answer` is
             the reply's ops with RESPOND_ALL_OPS.
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
    ops: list[Op]
    ops_raw: bytes
    refusal: int
    plain: bool
    bins: dict[str, Particle]
    answer: bytes


_ANSWERS: dict[tuple[str, ...], bytes] = {}
_ANSWERS_KEPT = 1024


def build(
    info: tuple[int, int, int], generation: int, ttl: int, fields: Mapping[int, bytes], ops: list[Op], ops_raw: bytes
) -> Request:
    """The request of a header's values, fields and ops."""
    info1, info2, info3 = info
    get = fields.get
    key = get(wire.FIELD_KEY)
    set_raw = get(wire.FIELD_SET)
    refusal, plain, bins, answer = 0, False, _NO_BINS, b""
    if info2 & 1:
        if not info2 & wire.INFO2_DELETE:
            if ops:
                bins = {}
                for code, kind, name, value in ops:
                    # Strings, blobs, and integers and floats of full size need no look; the rest does.
                    if code != 2 or not (kind == 3 or kind == 4 or (0 < kind < 3 and len(value) == 8) or is_ready(kind, value)):
                        break
                    bins[name] = (kind, value)
                else:
                    plain = all(map(_is_clean, bins))
            if plain:
                names = tuple([op[2] for op in ops])
                answer = _ANSWERS.get(names) or _null_answer(names)
            else:
                refusal = _write_refusal(info1, info3, ops)
    elif not info1 & 1:
        refusal = wire.PARAMETER
    if wire.FIELD_UDF_FILE in fields or wire.FIELD_UDF_OP in fields:
        refusal = wire.UNSUPPORTED
    return tuple.__new__(
        Request,
        (
            info1,
            info2,
            info3,
            generation,
            ttl,
            get(wire.FIELD_NAMESPACE, b""),
            wire.text(set_raw) if set_raw else None,
            (key[0], key[1:]) if key else None,
            get(wire.FIELD_FILTER),
            ops,
            ops_raw,
            refusal,
            plain,
            bins,
            answer,
        ),
    )


_NO_BINS: dict[str, Particle] = {}
_CLEAN: dict[str, bool] = {}


def _is_clean(name: str) -> bool:
    known = _CLEAN.get(name)
    if known is None:
        if len(_CLEAN) >= 65_536:
            _CLEAN.clear()
        known = _CLEAN[name] = "\0" not in name and len(wire.name_bytes(name)) <= MAX_BIN_NAME_BYTES
    return known


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
        if not _is_clean(op.name):
            return wire.BIN_NAME
        if op.code in _READS:
            if not info1 & wire.INFO1_READ:
                return wire.PARAMETER
            results = True
    if info1 & wire.INFO1_GET_ALL and results:
        return wire.PARAMETER
    return 0


def compiled(payload: bytes) -> Filter | None:
    """The filter, or None when it cannot be built (result code 4)."""
    try:
        return expressions.compile_filter(payload)
    except ServerError:
        return None
