"""From the normal form in Arrow, as a Python worker receives it, to ChangeEvent objects.

Written for speed: columns become Python lists once per batch, and values are converted type by type, not row by row. Names and
types repeat from record to record, so they travel as dictionary codes.
"""

import json
import re
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from schemas.base64_text import from_base64
from schemas.bins import (
    LIST_ORDERED,
    MAP_KEY_ORDERED,
    MAP_KEY_VALUE_ORDERED,
    NULL_TYPE,
    BinType,
    GeoJson,
    Hll,
    KeyOrderedMap,
    KeyValueOrderedMap,
    OrderedList,
)
from schemas.events import ChangeEvent, UserKey
from schemas.nested import MARK, untagged

Objects = npt.NDArray[Any]
_MANY_DIGITS = re.compile(r"[0-9]{19}").search
_INT64 = range(-(1 << 63), 1 << 63)


class Rejection(NamedTuple):
    """A row that is no ChangeEvent.

    row:     its place in the batch. code: a reason of `schemas.reasons`. detail: for people.
    decoded: False when the message itself could not be read, for every output alike (the row's column `error`); True when
             only the conversion into Python objects failed.
    namespace, digest: whose it is, where that is known.
    element: its place in a message that holds several.
    """

    row: int
    code: str
    detail: str
    decoded: bool
    namespace: str | None = None
    digest: bytes | None = None
    element: int = 0


class Converted(NamedTuple):
    """One batch's events, row by row (None where a row was rejected), and the rejections by rising row."""

    events: list[ChangeEvent | None]
    rejections: list[Rejection]


class _Unfit(NamedTuple):
    """Stands in a bin's place when its text cannot be converted."""

    code: str
    detail: str


class _Mixed(list[Any]):
    """Converted values among which there may be _Unfit. A plain list holds none, so nobody needs to look."""


def events_from_arrow(batch: pa.RecordBatch | pa.Table) -> Converted:
    """The rows of `batch`, columns of `schemas.events.EVENT_DDL` (others are ignored), as ChangeEvents.

    Values are those `schemas.bins` names: int, float, str, bool, bytes, Hll, list, OrderedList, dict, KeyOrderedMap,
    KeyValueOrderedMap, GeoJson; None for a deleted bin; inside lists and maps those of `schemas.nested`.
    A row that cannot be converted is a Rejection, never an exception.
    """
    rows = batch.num_rows
    if rows == 0:
        return Converted([], [])
    column = _columns(batch)
    bins, unfit = _bins(column("bins"), rows)
    keys, unfit_keys = _user_keys(column("user_key"))
    events: list[ChangeEvent | None] = list(
        map(
            ChangeEvent._make,
            zip(
                _repeating(column("namespace")),
                _repeating(column("set")),
                _objects(column("digest")).tolist(),
                keys,
                _repeating(column("op")),
                column("gen").to_pylist(),
                column("lut_ms").to_pylist(),
                column("exp_s").to_pylist(),
                bins,
                _repeating(column("topic")),
                column("partition").to_pylist(),
                column("offset").to_pylist(),
                column("element").to_pylist(),
                strict=True,
            ),
        )
    )
    undecoded = [Rejection(row, code, detail, decoded=False) for row, code, detail in _errors(column("error"))]
    rejected = {found.row: found for found in [*unfit_keys, *unfit, *undecoded]}
    for row in rejected:
        events[row] = None
    return Converted(events, [rejected[row] for row in sorted(rejected)])


def _columns(batch: pa.RecordBatch | pa.Table) -> Callable[[str], Any]:
    def column(name: str) -> Any:
        found = batch.column(name)
        return found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found

    return column


def _objects(array: Any) -> Objects:
    return np.asarray(array.to_numpy(zero_copy_only=False), dtype=object)


