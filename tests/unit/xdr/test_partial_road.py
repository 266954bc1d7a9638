"""From changed bins shipped by the node to the merged record: random lives of records, a bad road, and the copy is the source."""

import random
from typing import Any

import pytest

from deploy.local.node.changes import Particle
from schemas.xdr import DecodeOptions, RecordType
from schemas.xdr.options import Policies
from schemas.xdr.reader import Reader
from sinks.contract import Deadline, Fence
from sinks.testing import PartialMemorySink
from tests.support.decode import as_messages
from tests.unit.xdr.node_double import FakeNamespace, digest_of, integer
from tests.unit.xdr.test_lane import Road

# The double's digests are not those of its keys.
OPTIONS = DecodeOptions(image="partial", records=(RecordType("payments", policies=Policies(user_key="drop")),))


class Source(FakeNamespace):
    """A namespace whose records expire: noticed by a write, as on a server before its supervisor has come by, or by `expire`."""

    def set(self, name: str, exp_s: int, changes: dict[str, int | None]) -> None:
        """Write bins of a record; None removes one. A record that has expired begins anew."""
        digest = digest_of(name)
        old = self.records.get(digest)
        if old is not None and self._over(old.exp_s, self.lut_ms + 1):
            del self.records[digest]
            old = None
        bins: dict[str, Particle] = dict(old.bins) if old else {}
        for bin_name, value in changes.items():
            if value is None:
                bins.pop(bin_name, None)
            else:
                bins[bin_name] = integer(value)
        self.write(name, exp_s, **bins)

    def expire(self, name: str) -> None:
        """What the supervisor does with a record that has expired."""
        found = self.records.get(digest_of(name))
        if found is not None and self._over(found.exp_s, self.lut_ms + 1):
            self.remove(name, kind="expire")

    def shown(self) -> dict[bytes, dict[str, Any]]:
        return {
            digest: {name: int.from_bytes(value, "big", signed=True) for name, (_, value) in image.bins.items()}
            for digest, image in self.records.items()
            if not self._over(image.exp_s, self.lut_ms)
        }

    @staticmethod
    def _over(exp_s: int, lut_ms: int) -> bool:
        return bool(exp_s) and exp_s * 1000 <= lut_ms


@pytest.mark.parametrize("expiring", [False, True], ids=["lasting", "expiring"])
@pytest.mark.parametrize("seed", range(15))
def test_the_copy_is_the_source(seed: int, expiring: bool) -> None:
    dice = random.Random(seed)
    source, sink = Source(), PartialMemorySink()
    options = {"duplicates": 0.2, "reorder": 0.3, "reorder_window_ms": 400, "hot_key_ms": dice.choice([0, 10]), "seed": seed}
    road = Road(source, bin_policy="only-changed", **options)
    reader = Reader(OPTIONS)
    names = [f"r{number}" for number in range(6)]
    for batch in range(100):
        for _ in range(dice.randint(1, 8)):
            name, choice = dice.choice(names), dice.random()
            passed_ms = dice.choice([0, 1, 5, 700]) if expiring else dice.choice([0, 1, 5])
            source.lut_ms += passed_ms
            road.clock.ms += passed_ms
            if choice < 0.08 and digest_of(name) in source.records:
                source.remove(name)
            elif choice < 0.14:
                source.expire(name)
            else:
                changes = {
                    n: None if dice.random() < 0.2 else dice.randrange(1_000) for n in dice.sample("abcd", dice.randint(0, 2))
                }
                exp_s = source.lut_ms // 1000 + dice.choice([1, 2, 30]) if expiring and dice.random() < 0.7 else 0
                source.set(name, exp_s, changes)
        if dice.random() < 0.3:
            continue  # the shipper is behind: several writes of a record become one message
        values = []
        for outgoing in road.take():
            if dice.random() < 0.05:
                road.lane.failed(outgoing, why="broker away")
            else:
                road.lane.delivered(outgoing)
                values.append(outgoing.message.value)
        apply(sink, reader, values, batch)
    while not road.lane.empty:
        road.clock.ms += 1_000
        sent = road.take()
        for outgoing in sent:
            road.lane.delivered(outgoing)
        apply(sink, reader, [outgoing.message.value for outgoing in sent], 1_000 + int(road.clock.ms))
    now_s = source.lut_ms / 1000
    found = {digest: held for digest, held in sink.records.items() if held.state.alive(now_s)}
    assert {
        digest: {name: (held.values or {})[name] for name in held.state.shown()} for digest, held in found.items()
    } == source.shown()
    ends = {digest: held.state.newest.exp_s or 0 for digest, held in found.items() if held.state.newest}
    assert ends == {digest: source.records[digest].exp_s for digest in found}


def apply(sink: PartialMemorySink, reader: Reader, values: list[bytes], batch: int) -> None:
    read = reader.events(as_messages(values))
    assert not read.rejections and len(read.events) == len(values)
    sink.write(read.events, Fence("e", batch), Deadline.after_s(20))
