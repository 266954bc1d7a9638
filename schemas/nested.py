"""Values inside lists and maps as JSON text and back: exact, also for what JSON cannot say.

What JSON can say stands there as it is. Anything else is an object of one member whose name begins with `$`:

| value | text |
| --- | --- |
| blob, HyperLogLog | `{"$blob":"AP8="}`, `{"$hll":"AP8="}`, in Base64 |
| GeoJSON | `{"$geojson":{"type":"Point","coordinates":[8.5,47.4]}}` |
| NaN, an infinity | `{"$float":"NaN"}`, `{"$float":"Infinity"}`, `{"$float":"-Infinity"}` |
| a map with a key that is no string, or a string beginning with `$` | `{"$map":[[7,"seven"],[{"$blob":"AP8="},1]]}` |
| a value of a type Millrace does not know, by the number of its particle type | `{"$other":[16,"AP8="]}` |

So no map reads as something else: one that has such a name itself is written as its pairs. Forms that lose these types on the way
(JSON) have none of it inside, and a nested blob stays the string it was sent as.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import orjson

from schemas.base64_text import from_base64, to_base64
from schemas.bins import GeoJson, Hll

MARK = '"$'
"""Text without this holds no tagged value: nearly all text, found out by one cheap look."""
_NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


class Other(NamedTuple):
    """A value of a particle type Millrace does not know, as its bytes."""

    particle_type: int
    raw: bytes


def nested_text(value: Any) -> str:
    """A list or map as text, its Python values as `schemas.bins` names them.

    Raises TypeError for a value that has no type there or an integer beyond 64 bits, RecursionError for one that is too deep.
    GeoJSON is taken as it is: who made it knows that it is JSON.
    """
    return orjson.dumps(_tagged(value)).decode()


def _tagged(value: Any) -> Any:
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"$float": _float_name(value)}
    if isinstance(value, GeoJson):
        return {"$geojson": orjson.Fragment(str(value))}
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return {"$hll" if isinstance(value, Hll) else "$blob": to_base64(value)}
    if isinstance(value, Other):
        return {"$other": [value.particle_type, to_base64(value.raw)]}
    if isinstance(value, list):
        return [_tagged(item) for item in value]
    if isinstance(value, dict):
        if any(type(name) is not str or name.startswith("$") for name in value):
            return {"$map": [[_tagged(name), _tagged(item)] for name, item in value.items()]}
        return {name: _tagged(item) for name, item in value.items()}
    raise TypeError(f"a value of type {type(value).__name__} has no Aerospike type")


def _float_name(value: float) -> str:
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def escaped(value: Any) -> Any:
    """What JSON said, as it is written in the normal form: a map with a name that begins with `$` as its pairs."""
    if isinstance(value, dict):
        if any(name.startswith("$") for name in value):
            return {"$map": [[name, escaped(item)] for name, item in value.items()]}
        return {name: escaped(item) for name, item in value.items()}
    if isinstance(value, list):
        return [escaped(item) for item in value]
    return value


def untagged(value: Any) -> Any:
    """The Python value of a parsed text of the normal form. Raises ValueError for a tag that is none."""
    if isinstance(value, list):
        return [untagged(item) for item in value]
    if not isinstance(value, dict):
        return value
    name = next((name for name in value if name.startswith("$")), None)
    if name is None:
        return {name: untagged(item) for name, item in value.items()}
    read = _TAGS.get(name)
    if read is None or len(value) != 1:
        raise ValueError(f"no such tagged value: {name[:20]!r}")
    return read(value[name])


def _map(pairs: Iterable[tuple[Any, Any]]) -> dict[Any, Any]:
    try:
        return {untagged(name): untagged(item) for name, item in pairs}
    except TypeError:
        raise ValueError("a map has a key that is a list or a map") from None


def _other(given: tuple[int, str]) -> Other:
    particle_type, raw = given
    return Other(particle_type, from_base64(raw))


def _json(value: Any) -> GeoJson:
    return GeoJson(orjson.dumps(value).decode())


def _not_finite(name: str) -> float:
    if name not in _NOT_FINITE:
        raise ValueError(f"{name!r:.20} is no infinity and not NaN")
    return _NOT_FINITE[name]


_TAGS: dict[str, Callable[[Any], Any]] = {
    "$blob": from_base64,
    "$hll": lambda text: Hll(from_base64(text)),
    "$geojson": _json,
    "$float": _not_finite,
    "$map": _map,
    "$other": _other,
}

__all__ = ["MARK", "Other", "escaped", "nested_text", "untagged"]
