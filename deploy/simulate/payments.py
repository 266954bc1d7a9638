"""Payment traffic as a seeded sequence of operations. Pure: the same seed and count give the same operations.

Cards (integer keys, some of them hot), customers (text keys), merchants (text keys that are not stored), transactions (text
keys, most of them expiring), samples of every bin type (blob keys), and an audit trail without a set.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random
from typing import Any

from deploy.simulate import values

CARDS, CUSTOMERS, MERCHANTS, SAMPLES = 400, 300, 60, 120
HOT_SHARE = 0.25
HOT_CARDS = 5
NEVER_TTL_S = -1
KEEP_TTL = -2


class Kind(StrEnum):
    """What an operation does."""

    PUT = "put"  # bins are merged into the record; None removes a bin
    REPLACE = "replace"  # the record has these bins only
    TOUCH = "touch"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation. ttl_s: seconds, NEVER_TTL_S, or KEEP_TTL. send_key: store the user key."""

    kind: Kind
    set: str | None
    key: int | str | bytes
    bins: dict[str, Any] = field(default_factory=dict)
    ttl_s: int = NEVER_TTL_S
    send_key: bool = True


def operations(seed: int, count: int) -> Iterator[Operation]:
    """`count` operations of the traffic of `seed`."""
    random = Random(seed)
    traffic: list[tuple[float, Callable[[Random, int], Operation]]] = [
        (0.34, _card), (0.10, _customer), (0.04, _merchant), (0.37, _transaction), (0.11, _sample), (0.04, _audit),
    ]  # fmt: skip
    weights, makers = [weight for weight, _ in traffic], [maker for _, maker in traffic]
    for number in range(count):
        (maker,) = random.choices(makers, weights)
        yield maker(random, number)


def _card(random: Random, number: int) -> Operation:
    """A balance that changes; a few cards are used all the time."""
    hot = random.random() < HOT_SHARE
    card = 4_000_000_000_000_000 + (random.randrange(HOT_CARDS) if hot else random.randrange(CARDS))
    roll = random.random()
    if not hot and roll < 0.05:
        return Operation(Kind.DELETE, "cards", card)
    if roll < 0.10:
        return Operation(Kind.TOUCH, "cards", card, ttl_s=random.choice((NEVER_TTL_S, 86_400)))
    bins = {"balance": random.randrange(-10_000, 1_000_000), "limit": random.choice((500, 5_000)), "seq": number}
    bins["blocked"] = random.random() < 0.02
    return Operation(Kind.PUT, "cards", card, bins)


def _customer(random: Random, number: int) -> Operation:
    customer = f"customer-{random.randrange(CUSTOMERS)}"
    roll = random.random()
    if roll < 0.06:
        return Operation(Kind.DELETE, "customers", customer)
    bins: dict[str, Any] = {"name": values.text(random), "tags": values.listing(random), "since": number}
    if roll < 0.25:
        bins["name"] = None
        bins["note"] = values.text(random)
    return Operation(Kind.PUT, "customers", customer, bins)


def _merchant(random: Random, number: int) -> Operation:
    """The user key is not stored: the mirror knows these records by digest only."""
    merchant = f"merchant/{random.randrange(MERCHANTS)}"
    bins = {"where": values.place(random), "hours": values.mapping(random), "rating": values.double(random), "seq": number}
    if random.random() < 0.05:
        bins["terms"] = values.large(random)
    return Operation(Kind.REPLACE, "merchants", merchant, bins, send_key=False)


def _transaction(random: Random, number: int) -> Operation:
    """Mostly new, mostly expiring: some within the demo, some after a day, some changed to never."""
    roll = random.random()
    back = random.randrange(1, 200)
    name = f"tx-{max(0, number - back) if roll < 0.3 else number}"
    if roll < 0.10:
        return Operation(Kind.DELETE, "transactions", name)
    ttl_s = random.choice((3, 8, 15, 86_400, 86_400, NEVER_TTL_S))
    if roll < 0.20:
        return Operation(Kind.TOUCH, "transactions", name, ttl_s=ttl_s)
    bins = {"amount": random.randrange(1, 100_000), "card": random.randrange(CARDS), "text": values.text(random)}
    return Operation(Kind.PUT, "transactions", name, bins, ttl_s=ttl_s)


def _sample(random: Random, number: int) -> Operation:
    """Every bin type, at its edges."""
    key = b"sample\x00" + random.randrange(SAMPLES).to_bytes(2, "big")
    if random.random() < 0.08:
        return Operation(Kind.DELETE, "samples", key)
    bins: dict[str, Any] = {
        "int": values.number(random), "double": values.double(random), "text": values.text(random), 
        "bool": values.boolean(random),
        "blob": values.blob(random), "list": values.listing(random), "map": values.mapping(random), "geo": values.place(random),
        "größe": number,
    }  # fmt: skip
    for name in random.sample(sorted(bins), random.randrange(4)):
        del bins[name]
    return Operation(Kind.REPLACE, "samples", key, bins or {"int": number})


def _audit(random: Random, number: int) -> Operation:
    """Records without a set, written once; a few of them replaced."""
    return Operation(
        Kind.PUT, None, f"audit-{number - number % random.choice((1, 1, 7))}", {"at": number, "who": values.text(random)}
    )


__all__ = ["KEEP_TTL", "Kind", "NEVER_TTL_S", "Operation", "operations"]
