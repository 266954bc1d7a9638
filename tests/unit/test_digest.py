"""Digests agree with the client's own, and tell a blob key from a string key."""

from base64 import b64encode

import aerospike
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.digest import KeyMismatch, digest_of, resolve_user_key

keys = st.one_of(
    st.integers(-(1 << 63), (1 << 63) - 1),
    st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1),
    st.binary(min_size=1),
)


@given(st.sampled_from([None, "cards", "zażółć"]), keys)
def test_the_digest_is_the_clients(set_name: str | None, key: int | str | bytes) -> None:
    asked = bytearray(key) if isinstance(key, bytes) else key
    assert digest_of(set_name, key) == bytes(aerospike.calc_digest("any", set_name or "", asked))


def test_a_base64_text_is_a_blob_when_the_digest_says_so() -> None:
    text = b64encode(b"\x00\xff\x10").decode()
    assert resolve_user_key("s", text, digest_of("s", b"\x00\xff\x10")) == b"\x00\xff\x10"
    assert resolve_user_key("s", text, digest_of("s", text)) == text


@pytest.mark.parametrize("key", ["wrong", 8, "AP8Q", b"blob", 1 << 63])
def test_a_key_that_contradicts_the_digest_is_refused(key: int | str | bytes) -> None:
    with pytest.raises(KeyMismatch):
        resolve_user_key("s", key, digest_of("s", "right"))
