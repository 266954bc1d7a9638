"""The normal form of events as the columns of a history table."""

from collections.abc import Mapping

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from schemas.bins import LIST_ORDERED, MAP_KEY_ORDERED, MAP_KEY_VALUE_ORDERED, BinType
from schemas.tables import PARTITION_COLUMN, TYPED_COLUMN, bin_columns

_BINS = "_bins"
_FINER: dict[BinType, tuple[str, ...]] = {
    BinType.LIST: (LIST_ORDERED,),
    BinType.MAP: (MAP_KEY_ORDERED, MAP_KEY_VALUE_ORDERED),
}
_MILLISECONDS_A_DAY = 86_400_000


def history_rows(events: DataFrame, declared: Mapping[str, BinType] | None, origin: Mapping[str, object]) -> DataFrame:
    """`events` (decoded, `schemas.events`) as rows of `schemas.tables.history_ddl(declared)`, columns in its order.

    origin: flow, output, epoch and batch_id, the same for every row.
    """
    by_name = events.withColumn(_BINS, F.map_from_entries(_entries())).select(
        "namespace", "set", "digest", "user_key", "op", "durable", "gen", "lut_ms", "exp_s",
        _BINS, "topic", "partition", "offset", "kafka_timestamp",
    )  # fmt: skip
    if declared is None:
        rows, bins = by_name.withColumnRenamed(_BINS, "bins"), ["bins"]
    else:
        rows, bins = _typed(by_name, declared)
    return rows.select(
        "namespace", "set", "digest", "user_key", "op", "durable", "gen", "lut_ms", "exp_s",
        *bins,
        "topic", "partition", "offset", "kafka_timestamp",
        F.lit(origin["flow"]).cast("string").alias("flow"),
        F.lit(origin["output"]).cast("string").alias("output"),
        F.lit(origin["epoch"]).cast("string").alias("epoch"),
        F.lit(origin["batch_id"]).cast("bigint").alias("batch_id"),
        _date().alias(PARTITION_COLUMN),
    )  # fmt: skip


def _entries() -> Column:
    return F.transform(
        F.col("bins"),
        lambda entry: F.struct(entry["name"].alias("key"), F.struct(entry["type"].alias("type"), entry["value"].alias("value"))),
    )


def _typed(by_name: DataFrame, declared: Mapping[str, BinType]) -> tuple[DataFrame, list[str]]:
    """Declared bins into typed columns; whatever such a column cannot hold stays where it is, in `other_bins`."""
    typed = bin_columns(declared).typed
    if not typed:
        none = F.lit(None).cast("map<string,string>")
        return by_name.withColumns({"other_bins": F.col(_BINS), "bin_types": none}), ["other_bins", "bin_types"]
    cells = F.struct(*(_cell(name, kind).alias(name) for name, kind in typed.items()))
    rows = by_name.withColumn("bins", F.when(F.col(_BINS).isNotNull(), cells))
    held = F.array_compact(F.array(*(F.when(_field(name).isNotNull(), F.lit(name)) for name in typed)))
    rows = rows.withColumn("_held", held)
    left = F.map_filter(F.col(_BINS), lambda name, _: ~F.array_contains(F.col("_held"), name))
    finer = [
        F.when(
            _field(name).isNotNull() & (_found(name)["type"] != F.lit(kind.value)),
            F.struct(F.lit(name).alias("key"), _found(name)["type"].alias("value")),
        )
        for name, kind in typed.items()
        if kind in _FINER
    ]
    types = F.map_from_entries(F.array_compact(F.array(*finer))) if finer else F.lit(None).cast("map<string,string>")
    rows = rows.withColumns({"other_bins": left, "bin_types": types})
    empty_is_null = {name: F.when(F.size(name) > 0, F.col(name)) for name in ("other_bins", "bin_types")}
    return rows.withColumns(empty_is_null), ["bins", "other_bins", "bin_types"]


def _cell(name: str, kind: BinType) -> Column:
    """The typed value of a bin, null when it is absent or is not exactly such a value."""
    entry = _found(name)
    value = entry["value"]
    if kind is BinType.BOOL:
        typed = F.when(value == "true", F.lit(True)).when(value == "false", F.lit(False))
    elif kind in (BinType.BLOB, BinType.HLL):
        typed = F.try_to_binary(value, F.lit("base64"))
    elif kind is BinType.FLOAT:
        number = value.try_cast("double")
        overflow = (F.abs(number) == F.lit(float("inf"))) & ~value.endswith("Infinity")
        typed = F.when(~overflow, number)
    elif kind is BinType.INT:
        typed = value.try_cast("bigint")
    else:
        typed = value
    fits = entry["type"].isin(kind.value, *_FINER.get(kind, ()))
    return F.when(fits, typed).cast(TYPED_COLUMN[kind])


def _found(name: str) -> Column:
    return F.try_element_at(F.col(_BINS), F.lit(name))


def _field(name: str) -> Column:
    return F.col("bins").getField(name)


def _date() -> Column:
    """UTC date, whatever time zone the session has."""
    clock_ms = F.coalesce(F.col("lut_ms"), F.unix_millis(F.col("kafka_timestamp")))
    return F.date_from_unix_date(F.floor(clock_ms / F.lit(_MILLISECONDS_A_DAY)).cast("int"))


__all__ = ["history_rows"]
