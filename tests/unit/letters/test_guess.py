"""What bytes look like: a hint beside a letter."""

import pytest

from schemas.xdr.guess import guess
from tests.support.typed_json import Change

TYPED = Change("k", 1_700_000_000_000, 1, {"n": 1}).message()[1]


@pytest.mark.parametrize(
    ("value", "looks_like"),
    [
        (TYPED, "json"),
        (b"  [" + TYPED + b"]", "json"),
        (b'{"metadata": {"msg": "write", "digest": ""}, "key": 1}', "flat-json"),
        (TYPED[:10], "flat-json"),
        (b"\x00\x00\x00\x00\x07\x02ab", "kafka-avro"),
        (b"\x00\x00", None),
        (b"\x93\xa5write", "message-pack"),
        (b"\x02\x0cpayments", None),
        (b"not json", None),
        (b"", None),
        (None, None),
    ],
)
def test_first_bytes_tell(value: bytes | None, looks_like: str | None) -> None:
    assert guess(value) == looks_like
