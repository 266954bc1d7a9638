"""From Kafka values to change events: one reader for every use, in the batches Spark's Python workers get.

Nearly all messages take the quick way of their encoding; whatever it leaves goes to the thorough reader, which decides what is an
event and what a dead letter. A mirror takes events (`Reader.events`), a table takes the normal form (`Reader.table`), people ask
about one message (`Reader.read`): all three hear the same.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from operator import itemgetter
from typing import Any, NamedTuple, Protocol

import numpy as np
import pyarrow as pa

from schemas.errors import ConfigError, Terminal
from schemas.events import ChangeEvent
from schemas.xdr.arrow import Rejection, events_from_arrow
from schemas.xdr.auto import Auto
from schemas.xdr.avro import Avro, quick_avro
from schemas.xdr.columns import DECODED, Apart, normal_form_columns, ordinary_columns
from schemas.xdr.flat_json import FlatJson
from schemas.xdr.kafka_avro import kafka_avro
from schemas.xdr.message_pack import MessagePack
from schemas.xdr.metadata import Metadata
from schemas.xdr.normal_form import Read
from schemas.xdr.options import DecodeOptions
from schemas.xdr.ordinary import Ordinary, QuickRead, quick_flat_json, quick_typed_json
from schemas.xdr.parts import Part, Parts, json_parts
from schemas.xdr.problem import SchemaStop, Undecodable
from schemas.xdr.quick_message_pack import quick_message_pack
from schemas.xdr.rules import rules_by_record
from schemas.xdr.schema_source import SchemaSource
from schemas.xdr.typed_json import TypedJson


class ThoroughReader(Protocol):
    """Reads one encoding, whatever the bytes are."""

    def read(self, value: bytes | None, key: bytes | None) -> Read:
        """The message in the normal form; what cannot be read is its `error`, never an exception."""


class Encoding(NamedTuple):
    """The two ways one of the connector's encodings is read, for one flow.

    parts: takes a value apart that holds several messages; None: there are none in this encoding.
    """

    thorough: ThoroughReader
    quick: QuickRead
    parts: Parts | None = None


def _json(options: DecodeOptions, schemas: SchemaSource | None) -> Encoding:
    return Encoding(TypedJson(options), quick_typed_json(options), json_parts(options.wrapped_in))


def _flat_json(options: DecodeOptions, schemas: SchemaSource | None) -> Encoding:
    return Encoding(FlatJson(options), quick_flat_json(options), json_parts(options.wrapped_in))


def _message_pack(options: DecodeOptions, schemas: SchemaSource | None) -> Encoding:
    return Encoding(MessagePack(options), quick_message_pack(options))


def _avro(options: DecodeOptions, schemas: SchemaSource | None) -> Encoding:
    return Encoding(Avro(options), quick_avro(options))


def _kafka_avro(options: DecodeOptions, schemas: SchemaSource | None) -> Encoding:
    return Encoding(*kafka_avro(options, schemas))


FORMATS: dict[str, Callable[[DecodeOptions, SchemaSource | None], Encoding]] = {
    "json": _json,
    "flat-json": _flat_json,
    "message-pack": _message_pack,
    "avro": _avro,
    "kafka-avro": _kafka_avro,
}
"""Encodings by the connector's name of them: a function of the options, and of where writer schemas are asked for by id."""


def _auto(options: DecodeOptions, schemas: SchemaSource | None) -> Encoding:
    """Whatever the flow gives enough to read."""
    lacking = {"kafka-avro": schemas is None, "avro": options.avro is None}
    auto = Auto(
        {name: encoding(options, schemas) for name, encoding in FORMATS.items() if name != AUTO and not lacking.get(name)},
        options.metadata_key,
    )
    return Encoding(auto, auto.quick, auto.parts)


AUTO = "auto"
FORMATS[AUTO] = _auto


class Events(NamedTuple):
    """A batch's events in its order, each with its place in the batch, and what is no event.

    rows rise, and stand there more than once for a message that holds several events.
    unselected: events of records that are not taken. rejections: by rising row.
    """

    events: list[ChangeEvent]
    rows: list[int]
    unselected: int
    rejections: list[Rejection]

    @property
    def total(self) -> int:
        """All of them: the messages, and of one that holds several each."""
        return len(self.events) + self.unselected + len(self.rejections)


