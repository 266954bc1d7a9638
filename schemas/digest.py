"""A record's digest from its set and user key, and which kind of user key a digest proves.

digest = RIPEMD-160(set name || type byte || key bytes): type 1 integer (8 bytes big-endian), 2 double (likewise), 3 string
(UTF-8), 4 blob. The namespace is not hashed (aerospike-client-java: util/Crypto.java; published connector output agrees).
"""

import hashlib
import struct
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Callable
from functools import lru_cache

from schemas.events import UserKey

DIGEST_BYTES = 20
_ripemd160 = hashlib.new("ripemd160").copy


@lru_cache(maxsize=10_000)
def _begun(set_name: str | None, type_byte: str) -> Callable[[], "hashlib._Hash"]:
    """What makes a hasher that has the set name and a type byte behind it: asked per message, and sets are few."""
    hasher = _ripemd160()
    hasher.update(f"{set_name or ''}{type_byte}".encode())
    return hasher.copy


class KeyMismatch(ValueError):
    """The user key's digest is not the record's."""


def digest_of(set_name: str | None, user_key: UserKey) -> bytes:
    """The 20-byte digest of a record. Raises OverflowError for integers beyond 64 bits."""
    if isinstance(user_key, str):
        type_byte, raw = "\x03", user_key.encode()
    elif isinstance(user_key, int):
        type_byte, raw = "\x01", user_key.to_bytes(8, "big", signed=True)
    elif isinstance(user_key, bytes):
        type_byte, raw = "\x04", user_key
    else:
        type_byte, raw = "\x02", struct.pack(">d", user_key)
    hasher = _begun(set_name, type_byte)()
    hasher.update(raw)
    return hasher.digest()


def resolve_user_key(set_name: str | None, user_key: UserKey, digest: bytes) -> UserKey:
    """The user key in the type its digest proves: in JSON a blob key and a string key look alike.

    Raises KeyMismatch when neither reading of the key gives the digest: key or digest is damaged, or a transformer rewrote one.
    """
    try:
        if digest_of(set_name, user_key) == digest:
            return user_key
    except (OverflowError, UnicodeEncodeError):
        raise KeyMismatch("the user key cannot be a key of Aerospike") from None
    if isinstance(user_key, str):
        try:
            blob = b64decode(user_key, validate=True)
        except (Base64Error, ValueError):
            blob = None
        if blob is not None and digest_of(set_name, blob) == digest:
            return blob
    raise KeyMismatch(
        f"digest of set {set_name!r} and the {type(user_key).__name__} user key is not the event's digest {digest.hex()}"
    )


__all__ = ["DIGEST_BYTES", "KeyMismatch", "digest_of", "resolve_user_key"]
