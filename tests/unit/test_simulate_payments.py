"""The payments workload: same seed, same operations; everything a person expects of it occurs; nothing the client loses."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from deploy.simulate import payments, values
from deploy.simulate.account import type_name
from deploy.simulate.operations import KEEP, NEVER, REVISION, Add, Arrange, Drop, Enter, Kind, Operation, Put, RecordKey, Remember
from schemas.bins import MAX_BIN_NAME_BYTES, BinType, GeoJson, KeyOrderedMap, KeyValueOrderedMap, OrderedList

COUNT = 4_000


@pytest.fixture(scope="module")
def stream() -> list[Operation]:
    return list(payments.operations(1, COUNT))


def written(operation: Operation) -> Iterator[Any]:
    yield from operation.bins.values()
    for change in operation.changes:
        if isinstance(change, Put | Arrange | Enter):
            yield change.value


def inside(value: Any) -> Iterator[Any]:
    yield value
    if isinstance(value, list):
        for item in value:
            yield from inside(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from inside(item)


def test_the_same_seed_gives_the_same_operations(stream: list[Operation]) -> None:
    # Text, since -0.0 equals 0.0 and 1 equals True.
    assert repr(stream) == repr(list(payments.operations(1, COUNT)))
    assert repr(stream) != repr(list(payments.operations(2, COUNT)))
    assert [operation.number for operation in stream] == list(range(1, COUNT + 1))
    assert repr(stream[:300]) == repr(list(payments.operations(1, 300)))


@pytest.mark.parametrize("seed", [1, 7, 1234])
def test_a_short_run_has_every_kind_of_operation(seed: int) -> None:
    short = list(payments.operations(seed, 400))
    assert {operation.kind for operation in short} == set(Kind)
    assert {type(change) for operation in short for change in operation.changes} >= {Put, Drop, Add, Remember, Arrange}
    assert {operation.key.set for operation in short} == {
        "customers", "cards", "merchants", "transactions", "holds", "edges", None,
    }  # fmt: skip


def test_every_bin_type_and_order_is_written(stream: list[Operation]) -> None:
    kinds = {type_name(value) for operation in stream for value in written(operation)}
    assert kinds >= {kind.value for kind in BinType if kind is not BinType.HLL} | {"list:ordered", "map:key", "map:key-value"}
    assert any(isinstance(change, Enter) for operation in stream for change in operation.changes)


def test_extremes_occur(stream: list[Operation]) -> None:
    scalars = [part for operation in stream for value in written(operation) for part in inside(value)]
    texts = {part for part in scalars if type(part) is str}
    numbers = {part for part in scalars if type(part) is int}
    assert {2**63 - 1, -(2**63), 2**53 + 1} <= numbers
    assert {"5e-324", "-0.0", "1.7976931348623157e+308"} <= {repr(part) for part in scalars if type(part) is float}
    assert "" in texts and any("🦀" in part for part in texts) and any("ż" in part for part in texts)
    assert b"" in scalars and None in scalars and [] in scalars and {} in scalars
    sizes = [len(value) for operation in stream for value in written(operation) if isinstance(value, bytes)]
    assert max(sizes) >= values.LARGE_BYTES


def test_nothing_is_written_that_the_client_would_lose(stream: list[Operation]) -> None:
    for operation in stream:
        for value in written(operation):
            for part in inside(value):
                if isinstance(part, str):
                    assert "\x00" not in part
                    part.encode()  # no lone surrogates
                if isinstance(part, dict):
                    assert {type(key) for key in part} in (set(), {int}, {str}), "keys of one type, which text cannot merge"
                if type(part) is int:
                    assert -(2**63) <= part < 2**63
        names = [*operation.bins, *(change.bin for change in operation.changes)]
        assert all(0 < len(name.encode()) <= MAX_BIN_NAME_BYTES for name in names)
        assert REVISION not in names


def test_keys_of_every_type_with_and_without_being_stored(stream: list[Operation]) -> None:
    kinds = {(type(operation.key.user_key), operation.key.stored) for operation in stream}
    assert kinds == {(kind, stored) for kind in (int, str, bytes) for stored in (True, False)}
    without_set = {type(operation.key.user_key) for operation in stream if operation.key.set is None}
    assert without_set == {int, str, bytes}
    stored: dict[tuple[object, ...], set[bool]] = {}
    for operation in stream:
        stored.setdefault(operation.key[:2], set()).add(operation.key.stored)
    assert all(len(choices) == 1 for choices in stored.values()), "a record's key is always stored or never"


def test_times_to_live_of_every_sort(stream: list[Operation]) -> None:
    ttls = {operation.ttl_s for operation in stream if operation.kind is Kind.WRITE}
    assert NEVER in ttls and min(ttl for ttl in ttls if ttl > 0) <= 3 and max(ttls) >= 30 * payments.DAY_S
    assert {operation.ttl_s for operation in stream if operation.kind is Kind.TOUCH} >= {NEVER, payments.DAY_S, 5}
    expiring: set[RecordKey] = set()
    back_to_never = 0
    for operation in stream:
        if operation.ttl_s > 0:
            expiring.add(operation.key)
        elif operation.ttl_s == NEVER and operation.key in expiring and operation.kind is Kind.UPDATE:
            back_to_never += 1
    assert back_to_never > 20
    assert any(operation.ttl_s == KEEP for operation in stream)


def test_a_few_cards_are_used_far_more_than_the_rest(stream: list[Operation]) -> None:
    charges = Counter(operation.key for operation in stream if operation.what == "card is charged")
    ranked = [number for _, number in charges.most_common()]
    assert sum(ranked[: len(ranked) // 10]) > 0.4 * sum(ranked)


def test_deleted_records_are_written_again(stream: list[Operation]) -> None:
    deleted: set[RecordKey] = set()
    again = 0
    for operation in stream:
        if operation.kind is Kind.DELETE:
            deleted.add(operation.key)
        elif operation.key in deleted:
            assert operation.kind is Kind.WRITE, "nothing else may follow a delete"
            deleted.remove(operation.key)
            again += 1
    assert again > 10 and deleted


def test_updates_follow_a_write_of_their_record(stream: list[Operation]) -> None:
    known: set[RecordKey] = set()
    for operation in stream:
        if operation.kind is Kind.WRITE:
            known.add(operation.key)
        assert operation.key in known, operation


def test_changes_do_what_the_server_does() -> None:
    key = RecordKey("s", 1, True)
    changes = (Put("a", 2), Drop("b"), Drop("never"), Add("n", 5), Add("fresh", 7), Remember("r", 5, 2), Enter("m", "k", None))
    update = Operation(9, Kind.UPDATE, key, "", changes=changes)
    before = {"a": 1, "b": 1, "n": 1, "r": OrderedList([1, 9]), "m": KeyOrderedMap({"z": 1}), "kept": GeoJson("{}")}
    after = update.after(before)
    expected = {"a": 2, "n": 6, "fresh": 7, "r": [5, 9], "m": {"k": None, "z": 1}, "kept": "{}", REVISION: 9}
    assert after == expected
    assert type(after["r"]) is OrderedList and type(after["m"]) is KeyOrderedMap
    assert before["r"] == [1, 9], "the state before must not change"
    assert Operation(3, Kind.WRITE, key, "", bins={"a": 1}).after(before) == {"a": 1, REVISION: 3}
    assert Operation(4, Kind.TOUCH, key, "").after(before) == before
    arranged = Operation(5, Kind.UPDATE, key, "", changes=(Arrange("v", KeyValueOrderedMap({"x": 1})),)).after({})
    assert type(arranged["v"]) is KeyValueOrderedMap
