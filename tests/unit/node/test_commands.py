"""Single-record commands: the order of checks, generation, ttl, key and set (wire protocol reference, 4)."""

import time
from pathlib import Path

import pytest

from deploy.local.node.wire import EPOCH_S
from tests.support.node_wire import APPEND, DELETE_ALL, INCR, READ, TOUCH, WRITE, Local, op

CREATE_ONLY, GEN_EQUAL, GEN_GREATER, DURABLE, RESPOND_ALL = 0x20, 0x04, 0x08, 0x10, 0x80
UPDATE_ONLY, CREATE_OR_REPLACE, REPLACE_ONLY = 0x08, 0x10, 0x20
NEVER, KEEP = 0xFFFFFFFF, 0xFFFFFFFE
A_IS_1 = bytes.fromhex("93 01 93 51 02 a1 61 01".replace(" ", ""))
"""a == 1"""
BROKEN = b"\x91\xcd\x7f\xff"


@pytest.fixture
def node(tmp_path: Path) -> Local:
    return Local(tmp_path, "test", "other,default-ttl=60", "still,nsup-period=0", "keeps,durable-deletes=true")


def void_in(seconds: int) -> range:
    now = int(time.time()) - EPOCH_S
    return range(now + seconds - 3, now + seconds + 1)


def test_a_record_comes_back_with_generation_and_bins(node: Local) -> None:
    assert node.put(1, {"a": 1, "s": "x", "f": 2.5, "y": b"\x00"})[:3] == (0, 1, 0)
    got = node.get(1)
    assert (got.code, got.generation, got.bins) == (0, 1, {"a": 1, "s": "x", "f": 2.5, "y": b"\x00"})
    assert node.put(1, {"a": 2, "new": 3}).generation == 2
    assert node.get(1).bins == {"a": 2, "s": "x", "f": 2.5, "y": b"\x00", "new": 3}


def test_missing_and_wrong_namespaces(node: Local) -> None:
    assert node.get(9).code == 2
    assert node.remove(9).code == 2
    assert node.put(9, {"a": 1}, namespace="nope").code == 20


class TestOrderOfChecks:
    """Each command breaks two rules; the server's first check answers."""

    def test_create_only_beats_generation(self, node: Local) -> None:
        node.put(1, {"a": 1})
        answer = node.put(1, {"a": 2}, info2=CREATE_ONLY | GEN_EQUAL, gen=9)
        assert (answer.code, answer.generation) == (5, 1)

    def test_generation_beats_filter(self, node: Local) -> None:
        node.put(1, {"a": 2})
        assert node.put(1, {"a": 3}, info2=GEN_EQUAL, gen=9, filter=A_IS_1).code == 3

    def test_filter_beats_ttl(self, node: Local) -> None:
        node.put(1, {"a": 2})
        answer = node.put(1, {"a": 3}, filter=A_IS_1, ttl=400_000_000)
        assert (answer.code, answer.generation) == (27, 1)

    def test_update_only_beats_a_bad_ttl(self, node: Local) -> None:
        assert node.put(1, {"a": 3}, info3=UPDATE_ONLY, ttl=400_000_000).code == 2

    def test_bin_name_beats_everything_about_the_record(self, node: Local) -> None:
        assert node.put(1, {"b" * 16: 3}, info3=UPDATE_ONLY).code == 21
        assert node.put(1, {"b" * 15: 3}, info3=UPDATE_ONLY).code == 2

    def test_replace_with_a_modify_beats_the_missing_record(self, node: Local) -> None:
        assert node.one(1, [op(INCR, "a", 1)], info2=1, info3=REPLACE_ONLY).code == 4
        assert node.put(1, {"a": None}, info3=CREATE_OR_REPLACE).code == 4

    def test_ttl_beats_the_ops(self, node: Local) -> None:
        node.put(1, {"s": "x"})
        assert node.one(1, [op(INCR, "s", 1)], info2=1, ttl=400_000_000).code == 4
        assert node.one(1, [op(INCR, "s", 1)], info2=1).code == 12

    def test_key_mismatch_after_the_filter(self, node: Local) -> None:
        node.put(1, {"a": 2}, key=b"\x03one")
        assert node.put(1, {"a": 3}, key=b"\x03two", filter=A_IS_1).code == 27
        assert node.put(1, {"a": 3}, key=b"\x03two").code == 19
        assert node.get(1, key=b"\x03two").code == 19

    def test_durable_delete_beats_the_missing_record(self, node: Local) -> None:
        assert node.remove(1, info2=DURABLE).code == 25

    def test_remove_checks_generation_before_the_filter(self, node: Local) -> None:
        node.put(1, {"a": 2})
        assert node.remove(1, info2=GEN_EQUAL, gen=5, filter=A_IS_1).code == 3
        assert node.remove(1, info2=GEN_EQUAL, gen=1, filter=A_IS_1)[:3] == (27, 0, 0)
        assert node.remove(1, info2=GEN_EQUAL, gen=1).code == 0
        assert node.get(1).code == 2


