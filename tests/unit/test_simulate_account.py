"""The account of a workload, and how the writer settles what the server left in doubt."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aerospike import exception as ex

from deploy.simulate import writer
from deploy.simulate.account import Account, Presence
from deploy.simulate.operations import KEEP, NEVER, Add, Bins, Kind, Operation, Put, RecordKey
from deploy.simulate.writer import Pace, Writer
from schemas.bins import GeoJson
from schemas.errors import ConfigError

KEY = RecordKey("cards", "card-1", True)


def write(number: int, ttl_s: int = NEVER, key: RecordKey = KEY, bins: Bins | None = None) -> Operation:
    return Operation(number, Kind.WRITE, key, "written", ttl_s, bins or {"a": number})


def update(number: int, *changes: Any, ttl_s: int = KEEP) -> Operation:
    return Operation(number, Kind.UPDATE, KEY, "updated", ttl_s, {}, changes)


def delete(number: int) -> Operation:
    return Operation(number, Kind.DELETE, KEY, "deleted")


def touch(number: int, ttl_s: int) -> Operation:
    return Operation(number, Kind.TOUCH, KEY, "touched", ttl_s)


def state_of(account: Account, now_s: float) -> tuple[Presence, dict[str, Any] | None]:
    state = account.state(KEY)
    assert state is not None
    return state.presence(now_s), dict(state.bins) if state.bins is not None else None


def test_the_last_acknowledged_state_is_kept() -> None:
    account = Account()
    account.acknowledged(write(1), 100.0, 100.1)
    account.acknowledged(update(2, Put("b", 5), Add("n", 2)), 101.0, 101.1)
    assert state_of(account, 200) == (Presence.THERE, {"a": 1, "b": 5, "n": 2, "rev": 2})
    account.acknowledged(delete(3), 102.0, 102.1)
    assert state_of(account, 200) == (Presence.GONE, None)
    account.acknowledged(write(4), 103.0, 103.1)
    assert state_of(account, 200) == (Presence.THERE, {"a": 4, "rev": 4})
    totals = account.totals(200)
    assert (totals["writes"], totals["updates"], totals["deletes"], totals["created_again"]) == (2, 1, 1, 1)
    assert totals["operations"] == 4 and totals["records"] == {
        "exists": 1, "deleted": 0, "expired": 0, "about to expire": 0, "ever": 1,
    }  # fmt: skip
    assert account.clean


def test_expiry_is_an_interval() -> None:
    account = Account()
    account.acknowledged(write(1, ttl_s=10), 100.0, 100.5)
    found = {now_s: state_of(account, now_s)[0] for now_s in (108.9, 110.0, 111.6)}
    assert found == {108.9: Presence.THERE, 110.0: Presence.EITHER, 111.6: Presence.EXPIRED}
    account.acknowledged(update(2, Put("b", 1)), 101.0, 101.1)
    assert state_of(account, 112)[0] is Presence.EXPIRED
    account.acknowledged(touch(3, 100), 102.0, 102.1)
    assert state_of(account, 112)[0] is Presence.THERE
    account.acknowledged(touch(4, NEVER), 103.0, 103.1)
    assert state_of(account, 1e9)[0] is Presence.THERE
    assert account.totals(112)["expiring"] == 2 and account.totals(112)["touches"] == 2


def test_a_record_that_must_exist_and_is_not_found_is_a_contradiction() -> None:
    account = Account()
    account.acknowledged(write(1), 100.0, 100.1)
    account.missing(update(2, Put("b", 1)), 101.0)
    assert not account.clean and "operation 2" in account.contradictions[0]


def test_an_expired_record_that_is_not_found_is_none() -> None:
    account = Account()
    account.acknowledged(write(1, ttl_s=2), 100.0, 100.1)
    account.missing(update(2, Put("b", 1)), 101.5)
    assert account.clean and state_of(account, 101.6) == (Presence.GONE, None)
    assert account.totals(102)["found_nothing"] == 1


def test_an_answer_about_a_record_that_does_not_exist_is_a_contradiction() -> None:
    account = Account()
    account.acknowledged(write(1), 100.0, 100.1)
    account.acknowledged(delete(2), 101.0, 101.1)
    account.acknowledged(update(3, Put("b", 1)), 102.0, 102.1)
    assert len(account.contradictions) == 1


def test_a_guard_that_answers_before_the_update_was_sent_is_a_contradiction() -> None:
    account = Account()
    account.acknowledged(write(1), 100.0, 100.1)
    account.already_done(update(2, Put("b", 1)), 101.0, 101.1, repeated=True)
    assert account.clean
    account.already_done(update(3, Put("b", 1)), 102.0, 102.1, repeated=False)
    assert not account.clean


def test_the_file_keeps_apart_what_json_would_merge(tmp_path: Path) -> None:
    account = Account()
    blob_key = RecordKey(None, b"\x00\xff", False)
    bins = {"x": b"ab", "geo": GeoJson("{}"), "m": {7: [None, b""]}, "long": "x" * 5000, "t": True}
    account.acknowledged(write(1, key=blob_key, bins=bins), 100.0, 100.1)
    account.save(tmp_path / "account.json", 200.0, seed=5)
    kept = json.loads((tmp_path / "account.json").read_text())
    (row,) = kept["records"]
    assert kept["seed"] == 5 and kept["totals"]["writes"] == 1
    assert row["set"] is None and row["key"] == {"type": "blob", "value": "AP8=", "stored": False}
    assert row["bins"]["x"] == {"type": "blob", "value": {"$blob": "YWI="}}
    assert row["bins"]["m"]["value"] == {"$map": [[7, [None, {"$blob": ""}]]]}
    assert row["bins"]["long"]["chars"] == 5002 and row["bins"]["t"] == {"type": "bool", "value": True}
    assert [path.name for path in tmp_path.iterdir()] == ["account.json"]


# ---------------------------------------------------------------- the writer
Answering = Callable[[list[Any]], list[tuple[int, bool]]]


class Client:
    """A client whose batch answers are scripted: per call a function of the rows, giving (code, in doubt) for each."""

    def __init__(self, *answers: Answering | ex.AerospikeError, stored: dict[str, Any] | None = None) -> None:
        self.answers = list(answers)
        self.calls: list[list[Any]] = []
        self.stored = stored

    def batch_write(self, batch: Any, policy: dict[str, Any]) -> Any:
        self.calls.append([row.key for row in batch.batch_records])
        answer = self.answers.pop(0) if self.answers else everything(0)
        if isinstance(answer, ex.AerospikeError):
            raise answer
        for row, (code, in_doubt) in zip(batch.batch_records, answer(batch.batch_records), strict=True):
            row.result, row.in_doubt = code, in_doubt
        batch.result = 0 if all(row.result == 0 for row in batch.batch_records) else -16
        return batch

    def get(self, key: Any, policy: dict[str, Any]) -> Any:
        if self.stored is None:
            raise ex.RecordNotFound("not found")
        return key, {}, self.stored


def everything(code: int, in_doubt: bool = False) -> Answering:
    return lambda rows: [(code, in_doubt)] * len(rows)


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "_PAUSE_S", 0.0)


def run(client: Client, *operations: Operation, patience_s: float = 5.0) -> Account:
    account = Account()
    one = Writer(client, "test", account, workers=1, patience_s=patience_s)
    one.write_all(operations)
    one.finish()
    return account


def test_a_write_in_doubt_that_happened_is_found_by_reading_back() -> None:
    client = Client(everything(9, in_doubt=True), stored={"a": 1, "rev": 1})
    account = run(client, write(1))
    assert len(client.calls) == 1
    assert account.totals(0)["resolved_by_reading"] == 1 and account.totals(0)["in_doubt"] == 1
    assert state_of(account, time.time()) == (Presence.THERE, {"a": 1, "rev": 1})


def test_a_write_in_doubt_that_did_not_happen_is_sent_again() -> None:
    client = Client(everything(9, in_doubt=True), everything(0))
    account = run(client, write(1))
    assert len(client.calls) == 2 and account.clean
    assert account.totals(0)["writes"] == 1 and account.totals(0)["in_doubt"] == 1


def test_a_whole_call_that_fails_leaves_every_row_in_doubt() -> None:
    client = Client(ex.TimeoutError(9, "timed out"))
    keys = [RecordKey("s", number, True) for number in range(5)]
    account = run(client, *(write(number + 1, key=key) for number, key in enumerate(keys)))
    assert account.clean and account.totals(0)["writes"] == 5


def test_a_delete_in_doubt_that_happened_counts_as_a_delete() -> None:
    client = Client(everything(0), everything(9, in_doubt=True), stored=None)
    account = Account()
    one = Writer(client, "test", account, workers=1)
    one.write(write(1))
    one.write(delete(2))
    one.finish()
    assert account.clean and account.totals(0)["deletes"] == 1 and account.totals(0)["found_nothing"] == 0


def test_a_repeated_update_that_the_guard_refuses_has_happened() -> None:
    client = Client(everything(0), everything(9, in_doubt=True), everything(27), stored={"rev": 1})
    account = run(client, write(1), update(2, Add("n", 5)))
    assert account.clean and state_of(account, time.time()) == (Presence.THERE, {"a": 1, "n": 5, "rev": 2})


def test_overload_is_waited_out_and_is_no_doubt() -> None:
    account = run(Client(everything(18), everything(18), everything(0)), write(1))
    assert account.clean and account.totals(0)["sent_again"] == 2 and account.totals(0)["in_doubt"] == 0


def test_patience_ends_and_the_record_is_marked_uncertain() -> None:
    client = Client(*[everything(9, in_doubt=True)] * 10_000, stored={"rev": 0})
    account = run(client, write(1), patience_s=0.0)
    state = account.state(KEY)
    assert not account.clean and account.totals(0)["unresolved"] == 1
    assert state is not None and not state.certain


def test_a_refusal_that_repeating_cannot_help_stops_the_workload() -> None:
    with pytest.raises(ConfigError, match="result 22") as caught:
        run(Client(everything(22)), write(1), write(2))
    assert caught.value.code == "E145"


def test_operations_on_a_record_never_share_a_call_and_keep_their_order() -> None:
    client = Client()
    others = [write(10 + number, key=RecordKey("s", number, True)) for number in range(3)]
    account = run(client, write(1), *others, update(20, Add("n", 1)), update(21, Add("n", 1)), delete(22), write(23))
    assert all(len(set(map(str, call))) == len(call) for call in client.calls)
    assert account.clean and state_of(account, time.time()) == (Presence.THERE, {"a": 23, "rev": 23})


def test_the_pace_is_kept_against_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [50.0]

    def pass_time(seconds: float) -> None:
        now[0] += seconds

    monkeypatch.setattr(writer.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(writer.time, "sleep", pass_time)
    pace = Pace(100)
    for _ in range(201):
        pace.take()
    assert now[0] - 50.0 == pytest.approx(2.0, abs=0.05)
    now[0] += 60.0  # a long pause saves up a tenth of a second's worth, not a minute's
    began = now[0]
    for _ in range(110):
        pace.take()
    assert now[0] - began == pytest.approx(1.0, abs=0.05)
