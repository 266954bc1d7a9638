"""The payments workload: customers, cards, merchants, transactions and holds, as one seeded stream of operations.

| set          | user key              | what happens to it                                                                |
| customers    | integer               | names, addresses, limits; leaves, and sometimes comes back                        |
| cards        | string                | a few are used far more than the rest; closed, issued again under the same number |
| merchants    | string, any script    | places, opening hours with integer map keys                                       |
| transactions | 16 bytes              | expire after days, or soon; settled ones stay for good; refunded ones are deleted |
| holds        | string                | expire within seconds, unless extended or captured                                |
| edges        | integer, string, blob | every bin type at its extremes; bins change type and are removed                  |
| none         | integer, string, blob | as edges, in no set; large values                                                 |

The server keeps the user key of about half the records. The same seed gives the same operations, whatever becomes of them.
"""

import random
from collections.abc import Callable, Iterator
from typing import Any, Final

from deploy.simulate import values
from deploy.simulate.operations import (
    KEEP,
    NEVER,
    Add,
    Arrange,
    Change,
    Drop,
    Enter,
    Kind,
    Operation,
    Put,
    RecordKey,
    Remember,
)
from schemas.bins import BinType

HOUR_S: Final = 3_600
DAY_S: Final = 24 * HOUR_S
EPOCH_S: Final = 1_760_000_000
"""Times in the data count from here, so that they do not depend on when the workload runs."""

_EDGE_TYPES: Final = tuple(kind for kind in BinType if kind is not BinType.HLL)
_CURRENCIES: Final = ("EUR", "PLN", "JPY", "USD", "CHF", "XOF")
_RECENT: Final = 10


class _Population:
    """Records of one kind that were written and not deleted, newest last; and some that were deleted."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._live: list[RecordKey] = []
        self._gone: list[RecordKey] = []

    def __len__(self) -> int:
        return len(self._live)

    def add(self, key: RecordKey) -> RecordKey:
        self._live.append(key)
        return key

    def any(self) -> RecordKey:
        return self._rng.choice(self._live)

    def popular(self) -> RecordKey:
        """One by Zipf's law: the k-th oldest about k times less often than the oldest."""
        return self._live[int(len(self._live) ** self._rng.random()) - 1]

    def recent(self, most: int = 50) -> RecordKey:
        return self._live[-self._rng.randint(1, min(most, len(self._live)))]

    def remove(self, key: RecordKey) -> RecordKey:
        self._live.remove(key)
        self._gone.append(key)
        if len(self._gone) > 200:
            del self._gone[0]
        return key

    def forget(self, key: RecordKey) -> None:
        """It expires by itself: no business of this population any more."""
        self._live.remove(key)

    def bring_back(self) -> RecordKey | None:
        if not self._gone:
            return None
        return self.add(self._gone.pop(self._rng.randrange(len(self._gone))))


