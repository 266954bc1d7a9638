"""Record commands: read, write and remove, each check in the server's order (wire protocol reference, 4.2 to 4.4).

Every function answers an `Answer`; nothing is changed unless its code is 0.
"""

import time
from typing import NamedTuple

from deploy.local.node import wire
from deploy.local.node.changes import Particle
from deploy.local.node.config import MAX_TTL_S
from deploy.local.node.namespace import Namespace
from deploy.local.node.operations import Refused, run_ops
from deploy.local.node.record import Record, View, size_bytes
from deploy.local.node.requests import Filter, Request, compiled
from deploy.local.node.wire import EPOCH_S, op_bytes

TTL_NEVER, TTL_KEEP = 0xFFFFFFFF, 0xFFFFFFFE
MAX_BINS = 32_767

_REPLACES = wire.INFO3_REPLACE_ONLY | wire.INFO3_CREATE_OR_REPLACE
_MUST_EXIST = wire.INFO3_UPDATE_ONLY | wire.INFO3_REPLACE_ONLY
_GENERATION_CHECKS = wire.INFO2_GEN_EQUAL | wire.INFO2_GEN_GREATER
_POLICIES2 = _GENERATION_CHECKS | wire.INFO2_CREATE_ONLY | wire.INFO2_DURABLE


class Answer(NamedTuple):
    """What the reply's header and ops say."""

    code: int
    generation: int = 0
    void_time: int = 0
    ops: bytes = b""
    op_count: int = 0


_answer = tuple.__new__
_NOT_FOUND = Answer(wire.NOT_FOUND)


def execute(namespace: Namespace, digest: bytes, request: Request, batch_filter: bytes | None = None) -> Answer:
    """Run one command. `batch_filter` counts when the request has no filter of its own."""
    if request.refusal:
        return Answer(request.refusal)
    if request.info2 & 1:
        if request.info2 & wire.INFO2_DELETE:
            return remove(namespace, digest, request, batch_filter)
        return write(namespace, digest, request, batch_filter)
    return read(namespace, digest, request, batch_filter)


def _filtered(digest: bytes, record: Record, payload: bytes, at_ms: int) -> int:
    """0 when the record passes; 4 when the filter cannot be built, 27 when it is not true."""
    test: Filter | None = compiled(payload)
    if test is None:
        return wire.PARAMETER
    return 0 if test(View(digest, record, record.bins, at_ms)) is True else wire.FILTERED_OUT


def _other_set(record: Record, request: Request) -> bool:
    """A read or a delete may leave the set out, and then any set will do (server 8.1: rw_utils.c, set_name_check)."""
    return bool(request.set_name) and record.set_name != request.set_name


def read(namespace: Namespace, digest: bytes, request: Request, batch_filter: bytes | None = None) -> Answer:
    """Get, select, exists, and operate with reads only."""
    at_ms = time.time_ns() // 1_000_000
    record = namespace.find(digest, at_ms)
    if record is None:
        return _NOT_FOUND
    generation, void_time = record.generation, record.void_time
    if _other_set(record, request):
        return Answer(wire.PARAMETER, generation, void_time)
    payload = request.filter or batch_filter
    if payload and (code := _filtered(digest, record, payload, at_ms)):
        return Answer(code, generation, void_time)
    if request.key is not None and record.key is not None and request.key != record.key:
        return Answer(wire.KEY_MISMATCH, generation, void_time)
    info1 = request.info1
    if info1 & wire.INFO1_NO_BINS:
        return Answer(0, generation, void_time)
    if info1 & wire.INFO1_GET_ALL:
        ops = b"".join([op_bytes(1, name, particle) for name, particle in record.bins.items()])
        return Answer(0, generation, void_time, ops, len(record.bins))
    if not request.ops:
        return Answer(wire.PARAMETER, generation, void_time)
    view = View(digest, record, record.bins, at_ms)
    try:
        results = run_ops(request.ops, record.bins, view, bool(request.info2 & wire.INFO2_RESPOND_ALL), reads_only=True)
    except Refused as refused:
        return Answer(refused.code, generation, void_time)
    return Answer(0, generation, void_time, b"".join(results), len(results))


def remove(namespace: Namespace, digest: bytes, request: Request, batch_filter: bytes | None = None) -> Answer:
    """Delete a record."""
    durable = bool(request.info2 & wire.INFO2_DURABLE)
    if durable and not namespace.config.durable_deletes:
        return Answer(wire.ENTERPRISE_ONLY)
    at_ms = time.time_ns() // 1_000_000
    record = namespace.find(digest, at_ms)
    if record is None:
        return _NOT_FOUND
    if _other_set(record, request):
        return Answer(wire.PARAMETER)
    if request.info2 & _GENERATION_CHECKS and not _generation_fits(request, record.generation):
        return Answer(wire.GENERATION)
    payload = request.filter or batch_filter
    if payload and (code := _filtered(digest, record, payload, at_ms)):
        return Answer(code)
    if request.key is not None and record.key is not None and request.key != record.key:
        return Answer(wire.KEY_MISMATCH)
    namespace.remove(digest, record, durable=durable)
    return Answer(0)


def _generation_fits(request: Request, stored: int) -> bool:
    if request.info2 & wire.INFO2_GEN_EQUAL:
        return request.generation == stored
    return request.generation > stored


