"""One text for one value: what no encoder writes is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.base64_text import from_base64, to_base64


@given(value=st.binary(max_size=30))
def test_back_and_forth(value: bytes) -> None:
    assert from_base64(to_base64(value)) == value


@pytest.mark.parametrize("text", ["AP9=", "AP8", "AP8=\n", "AP8==", "A-8=", " AP8=", "AB==", "é==="])
def test_what_no_encoder_writes(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        from_base64(text)
