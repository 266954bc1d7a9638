"""What survives: log, snapshot, torn tail, truncation, expiry, several namespaces."""

import asyncio
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local.node.changes import DeletedImage, RecordImage
from deploy.local.node.log import DamagedFile
from deploy.local.node.server import SNAPSHOT_LEAST_REST_S, step_and_rest
from tests.support.node_wire import INCR, TOUCH, WRITE, Local, batch_row, digest_of, op

State = dict[bytes, tuple[object, ...]]


@pytest.fixture
def node(tmp_path: Path) -> Local:
    return Local(tmp_path, "test", "bar,default-ttl=60")


def state(node: Local, namespace: str = "test") -> State:
    """Every record whole, but for the size bound, which a restart makes exact."""
    found: State = {}
    for part in node.namespaces[namespace].partitions:
        for digest, record in part.items():
            found[digest] = record[:6]
    return found


def fill(node: Local) -> None:
    """Records of every history: merged, replaced, touched, modified, with key, ttl, no set, removed, re-created."""
    for number in range(40):
        node.put(number, {"a": number, "s": f"text {number}"}, ttl=1000 if number % 3 else 0)
    for number in range(10):
        node.put(number, {"a": -number, "b": b"\x00\xff"}, key=b"\x03user%d" % number)
    node.put(10, {"c": 1.5}, info3=0x10)
    node.put(11, {"a": None})
    node.one(12, [op(INCR, "a", 5)], info2=1)
    node.one(13, [op(TOUCH)], info2=1, ttl=77)
    node.put(99, {"a": 1}, set_name="")
    for number in range(20, 25):
        node.remove(number)
    node.put(20, {"again": 1})
    node.put(1, {"a": 1}, namespace="bar")


@pytest.mark.parametrize("clean", [True, False])
def test_everything_acknowledged_survives_a_restart_and_a_kill(node: Local, clean: bool) -> None:
    fill(node)
    before, other, deleted = state(node), state(node, "bar"), dict(node.test.deleted)
    assert set(deleted) == {digest_of(number) for number in (21, 22, 23, 24)}
    sets = dict(node.test.set_objects)
    assert len(before) == 37
    node.reopen(clean=clean)
    assert state(node) == before
    assert state(node, "bar") == other
    assert node.test.deleted == deleted
    assert node.test.objects == len(before)
    assert {name: count for name, count in node.test.set_objects.items() if count} == sets
    assert node.put(0, {"a": 0}).generation == 3, "the count goes on"


def snapshot(node: Local) -> Iterator[None]:
    namespace = node.test
    namespace.config.snapshot_log_bytes = 1
    while namespace.snapshot_step():
        yield
    namespace.config.snapshot_log_bytes = 1 << 40


def test_clients_get_most_of_the_time_while_a_snapshot_is_taken() -> None:
    now_s, turns = 0.0, list[tuple[str, float]]()
    steps_s = iter([0.004, 0.0001, 0.020, 0.004])

    def step() -> bool:
        nonlocal now_s
        took_s = next(steps_s, None)
        if took_s is None:
            return False
        now_s += took_s
        turns.append(("step", took_s))
        return True

    async def rest(for_s: float) -> None:
        nonlocal now_s
        now_s += for_s
        turns.append(("rest", for_s))

    asyncio.run(step_and_rest(step, lambda: now_s, rest))
    assert [name for name, _ in turns] == ["step", "rest"] * 4
    for (_, worked_s), (_, rested_s) in zip(turns[::2], turns[1::2], strict=True):
        assert rested_s >= max(3 * worked_s, SNAPSHOT_LEAST_REST_S) - 1e-9


def test_a_snapshot_replaces_the_log(node: Local) -> None:
    fill(node)
    before, deleted = state(node), dict(node.test.deleted)
    for _ in snapshot(node):
        pass
    files = sorted(path.name for path in (node.folder / "test").iterdir())
    assert files == ["log-1", "snapshot-1"]
    assert (node.folder / "test" / "log-1").stat().st_size == 8
    node.reopen()
    assert state(node) == before
    assert dict(node.test.deleted) == deleted


