"""One entry for every encoding: a frame of Kafka messages in, the normal form out, one row for one row."""

from collections.abc import Callable

from pyspark.sql import DataFrame

from schemas.errors import ConfigError
from schemas.xdr.flat_json import decode_flat_json
from schemas.xdr.json import decode_json
from schemas.xdr.options import DecodeOptions

FORMATS: dict[str, Callable[[DataFrame, DecodeOptions], DataFrame]] = {"json": decode_json, "flat-json": decode_flat_json}
"""Decoder by the connector's name of the encoding."""


def decode(frame: DataFrame, options: DecodeOptions) -> DataFrame:
    """The messages of `frame` in the normal form: exactly the columns of `schemas.events.EVENT_DDL`, one row per message.

    frame: columns of Spark's Kafka source: key, value, topic, partition, offset, timestamp (others are left out), stream or
    batch. A message that cannot be read is a row with `error`; no content of a message makes the query fail.
    Raises ConfigError E101 for a format there is no decoder for.
    """
    read = FORMATS.get(options.format)
    if read is None:
        raise ConfigError("E101", f"no decoder for format {options.format!r}; there are: {', '.join(sorted(FORMATS))}")
    return read(frame, options)


__all__ = ["FORMATS", "decode"]
