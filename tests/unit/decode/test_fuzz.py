"""A short run of `make fuzz`, and proof that its judge would notice."""

from random import Random

import pytest

from schemas.xdr.normal_form import Read
from schemas.xdr.reader import Reader
from tests.fuzz.damage import KINDS
from tests.fuzz.judge import Broken, Sent, judge, names
from tests.fuzz.messages import FORMS, event
from tests.fuzz.run import Share, run


@pytest.mark.parametrize("form", FORMS)
def test_damaged_messages(form: str) -> None:
    fates = run(Share(form, seed=1, messages=2_000)).fates
    assert fates["event"] > 50, "hardly a message was read: the damage proves nothing"
    assert sum(count for fate, count in fates.items() if fate.startswith("D")) > 500


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_damage_changes_messages(kind: object) -> None:
    random = Random(1)
    message = FORMS["json"].encode(event(random, FORMS["json"].sample))
    assert any(kind(random, message, [message]) != message for _ in range(20))  # type: ignore[operator]


def test_a_reader_that_touches_another_record_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    form = FORMS["json"]
    one = event(Random(1), form.sample)
    reader = Reader(form.options)
    quick = reader.quick
    judge(reader, [Sent(form.encode(one), frozenset())])

    def elsewhere(value: bytes) -> object:
        found = quick(value)
        return found and found._replace(digest=bytes(20), user_key=None)

    monkeypatch.setattr(reader, "_whole", elsewhere)
    with pytest.raises(Broken, match="does not name"):
        judge(reader, [Sent(form.encode(one), frozenset([one.digest]))])


def test_a_message_without_a_fate_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    form = FORMS["json"]
    reader = Reader(form.options)
    monkeypatch.setattr(reader, "_apart", lambda value: [])
    with pytest.raises(Broken, match="no fate"):
        judge(reader, [Sent(b"[]", frozenset())])


def test_an_exception_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: object, value: bytes | None, key: bytes | None = None) -> Read:
        raise RecursionError

    monkeypatch.setattr("schemas.xdr.typed_json.TypedJson.read", fail)
    with pytest.raises(Broken, match="json, seed 1: RecursionError"):
        run(Share("json", seed=1, messages=100))


def test_a_digest_is_named_raw_in_base64_or_escaped() -> None:
    digest = bytes(range(235, 255))
    assert names(b"xx" + digest, digest)
    assert names(b'"6+zt7u/w8fLz9PX29/j5+vv8/f4="', digest)
    assert names(b'"6+zt7u\\/w8fLz9PX29\\u002fj5+vv8/f4="', digest)
    assert not names(b'"6+zt7u/w8fLz9PX29/j5+vv8/f8="', digest)
