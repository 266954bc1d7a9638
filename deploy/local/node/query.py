"""Queries and scans: partition filters, resume, index ranges, filter expressions, background writes (wire protocol reference, 6).

A query is a generator of reply pieces. Between pieces other commands run, so a long scan holds nobody up and memory stays flat; a
record changed meanwhile is seen before or after its change. Within a partition rows come by digest, or by (index value, digest).
"""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from deploy.local.node import wire
from deploy.local.node.algebra.errors import ServerError
from deploy.local.node.changes import Particle
from deploy.local.node.commands import execute
from deploy.local.node.namespace import PARTITIONS, BackgroundJob, Namespace, now_ms
from deploy.local.node.record import Record, View
from deploy.local.node.requests import Filter, Request, build, compiled, target
from deploy.local.node.sindex import PARTICLE_OF_TYPE, Definition, matcher, parse_range
from deploy.local.node.wire import field_bytes, name_bytes, op_bytes

PIECE_BYTES = 256 << 10
JOBS_REMEMBERED = 100
RECORDS_PER_TURN = 2000
"""Records looked at before other commands get a turn, found or not."""

Match = Callable[[Particle | None], int | None]


class Query(NamedTuple):
    """A query that may start.

    partitions: to read from the start.
    resume:     partition -> (index value, digest) to continue after.
    limit:      rows at most, 0 for all.
    select:     bin names, empty for all.
    bin:        the indexed bin with `match`, for index queries.
    """

    set_name: str | None
    partitions: list[int]
    resume: dict[int, tuple[int, bytes]]
    limit: int
    select: list[str]
    no_bins: bool
    filter: Filter | None
    bin: str
    match: Match | None


