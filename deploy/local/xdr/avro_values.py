"""Particles as values for Avro: blobs stay bytes and doubles stay doubles, also inside lists and maps; map keys are text.

GeoJSON is its own text, as Avro has no type for it, and an HLL is its bytes. What JSON loses besides, Avro loses too: the order
of lists and maps, and the type of map keys that are numbers (`stringify_map_keys`).
"""

from typing import Any

from deploy.local.node.algebra.view import BLOB, BOOL, FLOAT, GEOJSON, HLL, INTEGER, LIST, MAP, STRING
from deploy.local.node.changes import Particle
from deploy.local.xdr.change import Unserialisable
from deploy.local.xdr.values import _DOUBLE, LANGUAGE_BLOBS, JsonValues, _text
from schemas.bins import GeoJson


class AvroValues(JsonValues):
    """Turns particles into values that `avro_writer` writes."""

    def __init__(self, *, stringify_map_keys: bool = True) -> None:
        super().__init__(stringify_map_keys=stringify_map_keys)

    def value(self, particle: Particle) -> Any:
        """The value of a bin: bool, int, float, str, bytes, list or dict. Raises Unserialisable."""
        kind, raw = particle
        if kind == INTEGER:
            return int.from_bytes(raw, "big", signed=True)
        if kind == STRING:
            return _text(raw)
        if kind == FLOAT:
            return _DOUBLE.unpack(raw)[0]
        if kind == BOOL:
            return raw != b"\0"
        if kind in (BLOB, HLL) or kind in LANGUAGE_BLOBS:
            return raw
        if kind == GEOJSON:
            return _text(raw[3 + 8 * int.from_bytes(raw[1:3], "big") :])
        if kind in (LIST, MAP):
            return self._collection(raw, kind).value
        raise Unserialisable(f"bin of particle type {kind}")

    def _double(self, number: float) -> float:
        return number

    def _blob(self, raw: bytes) -> bytes:
        return raw

    def _geojson(self, raw: bytes) -> GeoJson:
        return GeoJson(_text(raw))


def user_key(particle: Particle | None) -> int | float | str | bytes | None:
    """A stored user key as it is. Raises Unserialisable for key types no client offers."""
    if particle is None:
        return None
    kind, raw = particle
    if kind == 1:
        return int.from_bytes(raw, "big", signed=True)
    if kind == 2:
        number: float = _DOUBLE.unpack(raw)[0]
        return number
    if kind == 3:
        return _text(raw)
    if kind == 4:
        return raw
    raise Unserialisable(f"user key of particle type {kind}")


__all__ = ["AvroValues", "user_key"]
