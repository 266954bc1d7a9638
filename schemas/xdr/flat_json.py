"""Flat JSON, the connector's format `flat-json`: bins are top-level members without types, metadata an object under a set name.

Types come from the flow's declaration, else from the JSON value: string -> str, integer -> int, other number -> float, true and
false -> bool, array -> list, object -> map, null -> null. What JSON cannot say (blob or text, GeoJSON or map, 3 or 3.0 written
alike) only a declaration can.

Spark gives exact texts (MAP<STRING, STRING>) without their kinds, or kinds (VARIANT) without exact texts: 3.0 becomes 3. So the
texts are read, and whether `77` was text or a number is looked up in the message: `"name":"` stands there or not. Where a bin is
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
from schemas.xdr.values import INTEGER, NUMBER, base64_text, float_text, misfit, plain_container

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
    first, rest = f"map_keys(_o)[0] = {key}", f"map_filter(_o, (k, v) -> k <> {key})"
    names = f"CASE WHEN {first} THEN slice(map_keys(_o), 2, size(_o)) ELSE map_keys({rest}) END"
    texts = f"CASE WHEN {first} THEN slice(map_values(_o), 2, size(_o)) ELSE map_values({rest}) END"
    message = {
        "_m": "CASE WHEN _f IS NOT NULL THEN named_struct('namespace', _f.namespace, 'set', _f.`set`, 'digest', _f.digest, "
        "'user_key', CAST(_f.userKey AS STRING), 'key_kind', coalesce(schema_of_variant(_f.userKey), 'VOID'), "
        "'msg', lower(_f.msg), 'gen', _f.gen, 'lut', _f.lut, 'exp', _f.`exp`, 'durable', _f.durable) END",
        "_x": f"CASE WHEN {NEEDS_EXACT.format(m='_f')} THEN from_json(_a, '{EXACT_DDL}', {READ}) END",
        "_problem": _problem(options.metadata_key),
        "_names": f"CASE WHEN lower(_f.msg) = '{WRITE}' THEN {names} END",
        "_texts": f"CASE WHEN lower(_f.msg) = '{WRITE}' THEN {texts} END",
        **({"_types": declared} if declared else {}),
    }
    read = found.select(*SOURCE, *columns(message))
    places = {name: f"{options.metadata_key}.{name}" for name in ("namespace", "set", "digest", "msg", "gen", "lut", "exp")}
    places["user_key"] = f"{options.metadata_key}.userKey"
    if options.image == "none":
        no_bins = f"CASE WHEN _m.msg = '{WRITE}' THEN {NO_BINS} END"
        return finish(read.select(*SOURCE, "_m", "_x", "_problem", *columns({"_fast": no_bins})), places)
    kinds = f"CASE WHEN NOT ({_SPACED}) THEN zip_with(_names, _texts, (k, v) -> {_kind_at_first_sight()}) END"
    if declared:
        kinds = (
            f"zip_with(zip_with(_names, {kinds}, (k, t) -> {_declared_at_first_sight()}), _texts, (t, v) -> {_checked_blob()})"
        )
    sound = f"coalesce(NOT array_contains(_kinds, {_UNSURE}) AND size(array_distinct(_names)) = size(_names), false)"
    judged = read.select("*", *columns({"_kinds": kinds})).select("*", *columns({"_sound": sound, "_n": IS_ODD}))
    bins = {
        "_fast": f"CASE WHEN _sound THEN CAST(arrays_zip(_names, _kinds, _texts) AS {BINS_TYPE}) END",
        "_slow": f"CASE WHEN NOT _sound AND _names IS NOT NULL THEN {_each_bin(key, declared)} END",
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
    """The type of member `k` with text `v` where the message's text alone proves it and the value fits; else "?".

    A text that is no JSON number, boolean or structure can only have been a string. Any other may have been one too, and is
    looked for behind its name: `"a":7` is a number when `"a":"` stands nowhere in the message, a string when `"a":` stands
    there once.
    """
    member = "concat('\"', k, '\":')"
    text_once = f"locate({member}, {TEXT}, 1 + locate({member}, {TEXT})) = 0"
    # A cast that fails costs Spark 30 us; a regular expression 1 us, and only texts that begin like a number come to it.
    numeral = f"v >= '-' AND v < ':' AND v RLIKE {NUMBER}"
    return (
        f"CASE WHEN v IS NULL THEN {_UNSURE} "
        f"WHEN NOT (v IN ('true', 'false') OR left(v, 1) IN ('[', '{{', '\"') OR {numeral}) THEN '{BinType.STR}' "
        f"WHEN contains({TEXT}, concat({member}, '\"')) THEN CASE WHEN {text_once} THEN '{BinType.STR}' ELSE {_UNSURE} END "
        f"WHEN NOT contains({TEXT}, concat({member}, left(v, 1))) THEN {_UNSURE} "
        f"WHEN v IN ('true', 'false') THEN '{BinType.BOOL}' "
        f"WHEN {plain_container('v', '[')} THEN '{BinType.LIST}' WHEN {plain_container('v', '{')} THEN '{BinType.MAP}' "
        # Spark prints every double with a point; 18 digits fit in 64 bits.
        f"WHEN left(v, 1) IN ('[', '{{', '\"') THEN {_UNSURE} WHEN contains(v, '.') THEN '{BinType.FLOAT}' "
        f"WHEN length(v) <= 18 THEN '{BinType.INT}' ELSE {_UNSURE} END"
    )


def _declared_at_first_sight() -> str:
    """The declared type of bin `k` where inferred type `t` allows it, else "?"."""
    flow = "try_element_at(_types, k)"
    return (
        f"CASE WHEN coalesce({flow} = t, true) THEN t WHEN t = '{BinType.INT}' AND {flow} = '{BinType.FLOAT}' "
        f"OR t = '{BinType.MAP}' AND {flow} = '{BinType.GEOJSON}' "
        f"OR t = '{BinType.STR}' AND {flow} IN ('{BinType.BLOB}', '{BinType.HLL}') THEN {flow} ELSE {_UNSURE} END"
    )


def _checked_blob() -> str:
    return f"CASE WHEN t IN ('{BinType.BLOB}', '{BinType.HLL}') AND NOT {base64_text('v')} THEN {_UNSURE} ELSE t END"


def _each_bin(key: str, declared: str | None) -> str:
    """Every member but the metadata as STRUCT<name, type, value, problem>, its kind read from the message once more."""
    kinds = f"filter(map_entries(from_json({TEXT}, 'map<string,variant>', {READ})), x -> x.key <> {key}).value"
    inferred = first_problem(
        # A value Spark stumbled over is null in one of the two readings.
        ("b.value IS NULL OR is_variant_null(b.value) <> (b._texts IS NULL)", "NULL"),
        ("b._texts IS NULL", f"'{NULL_TYPE}'"),
        ("schema_of_variant(b.value) = 'STRING'", f"'{BinType.STR}'"),
        ("b._texts IN ('true', 'false')", f"'{BinType.BOOL}'"),
        ("startswith(b._texts, '[')", f"'{BinType.LIST}'"),
        ("startswith(b._texts, '{')", f"'{BinType.MAP}'"),
        (f"b._texts RLIKE {INTEGER}", f"'{BinType.INT}'"),
        ("true", f"'{BinType.FLOAT}'"),
    )
    entry = f"named_struct('name', b._names, 'type', {inferred}, 'value', b._texts)"
    typed = f"transform(arrays_zip(_names, _texts, {kinds}), b -> {entry})"
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
