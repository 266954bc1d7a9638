"""Base64 as the connector writes it: one text for one value, so that a damaged text is noticed.

Decoders accept texts whose last character has bits set that mean nothing; no encoder writes such a text (RFC 4648, 3.5).
"""

from binascii import a2b_base64, b2a_base64


def from_base64(text: str) -> bytes:
    """The bytes of a Base64 text, standard alphabet, padded. Raises ValueError (TypeError for what is no text) for any other."""
    value = a2b_base64(text, strict_mode=True)
    if b2a_base64(value, newline=False) != text.encode():
        raise ValueError("not the Base64 of any value")
    return value


def to_base64(value: bytes) -> str:
    """The Base64 text of bytes, standard alphabet, padded."""
    return b2a_base64(value, newline=False).decode()


__all__ = ["from_base64", "to_base64"]
