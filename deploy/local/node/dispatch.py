"""From a message's body to its reply: which namespace, which command, which fault.

A dispatcher runs on the event loop and answers at once, or hands out a generator for a query that takes several turns.
"""

import struct
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from deploy.local.node import batch, query, wire
from deploy.local.node.algebra.errors import ServerError
from deploy.local.node.commands import execute
from deploy.local.node.hooks import CommandInfo, Fault
from deploy.local.node.namespace import Namespace
from deploy.local.node.requests import build, target
from deploy.local.node.wire import BadRequest, frame, message, parse_fields, parse_ops

PIECE_BYTES = 1 << 20


class Message(NamedTuple):
    """A type-3 body, its fields taken apart, its ops not yet."""

    body: bytes
    info1: int
    info2: int
    info3: int
    generation: int
    ttl: int
    op_count: int
    fields: dict[int, bytes]
    ops_at: int


def parse(body: bytes) -> Message:
    """Raises BadRequest."""
    try:
        size, info1, info2, info3, _, _, generation, ttl, _, field_count, op_count = wire.HEADER.unpack_from(body)
    except struct.error:
        raise BadRequest("message header cut off") from None
    if size != wire.HEADER_BYTES:
        raise BadRequest(f"message header of {size} bytes")
    fields, ops_at = parse_fields(body, wire.HEADER_BYTES, field_count)
    return Message(body, info1, info2, info3, generation, ttl, op_count, fields, ops_at)


class Dispatcher:
    """Runs messages against a node's namespaces.

    start_background: takes the work of a background query, to be done a turn at a time whoever stays connected.
    """

    def __init__(self, namespaces: Mapping[str, Namespace], start_background: Callable[[Iterator[None]], None]) -> None:
        self._start_background = start_background
        self.by_name = {wire.name_bytes(name): namespace for name, namespace in namespaces.items()}

    def describe(self, given: Message) -> CommandInfo:
        """The command as a fault injector sees it. Raises BadRequest when its rows cannot be parsed."""
        namespace = wire.text(given.fields.get(wire.FIELD_NAMESPACE, b""))
        if given.info1 & wire.INFO1_BATCH:
            field = given.fields.get(wire.FIELD_BATCH) or given.fields.get(wire.FIELD_BATCH_WITH_SET) or b""
            rows, _ = batch.parse_rows(field)
            namespace = wire.text(rows[0].request.namespace) if rows else ""
            writes = any(row.request.info2 & wire.INFO2_WRITE for row in rows)
            return CommandInfo("batch", namespace, [row.digest for row in rows], len(rows), writes)
        writes = bool(given.info2 & wire.INFO2_WRITE)
        if wire.FIELD_DIGEST not in given.fields:
            return CommandInfo("query", namespace, (), 0, writes)
        return CommandInfo("write" if writes else "read", namespace, (given.fields[wire.FIELD_DIGEST],), 1, writes)

    def run(self, given: Message, fault: Fault | None = None) -> bytes | Iterator[bytes]:
        """The framed reply, or its pieces one by one. Raises BadRequest."""
        if given.info1 & wire.INFO1_BATCH:
            return self._batch(given, fault)
        fields = given.fields
        digest = fields.get(wire.FIELD_DIGEST)
        code = fault.result_code if fault is not None else 0
        namespace = self.by_name.get(fields.get(wire.FIELD_NAMESPACE, b""))
        if code == 0 and namespace is None:
            code = wire.NO_NAMESPACE
        if code or namespace is None:
            return frame(wire.TYPE_MESSAGE, message(code))
        info = (given.info1, given.info2, given.info3)
        if digest is not None:
            if len(digest) != 20:
                raise BadRequest(f"digest of {len(digest)} bytes")
            request, _ = build(info, given.generation, given.ttl, target(fields), given.body, given.ops_at, given.op_count)
            return frame(wire.TYPE_MESSAGE, message(*execute(namespace, digest, request)))
        try:
            if given.info2 & wire.INFO2_WRITE:
                ops_at, op_count = given.ops_at, given.op_count
                self._start_background(query.background(namespace, info, given.ttl, fields, given.body, ops_at, op_count))
                return frame(wire.TYPE_MESSAGE, wire.last_message())
            if not given.info1 & wire.INFO1_READ:
                return frame(wire.TYPE_MESSAGE, message(wire.PARAMETER))
            ops, _ = parse_ops(given.body, given.ops_at, given.op_count)
            return query.rows(namespace, query.parse(namespace, given.info1, given.info3, fields, ops))
        except ServerError as error:
            return frame(wire.TYPE_MESSAGE, message(error.code))

    def _batch(self, given: Message, fault: Fault | None) -> bytes:
        reply = batch.run(self.by_name, given.fields, fault)
        frames: list[bytes] = []
        piece: list[bytes] = []
        size = 0
        for row in reply.rows:
            piece.append(row)
            size += len(row)
            if size >= PIECE_BYTES:
                frames.append(frame(wire.TYPE_MESSAGE, b"".join(piece)))
                piece, size = [], 0
        if reply.last is not None:
            piece.append(reply.last)
        if piece:
            frames.append(frame(wire.TYPE_MESSAGE, b"".join(piece)))
        return b"".join(frames)

    def flush(self) -> None:
        """Hand every namespace's pending log entries to the operating system: before any reply goes out. Raises OSError."""
        for namespace in self.by_name.values():
            if namespace.log.pending:
                namespace.log.flush()
