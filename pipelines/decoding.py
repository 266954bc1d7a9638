"""How the messages of a micro-batch become events, in Spark's Python workers: the one reader, kept from batch to batch."""

import gc
import json
import pickle
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame

from pipelines.schema_registry import schema_source
from pipelines.worker_errors import failing_with_words
from schemas.events import EVENT_DDL
from schemas.xdr.columns import DECODED, Apart, apart_column
from schemas.xdr.options import DecodeOptions
from schemas.xdr.reader import Reader

MESSAGE = ("topic", "partition", "offset", "kafka_timestamp", "key", "value", "headers")
"""The columns of a message, as every output gets it. Headers are JSON text, [{"key", "value" in Base64}], or null.

As an array of structures they would cost more than all the rest of a message on its way to a worker (27 of 40 microseconds).
"""
DECODED_DDL = f"{EVENT_DDL}, headers ARRAY<STRUCT<key: STRING, value: BINARY>>, selected BOOLEAN"
HEADERS = pa.list_(pa.struct([pa.field("key", pa.string()), pa.field("value", pa.binary())]))
_CONTENT = ("key", "value", "headers")


def decoded(messages: DataFrame, options: DecodeOptions) -> DataFrame:
    """Messages (columns of MESSAGE) as events (columns of DECODED_DDL), stream or batch, a row for each message or part of one.

    selected: whether the flow takes the record; true for what cannot be decoded, since nobody knows whose it was and nothing may
              disappear.
    A message's key, value and headers stay only where `error` is set: dead letters alone want them.
    """
    return messages.select(*MESSAGE).mapInArrow(Decoding(pickle.dumps(options)), DECODED_DDL)


def headers_of(text: str | None) -> list[dict[str, Any]] | None:
    """A message's headers from their text: key and value, the value null where Kafka has none."""
    if text is None:
        return None
    return [{"key": header["key"], "value": _bytes(header.get("value"))} for header in json.loads(text)]


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else b64decode(text)


@lru_cache(maxsize=8)
def reader_of(options: bytes) -> Reader:
    """This process's reader for pickled DecodeOptions."""
    found: DecodeOptions = pickle.loads(options)  # written by our own driver
    return Reader(found, schema_source(found))


@contextmanager
def collector_paused() -> Iterator[None]:
    """Python's collector of cyclic garbage off: what is made of messages lives until its window is done, and holds no cycles.

    Looking through it again and again, the collector took a quarter of a mirror worker's time (tests.bench, 6 bins a record).
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@dataclass(frozen=True, slots=True)
class Decoding:
    """The function given to `mapInArrow`.

    options: pickled DecodeOptions, which may hold secrets.
    apart:   bins that get columns of their own, behind those of DECODED_DDL: for whoever goes on in the same worker.
    """

    options: bytes = field(repr=False)
    apart: Apart = ()

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Messages in, rows of DECODED_DDL out."""
        with failing_with_words(), collector_paused():
            reader = reader_of(self.options)
            for batch in batches:
                yield _rows(batch, reader, self.apart)


def _rows(messages: pa.RecordBatch, reader: Reader, apart: Apart) -> pa.RecordBatch:
    columns, rows, selected = reader.table(messages, apart)
    if rows is not None:
        messages = messages.take(pa.array(rows, pa.int64()))
    dead = pc.is_valid(columns[DECODED.get_field_index("error")])
    given = {name: messages.column(name) for name in MESSAGE}
    given |= {name: pc.if_else(dead, given[name], None) for name in _CONTENT}
    headers = pa.array(map(headers_of, given.pop("headers").to_pylist()), HEADERS)
    said, bins = columns[: len(DECODED)], columns[len(DECODED) :]
    return pa.RecordBatch.from_arrays(
        [*given.values(), *said, headers, pa.array(selected, pa.bool_()), *bins],
        [*given, *DECODED.names, "headers", "selected", *(apart_column(name) for name, _ in apart)],
    )


__all__ = ["DECODED_DDL", "Decoding", "HEADERS", "MESSAGE", "collector_paused", "decoded", "headers_of", "reader_of"]
