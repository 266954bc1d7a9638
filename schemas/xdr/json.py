"""Typed JSON, the connector's format `json`: `{"msg", "key": [namespace, set, digest, user key], "gen", "exp", "lut", "bins"}`.

The type a bin names rules; its value is taken by its text. So `{"type": "int", "value": "5"}` is 5, `{"type": "str", "value": 5}`
the text 5: Spark keeps no difference there, and the connector never writes either. A type we do not know travels as it came.

Bins of the ordinary kind are recognised by one cheap look; only a write with anything else among them is taken apart bin by bin.
Facts: xdr-kafka message reference, 1.2 and cases 1-3, 11-17, 19, 37.
"""

from pyspark.sql import DataFrame

from schemas.bins import BIN_TYPES, LIST_ORDERED, NULL_TYPE, BinType
from schemas.events import WRITE
from schemas.xdr.normal_form import EXACT_DDL, NEEDS_EXACT, finish
from schemas.xdr.options import DecodeOptions
from schemas.xdr.sql import BINS_TYPE, NO_BINS, READ, columns, declared_bins, first_problem, pattern, quoted
from schemas.xdr.text import IS_ODD, SOURCE, TEXT, no_object, read_objects
from schemas.xdr.values import base64_text, float_text, misfit, plain_container, plain_integer, plain_number