def _codes(array: Any) -> tuple[list[Any], Objects]:
    """Distinct values and, for each element, the place of its value among them; null is the last of the values."""
    encoded = array.dictionary_encode()
    values = encoded.dictionary.to_pylist()
    codes = pc.fill_null(encoded.indices, len(values)).to_numpy(zero_copy_only=False)
    return [*values, None], codes


def _repeating(array: Any) -> list[Any]:
    """A column of few distinct values as a list."""
    values, codes = _codes(array)
    return np.array(values, dtype=object)[codes].tolist()  # type: ignore[no-any-return]


def _errors(error: Any) -> Iterable[tuple[int, str, str]]:
    if error.null_count == len(error):
        return
    for index in np.flatnonzero(error.is_valid().to_numpy(zero_copy_only=False)).tolist():
        row = error[index].as_py()
        yield index, row["code"] or "", row["detail"] or ""


_KEY_READERS: dict[str, tuple[Callable[[str], UserKey], str]] = {
    "int": (int, "an integer"),
    "float": (float, "a number"),
    "blob": (from_base64, "Base64"),
}


def _user_keys(column: Any) -> tuple[list[UserKey | None], list[Rejection]]:
    kinds = column.field("type").to_pylist()
    keys: list[Any] = column.field("value").to_pylist()
    valid = column.is_valid().to_pylist()
    rejections = []
    for index, kind in enumerate(kinds):
        if not valid[index]:
            keys[index] = None
        elif kind != "str":
            read, what = _KEY_READERS[kind]
            try:
                keys[index] = read(keys[index])
            except (TypeError, ValueError):
                rejections.append(Rejection(index, "D105", f"the user key is not {what}", decoded=True))
    return keys, rejections


def _bins(column: Any, rows: int) -> tuple[list[dict[str, Any]], list[Rejection]]:
    """Each row's bins by name, and the rows of which a bin cannot be converted."""
    flat = column.flatten()
    ends = np.cumsum(pc.fill_null(column.value_lengths(), 0).to_numpy(zero_copy_only=False)).tolist()
    if len(flat) == 0:
        return [{} for _ in range(rows)], []
    names: list[Any] = _repeating(flat.field("name"))
    values, bad = _values(flat.field("type"), flat.field("value"))
    bins: list[dict[str, Any]] = []
    start = 0
    for end in ends:
        bins.append(dict(zip(names[start:end], values[start:end], strict=False)))
        start = end
    rejections = []
    for place in reversed(bad):
        unfit = values[place]
        index = int(np.searchsorted(ends, place, side="right"))
        rejections.append(Rejection(index, unfit.code, f"bin {names[place]!r} {unfit.detail}", decoded=True))
    return bins, rejections


def _values(kinds: Any, texts: Any) -> tuple[list[Any], list[int]]:
    """All bins' values in one list, and the places of those that cannot be converted."""
    distinct, codes = _codes(kinds)
    values = np.empty(len(codes), dtype=object)
    bad: list[int] = []
    for code, kind in enumerate(distinct):
        places = np.flatnonzero(codes == code)
        if not len(places):
            continue
        convert = _CONVERTERS.get(kind)
        if convert is None:
            converted: list[Any] = _Mixed([_Unfit("D209", f"has type {kind!r:.40}, which Millrace does not know")] * len(places))
        else:
            converted = convert(texts.take(pa.array(places)) if len(places) < len(codes) else texts)
        if type(converted) is not list:
            bad += [place for place, value in zip(places.tolist(), converted, strict=True) if type(value) is _Unfit]
        holder = np.empty(len(converted), dtype=object)
        holder[:] = converted
        values[places] = holder
    return values.tolist(), sorted(bad)


