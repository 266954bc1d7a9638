"""One text for one value: what no encoder writes is refused."""

from base64 import b64encode
from binascii import a2b_base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.base64_text import from_base64, to_base64


@given(value=st.binary(max_size=30))
def test_back_and_forth(value: bytes) -> None:
    assert from_base64(to_base64(value)) == value


@pytest.mark.parametrize(
    "text", ["AP9=", "AP8", "AP8=\n", "AP8==", "A-8=", " AP8=", "AB==", "é===", "AAAA=", "AAAA====", "=", "===="]
)
def test_what_no_encoder_writes(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        from_base64(text)


@given(text=st.text("AQgwEI/+=9\n", max_size=9) | st.text("AQw=", min_size=4, max_size=8))
def test_a_text_is_taken_exactly_when_it_is_what_its_value_is_written_as(text: str) -> None:
    try:
        lenient: bytes | None = a2b_base64(text)
    except ValueError:
        lenient = None
    if lenient is not None and b64encode(lenient).decode() == text:
        assert from_base64(text) == lenient
    else:
        with pytest.raises(ValueError, match=r"."):
            from_base64(text)
