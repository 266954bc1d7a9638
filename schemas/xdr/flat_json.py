"""Flat JSON, the connector's format `flat-json`: bins are top-level members without types, metadata is an object under a configured name.

Types come from the flow's declaration, else from the JSON value: string -> str, integer -> int, other number -> float, true/false ->
bool, array -> list, object -> map, null -> null. What JSON cannot say (blob or text, GeoJSON or map, 3 or 3.0 written alike) only a
declaration can.

Spark gives exact texts (MAP<STRING, STRING>) without their kinds, or kinds (VARIANT) without exact texts: 3.0 becomes 3. So the texts
are read, and whether `77` was text or a number is looked up in the message: `"name":"` stands there or not. Where that is not certain
(white space after a colon, escapes in a name, the same name further inside) the message is read a second time for its kinds.
Facts: xdr-kafka message reference, 1.3 and cases 2, 5, 7, 9, 13, 18.
"""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from schemas.bins import NULL_TYPE, BinType
from schemas.events import WRITE
from schemas.xdr.normal_form import EXACT_DDL, METADATA_MEMBERS, NEEDS_EXACT, finish
from schemas.xdr.options import DecodeOptions
from schemas.xdr.sql import CHECKED_BINS_TYPE, READ, declared_bins, first_problem, quoted
from schemas.xdr.text import SOURCE, TEXT, no_object, read_objects
from schemas.xdr.values import INTEGER, float_text, misfit

_METADATA_DDL = f"struct<{METADATA_MEMBERS},userKey:variant>"
_MEMBER = "concat('\"', b.key, '\":')"
_SPACED = " OR ".join(rf"contains({TEXT}, '\":{space}')" for space in (" ", "\\n", "\\t", "\\r"))


def decode_flat_json(frame: DataFrame, options: DecodeOptions) -> DataFrame:
    """Decode messages of the connector's format `flat-json`; see `schemas.xdr.decode.decode`."""
    key = quoted(options.metadata_key)
    candidates = f"filter(map_entries(_o), x -> x.key = {key}).value"
    objects = read_objects(frame, "map<string,string>").select(*SOURCE, "_n", "_o", F.expr(candidates).alias("_a"))
    found = objects.select("*", F.expr(f"from_json(get(_a, 0), '{_METADATA_DDL}', {READ})").alias("_f"))
    columns = {
        "_m": "CASE WHEN _f IS NOT NULL THEN named_struct('namespace', _f.namespace, 'set', _f.`set`, 'digest', _f.digest, "
        "'user_key', _f.userKey, 'msg', _f.msg, 'gen', _f.gen, 'lut', _f.lut, 'exp', _f.`exp`, 'durable', _f.durable) END",
        "_x": f"CASE WHEN {NEEDS_EXACT.format(m='_f')} THEN from_json(get(_a, 0), '{EXACT_DDL}', {READ}) END",
        "_problem": _problem(options.metadata_key),
        "_b": f"filter(map_entries(_o), x -> x.key <> {key})",
        "_types": declared_bins(options.records, "_f.namespace", "_f.`set`") or "CAST(NULL AS MAP<STRING, STRING>)",
    }
    read = found.select(*SOURCE, "_n", *(F.expr(sql).alias(name) for name, sql in columns.items()))
    if options.image == "none":
        bins = read.withColumn("_bins", F.expr(_of_a_write(f"CAST(array() AS {CHECKED_BINS_TYPE})")))
    else:
        bins = _typed_bins(read, key, declares=any(record.bins for record in options.records))
    places = {name: f"{options.metadata_key}.{name}" for name in ("namespace", "set", "digest", "msg", "gen", "lut", "exp")}
    return finish(bins, {**places, "user_key": f"{options.metadata_key}.userKey"})


def _problem(key: str) -> str:
    return first_problem(
        ("_o IS NULL", no_object()),
        ("size(_a) = 0", quoted(f"D103 no member named {key}")),
        ("size(_a) > 1", quoted(f"D103 two members named {key}: which is the metadata?")),
        # An object with digest and msg is the metadata; a bin that happens to have its name is not.
        ("_f.digest IS NULL OR _f.msg IS NULL", quoted(f"D103 {key} is no object with digest and msg")),
    )