def write(namespace: Namespace, digest: bytes, request: Request, batch_filter: bytes | None = None) -> Answer:
    """Put, touch, and operate with writes: everything is prepared, then stored, or nothing is."""
    lut_ms = namespace.tick()
    old = namespace.find(digest, lut_ms)
    info2, info3 = request.info2, request.info3
    if old is None:
        if info3 & _MUST_EXIST:
            return _NOT_FOUND
        if info2 & _POLICIES2 and info2 & _GENERATION_CHECKS and not _generation_fits(request, 0):
            return Answer(wire.GENERATION)
        key = request.key
    else:
        if info2 & _POLICIES2:
            if info2 & wire.INFO2_CREATE_ONLY:
                return Answer(wire.RECORD_EXISTS, old.generation, old.void_time)
            if info2 & _GENERATION_CHECKS and not _generation_fits(request, old.generation):
                return Answer(wire.GENERATION, old.generation, old.void_time)
        if old.set_name != request.set_name:
            return Answer(wire.PARAMETER, old.generation, old.void_time)
        payload = request.filter or batch_filter
        if payload and (code := _filtered(digest, old, payload, lut_ms)):
            return Answer(code, old.generation, old.void_time)
        key = old.key
        if request.key is not None:
            if key is None:
                key = request.key
            elif request.key != key:
                return Answer(wire.KEY_MISMATCH, old.generation, old.void_time)
    ttl = request.ttl
    config = namespace.config
    if ttl == 0 or (ttl == TTL_KEEP and old is None):
        ttl = config.default_ttl_s
        void_time = lut_ms // 1000 - EPOCH_S + ttl if ttl else 0
    elif ttl == TTL_NEVER:
        void_time = ttl = 0
    elif ttl == TTL_KEEP:
        assert old is not None
        void_time, ttl = old.void_time, 0
    elif ttl > MAX_TTL_S:
        return _error(wire.PARAMETER, old)
    else:
        void_time = lut_ms // 1000 - EPOCH_S + ttl
    if ttl and not config.nsup_period_s:
        return _error(wire.FORBIDDEN, old)
    if request.bins is not None:
        return _write_plain(namespace, digest, request, request.bins, old, lut_ms, void_time, key)
    return _write_ops(namespace, digest, request, old, lut_ms, void_time, key)


def _error(code: int, old: Record | None) -> Answer:
    return Answer(code) if old is None else Answer(code, old.generation, old.void_time)


def _write_plain(
    namespace: Namespace,
    digest: bytes,
    request: Request,
    written: dict[str, Particle],
    old: Record | None,
    lut_ms: int,
    void_time: int,
    key: Particle | None,
) -> Answer:
    """Only WRITE ops of values that are stored as they came: no copy per op, and the log keeps the request's own bytes."""
    merge = old is not None and not request.info3 & _REPLACES
    bound = len(request.ops_raw) + 104 + (len(key[1]) if key else 0)
    if merge:
        assert old is not None
        bins = old.bins | written
        bound += old.size_bound
    else:
        bins = written
    if bound > namespace.config.max_record_size or len(bins) > MAX_BINS:
        if len(bins) > MAX_BINS:
            return _error(wire.PARAMETER, old)
        bound = size_bytes(request.set_name, key, bins)
        if bound > namespace.config.max_record_size:
            return _error(wire.TOO_BIG, old)
    generation = namespace.store(
        digest,
        old,
        lut_ms,
        void_time,
        request.set_name,
        key,
        bins,
        bound,
        merge,
        request.op_count,
        request.ops_raw,
    )
    if request.info2 & wire.INFO2_RESPOND_ALL:
        return _answer(Answer, (0, generation, void_time, request.answer, request.op_count))
    if request.info1 & wire.INFO1_GET_ALL:
        ops = b"".join([op_bytes(1, name, particle) for name, particle in bins.items()])
        return Answer(0, generation, void_time, ops, len(bins))
    return _answer(Answer, (0, generation, void_time, b"", 0))


def _write_ops(
    namespace: Namespace,
    digest: bytes,
    request: Request,
    old: Record | None,
    lut_ms: int,
    void_time: int,
    key: Particle | None,
) -> Answer:
    info2, info3 = request.info2, request.info3
    if old is None and any(op.code == wire.OP_TOUCH for op in request.ops):
        return _NOT_FOUND
    before = old if old is not None else Record(0, void_time, lut_ms, request.set_name, key, {}, 0)
    bins = {} if info3 & _REPLACES else dict(before.bins)
    view = View(digest, before, bins, lut_ms)
    try:
        results = run_ops(request.ops, bins, view, bool(info2 & wire.INFO2_RESPOND_ALL))
    except Refused as refused:
        return _error(refused.code, old)
    if len(bins) > MAX_BINS:
        return _error(wire.PARAMETER, old)
    if not bins:
        if old is None:
            return _NOT_FOUND
        if info2 & wire.INFO2_DURABLE and not namespace.config.durable_deletes:
            return _error(wire.ENTERPRISE_ONLY, old)
        namespace.remove(digest, old, durable=bool(info2 & wire.INFO2_DURABLE))
        return Answer(0, 0, 0, b"".join(results), len(results))
    size = size_bytes(request.set_name, key, bins)
    if size > namespace.config.max_record_size:
        return _error(wire.TOO_BIG, old)
    stored = b"".join([op_bytes(wire.OP_WRITE, name, particle) for name, particle in bins.items()])
    generation = namespace.store(digest, old, lut_ms, void_time, request.set_name, key, bins, size, False, len(bins), stored)
    if not results and request.info1 & wire.INFO1_GET_ALL:
        results = [op_bytes(1, name, particle) for name, particle in bins.items()]
    return Answer(0, generation, void_time, b"".join(results), len(results))