def test_a_bad_filter_is_noticed_only_on_a_record(node: Local) -> None:
    assert node.put(1, {"a": 1}, filter=BROKEN).code == 0
    assert node.put(1, {"a": 1}, filter=BROKEN).code == 4
    assert node.get(1, filter=BROKEN).code == 4


def test_the_set_is_fixed_at_creation(node: Local) -> None:
    node.put(1, {"a": 1}, set_name="s")
    assert node.put(1, {"a": 2}, set_name="t").code == 4
    assert node.get(1, set_name="t").code == 4


def test_generations(node: Local) -> None:
    assert node.put(1, {"a": 1}, info2=GEN_GREATER, gen=0).code == 3
    assert node.put(1, {"a": 1}, info2=GEN_EQUAL, gen=0).code == 0
    assert node.put(1, {"a": 1}, info2=GEN_GREATER, gen=1).code == 3
    assert node.put(1, {"a": 1}, info2=GEN_GREATER, gen=2)[:2] == (0, 2)


def test_the_generation_wraps_to_one(node: Local) -> None:
    node.put(1, {"a": 1})
    part = next(part for part in node.test.partitions if part)
    ((digest, record),) = part.items()
    part[digest] = record._replace(generation=65_535)
    assert node.put(1, {"a": 2}).generation == 1


def test_ttl_zero_is_the_default_and_resets(node: Local) -> None:
    node.put(1, {"a": 1}, ttl=1000)
    assert node.get(1).void_time in void_in(1000)
    assert node.put(1, {"a": 1}, ttl=KEEP).void_time in void_in(1000)
    assert node.put(1, {"a": 1}, ttl=0).void_time == 0
    assert node.put(1, {"a": 1}, namespace="other").void_time in void_in(60)
    assert node.put(2, {"a": 1}, namespace="other", ttl=KEEP).void_time in void_in(60)
    assert node.put(3, {"a": 1}, namespace="other", ttl=NEVER).void_time == 0


def test_ttl_bounds(node: Local) -> None:
    assert node.put(1, {"a": 1}, ttl=315_360_000).code == 0
    assert node.put(1, {"a": 1}, ttl=315_360_001).code == 4


def test_without_nsup_a_ttl_is_forbidden(node: Local) -> None:
    assert node.put(1, {"a": 1}, namespace="still", ttl=10).code == 22
    assert node.put(1, {"a": 1}, namespace="still").code == 0
    assert node.put(1, {"a": 1}, namespace="still", ttl=NEVER).code == 0


def test_replace_drops_bins_and_keeps_counting(node: Local) -> None:
    node.put(1, {"a": 1, "b": 2})
    assert node.put(1, {"c": 3}, info3=CREATE_OR_REPLACE).generation == 2
    assert node.get(1).bins == {"c": 3}


def test_null_removes_a_bin_and_the_last_one_the_record(node: Local) -> None:
    assert node.put(1, {"a": None}).code == 2
    node.put(1, {"a": 1, "b": 2})
    assert node.put(1, {"a": None})[:2] == (0, 2)
    assert node.put(1, {"b": None})[:2] == (0, 0)
    assert node.get(1).code == 2


def test_an_error_in_any_op_undoes_all(node: Local) -> None:
    node.put(1, {"a": 1, "s": "x"})
    assert node.one(1, [op(WRITE, "a", 9), op(INCR, "s", 1)], info2=1).code == 12
    assert node.get(1)[:2] == (0, 1)
    assert node.get(1).bins == {"a": 1, "s": "x"}


