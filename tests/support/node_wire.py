"""Requests as bytes and replies taken apart, to talk to the embedded node's dispatcher without a network and without the client.

Written from the wire protocol reference, not from the node's own code: what both sides got wrong alike would go unnoticed.
"""

import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from deploy.local.node.config import parse_namespace
from deploy.local.node.dispatch import Dispatcher, parse
from deploy.local.node.namespace import Namespace

READ, WRITE, INCR, APPEND, TOUCH, DELETE_ALL = 1, 2, 5, 9, 11, 14
INTEGER, FLOAT, STRING, BLOB = 1, 2, 3, 4
Value = int | float | str | bytes | None


class Message(NamedTuple):
    """One reply message. `row` is the batch row, `void_time` seconds since 2010."""

    code: int
    generation: int
    void_time: int
    row: int
    last: bool
    fields: dict[int, bytes]
    ops: list[tuple[int, int, str, bytes]]

    @property
    def bins(self) -> dict[str, Value]:
        return {name: value_of(kind, raw) for _, kind, name, raw in self.ops}


def particle(value: Value) -> tuple[int, bytes]:
    if value is None:
        return 0, b""
    if isinstance(value, int):
        return INTEGER, struct.pack(">q", value)
    if isinstance(value, float):
        return FLOAT, struct.pack(">d", value)
    return (STRING, value.encode()) if isinstance(value, str) else (BLOB, value)


def value_of(kind: int, raw: bytes) -> Value:
    if kind == INTEGER:
        return int.from_bytes(raw, "big", signed=True)
    if kind == FLOAT:
        return float(struct.unpack(">d", raw)[0])
    return raw.decode() if kind == STRING else raw if kind else None


def digest_of(number: int, partition: int | None = None) -> bytes:
    """A digest of its own for each number, in the partition if one is named."""
    place = number * 7 % 4096 if partition is None else partition
    return struct.pack("<H", place) + struct.pack(">Q", number) + bytes(10)


def op(code: int, name: str = "", value: Value = None) -> bytes:
    kind, raw = particle(value)
    return struct.pack(">IBBBB", 4 + len(name) + len(raw), code, kind, 0, len(name)) + name.encode() + raw


def field(kind: int, data: bytes) -> bytes:
    return struct.pack(">IB", len(data) + 1, kind) + data


def body(
    fields: Iterable[bytes],
    ops: Iterable[bytes] = (),
    *,
    info1: int = 0,
    info2: int = 0,
    info3: int = 0,
    gen: int = 0,
    ttl: int = 0,
) -> bytes:
    fields, ops = list(fields), list(ops)
    head = struct.pack(">BBBBBBIIIHH", 22, info1, info2, info3, 0, 0, gen, ttl, 0, len(fields), len(ops))
    return head + b"".join(fields) + b"".join(ops)


def messages(reply: bytes) -> list[Message]:
    """Every message of framed reply bytes."""
    found = []
    while reply:
        assert reply[:2] == b"\x02\x03", reply[:8]
        size = int.from_bytes(reply[2:8], "big")
        content, reply = reply[8 : 8 + size], reply[8 + size :]
        assert len(content) == size, "the frame promises more than there is"
        while content:
            message, content = _message(content)
            found.append(message)
    return found


def _message(content: bytes) -> tuple[Message, bytes]:
    size, _, _, info3, _, code, generation, void_time, row, field_count, op_count = struct.unpack_from(">BBBBBBIIIHH", content)
    pos = size
    fields = {}
    for _ in range(field_count):
        length, kind = struct.unpack_from(">IB", content, pos)
        fields[kind] = content[pos + 5 : pos + 4 + length]
        pos += 4 + length
    ops = []
    for _ in range(op_count):
        length, done, kind, _, name_size = struct.unpack_from(">IBBBB", content, pos)
        value_at = pos + 8 + name_size
        ops.append(
            (done, kind, content[pos + 8 : value_at].decode(errors="surrogateescape"), content[value_at : pos + 4 + length])
        )
        pos += 4 + length
    return Message(code, generation, void_time, row, bool(info3 & 1), fields, ops), content[pos:]


