"""The state a history table implies: of each record the newest event, by the version order, back in the normal form of events."""

from collections.abc import Mapping

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from schemas.bins import BinType
from schemas.tables import bin_columns

_VALUE = "struct<name:string,type:string,value:string>"


def newest_per_record(history: DataFrame) -> DataFrame:
    """One row per (namespace, digest): the event of the highest rank.

    Generations that wrap 65535 -> 1 inside one last-update time are unwrapped before comparing; a delete ranks above a write of
    its own version; events without ordering data rank below all others, by offset and element.
    """
    spread = (
        "max(gen) OVER (PARTITION BY namespace, digest, lut_ms) - min(gen) OVER (PARTITION BY namespace, digest, lut_ms) >= 32768"
    )
    unwrapped = F.expr(f"gen + IF({spread} AND gen < 32768, 65536, 0)")
    rank = F.struct(
        F.coalesce(F.col("lut_ms"), F.lit(-1)).alias("lut"),
        F.coalesce(F.col("_gen"), F.lit(-1)).alias("gen"),
        F.when(F.col("lut_ms").isNull(), F.col("offset")).otherwise(F.lit(0)).alias("offset"),
        F.when(F.col("lut_ms").isNull(), F.col("element")).otherwise(F.lit(0)).alias("element"),
        (F.col("op") == "delete").cast("int").alias("kind"),
    )
    columns = [F.col(name) for name in history.columns]
    return (
        history.withColumn("_gen", unwrapped)
        .groupBy("namespace", "digest")
        .agg(F.max_by(F.struct(*columns), rank).alias("event"))
        .select("event.*")
    )


def bins_in_normal_form(declared: Mapping[str, BinType] | None) -> Column:
    """The history's bin columns as ARRAY<STRUCT<name, type, value>>; see `schemas.tables.history_ddl` for what they hold."""
    if declared is None:
        return _entries(F.col("bins"))
    parts = [_entries(F.col("other_bins"))]
    typed = bin_columns(declared).typed
    if typed:
        cells = [_cell(name, kind) for name, kind in typed.items()]
        parts.insert(0, F.filter(F.array(*cells), lambda entry: entry["value"].isNotNull()))
    return F.concat(*(F.coalesce(part, F.array().cast(f"array<{_VALUE}>")) for part in parts))


def _entries(bins: Column) -> Column:
    return F.transform(
        F.map_entries(bins),
        lambda entry: F.struct(
            entry["key"].alias("name"), entry["value"]["type"].alias("type"), entry["value"]["value"].alias("value")
        ),
    )


def _cell(name: str, kind: BinType) -> Column:
    column = F.col("bins").getField(name)
    text = F.base64(column) if kind in (BinType.BLOB, BinType.HLL) else column.cast("string")
    actual = F.coalesce(F.col("bin_types")[name], F.lit(kind.value))
    return F.struct(F.lit(name).alias("name"), actual.alias("type"), text.alias("value"))


__all__ = ["bins_in_normal_form", "newest_per_record"]
