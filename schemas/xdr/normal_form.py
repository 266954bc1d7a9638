"""From a message's metadata and bins to the normal form of `schemas.events`: the checks every encoding shares, as Spark SQL.

An encoding supplies a frame with the columns SOURCE and

    _m        STRUCT<namespace STRING, set STRING, digest STRING, user_key STRING, key_kind STRING, msg STRING, gen INT,
              lut BIGINT, exp BIGINT, durable BOOLEAN>. msg in lower case, key_kind as schema_of_variant says it ('VOID': none).
              A member is null when it is absent, JSON null or of another kind; all is null when there is no metadata
    _x        STRUCT<gen VARIANT, lut VARIANT, exp VARIANT>: these members whatever their kind, where one is null in `_m`
    _problem  STRING: what the encoding itself found wrong, or null
    _fast     ARRAY<STRUCT<name, type, value>>: the bins of a write of the ordinary kind, found sound at first sight; else null
    _slow     ARRAY<STRUCT<name, type, value, problem>>: the bins of every other write, each with its problem; else null. May
              be left out

The first problem, in the order encoding, kind of event, identity, version, bins, makes the row a dead letter. What could be
read stays in its columns all the same, so that a dead letter names its record.

Facts: xdr-kafka message reference, cases 20-27 and 35; `lut` in seconds is refused, never scaled.
"""

from collections.abc import Mapping

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from schemas.digest import DIGEST_BYTES
from schemas.events import DELETE, WRITE
from schemas.version import GENERATIONS, MAX_LUT_MS
from schemas.xdr.sql import first_problem, quoted
from schemas.xdr.text import SOURCE, TEXT, TOO_LONG_A_NUMBER

OLDEST_LUT_MS = 10**11
"""Smaller values are seconds, not milliseconds: 10**11 ms is March 1973, 10**11 s the year 5138."""
LAST_EXP_S = 10**11 - 1
METADATA_MEMBERS = "namespace:string,`set`:string,digest:string,msg:string,gen:int,lut:bigint,`exp`:bigint,durable:boolean"
_LAST_OF_EACH_NAME = (
    "transform(filter(_slow, (x, i) -> i = size(_slow) - array_position(reverse(_slow.name), x.name)), "
    "x -> named_struct('name', x.name, 'type', x.type, 'value', x.value))"
)
# The type is spelled so that Spark thinks it may be null: toArrow() stumbles over a nullable struct around one that is not.
_USER_KEY = (
    "CASE WHEN _m.key_kind IN ('STRING', 'BIGINT') THEN "
    "named_struct('type', CASE _m.key_kind WHEN 'STRING' THEN 'str' WHEN 'BIGINT' THEN 'int' END, "
    "'value', _m.user_key) END"
)
EXACT_DDL = "struct<gen:variant,lut:variant,`exp`:variant>"
NEEDS_EXACT = "({m}.gen IS NULL OR {m}.lut IS NULL OR {m}.`exp` IS NULL)"


def finish(frame: DataFrame, places: Mapping[str, str]) -> DataFrame:
    """The columns of `schemas.events.EVENT_DDL`.

    places: where each member of `_m` stands in the message, for people: {"digest": "key[2]", ...}.
    """
    slow = "_slow" in frame.columns
    problem = f"coalesce(_problem, {_metadata_problem(places)}{', array_min(_slow.problem)' if slow else ''})"
    bins = f"coalesce(_fast, {_LAST_OF_EACH_NAME})" if slow else "_fast"
    kept = (*SOURCE, "_m", "_fast", *(["_slow"] if slow else []))
    checked = frame.select(*kept, "_x", "_problem", F.expr("try_to_binary(_m.digest, 'base64')").alias("_d")).select(
        *kept, "_d", F.expr(problem).alias("_p")
    )
    return checked.select(
        *SOURCE,
        "_m.namespace",
        F.expr("nullif(_m.`set`, '')").alias("set"),
        F.col("_d").alias("digest"),
        F.expr(_USER_KEY).alias("user_key"),
        F.expr(f"CASE WHEN _m.msg IN ('{WRITE}', '{DELETE}') THEN _m.msg END").alias("op"),
        F.expr(f"CASE WHEN _m.msg = '{DELETE}' THEN _m.durable END").alias("durable"),
        # A server before 5.0 ships no lut, and old connectors print 0 for it: then the generation orders nothing either.
        F.expr("CASE WHEN _m.lut > 0 THEN _m.gen END").alias("gen"),
        F.expr("CASE WHEN _m.lut > 0 THEN _m.lut END").alias("lut_ms"),
        F.expr(f"CASE WHEN _m.`exp` > 0 AND _m.msg = '{WRITE}' THEN _m.`exp` END").alias("exp_s"),
        F.expr(f"CASE WHEN _p IS NULL THEN {bins} END").alias("bins"),
        F.expr("CASE WHEN _p IS NOT NULL THEN named_struct('code', left(_p, 4), 'detail', substr(_p, 6)) END").alias("error"),
    )


