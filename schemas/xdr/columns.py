"""What messages say as Arrow columns: of the quick way's Python values and of the normal form alike, row for row.

Column by column, not message by message: a batch of the quick way is flattened by the interpreter's own loops, and the texts of
the normal form are made type by type.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from itertools import chain
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from schemas.base64_text import to_base64
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
from schemas.events import DELETE, UserKey
from schemas.nested import MARK, nested_text
from schemas.xdr.json_text import double_text
from schemas.xdr.normal_form import Read
from schemas.xdr.ordinary import Ordinary

_TEXT = pa.string()
DECODED = pa.schema(
    [
        pa.field("element", pa.int32()),
        pa.field("namespace", _TEXT),
        pa.field("set", _TEXT),
        pa.field("digest", pa.binary()),
        pa.field("user_key", pa.struct([pa.field("type", _TEXT), pa.field("value", _TEXT)])),
        pa.field("op", _TEXT),
        pa.field("durable", pa.bool_()),
        pa.field("gen", pa.int32()),
        pa.field("lut_ms", pa.int64()),
        pa.field("exp_s", pa.int64()),
        pa.field("bins", pa.list_(pa.struct([pa.field(name, _TEXT) for name in ("name", "type", "value")]))),
        pa.field("error", pa.struct([pa.field("code", _TEXT), pa.field("detail", _TEXT)])),
    ]
)
"""What a message says, as the columns of `schemas.events.EVENT_DDL` from `element` on."""

Columns = list[pa.Array]
"""The columns of DECODED, in its order; after them those of the bins that are taken apart."""

_APART: dict[BinType, tuple[type, pa.DataType]] = {
    BinType.INT: (int, pa.int64()),
    BinType.FLOAT: (float, pa.float64()),
    BinType.STR: (str, _TEXT),
    BinType.BOOL: (bool, pa.bool_()),
    BinType.BLOB: (bytes, pa.binary()),
}
"""Types whose values are a column as they are, by their Python type and the column's."""


Apart = tuple[tuple[str, BinType], ...]
"""Bins whose values get columns of their own, by name and type, so that nobody makes texts of them and values of the texts again.

A value is either there or in the column `bins`, never in both: what is of another type stays in `bins`.
"""


def apart_of(types: Mapping[str, BinType]) -> Apart:
    """Those of the bins that can have columns of their own."""
    return tuple((name, kind) for name, kind in types.items() if kind in _APART)


def apart_column(name: str) -> str:
    """What the own column of a bin is called; no other column has a colon in its name."""
    return f"bin:{name}"


def ordinary_columns(events: Sequence[Ordinary], elements: Sequence[int], apart: Apart = ()) -> Columns:
    """Messages that went the quick way; `elements`: the place of each in a message that holds several."""
    given = zip(*events, strict=True) if events else iter([()] * len(Ordinary._fields))
    namespace, set_name, digest, key, op, gen, lut_ms, exp_s, bins, durable = (list(column) for column in given)
    columns, left = _taken_apart(bins, apart)
    return [
        *_plain(element=elements, namespace=namespace, set=set_name, digest=digest),
        _pair(("type", [_KEY_TYPES[type(one)] for one in key]), ("value", [_key_text(one) for one in key])),
        *_plain(op=op, durable=durable, gen=gen, lut_ms=lut_ms, exp_s=exp_s),
        _bins(left, [one == DELETE for one in op]),
        pa.nulls(len(events)).cast(DECODED.field("error").type),
        *columns,
    ]


def normal_form_columns(readings: Sequence[Read], elements: Sequence[int], apart: Apart = ()) -> Columns:
    """Messages in the normal form; `elements` as in `ordinary_columns`."""
    said = [read.metadata for read in readings]
    keys = [one.user_key or (None, None) for one in said]
    errors = [read.error or (None, None) for read in readings]
    entries = list(chain.from_iterable(read.bins or () for read in readings))
    names, kinds, texts = zip(*entries, strict=True) if entries else ((), (), ())
    return [
        *_plain(
            element=elements,
            namespace=[one.namespace for one in said],
            set=[one.set for one in said],
            digest=[one.digest for one in said],
        ),
        _pair(("type", [kind for kind, _ in keys]), ("value", [text for _, text in keys])),
        *_plain(
            op=[one.op for one in said],
            durable=[one.durable for one in said],
            gen=[one.gen for one in said],
            lut_ms=[one.lut_ms for one in said],
            exp_s=[one.exp_s for one in said],
        ),
        _listed(
            [pa.array(column, _TEXT) for column in (names, kinds, texts)],
            [len(read.bins or ()) for read in readings],
            [read.bins is None for read in readings],
        ),
        _pair(("code", [code for code, _ in errors]), ("detail", [detail for _, detail in errors])),
        *(pa.nulls(len(readings), _APART[kind][1]) for _, kind in apart),
    ]