def parse(namespace: Namespace, info1: int, info3: int, fields: Mapping[int, bytes], ops: list[wire.Op]) -> Query:
    """A foreground query. Raises ServerError: 4, 16 or 201."""
    if not info3 & wire.INFO3_PARTITION_DONE or wire.FIELD_UDF_OP in fields or wire.FIELD_UDF_FILE in fields:
        raise ServerError(wire.UNSUPPORTED, "no partition query")
    starts = fields.get(wire.FIELD_PARTITIONS, b"")
    digests = fields.get(wire.FIELD_RESUME_DIGESTS, b"")
    values = fields.get(wire.FIELD_INDEX_VALUES, b"")
    if wire.FIELD_PARTITIONS not in fields and wire.FIELD_RESUME_DIGESTS not in fields:
        raise ServerError(wire.UNSUPPORTED, "no partitions named")
    if len(starts) % 2 or len(digests) % 20:
        raise ServerError(wire.PARAMETER, "partition list cut off")
    partitions = [int.from_bytes(starts[i : i + 2], "little") for i in range(0, len(starts), 2)]
    resume: dict[int, tuple[int, bytes]] = {}
    for i in range(0, len(digests), 20):
        digest = digests[i : i + 20]
        value = int.from_bytes(values[i // 20 * 8 : i // 20 * 8 + 8], "little", signed=True)
        resume[(digest[0] | digest[1] << 8) & 4095] = (value, digest)
    everything = [*partitions, *resume]
    if len(set(everything)) != len(starts) // 2 + len(digests) // 20 or any(one >= PARTITIONS for one in everything):
        raise ServerError(wire.PARAMETER, "partitions repeated or out of range")
    bin_name, match = _index(namespace, fields)
    limit = int.from_bytes(fields.get(wire.FIELD_MAX_RECORDS, b""), "big")
    select = [op.name for op in ops if op.code == wire.OP_READ]
    if len(select) != len(ops):
        raise ServerError(wire.UNSUPPORTED, "only bin names with a query")
    no_bins = bool(info1 & wire.INFO1_NO_BINS)
    return Query(_set_name(fields), partitions, resume, limit, select, no_bins, _filter(fields), bin_name, match)


def rows(namespace: Namespace, query: Query) -> Iterator[bytes]:
    """Framed pieces of the reply, the last with LAST; b"" only gives others a turn."""
    piece: list[bytes] = []
    size = looked_at = found = 0
    for partition in sorted([*query.partitions, *query.resume]):
        for digest, record, value in _candidates(namespace, partition, query):
            looked_at += 1
            if looked_at % RECORDS_PER_TURN == 0:
                yield b""
                current = namespace.find(digest, now_ms())
                if current is None:
                    continue
                record = current
            row = _row(namespace, query, digest, record, value)
            if row is None:
                continue
            piece.append(row)
            size += len(row)
            found += 1
            if found == query.limit:
                yield wire.frame(wire.TYPE_MESSAGE, b"".join(piece) + wire.last_message())
                return
            if size >= PIECE_BYTES:
                yield wire.frame(wire.TYPE_MESSAGE, b"".join(piece))
                piece, size = [], 0
    yield wire.frame(wire.TYPE_MESSAGE, b"".join(piece) + wire.last_message())


def background(
    namespace: Namespace,
    info: tuple[int, int, int],
    ttl: int,
    fields: Mapping[int, bytes],
    body: bytes,
    ops_at: int,
    op_count: int,
) -> Iterator[None]:
    """A background query's work, in turns: the ops on every matching record, as an update-only write. Raises ServerError at once.

    Its progress stands in `namespace.jobs`.
    """
    if wire.FIELD_UDF_OP in fields or wire.FIELD_UDF_FILE in fields:
        raise ServerError(wire.UNSUPPORTED, "UDF")
    _filter(fields)
    bin_name, match = _index(namespace, fields)
    set_name = _set_name(fields)
    query = Query(set_name, list(range(PARTITIONS)), {}, 0, [], True, None, bin_name, match)
    kept = {kind: fields[kind] for kind in (wire.FIELD_NAMESPACE, wire.FIELD_FILTER) if kind in fields}
    by_set: dict[str | None, Request] = {}

    def request(name: str | None) -> Request:
        if name not in by_set:
            own = kept | ({wire.FIELD_SET: name_bytes(name)} if name else {})
            by_set[name], _ = build((info[0], info[1], wire.INFO3_UPDATE_ONLY), 0, ttl, target(own), body, ops_at, op_count)
        return by_set[name]

    if (refusal := request(set_name).refusal) != 0:
        raise ServerError(refusal, "background ops")
    job = BackgroundJob(int.from_bytes(fields.get(wire.FIELD_JOB, b""), "big"), set_name or "")
    namespace.jobs[job.number] = job
    while len(namespace.jobs) > JOBS_REMEMBERED:
        del namespace.jobs[next(iter(namespace.jobs))]
    return _background(namespace, query, request, job)


def _background(
    namespace: Namespace, query: Query, request: Callable[[str | None], Request], job: BackgroundJob
) -> Iterator[None]:
    for partition in query.partitions:
        for digest, record, _ in _candidates(namespace, partition, query):
            code = execute(namespace, digest, request(record.set_name)).code
            job.succeeded += code == wire.OK
            job.filtered += code == wire.FILTERED_OUT
            job.failed += code not in (wire.OK, wire.FILTERED_OUT)
            if (job.succeeded + job.filtered + job.failed) % RECORDS_PER_TURN == 0:
                yield
        job.partitions_done += 1


def _candidates(namespace: Namespace, partition: int, query: Query) -> Iterator[tuple[bytes, Record, int]]:
    """Live records of the set in one partition, in row order, after the resume point; with the index value (0 without index)."""
    part = namespace.partitions[partition]
    if not part:
        return
    after = query.resume.get(partition)
    at_ms = now_ms()
    set_name, match = query.set_name, query.match
    order: list[tuple[int, bytes]]
    if match is None:
        order = [(0, digest) for digest in part if after is None or digest > after[1]]
    else:
        order = []
        for digest, record in part.items():
            if set_name is None or record.set_name == set_name:
                value = match(record.bins.get(query.bin))
                if value is not None and (after is None or (value, digest) > after):
                    order.append((value, digest))
    order.sort()
    for value, digest in order:
        found = namespace.find(digest, at_ms)
        if found is not None and (set_name is None or found.set_name == set_name):
            yield digest, found, value


def _row(namespace: Namespace, query: Query, digest: bytes, record: Record, value: int) -> bytes | None:
    if query.filter is not None and query.filter(View(digest, record, record.bins, now_ms())) is not True:
        return None
    bins = record.bins
    if query.no_bins:
        ops = []
    elif query.select:
        ops = [op_bytes(wire.OP_READ, name, bins[name]) for name in query.select if name in bins]
        if not ops:
            return None
    else:
        ops = [op_bytes(wire.OP_READ, name, particle) for name, particle in bins.items()]
    fields = [field_bytes(wire.FIELD_NAMESPACE, name_bytes(namespace.name)), field_bytes(wire.FIELD_DIGEST, digest)]
    if record.set_name:
        fields.append(field_bytes(wire.FIELD_SET, name_bytes(record.set_name)))
    if record.key is not None:
        fields.append(field_bytes(wire.FIELD_KEY, bytes((record.key[0],)) + record.key[1]))
    if query.match is not None:
        fields.append(field_bytes(wire.FIELD_INDEX_VALUES, value.to_bytes(8, "little", signed=True)))
    info1 = wire.INFO1_NO_BINS if query.no_bins else 0
    head = wire.HEADER.pack(22, info1, 0, 0, 0, 0, record.generation, record.void_time, 0, len(fields), len(ops))
    return head + b"".join(fields) + b"".join(ops)


def _set_name(fields: Mapping[int, bytes]) -> str | None:
    raw = fields.get(wire.FIELD_SET)
    return wire.text(raw) if raw else None


def _filter(fields: Mapping[int, bytes]) -> Filter | None:
    payload = fields.get(wire.FIELD_FILTER)
    if not payload:
        return None
    test = compiled(payload)
    if test is None:
        raise ServerError(wire.PARAMETER, "filter cannot be built")
    return test


def _index(namespace: Namespace, fields: Mapping[int, bytes]) -> tuple[str, Match | None]:
    """The indexed bin and the test of the range; ("", None) for a query without index. Raises ServerError."""
    raw = fields.get(wire.FIELD_INDEX_RANGE)
    if raw is None:
        return "", None
    if wire.FIELD_INDEX_CONTEXT in fields or wire.FIELD_INDEX_EXPRESSION in fields:
        raise ServerError(wire.UNSUPPORTED, "indexes on elements or expressions")
    wanted = parse_range(raw, int.from_bytes(fields.get(wire.FIELD_INDEX_TYPE, b""), "big"))
    if wire.FIELD_INDEX_NAME in fields:
        index = namespace.indexes.get(wire.text(fields[wire.FIELD_INDEX_NAME]))
        if index is None or PARTICLE_OF_TYPE[index.definition.type] != wanted.type:
            raise ServerError(wire.INDEX_NOT_FOUND)
        return index.definition.bin, matcher(wanted._replace(bin=index.definition.bin))
    kind = next(name for name, particle in PARTICLE_OF_TYPE.items() if particle == wanted.type)
    set_name = _set_name(fields) or ""
    asked = {Definition(name, wanted.bin, kind, wanted.definition_type) for name in (set_name, "")}
    if not any(index.definition in asked for index in namespace.indexes.values()):
        raise ServerError(wire.INDEX_NOT_FOUND)
    return wanted.bin, matcher(wanted)
