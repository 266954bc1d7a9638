"""From Kafka values to change events: one reader for every use, in the batches Spark's Python workers get.

Nearly all messages take the quick way (`schemas.xdr.ordinary`); whatever it leaves goes to the thorough reader of the format,
which decides what is an event and what a dead letter. A mirror takes events (`Reader.events`), a table takes the normal form
(`Reader.table`), people ask about one message (`Reader.read`): all three hear the same.
"""

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import NamedTuple, Protocol

import pyarrow as pa

from schemas.errors import ConfigError
from schemas.events import ChangeEvent
from schemas.xdr.arrow import Rejection, events_from_arrow
from schemas.xdr.columns import DECODED, normal_form_columns, ordinary_columns, places_among
from schemas.xdr.flat_json import FlatJson
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
        batch = pa.RecordBatch.from_arrays([*places, *normal_form_columns(readings)], [*_POSITION, *DECODED.names])
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
        quick, takes = self.quick, self._takes
        events: list[Ordinary] = []
        taken: list[bool] = []
        odd: list[int] = []
        for row, value in enumerate(values):
            found = quick(value) if value is not None else None
            if found is None:
                odd.append(row)
                continue
            take = takes(found.namespace, found.set)
            events.append(found if take else found._replace(bins={}))
            taken.append(take)
        columns = ordinary_columns(events)
        if not odd:
            return columns, taken
        readings: list[Read] = []
        for row in odd:
            read = self._thorough.read(values[row])
            take = read.error is not None or takes(read.metadata.namespace or "", read.metadata.set)
            readings.append(read if take else read._replace(bins=None))
            taken.append(take)
        places = places_among(len(values), odd)
        both = zip(columns, normal_form_columns(readings), strict=True)
        return [pa.concat_arrays(pair).take(pa.array(places)) for pair in both], [taken[place] for place in places]

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


__all__ = ["Encoding", "Events", "FORMATS", "Reader"]