def test_reads_see_the_writes_before_them(node: Local) -> None:
    node.put(1, {"n": 1})
    ops = [op(READ, "n"), op(INCR, "n", 4), op(READ, "n"), op(READ, "none")]
    assert [(kind, raw[-1:]) for _, kind, _, raw in node.one(1, ops, info1=1, info2=1).ops] == [(1, b"\x01"), (1, b"\x05")]
    answered = node.one(1, ops, info1=1, info2=1 | RESPOND_ALL).ops
    assert [(code, kind) for code, kind, _, _ in answered] == [(READ, 1), (INCR, 0), (READ, 1), (READ, 0)]


def test_delete_all_then_write_keeps_counting(node: Local) -> None:
    node.put(1, {"a": 1, "b": 2})
    assert node.one(1, [op(DELETE_ALL), op(WRITE, "c", 3)], info2=1)[:2] == (0, 2)
    assert node.get(1).bins == {"c": 3}
    gone = node.one(1, [op(READ, "c"), op(DELETE_ALL)], info1=1, info2=1)
    assert (gone.code, gone.generation, gone.bins) == (0, 0, {"c": 3})
    assert node.get(1).code == 2


def test_touch(node: Local) -> None:
    assert node.one(1, [op(TOUCH)], info2=1).code == 2
    node.put(1, {"a": 1})
    assert node.one(1, [op(TOUCH)], info2=1, ttl=50).generation == 2
    assert node.get(1).void_time in void_in(50)
    assert node.get(1).bins == {"a": 1}


def test_append_needs_the_same_type(node: Local) -> None:
    node.put(1, {"s": "a"})
    assert node.one(1, [op(APPEND, "s", "b")], info2=1).code == 0
    assert node.one(1, [op(APPEND, "s", b"b")], info2=1).code == 12
    assert node.get(1).bins == {"s": "ab"}


def test_a_record_too_big_changes_nothing(node: Local) -> None:
    node.put(1, {"a": b"x" * 600_000})
    assert node.put(1, {"b": b"x" * 600_000})[:2] == (13, 1)
    assert node.put(1, {"a": b"x" * 600_000, "c": 1}).code == 0, "rewriting a large bin does not count it twice"
    assert set(node.get(1).bins) == {"a", "c"}


def test_the_key_stays_when_later_writes_do_not_send_it(node: Local) -> None:
    node.put(1, {"a": 1}, key=b"\x03user")
    node.put(1, {"a": 2})
    (row, end) = node.scan()
    assert row.fields[2] == b"\x03user"
    assert end.last


def test_last_update_time_never_goes_backwards(node: Local) -> None:
    before = node.test.tick()
    node.test._clock_ms = before + 60_000
    node.put(1, {"a": 1})
    assert next(node.test.changes_since(0)).lut_ms == before + 60_000


def test_a_re_created_record_is_younger_than_its_delete(node: Local) -> None:
    told: list[tuple[str, int, int]] = []
    namespace = node.test

    def listen(name: str, digest: bytes, kind: str, gone: object) -> None:
        image = gone or namespace.image(digest)
        told.append((kind, image.lut_ms, image.generation))  # type: ignore[union-attr]

    namespace.listeners.append(listen)
    for _ in range(50):
        node.put(1, {"a": 1})
        node.put(1, {"a": 2})
        node.remove(1)
    assert [kind for kind, _, _ in told] == ["write", "write", "delete"] * 50
    assert told == sorted(told, key=lambda one: one[1]), "in the order they happened"
    deleted, created = told[2::3], told[3::3]
    assert all(new[1] > old[1] for old, new in zip(deleted, created, strict=False))
    assert {generation for _, _, generation in deleted} == {3}


def test_where_durable_deletes_are_taken_the_generation_goes_on(node: Local) -> None:
    node.put(1, {"a": 1}, namespace="keeps")
    assert node.remove(1, namespace="keeps", info2=DURABLE).code == 0
    assert node.put(1, {"a": 1}, namespace="keeps").generation == 3
