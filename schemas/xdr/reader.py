"""From Kafka values to change events: one reader for every use, in the batches Spark's Python workers get.

Nearly all messages take the quick way (`schemas.xdr.ordinary`); whatever it leaves goes to the thorough reader of the format,
which decides what is an event and what a dead letter. A mirror takes events (`Reader.events`), a table takes the normal form
(`Reader.table`), people ask about one message (`Reader.read`): all three hear the same.
"""

import binascii
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any, NamedTuple, Protocol

import orjson
import pyarrow as pa

from schemas.bins import (
    LIST_ORDERED,
    MAP_KEY_ORDERED,
    MAP_KEY_VALUE_ORDERED,
    GeoJson,
    KeyOrderedMap,
    KeyValueOrderedMap,
    OrderedList,
)
from schemas.errors import ConfigError
from schemas.events import DELETE, ChangeEvent
from schemas.xdr.arrow import Rejection, events_from_arrow
from schemas.xdr.flat_json import FlatJson
from schemas.xdr.json_text import double_text
from schemas.xdr.normal_form import Read
from schemas.xdr.options import DecodeOptions
from schemas.xdr.ordinary import Ordinary, QuickRead, quick_flat_json, quick_typed_json
from schemas.xdr.record_types import RecordTypes
from schemas.xdr.typed_json import TypedJson


class ThoroughReader(Protocol):
    """Reads one encoding, whatever the bytes are."""

    def read(self, value: bytes | None) -> Read:
        """The message in the normal form; what cannot be read is its `error`, never an exception."""


class Encoding(NamedTuple):
    """How one of the connector's encodings is read."""

    thorough: Callable[[DecodeOptions], ThoroughReader]
    quick: Callable[[DecodeOptions], QuickRead]


FORMATS: dict[str, Encoding] = {
    "json": Encoding(TypedJson, quick_typed_json),
    "flat-json": Encoding(FlatJson, quick_flat_json),
}
"""Encodings by the connector's name of them."""


class Events(NamedTuple):
    """A batch's events in its order, each with its place in the batch, and what is no event.

    unselected: messages of records that are not taken. rejections: by rising row.
    """

    events: list[ChangeEvent]
    rows: list[int]
    unselected: int
    rejections: list[Rejection]


DECODED = pa.schema(
    [
        pa.field("namespace", pa.string()),
        pa.field("set", pa.string()),
        pa.field("digest", pa.binary()),
        pa.field("user_key", pa.struct([pa.field("type", pa.string()), pa.field("value", pa.string())])),
        pa.field("op", pa.string()),
        pa.field("durable", pa.bool_()),
        pa.field("gen", pa.int32()),
        pa.field("lut_ms", pa.int64()),
        pa.field("exp_s", pa.int64()),
        pa.field("bins", pa.list_(pa.struct([pa.field(name, pa.string()) for name in ("name", "type", "value")]))),
        pa.field("error", pa.struct([pa.field("code", pa.string()), pa.field("detail", pa.string())])),
    ]
)
"""What a message says, as the columns of `schemas.events.EVENT_DDL` from `namespace` on."""


_POSITION = ("topic", "partition", "offset")


class Reader:
    """Reads the messages of one topic. Raises ConfigError E101 for a format there is no decoder for.

    quick: the quick way alone, for measurements and tests; None for what it leaves to the thorough reader.
    """

    def __init__(self, options: DecodeOptions) -> None:
        encoding = FORMATS.get(options.format)
        if encoding is None:
            raise ConfigError("E101", f"no decoder for format {options.format!r}; there are: {', '.join(sorted(FORMATS))}")
        self._thorough = encoding.thorough(options)
        self.quick = encoding.quick(options)
        self._takes = RecordTypes(options.records).takes

    def read(self, value: bytes | None) -> Read:
        """One message in the normal form."""
        return self._thorough.read(value)

    def events(self, messages: pa.RecordBatch | pa.Table) -> Events:
        """The messages, columns topic, partition, offset and value, as events.

        One that cannot be read is a Rejection whatever is taken: nobody knows whose it was.
        """
        quick, takes = self.quick, self._takes
        topics, partitions, offsets, values = (messages.column(name).to_pylist() for name in (*_POSITION, "value"))
        events: list[ChangeEvent] = []
        rows: list[int] = []
        odd: list[int] = []
        unselected = 0
        for row, value in enumerate(values):
            found = quick(value) if value is not None else None
            if found is None:
                odd.append(row)
            elif takes(found.namespace, found.set):
                events.append(ChangeEvent(*found, topics[row], partitions[row], offsets[row]))
                rows.append(row)
            else:
                unselected += 1
        if not odd:
            return Events(events, rows, unselected, [])
        kept, readings, rejections = self._thoroughly(values, odd)
        unselected += len(odd) - len(kept) - len(rejections)
        places = [pa.array([column[row] for row in kept]) for column in (topics, partitions, offsets)]
        batch = pa.RecordBatch.from_arrays([*places, *_columns_of(readings)], [*_POSITION, *DECODED.names])
        converted = events_from_arrow(batch)
        for misfit in converted.rejections:
            said = readings[misfit.row].metadata
            rejections.append(misfit._replace(row=kept[misfit.row], namespace=said.namespace, digest=said.digest))
        late = [(row, event) for row, event in zip(kept, converted.events, strict=True) if event is not None]
        merged = sorted([*zip(rows, events, strict=True), *late], key=itemgetter(0))
        rejections.sort(key=itemgetter(0))
        return Events([event for _, event in merged], [row for row, _ in merged], unselected, rejections)

    def table(self, values: Sequence[bytes | None]) -> tuple[list[pa.Array], list[bool]]:
        """The columns of DECODED, one row for one message, and whether it is taken (always, when it cannot be read).

        A message that is not taken is without its bins.
        """
        quick, thorough, takes = self.quick, self._thorough.read, self._takes
        columns = _Columns()
        taken: list[bool] = []
        for value in values:
            found = quick(value) if value is not None else None
            if found is not None:
                take = takes(found.namespace, found.set)
                columns.add_event(found if take else found._replace(bins={}))
            else:
                read = thorough(value)
                take = read.error is not None or takes(read.metadata.namespace or "", read.metadata.set)
                columns.add(read if take else read._replace(bins=None))
            taken.append(take)
        return columns.arrays(), taken

    def _thoroughly(self, values: Sequence[bytes | None], rows: list[int]) -> tuple[list[int], list[Read], list[Rejection]]:
        """The rows that can be read and are taken, what they say, and those that cannot be read."""
        kept, readings, rejections = [], [], []
        for row in rows:
            read = self._thorough.read(values[row])
            said = read.metadata
            if read.error is not None:
                rejections.append(Rejection(row, *read.error, decoded=False, namespace=said.namespace, digest=said.digest))
            elif self._takes(said.namespace or "", said.set):
                kept.append(row)
                readings.append(read)
        return kept, readings, rejections


