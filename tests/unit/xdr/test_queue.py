"""What waits to be shipped."""

from deploy.local.node.changes import DeletedImage
from deploy.local.xdr.queue import ChangeQueue
from tests.unit.xdr.node_double import digest_of

A, B = digest_of("a"), digest_of("b")
GONE = DeletedImage("payments", None, A, None, 3, 1, False, "delete")
EXPIRED = GONE._replace(kind="expire")


def queue(*, hot_key_ms: int = 100, delay_ms: int = 0, ship_nsup_deletes: bool = False) -> ChangeQueue:
    return ChangeQueue(hot_key_ms=hot_key_ms, delay_ms=delay_ms, ship_nsup_deletes=ship_nsup_deletes)


def taken(changes: ChangeQueue, now_ms: float) -> list[bytes]:
    found = []
    while (pending := changes.take(now_ms)) is not None:
        found.append(pending.digest)
    return found


def test_changes_of_one_record_become_one() -> None:
    changes = queue()
    for number in range(1, 6):
        assert changes.put(A, "write", None, number, 0)
    assert len(changes) == 1
    assert changes.coalesced == 4
    pending = changes.take(0)
    assert pending is not None
    assert (pending.digest, pending.number, pending.deleted) == (A, 5, None)
    assert changes.take(0) is None


def test_a_hot_record_waits_since_its_last_shipment_and_others_do_not() -> None:
    changes = queue(hot_key_ms=100)
    changes.put(A, "write", None, 1, 0)
    assert taken(changes, 0) == [A]
    changes.put(A, "write", None, 2, 10)
    changes.put(B, "write", None, 3, 10)
    assert taken(changes, 10) == [B]
    assert changes.next_due_ms() == 100
    assert taken(changes, 99.9) == []
    assert taken(changes, 100) == [A]
    changes.put(A, "write", None, 4, 250)
    assert taken(changes, 250) == [A]


def test_a_delay_lets_a_burst_gather() -> None:
    changes = queue(hot_key_ms=100, delay_ms=50)
    changes.put(A, "write", None, 1, 0)
    changes.put(A, "write", None, 2, 49)
    assert taken(changes, 49) == []
    assert taken(changes, 50) == [A]


def test_the_newest_delete_is_kept_beside_later_writes() -> None:
    changes = queue()
    changes.put(A, "delete", GONE, 1, 0)
    changes.put(A, "write", None, 2, 0)
    pending = changes.take(0)
    assert pending is not None
    assert pending.deleted is GONE
    changes.put(A, "delete", GONE, 3, 500)
    newer = GONE._replace(generation=9)
    changes.put(A, "delete", newer, 4, 500)
    pending = changes.take(500)
    assert pending is not None
    assert pending.deleted is newer


def test_an_expiry_is_shipped_when_asked_for() -> None:
    assert queue(ship_nsup_deletes=True).put(A, "expire", EXPIRED, 1, 0)
    silent = queue()
    assert not silent.put(A, "expire", EXPIRED, 1, 0)
    assert len(silent) == 0


def test_an_expiry_that_overtakes_an_unshipped_write_is_shipped() -> None:
    waiting = queue()
    waiting.put(A, "write", None, 1, 0)
    assert waiting.put(A, "expire", EXPIRED, 2, 0)
    pending = waiting.take(0)
    assert pending is not None
    assert pending.deleted is EXPIRED
    assert queue().put(A, "expire", EXPIRED, 1, 0, unsettled=True)


def test_expedite_keeps_the_order_and_loses_nothing() -> None:
    changes = queue(hot_key_ms=1000, delay_ms=10)
    digests = [digest_of(str(number)) for number in range(50)]
    for number, digest in enumerate(digests):
        changes.put(digest, "write", None, number, number)
    changes.expedite(49)
    assert taken(changes, 49) == digests


def test_memory_of_shipped_records_ends_with_the_throttle() -> None:
    changes = queue(hot_key_ms=100)
    for number in range(1000):
        changes.put(digest_of(str(number)), "write", None, number, number)
        changes.take(number)
    assert len(changes._shipped_ms) <= 101
