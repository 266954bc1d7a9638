"""Messages that come twice or late."""

import pytest

from deploy.local.xdr.change import Change, Message
from deploy.local.xdr.disorder import Disorder, Fate, Held, Outgoing
from tests.unit.xdr.node_double import digest_of

MESSAGE = Message(b"k", b"v")


def change(name: str, gen: int = 1, op: str = "write") -> Change:
    return Change(op, "payments", None, digest_of(name), None, gen, 1, 0, False, {})  # type: ignore[arg-type]


def disorder(seed: int = 7, duplicates: float = 0.1, reorder: float = 0.2, window_ms: int = 500) -> Disorder:
    return Disorder(seed=seed, duplicates=duplicates, reorder=reorder, window_ms=window_ms)


CHANGES = [change(str(number), gen) for number in range(1000) for gen in (1, 2)]


def test_the_same_seed_decides_the_same_whatever_the_order() -> None:
    forward = {(one.digest, one.gen): disorder().fate(one) for one in CHANGES}
    backward = {(one.digest, one.gen): disorder().fate(one) for one in reversed(CHANGES)}
    assert forward == backward
    other = {(one.digest, one.gen): disorder(seed=8).fate(one) for one in CHANGES}
    assert forward != other


def test_time_does_not_decide() -> None:
    assert all(disorder().fate(one) == disorder().fate(one._replace(lut_ms=2)) for one in CHANGES)


def test_shares_are_about_what_was_asked_for() -> None:
    fates = [disorder().fate(one) for one in CHANGES]
    assert 0.17 < sum(fate.hold_ms > 0 for fate in fates) / len(fates) < 0.23
    assert 0.08 < sum(fate.repeat_ms is not None for fate in fates) / len(fates) < 0.12
    assert all(fate.hold_ms <= 500 and (fate.repeat_ms or 0) <= 500 for fate in fates)


def test_shares_of_nothing_and_all() -> None:
    assert {disorder(duplicates=0, reorder=0).fate(one) for one in CHANGES} == {Fate(0.0, None)}
    everything = [disorder(duplicates=1, reorder=1).fate(one) for one in CHANGES]
    assert all(fate.hold_ms >= 1 and fate.repeat_ms is not None and fate.repeat_ms >= 1 for fate in everything)


@pytest.mark.parametrize("seed", [0, -1, 2**64])
def test_any_seed_will_do(seed: int) -> None:
    assert disorder(seed=seed).fate(CHANGES[0])


def test_what_is_held_comes_out_in_time_and_once() -> None:
    held = Held()
    late, early = Outgoing(digest_of("a"), MESSAGE, 1), Outgoing(digest_of("b"), MESSAGE, 2)
    held.put(late, 20)
    held.put(early, 10)
    assert held.take(9) is None
    assert held.next_release_ms() == 10
    assert held.take(20) is early
    assert held.take(20) is late
    assert held.take(1e9) is None
    assert held.next_release_ms() is None


def test_only_the_overtaken_record_is_marked() -> None:
    held = Held()
    a1, a2, b = (Outgoing(digest_of(name), MESSAGE, 1) for name in "aab")
    for outgoing in (a1, a2, b):
        held.put(outgoing, 10)
    held.overtake(digest_of("a"))
    held.overtake(digest_of("never held"))
    assert (a1.overtaken, a2.overtaken, b.overtaken) == (True, True, False)


def test_expedite_lets_everything_out_in_order() -> None:
    held = Held()
    all_of_them = [Outgoing(digest_of(str(number)), MESSAGE, number) for number in range(20)]
    for number, outgoing in enumerate(all_of_them):
        held.put(outgoing, 1000 - number)
    held.expedite(5)
    assert [held.take(5) for _ in range(20)] == all_of_them[::-1]
