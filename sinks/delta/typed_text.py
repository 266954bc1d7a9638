"""Value texts of `schemas.bins` as typed Arrow columns; null where a text is not exactly such a value."""

import binascii
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from schemas.bins import BinType


def typed_values(kind: BinType, texts: Any) -> Any:
    """The texts, a string array, as the type `schemas.tables.TYPED_COLUMN` gives the kind."""
    if kind is BinType.INT:
        return _parsed(texts, pa.int64(), _integer)
    if kind is BinType.FLOAT:
        return _parsed(texts, pa.float64(), _double, _is_double)
    if kind is BinType.BOOL:
        return pc.if_else(pc.is_in(texts, pa.array(["true", "false"])), pc.equal(texts, "true"), None)
    if kind in (BinType.BLOB, BinType.HLL):
        return pa.array([_bytes(text) for text in texts.to_pylist()], pa.binary())
    return texts


def exact_integers(texts: Any, doubles: Any, integers: npt.NDArray[np.bool_]) -> Any:
    """The doubles, without those that come of `integers` among the texts and are not exactly them."""
    given = doubles.to_pylist()
    for place in np.flatnonzero(integers).tolist():
        if given[place] is not None and int(given[place]) != int(texts[place].as_py()):
            given[place] = None
    return pa.array(given, pa.float64())


def _parsed(texts: Any, kind: Any, read: Callable[[str], Any], good: Callable[[Any, Any], bool] | None = None) -> Any:
    """By Arrow's own parser, exact for 64-bit integers and doubles; text by text when one does not parse."""
    try:
        values = pc.cast(texts, kind)
    except pa.ArrowInvalid:
        values = None
    if values is None or (good is not None and not good(texts, values)):
        return pa.array([None if text is None else read(text) for text in texts.to_pylist()], kind)
    return values


def _is_double(texts: Any, values: Any) -> bool:
    """Whether no infinity has come of a number that is too large for a double."""
    return not pc.any(pc.and_(pc.is_inf(values), pc.invert(pc.match_substring(texts, "Infinity")))).as_py()


def _integer(text: str) -> int | None:
    try:
        value = int(text)
    except ValueError:
        return None
    return value if -(1 << 63) <= value < 1 << 63 else None


def _double(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return None if math.isinf(value) and not text.endswith("Infinity") else value


def _bytes(text: str | None) -> bytes | None:
    try:
        return None if text is None else binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        return None


__all__ = ["exact_integers", "typed_values"]
