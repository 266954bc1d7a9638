"""Flat JSON, the connector's format `flat-json`: bins are top-level members without types, metadata an object under a set name.

Types come from the flow's declaration, else from the JSON value: string -> str, integer -> int, other number -> float, true and
false -> bool, array -> list, object -> map, null -> null. What JSON cannot say (blob or text, GeoJSON or map, 3 or 3.0 written
alike) only a declaration can.

Spark gives exact texts (MAP<STRING, STRING>) without their kinds, or kinds (VARIANT) without exact texts: 3.0 becomes 3. So the
texts are read, and whether `77` was text or a number is looked up in the message: `"name":"` stands there or not. Where one bin is
not that simple (white space after a colon, escapes in a name, the same name further inside, odd numbers) the whole message is
read a second time for its kinds.
Facts: xdr-kafka message reference, 1.3 and cases 2, 5, 7, 9, 13, 18.
"""

from pyspark.sql import DataFrame

from schemas.bins import NULL_TYPE, BinType
from schemas.events import WRITE
from schemas.xdr.normal_form import EXACT_DDL, METADATA_MEMBERS, NEEDS_EXACT, finish
from schemas.xdr.options import DecodeOptions
from schemas.xdr.sql import BINS_TYPE, NO_BINS, READ, columns, declared_bins, first_problem, quoted
from schemas.xdr.text import IS_ODD, SOURCE, TEXT, no_object, read_objects
from schemas.xdr.values import INTEGER, base64_text, float_text, misfit, plain_container, plain_integer, plain_number

_METADATA_DDL = f"struct<{METADATA_MEMBERS},userKey:variant>"
_SPACED = f"contains({TEXT}, '\": ')"
_UNSURE = "'?'"


def decode_flat_json(frame: DataFrame, options: DecodeOptions) -> DataFrame:
    """Decode messages of the connector's format `flat-json`; see `schemas.xdr.decode.decode`."""
    key = quoted(options.metadata_key)
    found = read_objects(frame, "map<string,string>").select(
        "*",
        *columns({"_a": f"try_element_at(_o, {key})", "_f": f"from_json(try_element_at(_o, {key}), '{_METADATA_DDL}', {READ})"}),
    )
    declared = declared_bins(options.records, "_f.namespace", "_f.`set`")
    bins_only = (
        f"CASE WHEN map_keys(_o)[0] = {key} THEN slice(map_entries(_o), 2, size(_o)) "
        f"ELSE filter(map_entries(_o), x -> x.key <> {key}) END"
    )
    message = {
        "_m": "CASE WHEN _f IS NOT NULL THEN named_struct('namespace', _f.namespace, 'set', _f.`set`, 'digest', _f.digest, "
        "'user_key', _f.userKey, 'msg', lower(_f.msg), 'gen', _f.gen, 'lut', _f.lut, 'exp', _f.`exp`, 'durable', _f.durable) END",
        "_x": f"CASE WHEN {NEEDS_EXACT.format(m='_f')} THEN from_json(_a, '{EXACT_DDL}', {READ}) END",
        "_problem": _problem(options.metadata_key),
        "_e": f"CASE WHEN lower(_f.msg) = '{WRITE}' THEN {bins_only} END",
        **({"_types": declared} if declared else {}),
    }
    read = found.select(*SOURCE, *columns(message))
    places = {name: f"{options.metadata_key}.{name}" for name in ("namespace", "set", "digest", "msg", "gen", "lut", "exp")}
    places["user_key"] = f"{options.metadata_key}.userKey"
    if options.image == "none":
        no_bins = f"CASE WHEN _m.msg = '{WRITE}' THEN {NO_BINS} END"
        return finish(read.select(*SOURCE, "_m", "_x", "_problem", *columns({"_fast": no_bins})), places)
    kinds = f"CASE WHEN NOT ({_SPACED}) THEN transform(_e, b -> {_kind_at_first_sight()}) END"
    if declared:
        kinds = f"zip_with(_e, {kinds}, (b, t) -> {_declared_at_first_sight()})"
    seen = read.select("*", *columns({"_t": kinds}))
    judged = seen.select(
        "*",
        *columns(
            {
                "_sound": f"coalesce(NOT array_contains(_t, {_UNSURE}) AND size(array_distinct(_e.key)) = size(_e), false)",
                "_n": IS_ODD,
            }
        ),
    )
    bins = {
        "_fast": f"CASE WHEN _sound THEN CAST(arrays_zip(_e.key, _t, _e.value) AS {BINS_TYPE}) END",
        "_slow": f"CASE WHEN NOT _sound AND _e IS NOT NULL THEN {_each_bin(key, declared)} END",
    }
    return finish(judged.select(*SOURCE, "_m", "_x", "_problem", *columns(bins)), places)


def _problem(key: str) -> str:
    return first_problem(
        ("_o IS NULL", no_object()),
        ("_a IS NULL", quoted(f"D103 no member named {key}")),
        (
            f"size(array_remove(map_keys(_o), {quoted(key)})) <> size(_o) - 1",
            quoted(f"D103 two members named {key}: which is the metadata?"),
        ),
        # An object with digest and msg is the metadata; a bin that happens to have its name is not.
        ("_f.digest IS NULL OR _f.msg IS NULL", quoted(f"D103 {key} is no object with digest and msg")),
    )


