"""The state a history table implies, by the version order, back in the normal form of events.

From whole images it is each record's newest event; from partial ones, its newest event with the newest value of each bin.
"""

from collections.abc import Mapping

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F
from pyspark.sql.types import MapType, StructField, StructType

from schemas.bins import NULL_TYPE, BinType
from schemas.events import DELETE
from schemas.tables import FORMER_RESCUED, RESCUED, TYPED_COLUMN, added_as
from schemas.version import GENERATIONS, HALF

_RECORD = ("namespace", "digest")
_VALUE = "struct<name:string,type:string,value:string>"


def newest_per_record(history: DataFrame) -> DataFrame:
    """One row per (namespace, digest): the event of the highest rank. A delete ranks above a write of its own version."""
    columns = [F.col(name) for name in history.columns]
    place = F.struct("_rank", (F.col("op") == DELETE).cast("int").alias("kind"))
    return (
        history.withColumn("_rank", _rank())
        .groupBy(*_RECORD)
        .agg(F.max_by(F.struct(*columns), place).alias("event"))
        .select("event.*")
    )


def merged_per_record(history: DataFrame) -> DataFrame:
    """One row per (namespace, digest) that no delete has taken: the newest write, its `bins` merged from all.

    history: as the table, but `bins` in the normal form (`bins_in_normal_form`), in which NULL_TYPE is a removed bin.
    Bins not newer than the newest delete are gone, and so are those older than a write that came after the record had expired;
    the rules are those of `sinks.aerospike.merge`, without its limit on how many writes are remembered.
    """
    record = Window.partitionBy(*_RECORD)
    ranked = history.withColumn("_rank", _rank())
    deleted = F.max(F.when(F.col("op") == DELETE, F.col("_rank"))).over(record)
    writes = ranked.withColumn("_deleted", deleted).where("op != 'delete' AND (_deleted IS NULL OR _rank > _deleted)")
    before = F.lag(F.struct("_rank", "lut_ms", "gen", "exp_s")).over(record.orderBy("_rank"))
    counted_on = F.pmod(F.col("gen") - F.col("_before.gen"), F.lit(GENERATIONS)).between(2, HALF - 1)
    ended = (F.col("_before.exp_s") * 1000 <= F.col("lut_ms")) & (F.col("_before._rank") < F.col("_rank")) & ~counted_on
    lives = writes.withColumn("_before", before).withColumn("_born", F.when(ended, F.col("_rank")))
    bins = F.when(F.col("_start").isNull() | (F.col("_rank") >= F.col("_start")), F.col("bins"))
    cells = lives.withColumn("_start", F.max("_born").over(record)).withColumn("_bin", F.explode_outer(bins))
    columns = [F.col(name) for name in history.columns if name != "bins"]
    newest = F.max_by(F.struct(*columns), F.col("_rank"))
    stands = F.struct("_rank", (F.col("_bin.type") != NULL_TYPE).alias("value"))  # at one version above a removal
    per_bin = cells.groupBy(*_RECORD, F.col("_bin.name").alias("_name")).agg(
        F.max_by("_bin", stands).alias("_bin"), newest.alias("_event"), F.max("_rank").alias("_at")
    )
    standing = F.filter(F.collect_list("_bin"), lambda entry: entry["type"] != NULL_TYPE)
    merged = per_bin.groupBy(*_RECORD).agg(F.max_by("_event", "_at").alias("_event"), standing.alias("bins"))
    return merged.select("_event.*", "bins").select(*history.columns)


def _rank() -> Column:
    """A write's or a delete's place among the events of its record.

    Generations that wrap 65535 -> 1 inside one last-update time are unwrapped before comparing; events without ordering data rank
    below all others, by offset and element.
    """
    spread = (
        "max(gen) OVER (PARTITION BY namespace, digest, lut_ms) - min(gen) OVER (PARTITION BY namespace, digest, lut_ms) >= 32768"
    )
    unversioned = F.col("lut_ms").isNull()
    return F.struct(
        F.coalesce(F.col("lut_ms"), F.lit(-1)).alias("lut"),
        F.coalesce(F.expr(f"gen + IF({spread} AND gen < 32768, 65536, 0)"), F.lit(-1)).alias("gen"),
        F.when(unversioned, F.col("offset")).otherwise(F.lit(0)).alias("offset"),
        F.when(unversioned, F.col("element")).otherwise(F.lit(0)).alias("element"),
    )


def bins_in_normal_form(declared: Mapping[str, BinType] | None, table: StructType) -> Column:
    """The history's bin columns as ARRAY<STRUCT<name, type, value>>; see `schemas.tables.history_ddl` for what they hold.

    table: the history's columns. It may have columns for bins that are not declared, or not any more.
    """
    kind = next((column.dataType for column in table if column.name == "bins"), None)
    if isinstance(kind, MapType):
        return _entries(F.col("bins"))
    parts = [_entries(F.col(name)) for name in (RESCUED, FORMER_RESCUED) if name in table.names]
    cells = [_cell(field.name, _kind(field, declared or {})) for field in kind] if isinstance(kind, StructType) else []
    if cells:
        parts.insert(0, F.filter(F.array(*cells), lambda entry: entry["value"].isNotNull()))
    return F.concat(*(F.coalesce(part, F.array().cast(f"array<{_VALUE}>")) for part in parts))


def _kind(field: StructField, declared: Mapping[str, BinType]) -> BinType:
    """The type of values in a bin's column that `bin_types` says nothing of."""
    kind = declared.get(field.name)
    column = field.dataType.simpleString().upper()
    return (
        kind
        if kind is not None and TYPED_COLUMN[kind] == column
        else added_as(next(k for k, c in TYPED_COLUMN.items() if c == column))
    )


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
    if kind is BinType.FLOAT:  # an integer that its column holds as the double it is, too
        text = F.when(actual == BinType.INT.value, column.cast("bigint").cast("string")).otherwise(text)
    return F.struct(F.lit(name).alias("name"), actual.alias("type"), text.alias("value"))


__all__ = ["bins_in_normal_form", "merged_per_record", "newest_per_record"]
