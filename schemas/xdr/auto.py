"""The format `auto`: of each message its bytes decide which of the connector's encodings it is in.

Settled by the first byte, for JSON by its members: an identity in an array `key` beside `msg` is typed JSON, an object under the
metadata key flat JSON. Plain Avro has no mark of its own: where the flow gives its schemas, it is tried on what is nothing else.
Facts: xdr-kafka message reference, cases 33 and 34; 1.2 to 1.6.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from schemas.xdr.json_text import Object, read_object
from schemas.xdr.metadata import Metadata
from schemas.xdr.normal_form import Read
from schemas.xdr.ordinary import Ordinary, QuickRead
from schemas.xdr.parts import Part, Parts
from schemas.xdr.problem import Undecodable

_BRACE = ord("{")
_TYPED_START = b'{"msg"'
_JSON_STARTS = b"{[ \t\r\n"
_SCHEMA_ID_BYTES = 5
_KEY_PARTS = 4
_DIGEST_CHARACTERS = 28
_ARRAYS = range(0x90, 0xA0)  # MessagePack: an array of at most 15


class OneEncoding(Protocol):
    """What is needed of an encoding; see `schemas.xdr.reader.Encoding`."""

    @property
    def thorough(self) -> "Thorough":
        """The reader of whatever the bytes are."""

    @property
    def quick(self) -> QuickRead:
        """The quick way."""

    @property
    def parts(self) -> Parts | None:
        """What takes a value apart."""


class Thorough(Protocol):
    """See `schemas.xdr.reader.ThoroughReader`."""

    def read(self, value: bytes | None, key: bytes | None) -> Read:
        """The message in the normal form."""


class Auto:
    """Reads messages of the encodings it is given, by the connector's names of them; `json` and `flat-json` are among them.

    metadata_key: the member that holds the metadata in flat JSON.
    """

    def __init__(self, encodings: Mapping[str, OneEncoding], metadata_key: str) -> None:
        self._encodings = encodings
        self._key = metadata_key
        self._typed, self._flat = encodings["json"].quick, encodings["flat-json"].quick
        self._other = encodings["avro"].quick if "avro" in encodings else None
        self._binary = {
            0: encodings["kafka-avro"].quick if "kafka-avro" in encodings else None,
            **dict.fromkeys(_ARRAYS, encodings["message-pack"].quick if "message-pack" in encodings else None),
        }

    def read(self, value: bytes | None, key: bytes | None = None) -> Read:
        """The message in the normal form; what cannot be read is its `error`, never an exception."""
        try:
            read = self._encodings[self._form(value)].thorough.read(value, key)
        except Undecodable as problem:
            read = Read(Metadata(), None, (problem.code, problem.detail))
        if read.error is not None and value and "avro" in self._encodings:
            plain = self._encodings["avro"].thorough.read(value, key)
            return plain if plain.error is None else read
        return read

    def quick(self, value: bytes) -> Ordinary | None:
        """The quick way through the encoding the bytes show."""
        if not value:
            return None
        if value[0] == _BRACE:
            first, second = (self._typed, self._flat) if value.startswith(_TYPED_START) else (self._flat, self._typed)
            found = first(value) or second(value)
            # Bins that look like the metadata of typed JSON: the thorough way finds out which of the two it is.
            return None if found is not None and "key" in found.bins and "msg" in found.bins else found
        quick = self._binary.get(value[0], self._other)
        return None if quick is None else quick(value)

    def parts(self, value: bytes) -> Sequence[Part] | None:
        """A JSON array's elements."""
        if not value or value[0] not in _JSON_STARTS:
            return None
        apart = self._encodings["json"].parts
        try:
            return None if apart is None else apart(value)
        except Undecodable:
            if "avro" in self._encodings:  # plain Avro may begin with any byte
                return None
            raise

    def _form(self, value: bytes | None) -> str:
        """The name of the encoding. Raises Undecodable for what is in none, or in one that cannot be read here."""
        if not value or value[0] in _JSON_STARTS:
            return "json" if not value or value.lstrip()[:1] == b"[" else self._json_form(value)
        if value[0] == 0 and len(value) >= _SCHEMA_ID_BYTES:
            if "kafka-avro" not in self._encodings:
                raise Undecodable("D102", "begins like Avro with a schema id, but the flow names no registry")
            return "kafka-avro"
        if value[0] in _ARRAYS and "message-pack" in self._encodings:
            return "message-pack"
        raise Undecodable("D102", f"begins with {value[0]:#04x}, like no encoding the flow can read")

    def _json_form(self, value: bytes) -> str:
        message = read_object(value)
        typed = _is_identity(message.get("key")) and isinstance(message.get("msg"), str)
        metadata = message.get(self._key)
        flat = isinstance(metadata, Object) and metadata.get("digest") is not None and metadata.get("msg") is not None
        if typed and flat:
            raise Undecodable("D103", f"both typed JSON (msg and key) and flat JSON (an object named {self._key}): which is it?")
        if not typed and not flat:
            if "key" in message and self._key not in message:
                return "json"  # which says what is wrong with it
            raise Undecodable("D103", f"neither typed JSON (msg and key) nor flat JSON (an object named {self._key})")
        return "json" if typed else "flat-json"


def _is_identity(key: Any) -> bool:
    """Whether this is what typed JSON has as `key`: four parts, the third a digest."""
    return isinstance(key, list) and len(key) == _KEY_PARTS and isinstance(key[2], str) and len(key[2]) == _DIGEST_CHARACTERS


__all__ = ["Auto"]
