"""Letters read again: their messages through the flow's decoder as it is today, and which events of them each letter asks for."""

import pickle
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from pipelines.decoding import MESSAGE, Decoding
from pipelines.worker_errors import workers_errors_raised
from schemas.letters import LetterId
from schemas.xdr.options import DecodeOptions
from sinks.delta.letter_keys import LetterKey

CONTENT = ("kafka_timestamp", "key", "value", "code", "epoch")
"""What of a letter is needed to read it again."""
_KINDS = {
    "topic": pa.string(),
    "partition": pa.int32(),
    "offset": pa.int64(),
    "kafka_timestamp": pa.timestamp("us", tz="UTC"),
    "key": pa.binary(),
    "value": pa.binary(),
    "headers": pa.string(),
}

Message = tuple[str, int, int, int | None]
Place = tuple[Message, int]
"""A message and an element of it."""


class Letter(NamedTuple):
    """A letter and its columns CONTENT."""

    key: LetterKey
    content: Mapping[str, Any]


class Reading(NamedTuple):
    """What letters' messages hold now.

    rows:   the messages in the normal form (`pipelines.decoding.DECODED_DDL`), a row for each event or failure.
    row_at: the row of each place.
    wanted: for each letter the places it asks for; empty when its element is not in the message any more.
    """

    rows: pa.RecordBatch
    row_at: dict[Place, int]
    wanted: list[list[Place]]

    def elements(self, message: Message) -> int:
        """How many events the message holds now."""
        return sum(place[0] == message for place in self.row_at)


def read_again(letters: Sequence[Letter], options: DecodeOptions, with_own_letter: Collection[LetterId]) -> Reading:
    """The letters' messages, each read once. Raises what a reader may raise (Retryable, when a registry is away).

    with_own_letter: undecoded elements, other than the first, that have letters of their own. A letter of a whole message stands
    at element 0, and so does the one of a first element: either way all of the message is taken but for those; what the outputs
    have already changes nothing.
    """
    messages = {letter.key.message: letter for letter in letters}
    rows = _decoded(messages, options)
    columns = [rows.column(name).to_pylist() for name in ("topic", "partition", "offset", "element")]
    times = rows.column("kafka_timestamp").cast(pa.int64()).to_pylist()
    row_at: dict[Place, int] = {}
    elements: dict[Message, list[int]] = {}
    for row, (topic, partition, offset, element, at) in enumerate(zip(*columns, times, strict=True)):
        message = (topic, partition, offset, at)
        row_at[message, element] = row
        elements.setdefault(message, []).append(element)
    return Reading(rows, row_at, [_wanted(letter.key, elements, with_own_letter) for letter in letters])


def _decoded(messages: Mapping[Message, Letter], options: DecodeOptions) -> pa.RecordBatch:
    given = [
        dict(zip(MESSAGE, (*message[:3], letter.content["kafka_timestamp"], *_bytes(letter.content), None), strict=True))
        for message, letter in messages.items()
    ]
    batch = pa.RecordBatch.from_pylist(given, schema=pa.schema([(name, _KINDS[name]) for name in MESSAGE]))
    with workers_errors_raised():
        rows = list(Decoding(pickle.dumps(options))(iter([batch])))
    return pa.Table.from_batches(rows).combine_chunks().to_batches()[0]


def _bytes(content: Mapping[str, Any]) -> tuple[bytes | None, bytes | None]:
    return content["key"], content["value"]


def _wanted(key: LetterKey, elements: Mapping[Message, list[int]], with_own_letter: Collection[LetterId]) -> list[Place]:
    letter, message = key.id, key.message
    there = elements.get(message, [])
    if letter.output is not None or letter.element:
        return [(message, letter.element)] if letter.element in there else []
    others = (element for element in there if letter._replace(element=element) not in with_own_letter or not element)
    return [(message, element) for element in others]


__all__ = ["CONTENT", "Letter", "Message", "Place", "Reading", "read_again"]
