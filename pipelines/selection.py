"""Which events a flow takes, as a column: the others are counted as unselected and reach no output."""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipelines.flow.records import Records, selection_sql

SELECTED = "selected"


def with_selection(decoded: DataFrame, records: tuple[Records, ...]) -> DataFrame:
    """`decoded` (schemas.events) with a column `selected`, never null.

    A message that cannot be decoded is always selected: nobody knows whose it was, and nothing may disappear.
    Of unselected rows the heavy columns are emptied, so that they cost nothing on their way to be counted.
    """
    selected = F.col("error").isNotNull() | F.expr(selection_sql(records))
    marked = decoded.withColumn(SELECTED, selected)
    carried = [name for name in ("key", "value", "headers", "bins") if name in decoded.columns]
    heavy: dict[str, Column] = {name: _only_selected(marked, name) for name in carried}
    return marked.withColumns(heavy)


def _only_selected(frame: DataFrame, name: str) -> Column:
    return F.when(F.col(SELECTED), F.col(name)).otherwise(F.lit(None).cast(frame.schema[name].dataType))


__all__ = ["SELECTED", "with_selection"]
