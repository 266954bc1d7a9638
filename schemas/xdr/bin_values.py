"""Does a bin's value fit its type, and what is its text in the normal form? One rule for every JSON encoding.

Values are those of `schemas.xdr.json_text`, texts those of `schemas.bins`.
"""

import math
import re
from typing import Any

from schemas.base64_text import from_base64
from schemas.bins import LIST_ORDERED, MAP_KEY_ORDERED, MAP_KEY_VALUE_ORDERED, BinType
from schemas.nested import MARK, escaped
from schemas.xdr.json_text import Number, Object, compact, double_text

_LISTS = (BinType.LIST, LIST_ORDERED)
_OBJECTS = (BinType.MAP, BinType.GEOJSON, MAP_KEY_ORDERED, MAP_KEY_VALUE_ORDERED)
_NOT_FINITE = ("NaN", "Infinity", "-Infinity")
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)([.][0-9]+)?([eE][+-]?[0-9]+)?").fullmatch  # float() would also take ` 1` and `1_0`


class Misfit(Exception):
    """A value that does not fit its type; the message says why, after the bin's name and type."""


def bin_text(kind: str, value: Any) -> str:
    """The text of a value that is not null. The type rules: an int may be written "5", a str may be written 5.

    Types Millrace does not know fit everything and travel as they came: the outputs decide. Raises Misfit.
    """
    if kind == BinType.STR:
        return text_of(value)
    if kind == BinType.INT:
        return _int_text(value)
    if kind == BinType.FLOAT:
        return _float_text(value)
    if kind == BinType.BOOL:
        if not isinstance(value, bool) and value not in ("true", "false"):
            raise Misfit("is neither true nor false")
        return str(value).lower()
    if kind in (BinType.BLOB, BinType.HLL):
        return _base64_text(value)
    if kind in _LISTS and not isinstance(value, list):
        raise Misfit("is not an array")
    if kind in _OBJECTS and not isinstance(value, dict):
        raise Misfit("is not an object")
    if isinstance(value, (list, dict)):
        _require_sound(value)
    text = text_of(value)
    if kind == BinType.GEOJSON or MARK not in text:
        return text
    try:
        return compact(escaped(value))
    except RecursionError:  # maps with such names take three levels each
        raise Misfit("is nested too deep") from None


def text_of(value: Any) -> str:
    """A value as text: a string itself, anything else as its JSON."""
    return value if isinstance(value, str) and not isinstance(value, Number) else compact(value)


def _int_text(value: Any) -> str:
    number = Number(value) if isinstance(value, str) else Number("")
    if not number.is_integer:
        raise Misfit("is not an integer")
    whole = number.int64()
    if whole is None:
        raise Misfit("needs more than 64 bits")
    return str(whole)


def _float_text(value: Any) -> str:
    if not isinstance(value, str) or not (value in _NOT_FINITE or _NUMBER(value)):
        raise Misfit("is not a number")
    double = float(value)
    if math.isinf(double) and value not in _NOT_FINITE:
        raise Misfit("is a number too large for a double")
    return double_text(double)


def _base64_text(value: Any) -> str:
    if not isinstance(value, str) or isinstance(value, Number):
        raise Misfit("is not Base64")
    try:
        from_base64(value)
    except ValueError:
        raise Misfit("is not Base64") from None
    return value


def _require_sound(value: Any) -> None:
    """Raise Misfit for what no list or map of Aerospike holds, or what would be read differently by different readers."""
    if isinstance(value, Number):
        if value in _NOT_FINITE:
            raise Misfit("holds NaN or an infinity")
        if not value.is_integer and math.isinf(value.double()):
            raise Misfit("holds a number too large for a double")
    elif isinstance(value, dict):
        if isinstance(value, Object) and value.twice:
            raise Misfit(f"holds one member twice: {min(value.twice)[:40]!r}")
        for member in value.values():
            _require_sound(member)
    elif isinstance(value, list):
        for item in value:
            _require_sound(item)


__all__ = ["Misfit", "bin_text", "text_of"]