_DDL = (
    "struct<msg:string,`key`:array<string>,gen:int,`exp`:bigint,lut:bigint,durable:boolean,"
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
_KEY_KIND = (
    "CASE WHEN _o.`key`[3] IS NULL THEN 'VOID' "
    # Right behind the digest stands the user key, in quotes or not. Where white space or escapes hide it: read the key once more.
    f"WHEN contains({TEXT}, concat('\"', _o.`key`[2], '\",\"', _o.`key`[3], '\"]')) THEN 'STRING' "
    f"WHEN contains({TEXT}, concat('\"', _o.`key`[2], '\",', _o.`key`[3], ']')) AND {plain_integer('_o.`key`[3]')} THEN 'BIGINT' "
    f"ELSE coalesce(schema_of_variant(from_json({TEXT}, 'struct<`key`:array<variant>>', {READ}).`key`[3]), 'unreadable') END"
)
_KNOWN_TYPES = ", ".join(map(quoted, BIN_TYPES))
_TYPE_NAME = pattern("^[a-z][a-z0-9_-]*$")


def decode_json(frame: DataFrame, options: DecodeOptions) -> DataFrame:
    """Decode messages of the connector's format `json`; see `schemas.xdr.decode.decode`."""
    part = "CASE WHEN size(_o.`key`) = 4 THEN _o.`key`[{}] END".format
    declared = declared_bins(options.records, "get(_o.`key`, 0)", "get(_o.`key`, 1)")
    message = {
        "_m": f"named_struct('namespace', {part(0)}, 'set', {part(1)}, 'digest', {part(2)}, "
        f"'user_key', {part(3)}, 'key_kind', CASE WHEN size(_o.`key`) = 4 THEN {_KEY_KIND} END, "
        "'msg', lower(_o.msg), 'gen', _o.gen, 'lut', _o.lut, 'exp', _o.`exp`, 'durable', _o.durable)",
        "_x": f"CASE WHEN {NEEDS_EXACT.format(m='_o')} THEN from_json({TEXT}, '{EXACT_DDL}', {READ}) END",
        "_problem": _problem(options),
        "_b": "CAST(NULL AS array<int>)" if options.image == "none" else f"CASE WHEN lower(_o.msg) = '{WRITE}' THEN _o.bins END",
        **({"_types": declared} if declared else {}),
    }
    read = read_objects(frame, _DDL).select(*SOURCE, *columns(message))
    no_bins = f"CASE WHEN _m.msg = '{WRITE}' AND _b IS NULL THEN {NO_BINS} END"
    if options.image == "none":
        return finish(read.select(*SOURCE, "_m", "_x", "_problem", *columns({"_fast": no_bins})), _PLACES)
    seen = read.select("*", *columns({"_sound": f"coalesce({_sound(declared)}, false)", "_n": IS_ODD}))
    bins = {
        "_fast": f"CASE WHEN _sound THEN CAST(arrays_zip(_b.name, _b.type, _b.value) AS {BINS_TYPE}) ELSE {no_bins} END",
        "_slow": f"CASE WHEN NOT _sound AND _b IS NOT NULL THEN {_each_bin(declared)} END",
    }
    return finish(seen.select(*SOURCE, "_m", "_x", "_problem", *columns(bins)), _PLACES)


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


def _sound(declared: str | None) -> str:
    """Whether all bins are of the ordinary kind and fit their types at first sight; null or false send them to the slow path.

    Arrays of one member each, not of structs: Spark reads a struct's member many times slower inside a lambda.
    """
    fits = (
        f"CASE t WHEN '{BinType.STR}' THEN v IS NOT NULL "
        f"WHEN '{BinType.INT}' THEN {plain_integer('v')} "
        f"WHEN '{BinType.FLOAT}' THEN {plain_number('v')} "
        f"WHEN '{BinType.BOOL}' THEN v IN ('true', 'false') "
        f"WHEN '{BinType.BLOB}' THEN {base64_text('v')} "
        f"WHEN '{BinType.LIST}' THEN {plain_container('v', '[')} "
        f"WHEN '{BinType.MAP}' THEN {plain_container('v', '{')} "
        f"WHEN '{BinType.GEOJSON}' THEN {plain_container('v', '{')} ELSE false END"
    )
    rules = [
        "size(array_distinct(_b.name)) = size(_b)",
        "NOT array_contains(_b.name, '')",  # null when a name is missing
        "array_join(_b.`order`, '') = ''",
        "replace(array_join(_b.ordered, ''), 'false') = ''",
        f"NOT array_contains(zip_with(_b.type, _b.value, (t, v) -> coalesce({fits}, false)), false)",
    ]
    if declared:
        as_declared = "zip_with(_b.name, _b.type, (n, t) -> coalesce(try_element_at(_types, n) = t, true))"
        rules.append(f"NOT array_contains({as_declared}, false)")
    return " AND ".join(rules)


def _each_bin(declared: str | None) -> str:
    """Every bin as STRUCT<name, type, value, problem>."""
    lowered = (
        "transform(_b, b -> named_struct('name', b.name, 'kind', lower(b.type), 'type', b.type, 'value', b.value, "
        "'ordered', b.ordered, 'order', lower(b.`order`)))"
    )
    hll = f"WHEN b.kind = '{BinType.BLOB}' AND try_element_at(_types, b.name) = '{BinType.HLL}' THEN '{BinType.HLL}' "
    typed = (
        f"CASE WHEN b.value IS NULL THEN '{NULL_TYPE}' "
        f"WHEN b.ordered = 'true' AND b.kind = '{BinType.LIST}' THEN '{LIST_ORDERED}' "
        f"WHEN b.`order` IS NOT NULL AND b.kind = '{BinType.MAP}' THEN concat('map:', b.`order`) {hll if declared else ''}"
        f"WHEN b.kind IN ({_KNOWN_TYPES}) THEN b.kind ELSE b.type END"
    )
    members = f"'name', b.name, 'type', {typed}, 'value', {float_text('b.kind', 'b.value')}, 'problem', {_bin_problem(declared)}"
    return f"transform({lowered}, (b, i) -> named_struct({members}))"


def _bin_problem(declared: str | None) -> str:
    """What is wrong with bin `b` at place `i`."""
    # A value Spark stumbled over is null too: believe in a null only where the message can be read throughout.
    there = f"map_contains_key(get(from_json({TEXT}, 'struct<bins:array<map<string,string>>>', {READ}).bins, i), 'value')"
    words = [
        ("b.name IS NULL", "'name is missing'"),
        (
            f"b.value IS NULL AND NOT coalesce({there} AND (_n OR try_parse_json({TEXT}) IS NOT NULL), false)",
            "'value is missing, or cannot be read'",
        ),
        ("b.value IS NULL", "NULL"),
        (f"b.kind IS NULL OR b.kind = '{NULL_TYPE}' OR NOT b.kind RLIKE {_TYPE_NAME}", "'type is none that has a value'"),
        (f"b.ordered NOT IN ('true', 'false') AND b.kind = '{BinType.LIST}'", "'ordered is neither true nor false'"),
        (f"b.`order` NOT IN ('key', 'key-value') AND b.kind = '{BinType.MAP}'", "'order is neither key nor key-value'"),
    ]
    values = [("true", f"concat('value of type ', b.kind, ' ', {misfit('b.kind', 'b.value')})")]
    if declared:
        flow = "try_element_at(_types, b.name)"
        refined = f"({flow} = '{BinType.HLL}' AND b.kind = '{BinType.BLOB}')"
        values.insert(
            0, (f"{flow} <> b.kind AND NOT {refined}", f"concat('type is ', b.kind, ', but the flow declares ', {flow})")
        )
    place = "concat('{} bins[', i, '] (name ', coalesce(b.name, 'missing'), '): ', {})".format
    form = first_problem(*words)
    value = first_problem(("b.value IS NULL", "NULL"), *values)
    return f"coalesce({place('D107', form)}, {place('D108', value)})"


__all__ = ["decode_json"]
