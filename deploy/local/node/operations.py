"""The ops of one command, in order, over a working copy of a record's bins."""

import json
import struct
from collections.abc import Callable

from deploy.local.node import wire
from deploy.local.node.algebra import collections, expressions
from deploy.local.node.algebra.errors import ServerError
from deploy.local.node.algebra.values import validate_collection
from deploy.local.node.changes import Particle
from deploy.local.node.record import View
from deploy.local.node.wire import Op, op_bytes

_DOUBLE = struct.Struct(">d")
_LANGUAGE_BLOBS = range(7, 13)
_WRAP = 1 << 64


class Refused(Exception):
    """An op failed: the command answers `code` and changes nothing."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def run_ops(ops: list[Op], bins: dict[str, Particle], view: View, respond_all: bool, *, reads_only: bool = False) -> list[bytes]:
    """Run `ops` over `bins`, which writes change in place; gives the reply's ops.

    view:       must see `bins` itself, so that expressions see the writes before them.
    reads_only: refuse ops that write (4); `bins` is then left alone.
    Raises Refused.
    """
    results: list[bytes] = []
    for op in ops:
        code = op.code
        if code == wire.OP_READ:
            result = bins.get(op.name)
        elif code == wire.OP_TOUCH and not reads_only:
            continue
        else:
            run = (_READS if reads_only else _OPS).get(code)
            if run is None:
                raise Refused(wire.PARAMETER)
            try:
                result = run(op, bins, view)
            except ServerError as error:
                raise Refused(error.code) from None
        if result is not None or respond_all:
            results.append(op_bytes(code, op.name, result))
    return results


def is_ready(kind: int, value: bytes) -> bool:
    """Whether a client's value is stored exactly as it came."""
    try:
        return storable(kind, value)[1] == value
    except (Refused, ServerError):
        return False


def storable(kind: int, value: bytes) -> Particle:
    """A value sent by a client as it is stored. Raises Refused or ServerError: 4 wrong size or type, 1 unreadable, 160."""
    if kind in (wire.STRING, wire.BLOB, wire.HLL) or kind in _LANGUAGE_BLOBS:
        return kind, value
    if kind == wire.INTEGER:
        if len(value) not in (1, 2, 4, 8):
            raise Refused(wire.PARAMETER)
        return kind, value if len(value) == 8 else int.from_bytes(value, "big", signed=True).to_bytes(8, "big", signed=True)
    if kind == wire.FLOAT and len(value) == 8:
        return kind, value
    if kind == wire.BOOL and value in (b"\x00", b"\x01"):
        return kind, value
    if kind in (wire.LIST, wire.MAP):
        return kind, validate_collection(kind, value)
    if kind == wire.GEOJSON:
        return kind, _geojson(value)
    raise Refused(wire.PARAMETER)


def _geojson(value: bytes) -> bytes:
    """The value without cells, which nothing here computes."""
    if len(value) < 3:
        raise Refused(wire.GEOJSON_INVALID)
    text = value[3 + 8 * int.from_bytes(value[1:3], "big") :]
    try:
        shape = json.loads(text)
    except ValueError:
        raise Refused(wire.GEOJSON_INVALID) from None
    if not isinstance(shape, dict) or not isinstance(shape.get("type"), str):
        raise Refused(wire.GEOJSON_INVALID)
    return b"\x00\x00\x00" + text


def _write(op: Op, bins: dict[str, Particle], view: View) -> None:
    if op.type == wire.NULL:
        bins.pop(op.name, None)
    else:
        bins[op.name] = storable(op.type, op.value)


def _increment(op: Op, bins: dict[str, Particle], view: View) -> None:
    kind, value = storable(op.type, op.value)
    if kind not in (wire.INTEGER, wire.FLOAT):
        raise Refused(wire.PARAMETER)
    old = bins.get(op.name)
    if old is None:
        bins[op.name] = (kind, value)
    elif old[0] != kind:
        raise Refused(wire.INCOMPATIBLE_TYPE)
    elif kind == wire.INTEGER:
        total = int.from_bytes(old[1], "big") + int.from_bytes(value, "big")
        bins[op.name] = (kind, (total % _WRAP).to_bytes(8, "big"))
    else:
        bins[op.name] = (kind, _DOUBLE.pack(_DOUBLE.unpack(old[1])[0] + _DOUBLE.unpack(value)[0]))


def _append(op: Op, bins: dict[str, Particle], view: View) -> None:
    old = _same_kind(op, bins)
    bins[op.name] = (op.type, old + op.value)


def _prepend(op: Op, bins: dict[str, Particle], view: View) -> None:
    old = _same_kind(op, bins)
    bins[op.name] = (op.type, op.value + old)


def _same_kind(op: Op, bins: dict[str, Particle]) -> bytes:
    if op.type not in (wire.STRING, wire.BLOB) and op.type not in _LANGUAGE_BLOBS:
        raise Refused(wire.PARAMETER)
    old = bins.get(op.name)
    if old is None:
        return b""
    if old[0] != op.type:
        raise Refused(wire.INCOMPATIBLE_TYPE)
    return old[1]


def _delete_all(op: Op, bins: dict[str, Particle], view: View) -> None:
    bins.clear()


def _expression_read(op: Op, bins: dict[str, Particle], view: View) -> Particle | None:
    return expressions.expression_op(False, op.value, view, bins.get(op.name))[1]


def _expression_write(op: Op, bins: dict[str, Particle], view: View) -> Particle | None:
    new, result = expressions.expression_op(True, op.value, view, bins.get(op.name))
    if not isinstance(new, expressions.Outcome):
        _put_back(bins, op.name, new)
    return result


def _collection_read(op: Op, bins: dict[str, Particle], view: View) -> Particle | None:
    return collections.read(op.value, bins.get(op.name))


def _collection_modify(op: Op, bins: dict[str, Particle], view: View) -> Particle | None:
    new, result = collections.modify(op.value, bins.get(op.name))
    _put_back(bins, op.name, new)
    return result


def _put_back(bins: dict[str, Particle], name: str, new: Particle | None) -> None:
    if new is None:
        bins.pop(name, None)
    else:
        bins[name] = new


def _unsupported(op: Op, bins: dict[str, Particle], view: View) -> None:
    raise Refused(wire.UNSUPPORTED)


_Run = Callable[[Op, dict[str, Particle], View], Particle | None]
_READS: dict[int, _Run] = {
    wire.OP_CDT_READ: _collection_read,
    wire.OP_EXP_READ: _expression_read,
    wire.OP_BITS_READ: _unsupported,
    wire.OP_HLL_READ: _unsupported,
}
_OPS: dict[int, _Run] = _READS | {
    wire.OP_WRITE: _write,
    wire.OP_INCR: _increment,
    wire.OP_APPEND: _append,
    wire.OP_PREPEND: _prepend,
    wire.OP_DELETE_ALL: _delete_all,
    wire.OP_EXP_MODIFY: _expression_write,
    wire.OP_CDT_MODIFY: _collection_modify,
    wire.OP_BITS_MODIFY: _unsupported,
    wire.OP_HLL_MODIFY: _unsupported,
}
