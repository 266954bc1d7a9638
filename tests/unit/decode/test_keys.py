"""The Kafka key in every form it comes in, and why some key gives no identity."""

import json
from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.events import ChangeEvent
from schemas.xdr.keys import read_key
from schemas.xdr.metadata import Metadata
from schemas.xdr.problem import Undecodable
from tests.support.message_pack import key_of, pack
from tests.support.xdr_strategies import NATIVE_KEYS, TYPED_BINS, events

DIGEST = bytes(range(20))
TEXT = b64encode(DIGEST).decode()
NAMED = Metadata("shop", "orders", DIGEST, ("str", "A-1001"))


@pytest.mark.parametrize(
    ("key", "identity"),
    [
        (f'["shop","orders","{TEXT}","A-1001"]', NAMED),
        (f' [ "shop", "orders", "{TEXT}", "A-1001" ]\n', NAMED),
        (f'["shop",null,"{TEXT}",9007199254740993]', Metadata("shop", None, DIGEST, ("int", "9007199254740993"))),
        (f'{{"namespace":"shop","set":"orders","userKey":"A-1001","digest":"{TEXT}"}}', NAMED),
        (f'{{"digest":"{TEXT}","namespace":"shop"}}', Metadata("shop", None, DIGEST)),
        (pack(["shop", "orders", DIGEST, "A-1001"]), NAMED),
        (pack(["shop", "", DIGEST, b"\0\xff"]), Metadata("shop", None, DIGEST, ("blob", "AP8="))),
        (pack(["shop", None, DIGEST, -0.5]), Metadata("shop", None, DIGEST, ("float", "-0.5"))),
        (pack(["shop", "orders", DIGEST, "A-1001"], wide=True), NAMED),
    ],
)
def test_every_form_of_a_key(key: str | bytes, identity: Metadata) -> None:
    assert read_key(key.encode() if isinstance(key, str) else key) == identity


@pytest.mark.parametrize(
    ("key", "code", "words"),
    [
        (None, "D101", "null"),
        (b"", "D105", "0 bytes of something else"),
        (DIGEST, "D105", "20 bytes of something else"),
        (TEXT.encode(), "D105", "28 bytes of something else"),
        (b'["shop","orders","AAAA",null]', "D105", "key[2] is not 20 bytes"),
        (f'["shop","orders","{TEXT}"]'.encode(), "D105", "key has 3 parts, not 4"),
        (f'["shop","orders","{TEXT}",null],"x":[1]'.encode(), "D102", "not one JSON array"),
        (f'["shop","orders","{TEXT}",null],"key":[]'.encode(), "D102", "not one JSON array"),
        (f'["shop","orders","{TEXT}",null'.encode(), "D102", "cut short"),
        (f'{{"namespace":"shop","digest":"{TEXT}","digest":"{TEXT}"}}'.encode(), "D103", "two members named digest"),
        (f'{{"namespace":"shop","digest":"{TEXT}","userKey":1.5}}'.encode(), "D105", "key.userKey"),
        (f'{{"digest":"{TEXT}"}}'.encode(), "D105", "key.namespace"),
        (pack(["shop", "orders", TEXT, None]), "D105", "key[2] is not 20 bytes"),
        (pack(["shop", "orders", DIGEST]), "D105", "key has 3 parts, not 4"),
        (pack(["shop", "orders", DIGEST, None]) + b"\0", "D102", "1 more bytes"),
        (pack(["shop", "orders", DIGEST, None])[:-1], "D102", "cut short"),
        (pack(["shop", 5, DIGEST, None]), "D105", "key[1]"),
        (pack(["shop", "orders", DIGEST, True]), "D105", "key[3]"),
        (pack(["shop", "orders", DIGEST, 1 << 63]), "D105", "key[3]"),
    ],
)
def test_why_a_key_gives_no_identity(key: bytes | None, code: str, words: str) -> None:
    with pytest.raises(Undecodable) as problem:
        read_key(key)
    assert problem.value.code == code and words in problem.value.detail


def test_avro_is_read_by_who_knows_its_schema() -> None:
    members = {"namespace": "shop", "set": None, "digest": DIGEST, "userKey": b"\x01"}
    assert read_key(b"\x08shop", lambda key: members if key == b"\x08shop" else {}) == Metadata(
        "shop", None, DIGEST, ("blob", "AQ==")
    )


@given(event=events(TYPED_BINS, NATIVE_KEYS))
def test_the_key_says_what_the_value_says(event: ChangeEvent) -> None:
    """In MessagePack every user key keeps its type; in JSON what JSON has."""
    said = read_key(pack(key_of(event)))
    assert (said.namespace, said.set, said.digest) == (event.namespace, event.set, event.digest)
    if type(event.user_key) in (int, str):
        array = [event.namespace, event.set, b64encode(event.digest).decode(), event.user_key]
        assert read_key(json.dumps(array).encode()) == said


@given(
    key=st.binary(max_size=60), start=st.sampled_from([b"", b"[", b"{", b"\x94", b"\xdc\x00\x04", b"\x94\xa4shop\xc0\xc4\x14"])
)
def test_any_bytes_are_an_identity_or_a_reason(key: bytes, start: bytes) -> None:
    try:
        assert read_key(start + key).digest is not None
    except Undecodable as problem:
        assert problem.detail