def _kind_at_first_sight() -> str:
    """The type of member `b` where the message's text alone proves it and the value fits; else "?".

    A text that is no JSON number, boolean or structure can only have been a string. Any other may have been one too, and is
    looked for behind its name: `"a":7` is a number when `"a":"` stands nowhere in the message, a string when `"a":` stands there once.
    """
    member = "concat('\"', b.key, '\":')"
    numeral = "b.value >= '-' AND b.value < ':' AND try_cast(b.value AS DOUBLE) IS NOT NULL"
    text_once = f"locate({member}, {TEXT}, 1 + locate({member}, {TEXT})) = 0"
    return (
        f"CASE WHEN b.value IS NULL THEN {_UNSURE} "
        f"WHEN NOT (b.value IN ('true', 'false') OR left(b.value, 1) IN ('[', '{{', '\"') OR {numeral}) THEN '{BinType.STR}' "
        f"WHEN contains({TEXT}, concat({member}, '\"')) THEN CASE WHEN {text_once} THEN '{BinType.STR}' ELSE {_UNSURE} END "
        f"WHEN NOT contains({TEXT}, concat({member}, left(b.value, 1))) THEN {_UNSURE} "
        f"WHEN {plain_integer('b.value')} THEN '{BinType.INT}' WHEN b.value IN ('true', 'false') THEN '{BinType.BOOL}' "
        f"WHEN contains(b.value, '.') AND {plain_number('b.value')} THEN '{BinType.FLOAT}' "
        f"WHEN {plain_container('b.value', '[')} THEN '{BinType.LIST}' WHEN {plain_container('b.value', '{')} THEN '{BinType.MAP}' "
        f"ELSE {_UNSURE} END"
    )


def _declared_at_first_sight() -> str:
    flow = "try_element_at(_types, b.key)"
    return (
        f"CASE WHEN coalesce({flow} = t, true) THEN t WHEN t = '{BinType.INT}' AND {flow} = '{BinType.FLOAT}' THEN '{BinType.FLOAT}' "
        f"WHEN t = '{BinType.MAP}' AND {flow} = '{BinType.GEOJSON}' THEN '{BinType.GEOJSON}' "
        f"WHEN t = '{BinType.STR}' AND {flow} IN ('{BinType.BLOB}', '{BinType.HLL}') "
        f"AND {base64_text('b.value')} THEN {flow} ELSE {_UNSURE} END"
    )


def _each_bin(key: str, declared: str | None) -> str:
    """Every member but the metadata as STRUCT<name, type, value, problem>, its kind read from the message once more."""
    kinds = f"filter(map_entries(from_json({TEXT}, 'map<string,variant>', {READ})), x -> x.key <> {key}).value"
    inferred = first_problem(
        # A value Spark stumbled over is null in one of the two readings.
        ("b.value IS NULL OR is_variant_null(b.value) <> (b._e.value IS NULL)", "NULL"),
        ("b._e.value IS NULL", f"'{NULL_TYPE}'"),
        ("schema_of_variant(b.value) = 'STRING'", f"'{BinType.STR}'"),
        ("b._e.value IN ('true', 'false')", f"'{BinType.BOOL}'"),
        ("startswith(b._e.value, '[')", f"'{BinType.LIST}'"),
        ("startswith(b._e.value, '{')", f"'{BinType.MAP}'"),
        (f"b._e.value RLIKE {INTEGER}", f"'{BinType.INT}'"),
        ("true", f"'{BinType.FLOAT}'"),
    )
    typed = f"transform(arrays_zip(_e, {kinds}), b -> named_struct('name', b._e.key, 'type', {inferred}, 'value', b._e.value))"
    if declared:
        typed = f"transform({typed}, b -> named_struct('name', b.name, 'type', {_as_declared()}, 'value', b.value))"
    problem = first_problem(
        ("b.type IS NULL", "concat('D108 ', b.name, ' holds one member twice, or cannot be read')"),
        ("startswith(b.type, '!')", "concat('D108 ', b.name, ' is ', substr(b.type, 2))"),
        ("true", f"concat('D108 ', b.name, ' of type ', b.type, ' ', {misfit('b.type', 'b.value')})"),
    )
    value = float_text("b.type", "b.value")
    checked = f"transform({typed}, b -> named_struct('name', b.name, 'type', b.type, 'value', {value}, 'problem', {problem}))"
    twice = (
        "array(named_struct('name', CAST(NULL AS STRING), 'type', CAST(NULL AS STRING), 'value', CAST(NULL AS STRING), "
        "'problem', 'D108 a list or map holds one member twice, or cannot be read'))"
    )
    return f"coalesce({checked}, {twice})"


def _as_declared() -> str:
    """The type kept for a bin `b` of inferred type, or "!" and words when the flow declares another that it cannot be."""
    flow = "try_element_at(_types, b.name)"
    return (
        f"CASE WHEN b.type = '{NULL_TYPE}' OR coalesce({flow} = b.type, true) THEN b.type "
        f"WHEN b.type = '{BinType.STR}' AND ({flow} IN ('{BinType.BLOB}', '{BinType.HLL}') "
        f"OR {flow} = '{BinType.FLOAT}' AND b.value IN ('NaN', 'Infinity', '-Infinity')) "
        f"OR b.type = '{BinType.INT}' AND {flow} = '{BinType.FLOAT}' "
        f"OR b.type = '{BinType.MAP}' AND {flow} = '{BinType.GEOJSON}' THEN {flow} "
        f"ELSE concat('!', b.type, ', but the flow declares ', {flow}) END"
    )


__all__ = ["decode_flat_json"]
