"""Scans and index queries: partitions, resume, limits, selections, filters, background writes (wire protocol reference, 6)."""

import struct
from pathlib import Path

import pytest

from tests.support.node_wire import WRITE, Local, Message, body, digest_of, field, op

A_IS_1 = bytes.fromhex("93019351 02a16101".replace(" ", ""))


@pytest.fixture
def node(tmp_path: Path) -> Local:
    node = Local(tmp_path)
    for number in sorted(range(300), key=lambda number: number * 37 % 300):
        node.put(number, {"a": number % 3, "i": number, "s": f"v{number % 5}"}, digest=digest_of(number, number % 10))
    node.put(999, {"a": 1}, set_name="t")
    return node


def numbers(rows: list[Message]) -> list[object]:
    assert rows[-1].last
    assert not any(row.last for row in rows[:-1])
    return [row.bins["i"] for row in rows[:-1]]


def test_a_scan_covers_a_set_exactly_once_and_no_set_means_all(node: Local) -> None:
    assert sorted(numbers(node.scan()), key=int) == list(range(300))  # type: ignore[call-overload]
    assert len(node.scan(set_name="")) == 302
    assert [(one.code, one.last) for one in node.scan(set_name="never")] == [(0, True)]


def test_partitions_are_scanned_apart_in_digest_order(node: Local) -> None:
    rows = node.scan([3, 7])[:-1]
    assert sorted(row.bins["i"] for row in rows) == [i for i in range(300) if i % 10 in (3, 7)]  # type: ignore[type-var]
    for partition in (3, 7):
        digests = [row.fields[4] for row in rows if row.fields[4][0] == partition]
        assert digests == sorted(digests)


def test_paging_with_limit_and_resume_sees_every_record_once(node: Local) -> None:
    """What the client does: continue after the last digest of each partition it saw rows of, start the others."""
    fresh, seen = set(range(12)), dict[int, bytes]()
    found: list[object] = []
    for _ in range(100):
        rows = node.scan(sorted(fresh), after=seen.values(), limit=17)
        found += numbers(rows)
        for row in rows[:-1]:
            partition = int.from_bytes(row.fields[4][:2], "little")
            fresh.discard(partition)
            seen[partition] = row.fields[4]
        if len(rows) - 1 < 17:
            break
    assert sorted(found, key=int) == list(range(300))  # type: ignore[call-overload]


def test_rows_written_between_pages_before_the_resume_point_do_not_come_again(node: Local) -> None:
    first = node.scan([4], limit=10)
    last_digest = first[-2].fields[4]
    for row in first[:-1]:
        node.put(0, {"a": 7}, digest=row.fields[4])
    rest = node.scan([], after=[last_digest])
    assert len(first) + len(rest) - 2 == 30
    assert not {row.fields[4] for row in first[:-1]} & {row.fields[4] for row in rest[:-1]}


def test_selected_bins_leave_out_records_without_them(node: Local) -> None:
    node.put(500, {"other": 1})
    rows = node.scan(bins=["s", "other"])[:-1]
    assert len(rows) == 301
    assert {frozenset(row.bins) for row in rows} == {frozenset({"s"}), frozenset({"other"})}
    assert len(node.scan(bins=["never"])) == 1


def test_without_bins_only_metadata_comes(node: Local) -> None:
    rows = node.scan(info1=0x21)
    assert len(rows) == 301
    assert all(not row.ops and row.fields[4] and row.generation == 1 for row in rows[:-1])


def test_a_filter_counts_before_the_limit(node: Local) -> None:
    assert {row.bins["a"] for row in node.scan(filter=A_IS_1)[:-1]} == {1}
    assert len(node.scan(filter=A_IS_1, limit=40)) == 41
    assert [(one.code, one.last) for one in node.scan(filter=b"\x91\x05")] == [(4, False)]


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ([], 16),
        ([field(11, struct.pack("<HH", 3, 3))], 4),
        ([field(11, struct.pack("<H", 4096))], 4),
        ([field(11, struct.pack("<H", 3)), field(12, digest_of(1, 3))], 4),
        ([field(11, b"\x00")], 4),
        ([field(11, b"\x00\x00"), field(33, b"\x01")], 16),
    ],
)
def test_queries_that_cannot_start(node: Local, fields: list[bytes], code: int) -> None:
    given = body([field(0, b"test"), field(1, b"s"), *fields], info1=1, info3=4)
    assert [(one.code, one.last) for one in node.send(given)] == [(code, False)]