def _of_a_write(bins: str) -> str:
    return f"CASE WHEN _problem IS NULL AND lower(_m.msg) = '{WRITE}' THEN {bins} END"


def _typed_bins(read: DataFrame, key: str, *, declares: bool) -> DataFrame:
    uncertain = _of_a_write(f"{_SPACED} OR exists(_b, b -> {_uncertain_member()})")
    looked_at = read.withColumn("_q", F.expr(f"coalesce({uncertain}, false)"))
    kinds = f"filter(map_entries(from_json({TEXT}, 'map<string,variant>', {READ})), x -> x.key <> {key}).value"
    with_kinds = looked_at.withColumn("_k", F.expr(f"CASE WHEN _q THEN {kinds} END"))
    inferred = f"transform(_b, (b, i) -> named_struct('name', b.key, 'value', b.value, 'type', {_inferred_type()}))"
    typed = with_kinds.withColumn("_t", F.expr(_of_a_write(inferred)))
    return typed.withColumn("_bins", F.expr(f"transform(_t, b -> {_one_bin(declares)})"))


def _uncertain_member() -> str:
    """Whether it cannot be seen in the text alone what kind of value member `b` has."""
    again = f"locate({_MEMBER}, {TEXT}, 1 + locate({_MEMBER}, {TEXT})) > 0"
    return (
        f"CASE WHEN b.value IS NULL THEN NOT contains({TEXT}, concat({_MEMBER}, 'null')) OR {again} "
        f"WHEN contains({TEXT}, concat({_MEMBER}, '\"')) THEN {again} ELSE NOT contains({TEXT}, {_MEMBER}) END"
    )


def _inferred_type() -> str:
    """The type of member `b` at place `i`; null when its value cannot be read."""
    is_text = f"CASE WHEN _q THEN schema_of_variant(_k[i]) = 'STRING' ELSE contains({TEXT}, concat({_MEMBER}, '\"')) END"
    return first_problem(
        ("_q AND (get(_k, i) IS NULL OR is_variant_null(_k[i]) <> (b.value IS NULL))", "NULL"),
        ("b.value IS NULL", f"'{NULL_TYPE}'"),
        (is_text, f"'{BinType.STR}'"),
        ("b.value IN ('true', 'false')", f"'{BinType.BOOL}'"),
        ("startswith(b.value, '[')", f"'{BinType.LIST}'"),
        ("startswith(b.value, '{')", f"'{BinType.MAP}'"),
        (f"b.value RLIKE {INTEGER}", f"'{BinType.INT}'"),
        ("true", f"'{BinType.FLOAT}'"),
    )


def _one_bin(declares: bool) -> str:
    """One typed member `b` as STRUCT<name, type, value, problem>."""
    rules = [("b.type IS NULL", "concat('D108 ', b.name, ' holds one member twice, or cannot be read')")]
    kind = "b.type"
    if declares:
        flow = "try_element_at(_types, b.name)"
        fits = (
            f"b.type = '{BinType.STR}' AND ({flow} IN ('{BinType.BLOB}', '{BinType.HLL}') "
            f"OR {flow} = '{BinType.FLOAT}' AND b.value IN ('NaN', 'Infinity', '-Infinity')) "
            f"OR b.type = '{BinType.INT}' AND {flow} = '{BinType.FLOAT}' OR b.type = '{BinType.MAP}' AND {flow} = '{BinType.GEOJSON}'"
        )
        kind = f"CASE WHEN {fits} THEN {flow} ELSE b.type END"
        contradiction = f"b.type <> '{NULL_TYPE}' AND {flow} <> b.type AND NOT ({fits})"
        rules.append((contradiction, f"concat('D108 ', b.name, ' is ', b.type, ', but the flow declares ', {flow})"))
    rules.append(("true", f"concat('D108 ', b.name, ' of type ', {kind}, ' ', {misfit(kind, 'b.value')})"))
    value = float_text("b.type", "b.value")
    return f"named_struct('name', b.name, 'type', {kind}, 'value', {value}, 'problem', {first_problem(*rules)})"


__all__ = ["decode_flat_json"]
