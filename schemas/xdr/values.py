"""Does a bin's text fit its type? One SQL rule for every encoding.

Texts are those of `schemas.bins`. Spark prints nested JSON again when it reads it as text: numbers keep their value (integers
every digit, doubles bit for bit, -0.0 its sign), member order and duplicate members stay, white space and escapes do not.
"""

from schemas.bins import LIST_ORDERED, MAP_KEY_ORDERED, MAP_KEY_VALUE_ORDERED, BinType
from schemas.xdr.sql import pattern
from schemas.xdr.text import TEXT, TOO_LARGE_FOR_DOUBLE

INTEGER = pattern("^-?(0|[1-9][0-9]*)$")
NUMBER = pattern("^-?(0|[1-9][0-9]*)([.][0-9]+)?([eE][+-]?[0-9]+)?$")
QUOTED_TOKENS = """('"NaN"', '"Infinity"', '"-Infinity"')"""
"""How Spark prints bare NaN and infinities, and numbers too large for a double, when it reads them as text."""


def plain_integer(value: str) -> str:
    """SQL: whether a text is a 64-bit integer in its usual spelling."""
    return f"{value} = CAST(try_cast({value} AS BIGINT) AS STRING)"


def plain_number(value: str) -> str:
    """SQL: whether a text is a finite number, spelled as Spark prints JSON numbers. (Spark would also cast ` 1`, `1d`, `NaN`.)"""
    ends = f"{value} >= '-' AND {value} < ':' AND right({value}, 1) BETWEEN '0' AND '9'"
    return f"({ends} AND abs(try_cast({value} AS DOUBLE)) < double('Infinity'))"


def base64_text(value: str) -> str:
    """SQL: whether a text is Base64 of the standard alphabet, padded."""
    return f"(length({value}) % 4 = 0 AND try_to_binary({value}, 'base64') IS NOT NULL)"


def plain_container(value: str, opening: str) -> str:
    """SQL: whether a list's or map's text needs no second look: right kind, no overflow possible, no member twice."""
    parses = f"(NOT contains({value}, '{{') OR try_parse_json({value}) IS NOT NULL)"
    finite = f"NOT contains({value}, 'NaN\"') AND NOT contains({value}, 'Infinity\"')"
    return f"(startswith({value}, '{opening}') AND {finite} AND {parses})"


def float_text(kind: str, value: str) -> str:
    """SQL: a bin's text with the quotes taken off a float that is NaN or infinite."""
    return f"CASE WHEN {kind} = 'float' AND {value} IN {QUOTED_TOKENS} THEN replace({value}, '\"') ELSE {value} END"


def misfit(kind: str, value: str) -> str:
    """SQL: why a bin's text does not fit its type, in words, or null when it does. Unknown types fit: the sinks decide.

    kind, value: SQL STRINGs; a null value fits every type. Uses column `_n`, `schemas.xdr.text.IS_ODD`.
    """
    # Inside a container a bare token or an overflowing number has become the text "NaN" or "Infinity": no longer told apart.
    inside = (
        f"WHEN NOT contains({value}, '{{') AND NOT contains({value}, 'N') AND NOT contains({value}, 'I') THEN NULL "
        f"WHEN _n AND {value} RLIKE '\"NaN\"|Infinity\"' THEN 'holds NaN or an infinity' "
        f"WHEN contains({value}, 'Infinity\"') AND {TEXT} RLIKE {TOO_LARGE_FOR_DOUBLE} "
        "THEN 'holds a number too large for a double' "
        f"WHEN try_parse_json({value}) IS NULL THEN 'holds one member twice, or cannot be read'"
    )
    return (
        f"CASE WHEN {kind} = '{BinType.STR}' THEN NULL "
        f"WHEN {kind} = '{BinType.INT}' THEN CASE WHEN NOT {value} RLIKE {INTEGER} THEN 'is not an integer' "
        f"WHEN try_cast({value} AS BIGINT) IS NULL THEN 'needs more than 64 bits' END "
        f"WHEN {kind} = '{BinType.FLOAT}' THEN CASE "
        f"WHEN {value} IN {QUOTED_TOKENS} THEN CASE WHEN NOT _n THEN 'is a number too large for a double' END "
        f"WHEN {value} IN ('NaN', 'Infinity', '-Infinity') THEN NULL WHEN NOT {value} RLIKE {NUMBER} THEN 'is not a number' "
        f"WHEN abs(try_cast({value} AS DOUBLE)) = double('Infinity') THEN 'is a number too large for a double' END "
        f"WHEN {kind} = '{BinType.BOOL}' THEN CASE WHEN {value} NOT IN ('true', 'false') THEN 'is neither true nor false' END "
        f"WHEN {kind} IN ('{BinType.BLOB}', '{BinType.HLL}') THEN "
        f"CASE WHEN NOT {base64_text(value)} THEN 'is not Base64' END "
        f"WHEN {kind} IN ('{BinType.LIST}', '{LIST_ORDERED}') THEN "
        f"CASE WHEN NOT startswith({value}, '[') THEN 'is not an array' {inside} END "
        f"WHEN {kind} IN ('{BinType.MAP}', '{BinType.GEOJSON}', '{MAP_KEY_ORDERED}', '{MAP_KEY_VALUE_ORDERED}') THEN "
        f"CASE WHEN NOT startswith({value}, '{{') THEN 'is not an object' {inside} END END"
    )


__all__ = [
    "INTEGER",
    "NUMBER",
    "base64_text",
    "float_text",
    "misfit",
    "plain_container",
    "plain_integer",
    "plain_number",
]
