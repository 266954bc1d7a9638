"""Is the Kafka value one JSON object in sound UTF-8? Found out in Spark SQL, with a plain answer when it is not.

Spark's own reader is lenient in ways that would change data in silence: it replaces invalid UTF-8 and unpaired surrogates by "?",
stops at the end of the first JSON value, prints a number beyond a double's range as the text "Infinity", and reads a value it
stumbles over as null. So the value is read as the first element of `[value,null]`: whatever follows the object breaks the
array or makes it longer; and every null is looked at twice by whoever relies on it.
"""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from schemas.xdr.sql import READ, first_problem, pattern

SOURCE = ("topic", "partition", "offset", "kafka_timestamp", "key", "value")
TEXT = "CAST(value AS STRING)"
TOO_LARGE_FOR_DOUBLE = pattern("[0-9.][eE][+]?[0-9]{3}|[0-9]{309}")
TOO_LONG_A_NUMBER = pattern("[0-9]{1000}")
"""Jackson refuses numbers of more than 1000 characters, and Spark then reads null."""

_PAIR = pattern(r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}")
_SURROGATE = pattern(r"\\u[dD][89a-fA-F]")
# Escaped backslashes go first, or the text \\ud800 (a backslash and letters) would be taken for an escape.
LONE_SURROGATE = rf"(contains({TEXT}, r'\u') AND regexp_replace(replace({TEXT}, r'\\', '.'), {_PAIR}, '.') RLIKE {_SURROGATE})"
IS_ODD = f"((contains({TEXT}, 'NaN') OR contains({TEXT}, 'Infinity')) AND try_parse_json({TEXT}) IS NULL)"
"""SQL: whether the message holds bare NaN or infinities. A name for it: column `_n`."""


def read_objects(frame: DataFrame, ddl: str) -> DataFrame:
    """SOURCE, and `_o`: the value read as one JSON object of this type, or null when it is none.

    frame: columns of Spark's Kafka source.
    """
    source = ("topic", "partition", "offset", F.col("timestamp").alias("kafka_timestamp"), "key", "value")
    array = (
        f"CASE WHEN is_valid_utf8({TEXT}) AND NOT {LONE_SURROGATE} "
        f"THEN from_json(concat('[', {TEXT}, ',null]'), 'array<{ddl}>', {READ}) END"
    )
    read = frame.select(*source, F.expr(array).alias("_w"))
    return read.select(*SOURCE, F.expr("CASE WHEN size(_w) = 2 AND _w[1] IS NULL THEN _w[0] END").alias("_o"))


def no_object() -> str:
    """SQL: the problem of a value that is not one JSON object; for rows without `_o` only."""
    return first_problem(
        ("value IS NULL", "'D101 the value is null: a tombstone, which the connector never writes'"),
        ("startswith(value, X'00')", "'D102 not JSON: begins with 0x00, like Avro with a schema id'"),
        ("startswith(value, X'93')", "'D102 not JSON: begins with 0x93, like MessagePack'"),
        ("startswith(value, X'EFBBBF')", "'D102 not JSON: begins with a byte order mark'"),
        (f"NOT is_valid_utf8({TEXT})", "'D102 not UTF-8'"),
        (LONE_SURROGATE, "'D102 a string holds an unpaired surrogate escape, which is no character'"),
        (f"trim({TEXT}) = ''", "'D102 the value is empty'"),
        (f"startswith(ltrim({TEXT}), '[')", "'D102 a JSON array, not one object'"),
        (f"NOT startswith(ltrim({TEXT}), '{{')", "concat('D102 not JSON: ', length(value), ' bytes of something else')"),
        (f"size(from_json({TEXT}, 'map<string,string>', {READ})) >= 0", "'D102 more text after the JSON object'"),
        ("true", "concat('D102 a broken JSON object of ', length(value), ' bytes: cut short, or not JSON')"),
    )


__all__ = [
    "IS_ODD",
    "LONE_SURROGATE",
    "SOURCE",
    "TEXT",
    "TOO_LARGE_FOR_DOUBLE",
    "TOO_LONG_A_NUMBER",
    "no_object",
    "read_objects",
]