def test_writes_during_a_snapshot_are_all_there(node: Local, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deploy.local.node.namespace.SNAPSHOT_STEP_RECORDS", 5)
    fill(node)
    for turn, _ in enumerate(snapshot(node)):
        number = turn % 37
        node.put(number, {"a": 1000 + turn, f"n{turn % 3}": turn})
        if turn % 4 == 0:
            node.remove(number + 1)
        if turn % 5 == 0:
            node.put(200 + turn, {"new": turn})
    assert turn > 5, "the snapshot took several steps"
    before = state(node)
    node.reopen(clean=False)
    assert state(node) == before


def test_the_disk_may_take_its_time_over_a_snapshot(node: Local, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, may_end = threading.Event(), threading.Event()

    def slow_disk(fd: int) -> None:
        asked.set()
        assert may_end.wait(60)

    monkeypatch.setattr("deploy.local.node.log.os.fsync", slow_disk)
    fill(node)
    steps = snapshot(node)
    for _ in steps:
        if asked.is_set():
            break
    node.put(0, {"meanwhile": 1})
    assert next(steps, "over") is None, "not done before the disk is"
    assert (node.folder / "test" / "snapshot-1.tmp").exists()
    may_end.set()
    for _ in steps:
        pass
    assert sorted(path.name for path in (node.folder / "test").iterdir()) == ["log-1", "snapshot-1"]
    before = state(node)
    node.reopen()
    assert state(node) == before


def test_a_disk_that_fails_fails_the_snapshot(node: Local, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("deploy.local.node.log.os.fsync", full)
    fill(node)
    before = state(node)
    with pytest.raises(OSError, match="no space left"):
        for _ in snapshot(node):
            pass
    node.reopen(clean=False)
    assert state(node) == before


def test_many_deletes_are_several_steps(node: Local, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deploy.local.node.namespace.SNAPSHOT_STEP_RECORDS", 5)
    for number in range(40):
        node.put(number, {"a": number})
        node.remove(number)
    for turn, _ in enumerate(snapshot(node)):
        if turn == 1:
            node.put(39, {"again": 1})  # its delete is still to be written
        if turn == 2:
            node.put(0, {"again": 1})  # its delete is written
            node.remove(0)
    assert turn >= 7
    before, deleted = state(node), dict(node.test.deleted)
    assert len(before) == 1
    node.reopen()
    assert state(node) == before and dict(node.test.deleted) == deleted


def test_a_kill_during_a_snapshot_loses_nothing(node: Local, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deploy.local.node.namespace.SNAPSHOT_STEP_RECORDS", 5)
    fill(node)
    for turn, _ in enumerate(snapshot(node)):
        if turn == 3:
            break
    node.put(0, {"late": 1})
    before = state(node)
    assert (node.folder / "test" / "snapshot-1.tmp").exists()
    node.reopen(clean=False)
    assert state(node) == before
    assert not (node.folder / "test" / "snapshot-1.tmp").exists()
    node.put(1, {"later": 1})
    before = state(node)
    for _ in snapshot(node):
        pass
    node.reopen()
    assert state(node) == before


@pytest.mark.parametrize("cut", [1, 4, 9, 40])
def test_a_torn_tail_is_cut_off_and_writing_goes_on(node: Local, cut: int) -> None:
    fill(node)
    before = state(node)
    node.put(3, {"torn": 1})
    log = node.folder / "test" / "log-0"
    os.truncate(log, log.stat().st_size - cut)
    node.reopen(clean=False)
    assert state(node) == before
    node.put(4, {"after": 1})
    before = state(node)
    node.reopen()
    assert state(node) == before


def test_a_torn_batch_goes_as_a_whole(node: Local) -> None:
    node.put(1, {"a": 1})
    before = state(node)
    node.batch([batch_row(i, digest_of(i), [op(WRITE, "a", i)]) for i in range(50, 60)])
    log = node.folder / "test" / "log-0"
    os.truncate(log, log.stat().st_size - 1)
    node.reopen(clean=False)
    assert state(node) == before


def test_damage_in_the_middle_refuses_the_start_and_names_the_place(node: Local) -> None:
    fill(node)
    for namespace in node.namespaces.values():
        namespace.close()
    log = node.folder / "test" / "log-0"
    whole = log.read_bytes()
    for place in range(8, len(whole) // 2, 7):
        content = bytearray(whole)
        content[place] ^= 0x40
        log.write_bytes(content)
        with pytest.raises(DamagedFile, match=r"log-0 at byte \d+"):
            node.open()


def test_a_missing_log_refuses_the_start(node: Local) -> None:
    fill(node)
    for _ in snapshot(node):
        pass
    for namespace in node.namespaces.values():
        namespace.close()
    (node.folder / "test" / "log-1").unlink()
    with pytest.raises(DamagedFile, match="not all there"):
        node.open()


def test_a_full_disk_leaves_a_readable_log(node: Local, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(node)
    before = state(node)
    real = os.write

    def half(fd: int, data: bytes) -> int:
        if len(data) < 20:
            raise OSError(28, "No space left on device")
        return real(fd, data[: len(data) // 2])

    monkeypatch.setattr("deploy.local.node.log.os.write", half)
    with pytest.raises(OSError, match="No space"):
        node.put(1, {"lost": 1})
    monkeypatch.undo()
    node.put(2, {"later": 1})
    node.reopen()
    assert node.get(2).bins.pop("later") == 1
    assert {digest: one for digest, one in state(node).items() if digest != digest_of(2)} == {
        digest: one for digest, one in before.items() if digest != digest_of(2)
    }


def test_truncation_of_a_set_lasts(node: Local) -> None:
    node.put(1, {"a": 1}, set_name="one")
    node.put(2, {"a": 1}, set_name="two")
    node.test.truncate("one", None)
    node.put(3, {"a": 1}, set_name="one")
    assert [node.get(1, set_name="one").code, node.get(2, set_name="two").code, node.get(3, set_name="one").code] == [2, 0, 0]
    node.dispatcher.flush()
    node.reopen()
    assert [node.get(1, set_name="one").code, node.get(2, set_name="two").code, node.get(3, set_name="one").code] == [2, 0, 0]
    assert node.test.set_objects == {"one": 1, "two": 1}
    assert node.put(1, {"a": 1}, set_name="one").generation == 1


def test_a_record_written_in_the_millisecond_of_a_truncation_stays(node: Local, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when a snapshot that is being taken holds the record, and the log after it begins with the truncation."""
    frozen = time.time_ns()
    monkeypatch.setattr("time.time_ns", lambda: frozen)
    node.put(1, {"a": 1})
    for turn, _ in enumerate(snapshot(node)):
        if turn == 0:
            node.test.truncate("s", None)
            node.put(2, {"a": 1})
    assert [node.get(1).code, node.get(2).code] == [2, 0]
    node.reopen()
    assert [node.get(1).code, node.get(2).code] == [2, 0]


def test_a_record_re_created_after_a_truncation_is_younger(node: Local, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is told of the truncation: who mirrors the record must not take the new one for an older version."""
    frozen = time.time_ns()
    monkeypatch.setattr("time.time_ns", lambda: frozen)
    node.put(1, {"a": 1})
    before = node.test.image(digest_of(1))
    node.test.truncate("s", None)
    node.put(1, {"a": 1})
    after = node.test.image(digest_of(1))
    assert before is not None
    assert after is not None
    assert after.lut_ms > before.lut_ms


def test_truncation_up_to_a_time_keeps_younger_records(node: Local) -> None:
    node.put(1, {"a": 1})
    first = node.test.image(digest_of(1))
    assert first is not None
    node.test._clock_ms = first.lut_ms + 10
    node.put(2, {"a": 1})
    assert node.test.truncate("s", first.lut_ms) == 1
    assert [node.get(1).code, node.get(2).code] == [2, 0]


def test_truncation_of_the_namespace_leaves_others_alone(node: Local) -> None:
    fill(node)
    node.test.truncate("", None)
    assert (node.test.objects, node.namespaces["bar"].objects) == (0, 1)
    assert not state(node)


def advance(monkeypatch: pytest.MonkeyPatch, seconds: int) -> None:
    """Let the node's clocks stand `seconds` ahead."""
    real = time.time_ns
    monkeypatch.setattr("time.time_ns", lambda: real() + seconds * 1_000_000_000)


def test_an_expired_record_is_missing_at_once_and_nsup_removes_it(node: Local, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[str, DeletedImage | None]] = []
    node.test.listeners.append(lambda namespace, digest, kind, gone: told.append((kind, gone)))
    node.put(1, {"a": 1}, ttl=5, key=b"\x03u")
    node.put(2, {"a": 1})
    node.put(3, {"a": 1}, ttl=500)
    advance(monkeypatch, 6)
    assert node.get(1).code == 2
    assert node.put(1, {"a": 1}, info3=0x08).code == 2
    assert node.test.image(digest_of(1)) is None
    assert [message.fields.get(4) for message in node.scan()][:-1] == sorted([digest_of(2), digest_of(3)], key=partition)
    assert node.test.objects == 3, "not removed yet"
    assert sum(node.test.expire(first, first + 512) for first in range(0, 4096, 512)) == 1
    assert node.test.objects == 2
    kind, gone = told[-1]
    assert kind == "expire"
    assert gone is not None
    assert (gone.generation, gone.key, gone.durable, gone.set_name) == (2, (3, b"u"), False, "s")
    node.dispatcher.flush()
    node.reopen()
    assert node.test.objects == 2


def partition(digest: bytes) -> int:
    return int.from_bytes(digest[:2], "little") & 4095


def test_a_write_over_an_expired_record_starts_anew(node: Local, monkeypatch: pytest.MonkeyPatch) -> None:
    node.put(1, {"a": 1, "old": 1}, ttl=5)
    node.put(1, {"a": 2}, ttl=5)
    advance(monkeypatch, 6)
    assert node.put(1, {"a": 3}).generation == 1
    assert node.get(1).bins == {"a": 3}
    assert node.test.objects == 1
    before = state(node)
    node.reopen()
    assert state(node) == before


def test_changes_since_gives_records_and_deletes_in_order_also_after_a_kill(node: Local) -> None:
    for number in range(5):
        node.test._clock_ms += 10
        node.put(number, {"a": number}, key=b"\x01" + bytes(7) + bytes((number,)))
    middle = node.test._clock_ms + 1
    node.test._clock_ms += 10
    node.remove(0)
    node.test._clock_ms += 10
    node.put(3, {"a": 33})
    node.reopen(clean=False)
    found = list(node.test.changes_since(middle))
    assert [image.digest for image in found] == [digest_of(0), digest_of(3)]
    gone, written = found
    assert isinstance(gone, DeletedImage)
    assert isinstance(written, RecordImage)
    assert (gone.generation, gone.kind, gone.set_name, gone.key) == (2, "delete", "s", (1, bytes(8)))
    assert (written.generation, written.bins["a"]) == (2, (1, (33).to_bytes(8, "big")))
    assert len(list(node.test.changes_since(0))) == 5


def test_old_deletes_are_forgotten(node: Local, monkeypatch: pytest.MonkeyPatch) -> None:
    node.put(1, {"a": 1})
    node.remove(1)
    node.test.forget_old_deletes()
    assert digest_of(1) in node.test.deleted
    advance(monkeypatch, 3601)
    node.test.forget_old_deletes()
    assert not node.test.deleted


def test_truncation_tells_no_listener(node: Local) -> None:
    node.put(1, {"a": 1})
    told: list[str] = []
    node.test.listeners.append(lambda namespace, digest, kind, gone: told.append(kind))
    node.test.truncate("s", None)
    assert node.get(1).code == 2
    assert told == []


def test_namespaces_keep_apart_what_has_one_digest(node: Local) -> None:
    node.put(1, {"a": 1})
    node.put(1, {"a": 2}, namespace="bar")
    assert node.get(1).bins == {"a": 1}
    assert node.get(1, namespace="bar").bins == {"a": 2}
    node.remove(1)
    assert node.get(1, namespace="bar").code == 0