class Local:
    """A node's namespaces and dispatcher without a server; `reopen` is what a restart does."""

    def __init__(self, folder: Path, *namespaces: str) -> None:
        self.folder = folder
        self.given = namespaces or ("test",)
        self.open()

    def open(self) -> None:
        configs = [parse_namespace(one) for one in self.given]
        self.namespaces = {config.name: Namespace(config, self.folder / config.name) for config in configs}
        for namespace in self.namespaces.values():
            namespace.load()
        self.dispatcher = Dispatcher(self.namespaces, lambda work: [None for _ in work])

    def reopen(self, *, clean: bool = True) -> None:
        """Close and load again; not `clean` leaves out the closing, as a kill does."""
        if clean:
            for namespace in self.namespaces.values():
                namespace.close()
        self.open()

    @property
    def test(self) -> Namespace:
        return self.namespaces["test"]

    def send(self, given: bytes) -> list[Message]:
        reply = self.dispatcher.run(parse(given))
        self.dispatcher.flush()
        return messages(reply if isinstance(reply, bytes) else b"".join(reply))

    def one(
        self,
        number: int,
        ops: Iterable[bytes] = (),
        *,
        namespace: str = "test",
        set_name: str = "s",
        key: bytes | None = None,
        filter: bytes | None = None,
        digest: bytes | None = None,
        info1: int = 0,
        info2: int = 0,
        info3: int = 0,
        gen: int = 0,
        ttl: int = 0,
    ) -> Message:
        """One single-record command."""
        fields = [field(0, namespace.encode())]
        if set_name:
            fields.append(field(1, set_name.encode()))
        if key is not None:
            fields.append(field(2, key))
        fields.append(field(4, digest or digest_of(number)))
        if filter is not None:
            fields.append(field(43, filter))
        (message,) = self.send(body(fields, ops, info1=info1, info2=info2, info3=info3, gen=gen, ttl=ttl))
        return message

    def put(self, number: int, bins: Mapping[str, Value], **how: object) -> Message:
        flags = int(how.pop("info2", 0)) | 1  # type: ignore[call-overload]
        return self.one(number, [op(WRITE, name, value) for name, value in bins.items()], info2=flags, **how)  # type: ignore[arg-type]

    def get(self, number: int, **how: object) -> Message:
        return self.one(number, info1=3, **how)  # type: ignore[arg-type]

    def remove(self, number: int, **how: object) -> Message:
        flags = int(how.pop("info2", 0)) | 3  # type: ignore[call-overload]
        return self.one(number, info2=flags, **how)  # type: ignore[arg-type]

    def batch(self, rows: Iterable[bytes], *, flags: int = 0x0D, filter: bytes | None = None) -> list[Message]:
        rows = list(rows)
        fields = [field(41, struct.pack(">IB", len(rows), flags) + b"".join(rows))]
        if filter is not None:
            fields.append(field(43, filter))
        return self.send(body(fields, info1=8))

    def scan(
        self,
        partitions: Iterable[int] = range(4096),
        *,
        namespace: str = "test",
        set_name: str = "s",
        after: Iterable[bytes] = (),
        limit: int = 0,
        bins: Iterable[str] = (),
        filter: bytes | None = None,
        extra: Iterable[bytes] = (),
        info1: int = 1,
    ) -> list[Message]:
        fields = [field(0, namespace.encode())] + ([field(1, set_name.encode())] if set_name else [])
        fields += [field(7, bytes(8)), field(11, b"".join(struct.pack("<H", one) for one in partitions))]
        after = list(after)
        if after:
            fields.append(field(12, b"".join(after)))
        if limit:
            fields.append(field(13, struct.pack(">Q", limit)))
        if filter is not None:
            fields.append(field(43, filter))
        return self.send(body([*fields, *extra], [op(READ, name) for name in bins], info1=info1, info3=4, ttl=0xFFFFFFFF))


def batch_row(
    number: int,
    digest: bytes,
    ops: Iterable[bytes] = (),
    *,
    info1: int = 0,
    info2: int = 0x81,
    info3: int = 0,
    gen: int = 0,
    ttl: int = 0,
    namespace: str = "test",
    set_name: str = "s",
    extra: Iterable[bytes] = (),
) -> bytes:
    """One row of field 41 with everything written out."""
    ops = list(ops)
    fields = [field(0, namespace.encode()), field(1, set_name.encode()), *extra]
    head = struct.pack(">I20sBBBBHIHH", number, digest, 0x0E, info1, info2, info3, gen, ttl, len(fields), len(ops))
    return head + b"".join(fields) + b"".join(ops)


def repeat_row(number: int, digest: bytes) -> bytes:
    """A row that does what the row before does."""
    return struct.pack(">I20sB", number, digest, 1)
