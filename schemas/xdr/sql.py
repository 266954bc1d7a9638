"""Small pieces of Spark SQL text the decoders are built from.

Decoding is written as SQL expressions over a few projections, so that it runs in the JVM without a Python worker. A streaming
query plans every micro-batch anew, and that takes time in proportion to the expressions: keep them short, repeat nothing, bind
by a projection.

A problem travels as one STRING, "<reason code> <words>"; null means none.
"""

from collections.abc import Iterator, Mapping

from pyspark.sql import Column
from pyspark.sql import functions as F

from schemas.xdr.options import RecordType

READ = "map('allowSingleQuotes', 'false', 'allowNonNumericNumbers', 'true')"
"""Options of from_json: no {'a': 1}, which the connector never writes; but bare NaN and infinities, which a double may be."""

BINS_TYPE = "ARRAY<STRUCT<name: STRING, type: STRING, value: STRING>>"
NO_BINS = f"CAST(array() AS {BINS_TYPE})"


def quoted(text: str) -> str:
    """A SQL string literal with exactly this text."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n").replace("\r", "\\r").replace("\0", "\\u0000")
    return f"'{escaped}'"


def pattern(regex: str) -> str:
    """A raw SQL string literal for a regular expression, which must hold no single quote."""
    return f"r'{regex}'"


def columns(named: Mapping[str, str]) -> Iterator[Column]:
    """SQL expressions as columns of these names."""
    return (F.expr(sql).alias(name) for name, sql in named.items())


def first_problem(*rules: tuple[str, str]) -> str:
    """SQL: the problem of the first rule that holds. A rule is (condition, problem), both SQL; a null condition does not hold."""
    return "CASE " + " ".join(f"WHEN {condition} THEN {problem}" for condition, problem in rules) + " END"


def declared_bins(records: tuple[RecordType, ...], namespace: str, set_name: str) -> str | None:
    """SQL for the declared types of one record as MAP<STRING, STRING>, or None when no record type declares any."""
    if not any(record.bins for record in records):
        return None
    empty = "CAST(map() AS MAP<STRING, STRING>)"
    branches = []
    for record in records:
        bins = ", ".join(f"{quoted(name)}, {quoted(str(kind))}" for name, kind in (record.bins or {}).items())
        condition = f"{namespace} = {quoted(record.namespace)}"
        if record.sets is not None:
            condition += f" AND coalesce({set_name}, '') IN ({', '.join(map(quoted, record.sets)) or 'NULL'})"
        branches.append(f"WHEN {condition} THEN {f'map({bins})' if bins else empty}")
    return f"CASE {' '.join(branches)} ELSE {empty} END"


__all__ = ["BINS_TYPE", "NO_BINS", "READ", "columns", "declared_bins", "first_problem", "pattern", "quoted"]