def _each(read: Callable[[str], Any], what: str) -> Callable[[Any], list[Any]]:
    """A converter that reads text by text; what `read` refuses becomes an _Unfit."""

    def one(text: Any) -> Any:
        try:
            return read(text)
        except OverflowError as error:
            return _Unfit("D203", str(error))
        except (TypeError, ValueError, RecursionError):
            return _Unfit("D108", f"is not {what}")

    def convert(texts: Any) -> list[Any]:
        found = _objects(texts).tolist()
        try:
            return list(map(read, found))
        except (TypeError, ValueError, RecursionError, OverflowError):
            return _Mixed(one(text) for text in found)

    return convert


def _cast(kind: Any, slowly: Callable[[Any], list[Any]]) -> Callable[[Any], list[Any]]:
    """A converter by Arrow's own parser, exact for 64-bit integers and doubles; text by text when one does not parse."""

    def convert(texts: Any) -> list[Any]:
        try:
            return pc.cast(texts, kind).to_numpy().tolist()  # type: ignore[no-any-return]
        except pa.ArrowInvalid:  # a text does not parse, or there are nulls
            return slowly(texts)

    return convert


def _integer(text: str) -> int:
    value = int(text)
    if value not in _INT64:
        raise OverflowError("needs more than 64 bits")
    return value


def _booleans(texts: Any) -> list[Any]:
    """True or false: every element, or each on its own when there is anything else."""
    truth = pc.equal(texts, "true")
    if pc.all(pc.or_(truth, pc.equal(texts, "false")), skip_nulls=False).as_py():
        return truth.to_numpy(zero_copy_only=False).tolist()  # type: ignore[no-any-return]
    known: dict[Any, Any] = {"true": True, "false": False}
    return _Mixed(known.get(text, _Unfit("D108", "is neither true nor false")) for text in texts.to_pylist())


def _structure(text: str) -> Any:
    """Nested values as `schemas.nested` writes them. Raises OverflowError for an integer beyond 64 bits: orjson would make it a
    float."""
    if len(text) < 19 or not _MANY_DIGITS(text):
        value = orjson.loads(text)
    else:
        value = json.loads(text, parse_constant=_no_constant)
        _require_64_bits(value)
    return untagged(value) if MARK in text else value


def _no_constant(name: str) -> None:
    raise ValueError(name)


def _require_64_bits(value: Any) -> None:
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, list):
        if type(value) is int and value not in _INT64:
            raise OverflowError("holds an integer that needs more than 64 bits")
        return
    for item in value:
        _require_64_bits(item)


def _list(text: str) -> list[Any]:
    value = _structure(text)
    if type(value) is not list:
        raise ValueError(text)
    return value


def _map(text: str) -> dict[Any, Any]:
    value = _structure(text)
    if type(value) is not dict:
        raise ValueError(text)
    return value


def _geojson(text: str) -> GeoJson:
    if type(text) is not str:
        raise TypeError
    return GeoJson(text)


_CONVERTERS: dict[str | None, Callable[[Any], list[Any]]] = {
    BinType.INT: _cast(pa.int64(), _each(_integer, "an integer")),
    BinType.FLOAT: _cast(pa.float64(), _each(float, "a number")),
    BinType.STR: lambda texts: _objects(texts).tolist(),
    BinType.BOOL: _booleans,
    BinType.BLOB: _each(from_base64, "Base64"),
    BinType.HLL: _each(lambda text: Hll(from_base64(text)), "Base64"),
    BinType.LIST: _each(_list, "a JSON array"),
    LIST_ORDERED: _each(lambda text: OrderedList(_list(text)), "a JSON array"),
    BinType.MAP: _each(_map, "a JSON object"),
    MAP_KEY_ORDERED: _each(lambda text: KeyOrderedMap(_map(text)), "a JSON object"),
    MAP_KEY_VALUE_ORDERED: _each(lambda text: KeyValueOrderedMap(_map(text)), "a JSON object"),
    BinType.GEOJSON: _each(_geojson, "a JSON object"),
    NULL_TYPE: lambda texts: [None] * len(texts),
}

__all__ = ["Converted", "Rejection", "events_from_arrow"]
