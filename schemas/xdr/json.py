"""Typed JSON, the connector's format `json`: `{"msg", "key": [namespace, set, digest, user key], "gen", "exp", "lut", "bins": [...]}`.

The type a bin names rules; its value is taken by its text. So `{"type": "int", "value": "5"}` is 5, `{"type": "str", "value": 5}` the
text 5: Spark keeps no difference there, and the connector never writes either. A type we do not know travels as it came.
Facts: xdr-kafka message reference, 1.2 and cases 1-3, 11-17, 19, 37.
"""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from schemas.bins import BIN_TYPES, LIST_ORDERED, MAP_KEY_ORDERED, NULL_TYPE, BinType
from schemas.events import WRITE
from schemas.xdr.normal_form import EXACT_DDL, NEEDS_EXACT, finish
from schemas.xdr.options import DecodeOptions
from schemas.xdr.sql import CHECKED_BINS_TYPE, READ, declared_bins, first_problem, pattern, quoted
from schemas.xdr.text import SOURCE, TEXT, no_object, read_objects
from schemas.xdr.values import float_text, misfit

_DDL = (
    "struct<msg:string,`key`:array<variant>,gen:int,`exp`:bigint,lut:bigint,durable:boolean,"
    "bins:array<struct<name:string,type:string,value:string,ordered:string,`order`:string>>>"
)
_PLACES = {
    "namespace": "key[0]",
    "set": "key[1]",
    "digest": "key[2]",
    "user_key": "key[3]",
    "msg": "msg",
    "gen": "gen",
    "lut": "lut",
    "exp": "exp",
}
_TYPE_NAME = pattern("^[A-Za-z][A-Za-z0-9_-]*$")


def decode_json(frame: DataFrame, options: DecodeOptions) -> DataFrame:
    """Decode messages of the connector's format `json`; see `schemas.xdr.decode.decode`."""
    part = "CASE WHEN size(_o.`key`) = 4 THEN CAST(_o.`key`[{}] AS STRING) END".format
    metadata = (
        f"named_struct('namespace', {part(0)}, 'set', {part(1)}, 'digest', {part(2)}, "
        "'user_key', CASE WHEN size(_o.`key`) = 4 THEN _o.`key`[3] END, "
        "'msg', _o.msg, 'gen', _o.gen, 'lut', _o.lut, 'exp', _o.`exp`, 'durable', _o.durable)"
    )
    exact = f"CASE WHEN {NEEDS_EXACT.format(m='_o')} THEN from_json({TEXT}, '{EXACT_DDL}', {READ}) END"
    columns = [
        *SOURCE,
        "_n",
        F.expr(metadata).alias("_m"),
        F.expr(exact).alias("_x"),
        F.expr(_problem(options)).alias("_problem"),
    ]
    read = read_objects(frame, _DDL).select(*columns, F.col("_o.bins").alias("_b"), F.expr(_declared(options)).alias("_types"))
    bins = f"CASE WHEN _problem IS NULL AND lower(_m.msg) = '{WRITE}' THEN {_bins(options)} END"
    return finish(read.select(*SOURCE, "_m", "_x", "_problem", F.expr(bins).alias("_bins")), _PLACES)


def _problem(options: DecodeOptions) -> str:
    raw = f"from_json({TEXT}, 'struct<`key`:string,bins:string>', {READ})"
    rules = [
        ("_o IS NULL", no_object()),
        (
            "_o.`key` IS NULL",
            f"CASE WHEN {raw}.`key` IS NULL THEN 'D103 key is missing' ELSE 'D105 key is not an array of 4 parts' END",
        ),
        ("size(_o.`key`) <> 4", "concat('D105 key has ', size(_o.`key`), ' parts, not 4')"),
    ]
    if options.image != "none":
        # Spark reads a list that does not fit as null, just like one that is not there.
        rules.append(
            (
                f"_o.bins IS NULL AND lower(_o.msg) = '{WRITE}' AND {raw}.bins IS NOT NULL",
                f"CASE WHEN startswith({raw}.bins, '[') THEN 'D107 bins holds something that is not an object' "
                "ELSE 'D107 bins is not an array' END",
            )
        )
    return first_problem(*rules)


