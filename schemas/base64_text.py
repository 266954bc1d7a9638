"""Base64 as the connector writes it: one text for one value, so that a damaged text is noticed.

Decoders accept texts whose last character has bits set that mean nothing; no encoder writes such a text (RFC 4648, 3.5).
"""

from binascii import a2b_base64, b2a_base64

_LAST = ("", "AQgw", "AEIMQUYcgkosw048")
"""The characters that may stand before the padding, by the bytes of the last group: those without bits that mean nothing."""


def from_base64(text: str) -> bytes:
    """The bytes of a Base64 text, standard alphabet, padded. Raises ValueError (TypeError for what is no text) for any other."""
    value = a2b_base64(text, strict_mode=True)
    size = len(value)
    spare = size % 3
    # Python 3.11 lets padding pass after a whole group, even in strict mode: hence the length.
    if len(text) != (size + 2) // 3 * 4 or (spare and text[spare - 4] not in _LAST[spare]):
        raise ValueError("not the Base64 of any value")
    return value


def to_base64(value: bytes) -> str:
    """The Base64 text of bytes, standard alphabet, padded."""
    return b2a_base64(value, newline=False).decode()


__all__ = ["from_base64", "to_base64"]