class _Columns:
    """The columns of DECODED while they grow, row by row."""

    def __init__(self) -> None:
        self._rows: list[tuple[Any, ...]] = []
        self._ends: list[int] = [0]
        self._names: list[str] = []
        self._kinds: list[str] = []
        self._texts: list[str | None] = []

    def add(self, read: Read) -> None:
        """A message in the normal form."""
        found = read.metadata
        self._rows.append(
            (
                *(found.namespace, found.set, found.digest, *(found.user_key or (None, None)), found.op, found.durable),
                *(found.gen, found.lut_ms, found.exp_s, read.bins is None, *(read.error or (None, None))),
            )
        )
        for name, kind, text in read.bins or ():
            self._names.append(name)
            self._kinds.append(kind)
            self._texts.append(text)
        self._ends.append(len(self._names))

    def add_event(self, event: Ordinary) -> None:
        """A message that went the quick way."""
        namespace, set_name, digest, key, op, gen, lut_ms, exp_s, bins = event
        kind = None if key is None else "str" if type(key) is str else "int"
        text = key if kind is None or kind == "str" else str(key)
        self._rows.append((namespace, set_name, digest, kind, text, op, None, gen, lut_ms, exp_s, op == DELETE, None, None))
        kinds, texts = self._kinds, self._texts
        for value in bins.values():
            of = type(value)
            if of is str:
                kinds.append("str")
                texts.append(value)
            elif of is int:
                kinds.append("int")
                texts.append(str(value))
            else:
                name, write = _KINDS[of]
                kinds.append(name)
                texts.append(write(value))
        self._names += bins
        self._ends.append(len(self._names))

    def arrays(self) -> list[pa.Array]:
        """The columns, in the order of DECODED."""
        given = list(zip(*self._rows, strict=True)) if self._rows else [()] * 13
        namespace, set_name, digest, key_kind, key, op, durable, gen, lut_ms, exp_s, no_bins, code, detail = given
        text = [pa.array(column, pa.string()) for column in (self._names, self._kinds, self._texts)]
        bins = pa.StructArray.from_arrays(text, ["name", "type", "value"])
        return [
            *_plain(namespace=namespace, set=set_name, digest=digest),
            _pair(("type", key_kind), ("value", key)),
            *_plain(op=op, durable=durable, gen=gen, lut_ms=lut_ms, exp_s=exp_s),
            pa.ListArray.from_arrays(pa.array(self._ends, pa.int32()), bins, mask=pa.array(no_bins, pa.bool_())),
            _pair(("code", code), ("detail", detail)),
        ]


def _columns_of(readings: Sequence[Read]) -> list[pa.Array]:
    """Messages in the normal form as the columns of DECODED."""
    columns = _Columns()
    for read in readings:
        columns.add(read)
    return columns.arrays()


def _plain(**columns: Sequence[Any]) -> list[pa.Array]:
    return [pa.array(values, DECODED.field(name).type) for name, values in columns.items()]


def _pair(*columns: tuple[str, Sequence[str | None]]) -> pa.Array:
    """A struct of two strings, null where its first is."""
    arrays = [pa.array(values, pa.string()) for _, values in columns]
    return pa.StructArray.from_arrays(arrays, [name for name, _ in columns], mask=arrays[0].is_null())


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()


def _base64(value: bytes) -> str:
    return binascii.b2a_base64(value, newline=False).decode()


_KINDS: dict[type, tuple[str, Callable[[Any], str]]] = {
    float: ("float", double_text),
    bool: ("bool", lambda value: "true" if value else "false"),
    bytes: ("blob", _base64),
    list: ("list", _json),
    dict: ("map", _json),
    OrderedList: (LIST_ORDERED, lambda value: _json(list(value))),
    KeyOrderedMap: (MAP_KEY_ORDERED, lambda value: _json(dict(value))),
    KeyValueOrderedMap: (MAP_KEY_VALUE_ORDERED, lambda value: _json(dict(value))),
    GeoJson: ("geojson", str),
}
"""How the values of the quick way are written in the normal form, but for strings and integers."""

__all__ = ["DECODED", "Encoding", "Events", "FORMATS", "Reader"]
