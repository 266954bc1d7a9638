"""Which user key a mirror sends: only one that fits the digest, whoever has made sure of it."""

from typing import Any

import pytest

from schemas.digest import digest_of
from sinks.aerospike import item as items
from sinks.aerospike.config import ClientConfig, MirrorConfig
from sinks.aerospike.item import Item, prepare
from sinks.contract import Outcome
from tests.support.events import write


def prepared(event: Any, user_keys: Any = "check", **options: Any) -> Item | Outcome:
    config = MirrorConfig("m", ClientConfig((("h", 1, None),)), "mirror", user_keys=user_keys, **options)
    return prepare(event, 0, 1, config)


@pytest.mark.parametrize("user_keys", ["check", "proved", "trust"])
@pytest.mark.parametrize(("key", "sent"), [("k", "k"), (7, 7), (b"\x00", bytearray(b"\x00"))])
def test_a_key_that_fits_is_sent(user_keys: str, key: Any, sent: Any) -> None:
    item = prepared(write(key, 1), user_keys)
    assert isinstance(item, Item) and item.key == ("mirror", "contract", sent)


def test_a_key_that_does_not_fit_is_refused_or_the_record_written_by_its_digest() -> None:
    event = write("right", 1, user_key="wrong")
    refused = prepared(event)
    assert isinstance(refused, Outcome) and refused.code == "D206"
    trusted = prepared(event, "trust")
    assert isinstance(trusted, Item) and trusted.key == ("mirror", "contract", None, bytearray(event.digest))


def test_a_proved_key_costs_no_second_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(items, "resolve_user_key", lambda *_: pytest.fail("proved again"))
    assert isinstance(prepared(write("k", 1), "proved"), Item)


@pytest.mark.parametrize("user_keys", ["check", "proved", "trust"])
def test_a_double_is_never_sent(user_keys: str) -> None:
    item = prepared(write("k", 1, user_key=0.5, digest=digest_of("contract", 0.5)), user_keys)
    assert isinstance(item, Item) and not item.sends_key