class Table(NamedTuple):
    """A batch in the normal form: the columns of DECODED, and of the bins that are taken apart.

    rows:  of each row its message's place in the batch; None: they are the messages, one by one.
    taken: whether the row's record is taken (always, when it cannot be read).
    """

    columns: list[pa.Array]
    rows: list[int] | None
    taken: list[bool]


class _Odd(NamedTuple):
    """What a message, or a part of one, is that did not go the quick way as a whole: `ordinary` or `reading`.

    taken: whether the flow takes its record; always, when it cannot be read.
    """

    row: int
    element: int
    ordinary: Ordinary | None
    reading: Read
    taken: bool = True


def _no_message_itself(value: bytes) -> Ordinary | None:
    """The quick way through a value that is only a wrapper."""
    return None


_event: Callable[[tuple[Any, ...]], ChangeEvent] = partial(tuple.__new__, ChangeEvent)
"""An event of all its fields, in half the time of the class's own constructor; see `schemas.xdr.ordinary.made`."""
_POSITION = ("topic", "partition", "offset")
_UNREAD = Read(Metadata(), None)


class Reader:
    """Reads the messages of one topic. Raises ConfigError E101 for a format there is no decoder for.

    schemas: where writer schemas are asked for by id; None when messages name none. What it raises when nobody answers
             (Retryable) or when it refuses us (ConfigError E152) comes out of the reader: no message is at fault, and none is
             passed over. Only one exception more does: Terminal E460, for a message that is not as its record type says when the
             policy is to stop.
    quick:   the quick way alone, for measurements and tests; None for what it leaves to the thorough reader.
    """

    def __init__(self, options: DecodeOptions, schemas: SchemaSource | None = None) -> None:
        encoding = FORMATS.get(options.format)
        if encoding is None:
            raise ConfigError("E101", f"no decoder for format {options.format!r}; there are: {', '.join(sorted(FORMATS))}")
        self._thorough, self.quick, self._parts = encoding(options, schemas)
        self._whole = _no_message_itself if options.wrapped_in else self.quick
        self._rules_of = rules_by_record(options)

    def read(self, value: bytes | None, key: bytes | None = None) -> list[Read]:
        """One message in the normal form, or several when the value holds several."""
        parts = self._apart(value)
        try:
            found = [self._thorough.read(value, key)] if parts is None else [self._read_part(part, key) for part in parts]
            return [self._ruled(read)[0] for read in found]
        except SchemaStop as why:
            raise Terminal("E460", str(why)) from None

    def events(self, messages: pa.RecordBatch | pa.Table) -> Events:
        """The messages, columns topic, partition, offset, key and value, as events.

        One that cannot be read is a Rejection whatever is taken: nobody knows whose it was.
        """
        quick, rules_of = self._whole, self._rules_of
        topics, partitions, offsets, values = (messages.column(name).to_pylist() for name in (*_POSITION, "value"))
        events: list[ChangeEvent] = []
        rows: list[int] = []
        odd: list[int] = []
        unselected = 0
        for row, value in enumerate(values):
            found = quick(value) if value is not None else None
            if found is None:
                odd.append(row)
                continue
            rules = rules_of(found.namespace, found.set)
            if rules is None:
                unselected += 1
                continue
            found = rules.ordinary(found)
            if found is None:
                odd.append(row)
            else:
                events.append(_event((*found[:-1], topics[row], partitions[row], offsets[row], 0)))
                rows.append(row)
        if not odd:
            return Events(events, rows, unselected, [])
        kept: list[_Odd] = []
        rejections: list[Rejection] = []
        placed = [((row, 0), event) for row, event in zip(rows, events, strict=True)]
        for one in self._odd(messages, values, odd):
            row, element, found, read, take = one
            if read.error is not None:
                whose = (read.metadata.namespace, read.metadata.digest)
                rejections.append(Rejection(row, *read.error, False, *whose, element))
            elif not take:
                unselected += 1
            elif found is None:
                kept.append(one)
            else:
                placed.append(((row, element), ChangeEvent(*found[:-1], topics[row], partitions[row], offsets[row], element)))
        places = [pa.array([column[one.row] for one in kept]) for column in (topics, partitions, offsets)]
        columns = normal_form_columns([one.reading for one in kept], [one.element for one in kept])
        converted = events_from_arrow(pa.RecordBatch.from_arrays([*places, *columns], [*_POSITION, *DECODED.names]))
        for misfit in converted.rejections:
            one = kept[misfit.row]
            said = one.reading.metadata
            rejections.append(misfit._replace(row=one.row, element=one.element, namespace=said.namespace, digest=said.digest))
        placed += [
            ((one.row, one.element), event) for one, event in zip(kept, converted.events, strict=True) if event is not None
        ]
        placed.sort(key=itemgetter(0))
        rejections.sort(key=lambda found: (found.row, found.element))
        return Events([event for _, event in placed], [row for (row, _), _ in placed], unselected, rejections)

    def table(self, messages: pa.RecordBatch | pa.Table, apart: Apart = ()) -> Table:
        """The messages, columns key and value, in the normal form. One that is not taken is without its bins."""
        quick, rules_of = self._whole, self._rules_of
        values = messages.column("value").to_pylist()
        events: list[Ordinary] = []
        rows: list[int] = []
        taken: list[bool] = []
        odd: list[int] = []
        for row, value in enumerate(values):
            found = quick(value) if value is not None else None
            rules = None if found is None else rules_of(found.namespace, found.set)
            if found is not None:
                found = found._replace(bins={}) if rules is None else rules.ordinary(found)
            if found is None:
                odd.append(row)
                continue
            events.append(found)
            rows.append(row)
            taken.append(rules is not None)
        if not odd:
            return Table(ordinary_columns(events, [0] * len(events), apart), None, taken)
        elements = [0] * len(events)
        late: list[_Odd] = []
        late_taken: list[bool] = []
        for one in self._odd(messages, values, odd):
            if one.ordinary is not None:
                events.append(one.ordinary if one.taken else one.ordinary._replace(bins={}))
                rows.append(one.row)
                elements.append(one.element)
                taken.append(one.taken)
            else:
                late.append(one if one.taken else one._replace(reading=one.reading._replace(bins=None)))
                late_taken.append(one.taken)
        columns = ordinary_columns(events, elements, apart)
        others = normal_form_columns([one.reading for one in late], [one.element for one in late], apart)
        rows += [one.row for one in late]
        order = np.lexsort((elements + [one.element for one in late], rows))
        both = [pa.concat_arrays(pair).take(pa.array(order)) for pair in zip(columns, others, strict=True)]
        taken += late_taken
        return Table(both, [rows[place] for place in order], [taken[place] for place in order])

    def _odd(self, messages: pa.RecordBatch | pa.Table, values: Sequence[bytes | None], odd: Sequence[int]) -> Iterator[_Odd]:
        """What the messages at the places `odd` hold."""
        keys = messages.column("key").take(pa.array(odd)).to_pylist()
        for row, key in zip(odd, keys, strict=True):
            parts = self._apart(values[row])
            try:
                if parts is None:
                    yield _Odd(row, 0, None, *self._ruled(self._thorough.read(values[row], key)))
                    continue
                for element, part in enumerate(parts):
                    yield self._odd_part(row, element, part, key)
            except SchemaStop as why:
                place = {name: messages.column(name)[row].as_py() for name in _POSITION if name in messages.schema.names}
                raise Terminal("E460", str(why), **place) from None

    def _odd_part(self, row: int, element: int, part: Part, key: bytes | None) -> _Odd:
        ordinary = self.quick(part) if isinstance(part, bytes) else None
        rules = None if ordinary is None else self._rules_of(ordinary.namespace, ordinary.set)
        if ordinary is not None and rules is not None:
            ordinary = rules.ordinary(ordinary)
        if ordinary is not None:
            return _Odd(row, element, ordinary, _UNREAD, rules is not None)
        return _Odd(row, element, None, *self._ruled(self._read_part(part, key)))

    def _ruled(self, read: Read) -> tuple[Read, bool]:
        """What a record type makes of a message, and whether its record is taken."""
        if read.error is not None:
            return read, True
        rules = self._rules_of(read.metadata.namespace or "", read.metadata.set)
        return (read, False) if rules is None else (rules.reading(read), True)

    def _apart(self, value: bytes | None) -> Sequence[Part] | None:
        """The parts of a value that holds several messages; None when it does not."""
        if self._parts is None or value is None:
            return None
        try:
            return self._parts(value)
        except Undecodable as problem:
            return [problem]

    def _read_part(self, part: Part, key: bytes | None) -> Read:
        if isinstance(part, Undecodable):
            return Read(Metadata(), None, (part.code, part.detail))
        return self._thorough.read(part, key)


__all__ = ["Encoding", "Events", "FORMATS", "Reader", "Table", "ThoroughReader"]