def _metadata_problem(places: Mapping[str, str]) -> str:
    def at(code: str, member: str, words: str) -> str:
        return quoted(f"{code} {places[member]} {words}")

    def value_at(code: str, member: str, words: str) -> str:
        return f"concat({quoted(f'{code} {places[member]} is ')}, _m.`{member}`, {quoted(words)})"

    def other_kind(member: str) -> str:
        there = f"_x.`{member}` IS NOT NULL AND NOT is_variant_null(_x.`{member}`)"  # is_variant_null(NULL) is false
        return f"_m.`{member}` IS NULL AND ({there} OR {TEXT} RLIKE {TOO_LONG_A_NUMBER})"

    write = f"_m.msg = '{WRITE}'"
    return first_problem(
        ("_m.msg IS NULL", at("D103", "msg", "is missing")),
        (
            f"_m.msg NOT IN ('{WRITE}', '{DELETE}')",
            f"concat({quoted('D104 ' + places['msg'] + ' is ')}, left(_m.msg, 32), ', neither write nor delete')",
        ),
        ("coalesce(_m.namespace, '') = ''", at("D105", "namespace", "is missing or empty: no namespace")),
        (f"coalesce(octet_length(_d), 0) <> {DIGEST_BYTES}", at("D105", "digest", "is not 20 bytes in Base64, 28 characters")),
        (
            "_m.key_kind NOT IN ('STRING', 'BIGINT', 'VOID')",
            at("D105", "user_key", "is neither text nor a 64-bit integer nor null"),
        ),
        (other_kind("lut"), at("D106", "lut", "is not a 64-bit integer: milliseconds since 1970")),
        (
            f"_m.lut NOT BETWEEN 0 AND {MAX_LUT_MS}",
            value_at("D106", "lut", f", outside 0 to {MAX_LUT_MS} milliseconds"),
        ),
        (f"_m.lut BETWEEN 1 AND {OLDEST_LUT_MS - 1}", value_at("D106", "lut", ": seconds, not milliseconds since 1970?")),
        (other_kind("gen"), at("D106", "gen", f"is not an integer from 0 to {GENERATIONS - 1}")),
        (f"_m.gen NOT BETWEEN 0 AND {GENERATIONS - 1}", value_at("D106", "gen", f", outside 0 to {GENERATIONS - 1}")),
        ("_m.gen IS NULL AND _m.lut > 0", at("D106", "gen", "is missing beside a last-update time: the version is half known")),
        (f"{write} AND {other_kind('exp')}", at("D106", "exp", "is not a 64-bit integer: seconds since 1970")),
        (
            f"{write} AND _m.`exp` NOT BETWEEN -1 AND {LAST_EXP_S}",
            value_at("D106", "exp", f", outside 1 to {LAST_EXP_S} seconds since 1970 (never: 0 or -1)"),
        ),
    )


__all__ = ["EXACT_DDL", "LAST_EXP_S", "METADATA_MEMBERS", "NEEDS_EXACT", "OLDEST_LUT_MS", "finish"]
