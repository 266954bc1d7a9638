"""The rows of a Delta table as Spark would give them, read by delta-rs in milliseconds.

For tests that look into a table many times. What Spark itself reads of our tables is asked where that is the question.
"""

from datetime import datetime
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable
from pyspark.sql import Row


def stored_rows(path: str, *order: str) -> list[Row]:
    """All rows, sorted by the columns `order`, which hold no nulls."""
    table = DeltaTable(path).to_pyarrow_table()
    kept = [_row(record, table.schema) for record in table.to_pylist()]
    return sorted(kept, key=lambda row: [row[name] for name in order])


def _row(record: dict[str, Any], fields: Any) -> Row:
    return Row(**{field.name: _value(record[field.name], field.type) for field in fields})


def _value(value: Any, kind: pa.DataType) -> Any:
    if value is None:
        return None
    if isinstance(kind, pa.StructType):
        return _row(value, kind)
    if isinstance(kind, pa.MapType):
        return {key: _value(item, kind.item_type) for key, item in value}
    if isinstance(kind, pa.ListType):
        return [_value(item, kind.value_type) for item in value]
    if isinstance(value, bytes):
        return bytearray(value)
    return value.replace(tzinfo=None) if isinstance(value, datetime) else value


__all__ = ["stored_rows"]