class Payments:
    """An endless stream of operations; see the module. Iterate once."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(f"payments/{seed}")
        self._number = 0
        self._made = 0
        self._queue: list[Operation] = []
        self._customers, self._cards, self._merchants = (_Population(self._rng) for _ in range(3))
        self._transactions, self._holds, self._edges = (_Population(self._rng) for _ in range(3))
        self._happenings: tuple[tuple[int, Callable[[], None]], ...] = (
            (30, self._purchase),
            (10, self._settle),
            (8, self._hold),
            (6, self._edge_change),
            (5, self._customer_update),
            (5, self._refund),
            (4, self._edge_write),
            (4, self._hold_extended),
            (4, self._customer_joins),
            (4, self._card_issued),
            (3, self._merchant_update),
            (3, self._hold_captured),
            (2, self._merchant_opens),
            (2, self._back_again),
            (2, self._card_closed),
            (2, self._customer_leaves),
            (2, self._edge_removed),
            (1, self._large),
        )

    def __iter__(self) -> Iterator[Operation]:
        for found in (self._customer_joins, self._card_issued, self._merchant_opens) * 4:
            found()
        for kind in _EDGE_TYPES:
            self._edge_write(kind)
        # Each kind of happening once, so that a short run has them all.
        for _, happening in sorted(self._happenings, key=lambda pair: -pair[0]):
            happening()
        weights = [weight for weight, _ in self._happenings]
        happenings = [happening for _, happening in self._happenings]
        while True:
            yield from self._queue
            self._queue.clear()
            self._rng.choices(happenings, weights)[0]()

    def _emit(
        self,
        kind: Kind,
        key: RecordKey,
        what: str,
        *changes: Change,
        bins: dict[str, Any] | None = None,
        ttl_s: int = NEVER,
    ) -> None:
        self._number += 1
        self._queue.append(Operation(self._number, kind, key, what, ttl_s, bins or {}, changes))

    def _key(self, set_name: str | None, user_key: int | str | bytes) -> RecordKey:
        return RecordKey(set_name, user_key, self._rng.random() < 0.5)

    def _serial(self) -> int:
        self._made += 1
        return self._made

    def _time_s(self) -> int:
        return EPOCH_S + self._number

    # ------------------------------------------------------------ customers, cards, merchants
    def _customer_joins(self) -> None:
        self._write_customer(self._customers.add(self._key("customers", self._serial())), "customer joins")

    def _write_customer(self, key: RecordKey, what: str) -> None:
        rng = self._rng
        bins: dict[str, Any] = {
            "name": values.person(rng),
            "vip": rng.random() < 0.1,
            "born": rng.randint(-20_000, 15_000),
            "score": rng.uniform(300, 850),
            "address": {"street": values.string(rng)[:80], "city": rng.choice(("Łódź", "Paris", "東京")), "lines": [None, "2b"]},
            "home": values.geojson(rng),
        }
        if rng.random() < 0.3:
            bins["photo"] = values.blob(rng)
        self._emit(Kind.WRITE, key, what, bins=bins)

    def _customer_update(self) -> None:
        rng = self._rng
        key = self._customers.any()
        change: Change = rng.choice(
            (
                Put("address", {"street": values.string(rng)[:80], "zip": None, "since": self._time_s()}),
                Put("name", values.person(rng)),
                Enter("limits", rng.choice(("day", "week", "month")), rng.choice((0, 500, 2**40))),
                Enter("visits", rng.randint(1, 12), self._time_s()),
                Put("score", values.double(rng)),
                Drop("photo"),
            )
        )
        self._emit(Kind.UPDATE, key, "customer changes", change, ttl_s=KEEP)

    def _customer_leaves(self) -> None:
        if len(self._customers) > 2:
            self._emit(Kind.DELETE, self._customers.remove(self._customers.any()), "customer leaves")

    def _card_issued(self) -> None:
        self._write_card(self._cards.add(self._key("cards", f"card-{self._serial():08d}")), "card is issued")

    def _write_card(self, key: RecordKey, what: str) -> None:
        bins = {"customer": self._customers.any().user_key, "status": "active", "limit": self._rng.choice((500, 5_000, 2**62))}
        self._emit(Kind.WRITE, key, what, bins={**bins, "spent": 0})

    def _card_closed(self) -> None:
        if len(self._cards) > 2:
            self._emit(Kind.DELETE, self._cards.remove(self._cards.any()), "card is closed")

    def _merchant_opens(self) -> None:
        rng = self._rng
        name = rng.choice(("Żabka", "Café Zoë", "寿司屋", "Bäckerei", "Corner shop", "مخبز"))
        key = self._merchants.add(self._key("merchants", f"{name} #{self._serial()}"))
        hours = {day: [9 * 60, rng.choice((17, 22)) * 60] for day in rng.sample(range(1, 8), 5)}
        bins = {"name": name, "place": values.geojson(rng), "hours": hours, "codes": [5411, "5812", None], "open": True}
        self._emit(Kind.WRITE, key, "merchant opens", bins=bins)

    def _merchant_update(self) -> None:
        rng = self._rng
        changes: tuple[Change, ...] = (
            Put("open", rng.random() < 0.5),
            Arrange("ranking", values.key_value_ordered_map(rng)),
            Arrange("prices", values.ordered_list(rng)),
        )
        self._emit(Kind.UPDATE, self._merchants.any(), "merchant changes", *rng.sample(changes, rng.randint(1, 3)), ttl_s=KEEP)

    def _back_again(self) -> None:
        card = self._cards.bring_back()
        if card:
            self._write_card(card, "closed card is issued again")
        customer = self._customers.bring_back()
        if customer:
            self._write_customer(customer, "customer comes back")

    # ------------------------------------------------------------ transactions and holds
    def _purchase(self) -> None:
        rng = self._rng
        card = self._cards.popular()
        cents = rng.choice((1, 99, rng.randint(100, 50_000), 2**33))
        lines = [
            {"item": rng.choice(("🍞", "milk", "café")), "n": rng.randint(1, 5), "note": None} for _ in range(rng.randint(0, 4))
        ]
        bins: dict[str, Any] = {
            "card": card.user_key,
            "merchant": self._merchants.popular().user_key,
            "cents": cents,
            "amount": cents / 100,
            "currency": rng.choice(_CURRENCIES),
            "lines": lines,
            "auth": rng.randbytes(8),
            "at": self._time_s(),
        }
        soon = rng.random() < 0.15
        key = self._key("transactions", rng.randbytes(16))
        ttl_s = rng.randint(3, 10) if soon else rng.choice((HOUR_S, DAY_S, 30 * DAY_S, NEVER))
        self._emit(Kind.WRITE, key, "purchase that soon expires" if soon else "purchase", bins=bins, ttl_s=ttl_s)
        if not soon:
            self._transactions.add(key)
        changes = (Add("spent", cents), Remember("recent", cents, _RECENT), Put("last", self._time_s()))
        self._emit(Kind.UPDATE, card, "card is charged", *changes, ttl_s=KEEP)

    def _settle(self) -> None:
        if len(self._transactions):
            key = self._transactions.recent()
            changes = (Put("settled", True), Drop("auth"), Put("fee", self._rng.choice((0.0, -0.0, 0.35, 1e-7))))
            self._emit(Kind.UPDATE, key, "transaction is settled, for good", *changes, ttl_s=NEVER)

    def _refund(self) -> None:
        if len(self._transactions):
            self._emit(Kind.DELETE, self._transactions.remove(self._transactions.recent(500)), "transaction is refunded")

    def _hold(self) -> None:
        key = self._holds.add(self._key("holds", f"hold/{self._serial()}"))
        bins = {"card": self._cards.any().user_key, "cents": self._rng.randint(1, 10_000)}
        self._emit(Kind.WRITE, key, "hold", bins=bins, ttl_s=self._rng.randint(2, 8))
        if len(self._holds) > 30:
            self._holds.forget(self._holds.any())

    def _hold_extended(self) -> None:
        if len(self._holds):
            ttl_s = self._rng.choice((5, 60, DAY_S, NEVER))
            self._emit(Kind.TOUCH, self._holds.recent(10), "hold is extended", ttl_s=ttl_s)

    def _hold_captured(self) -> None:
        if len(self._holds):
            key = self._holds.recent(5)
            self._holds.forget(key)
            self._emit(Kind.UPDATE, key, "hold is captured, for good", Put("captured", True), ttl_s=NEVER)

    # ------------------------------------------------------------ extremes
    def _edge_write(self, kind: BinType | None = None) -> None:
        rng = self._rng
        serial = self._serial()
        user_key: int | str | bytes = rng.choice(
            (-serial, 2**63 - serial, f"edge {serial} ż🦀", b"\x00\xff" + serial.to_bytes(8, "big"))
        )
        key = self._edges.add(self._key(rng.choice(("edges", None)), user_key))
        kinds = [kind] if kind else rng.sample(_EDGE_TYPES, rng.randint(1, len(_EDGE_TYPES)))
        bins = {f"{one.value}_bin": values.of_type(rng, one) for one in kinds}
        # A name of 15 bytes, the most there is.
        bins["a_name_of_15_by"] = values.integer(rng)
        self._emit(Kind.WRITE, key, "record of extremes", bins=bins)

    def _edge_change(self) -> None:
        rng = self._rng
        place, kind = rng.choice(_EDGE_TYPES), rng.choice(_EDGE_TYPES)
        changes: list[Change] = [Put(f"{place.value}_bin", values.of_type(rng, kind))]
        if rng.random() < 0.5:
            changes.append(Drop(f"{rng.choice([one for one in _EDGE_TYPES if one is not place]).value}_bin"))
        if rng.random() < 0.2:
            changes.append(Arrange("sorted", values.ordered_list(rng)))
        ttl_s = rng.choice((KEEP, KEEP, NEVER, HOUR_S))
        self._emit(Kind.UPDATE, self._edges.any(), "bins change type or go", *changes, ttl_s=ttl_s)

    def _edge_removed(self) -> None:
        if len(self._edges) > 5:
            self._emit(Kind.DELETE, self._edges.remove(self._edges.any()), "record of extremes is deleted")

    def _large(self) -> None:
        key = self._key(None, f"large/{self._serial() % 20}")
        self._emit(Kind.WRITE, key._replace(stored=True), "large value", bins={"large": values.large(self._rng)})


def operations(seed: int, count: int) -> Iterator[Operation]:
    """The first `count` operations of a seed."""
    for operation in Payments(seed):
        if operation.number > count:
            return
        yield operation


__all__ = ["Payments", "operations"]