def _declared(options: DecodeOptions) -> str:
    types = declared_bins(options.records, "CAST(get(_o.`key`, 0) AS STRING)", "CAST(get(_o.`key`, 1) AS STRING)")
    return types or "CAST(NULL AS MAP<STRING, STRING>)"


def _bins(options: DecodeOptions) -> str:
    if options.image == "none":
        return f"CAST(array() AS {CHECKED_BINS_TYPE})"
    declares = any(record.bins for record in options.records)
    return f"coalesce(transform(_b, (b, i) -> {_one_bin(declares)}), CAST(array() AS {CHECKED_BINS_TYPE}))"


def _one_bin(declares: bool) -> str:
    """One element `b` at place `i` of the message's bins as STRUCT<name, type, value, problem>."""
    kind = "lower(b.type)"
    hll = f" WHEN {kind} = '{BinType.BLOB}' AND try_element_at(_types, b.name) = '{BinType.HLL}' THEN '{BinType.HLL}'"
    typed = (
        f"CASE WHEN b.value IS NULL THEN '{NULL_TYPE}' WHEN b.ordered = 'true' AND {kind} = '{BinType.LIST}' THEN '{LIST_ORDERED}' "
        f"WHEN b.`order` IS NOT NULL AND {kind} = '{BinType.MAP}' THEN concat('map:', lower(b.`order`)){hll if declares else ''} "
        f"WHEN {kind} IN ({', '.join(map(quoted, BIN_TYPES))}) THEN {kind} ELSE b.type END"
    )
    value = float_text(kind, "b.value")
    return f"named_struct('name', b.name, 'type', {typed}, 'value', {value}, 'problem', {_bin_problem(kind, declares)})"


def _bin_problem(kind: str, declares: bool) -> str:
    def at(code: str, member: str, words: str) -> str:
        return f"concat('{code} bins[', i, '].{member} (name \"', coalesce(b.name, ''), '\") ', {words})"

    # A value Spark stumbled over is null too: believe in a null only where the message can be read throughout.
    there = f"map_contains_key(get(from_json({TEXT}, 'struct<bins:array<map<string,string>>>', {READ}).bins, i), 'value')"
    rules = [
        ("b.name IS NULL", "concat('D107 bins[', i, '].name is missing')"),
        (
            f"b.value IS NULL AND NOT coalesce({there} AND (_n OR try_parse_json({TEXT}) IS NOT NULL), false)",
            at("D107", "value", "'is missing, or cannot be read'"),
        ),
        ("b.value IS NULL", "NULL"),
        (
            f"{kind} IS NULL OR {kind} = '{NULL_TYPE}' OR NOT {kind} RLIKE {_TYPE_NAME}",
            at("D107", "type", "'is no type with a value'"),
        ),
        (
            f"b.ordered NOT IN ('true', 'false') AND {kind} = '{BinType.LIST}'",
            at("D107", "ordered", "'is neither true nor false'"),
        ),
        (
            f"lower(b.`order`) NOT IN ('{MAP_KEY_ORDERED[4:]}', 'key-value') AND {kind} = '{BinType.MAP}'",
            at("D107", "order", "'is neither key nor key-value'"),
        ),
    ]
    if declares:
        flow = "try_element_at(_types, b.name)"
        refined = f"({flow} = '{BinType.HLL}' AND {kind} = '{BinType.BLOB}')"
        rules.append(
            (
                f"{flow} <> {kind} AND NOT {refined}",
                at("D108", "type", f"concat('is ', {kind}, ', but the flow declares ', {flow})"),
            )
        )
    misfits = misfit(kind, "b.value")
    rules.append(("true", at("D108", "value", f"concat('of type ', {kind}, ' ', {misfits})")))
    return first_problem(*rules)


__all__ = ["decode_json"]