def _taken_apart(bins: Sequence[dict[str, Any]], apart: Apart) -> tuple[Columns, Sequence[dict[str, Any]]]:
    """The bins' own columns, null where a row has no such bin, and of each row the bins that are left."""
    columns: Columns = []
    held, whole = 0, set()
    for name, kind in apart:
        python, arrow = _APART[kind]
        values = [row.get(name) for row in bins]
        fits = {python, type(None)}.issuperset(map(type, values))
        columns.append(pa.array(values, arrow) if fits else pa.nulls(len(bins), arrow))
        if fits:
            held += len(bins) - columns[-1].null_count
            whole.add(name)
    if not whole:
        return columns, bins
    if held == sum(map(len, bins)):
        return columns, [{}] * len(bins)
    # A null that is said stays: it deletes the bin.
    return columns, [{name: value for name, value in row.items() if value is None or name not in whole} for row in bins]


def _bins(bins: Sequence[dict[str, Any]], absent: Sequence[bool]) -> pa.Array:
    values = list(chain.from_iterable(map(dict.values, bins)))
    kinds, texts = _normal_texts(values)
    names = pa.array(list(chain.from_iterable(bins)), _TEXT)
    return _listed([names, kinds, texts], list(map(len, bins)), absent)


def _normal_texts(values: list[Any]) -> tuple[pa.Array, pa.Array]:
    """Type names and texts of the normal form, value for value."""
    codes = np.fromiter(map(_CODES.__getitem__, map(type, values)), np.int8, len(values))
    kinds = _kind_names().take(pa.array(codes))
    objects = np.fromiter(values, object, len(values))
    texts, places = [pa.array([], _TEXT)], []
    for code in np.unique(codes).tolist():
        mine = np.flatnonzero(codes == code)
        texts.append(_KINDS[code][2](objects[mine].tolist()))
        places.append(mine)
    if len(places) == 1:
        return kinds, texts[1]
    at = np.empty(len(values), np.int64)
    if places:
        at[np.concatenate(places)] = np.arange(len(values))
    return kinds, pa.concat_arrays(texts).take(pa.array(at))


def _listed(fields: list[pa.Array], counts: Sequence[int], absent: Sequence[bool]) -> pa.Array:
    """Entries as one list per row; null where `absent`."""
    ends = pa.array(np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]), pa.int32())
    entries = pa.StructArray.from_arrays(fields, ["name", "type", "value"])
    return pa.ListArray.from_arrays(ends, entries, mask=pa.array(absent, pa.bool_()))


def _plain(**columns: Sequence[Any]) -> list[pa.Array]:
    return [pa.array(values, DECODED.field(name).type) for name, values in columns.items()]


def _pair(*columns: tuple[str, Sequence[str | None]]) -> pa.Array:
    """A struct of two strings, null where its first is."""
    arrays = [pa.array(values, _TEXT) for _, values in columns]
    return pa.StructArray.from_arrays(arrays, [name for name, _ in columns], mask=arrays[0].is_null())


_KEY_TYPES = {type(None): None, str: "str", int: "int", bytes: "blob", float: "float"}


def _key_text(key: UserKey | None) -> str | None:
    if key is None or type(key) is str:
        return key
    return to_base64(key) if type(key) is bytes else double_text(key) if type(key) is float else str(key)


def _each(text: Callable[[Any], str]) -> Callable[[list[Any]], pa.Array]:
    return lambda values: pa.array([text(value) for value in values], _TEXT)


def _json(value: Any) -> str:
    """A list or map; the quick way has finite numbers only inside them, as orjson makes null of any other."""
    try:
        text = orjson.dumps(value, option=orjson.OPT_PASSTHROUGH_SUBCLASS).decode()
    except TypeError:  # a blob, a map key that is no string
        return nested_text(value)
    return text if MARK not in text else nested_text(value)


def _doubles(values: list[float]) -> pa.Array:
    """As `json_text.double_text` writes them, all at once when they are finite; orjson makes null of any other."""
    texts = orjson.dumps(values).decode()[1:-1].split(",")
    return pa.array(list(map(double_text, values)) if "null" in texts else texts, _TEXT)


_KINDS: tuple[tuple[type, str, Callable[[list[Any]], pa.Array]], ...] = (
    (str, "str", lambda values: pa.array(values, _TEXT)),
    (int, "int", lambda values: pa.array(values, pa.int64()).cast(_TEXT)),
    (float, "float", _doubles),
    (bool, "bool", _each(lambda value: "true" if value else "false")),
    (bytes, "blob", _each(to_base64)),
    (Hll, "hll", _each(to_base64)),
    (list, "list", _each(_json)),
    (dict, "map", _each(_json)),
    (OrderedList, LIST_ORDERED, _each(lambda value: _json(list(value)))),
    (KeyOrderedMap, MAP_KEY_ORDERED, _each(lambda value: _json(dict(value)))),
    (KeyValueOrderedMap, MAP_KEY_VALUE_ORDERED, _each(lambda value: _json(dict(value)))),
    (GeoJson, "geojson", _each(str)),
    (type(None), NULL_TYPE, lambda values: pa.nulls(len(values), _TEXT)),
)
"""The values of the quick way: their Python type, its name in the normal form, and how a list of them is written there."""
_CODES = {kind: code for code, (kind, _, _) in enumerate(_KINDS)}


@cache
def _kind_names() -> pa.Array:
    """Made when first used: with the first list it is given, Arrow imports pandas, half a second that drivers do without."""
    return pa.array([name for _, name, _ in _KINDS], _TEXT)


__all__ = ["Apart", "Columns", "DECODED", "apart_column", "apart_of", "normal_form_columns", "ordinary_columns"]