def test_without_the_partition_flag_a_query_is_unsupported(node: Local) -> None:
    assert [one.code for one in node.send(body([field(0, b"test"), field(11, b"\x00\x00")], info1=1))] == [16]


def index_range(name: bytes, kind: int, low: bytes, high: bytes) -> bytes:
    return field(22, bytes((1, len(name))) + name + bytes((kind,)) + b"".join(struct.pack(">I", len(e)) + e for e in (low, high)))


def whole(low: int, high: int) -> bytes:
    return index_range(b"i", 1, struct.pack(">q", low), struct.pack(">q", high))


def test_an_index_query_needs_its_index(node: Local) -> None:
    from deploy.local.node.sindex import Definition, SecondaryIndex

    assert [(one.code, one.last) for one in node.scan(extra=[whole(5, 9)])] == [(201, False)]
    node.test.create_index(SecondaryIndex("by_i", Definition("s", "i", "numeric", "default")))
    assert sorted(numbers(node.scan(extra=[whole(5, 9)])), key=int) == [5, 6, 7, 8, 9]  # type: ignore[call-overload]
    assert [one.code for one in node.scan(extra=[whole(9, 5)])] == [4]
    equal = index_range(b"s", 3, b"v3", b"v3")
    assert [one.code for one in node.scan(extra=[equal])] == [201]
    node.test.create_index(SecondaryIndex("by_s", Definition("s", "s", "string", "default")))
    assert {row.bins["s"] for row in node.scan(extra=[equal])[:-1]} == {"v3"}
    node.put(5, {"i": "no number"}, digest=digest_of(5, 5))
    assert sorted(numbers(node.scan(extra=[whole(5, 9)])), key=int) == [6, 7, 8, 9]  # type: ignore[call-overload]
    node.dispatcher.flush()
    node.reopen()
    assert sorted(numbers(node.scan(extra=[whole(5, 9)])), key=int) == [6, 7, 8, 9]  # type: ignore[call-overload]
    node.test.delete_index("by_i")
    assert [one.code for one in node.scan(extra=[whole(5, 9)])] == [201]


def test_index_rows_come_by_value_and_resume_after_value_and_digest(node: Local) -> None:
    from deploy.local.node.sindex import Definition, SecondaryIndex

    node.test.create_index(SecondaryIndex("by_i", Definition("s", "i", "numeric", "default")))
    first = node.scan([6], extra=[whole(-5, 400)], limit=4)[:-1]
    values = [struct.unpack("<q", row.fields[15])[0] for row in first]
    assert values == [6, 16, 26, 36]
    rest = node.scan([], after=[first[-1].fields[4]], extra=[whole(-5, 400), field(15, first[-1].fields[15])])[:-1]
    assert [row.bins["i"] for row in rest] == list(range(46, 300, 10))


def test_a_background_query_writes_to_every_match_and_says_so(node: Local) -> None:
    given = body(
        [field(0, b"test"), field(1, b"s"), field(7, struct.pack(">Q", 77)), field(43, A_IS_1)],
        [op(WRITE, "mark", 1)],
        info2=1,
    )
    (answer,) = node.send(given)
    assert (answer.code, answer.last) == (0, True)
    marked = [row for row in node.scan()[:-1] if row.bins.get("mark") == 1]
    assert len(marked) == 100
    assert {row.generation for row in marked} == {2}
    job = node.test.jobs[77]
    assert (job.succeeded, job.filtered, job.failed, job.partitions_done) == (100, 200, 0, 4096)
    assert node.get(999, set_name="t").bins == {"a": 1}
