"""Contracts of the Delta tables: history of events, dead letters. (The ledger's is in `schemas.ledger`.)

Columns are given as Spark DDL so that this module needs no Spark. A bin declared in the flow is a typed column of `bins`:

| declared | column | holds |
| int | BIGINT | the 64-bit integer |
| float | DOUBLE | the double, NaN and infinities included |
| str | STRING | the string |
| bool | BOOLEAN | |
| blob, hll | BINARY | the bytes |
| list, map, geojson | STRING | JSON text, every value exact; what JSON cannot say as in `schemas.nested` |

What such a column cannot hold (a bin nobody declared, a value of another type, a deleted bin) is rescued: `_rescued` has it by
its name, with its own type and text, so that nothing of an event is dropped. Lists and maps are text, so that a bin's name is all
of its path.

By policy (`schemas.xdr.options.Policies`) bins that nobody declared get columns, too, by the type they come with first:

| first type | column | holds |
| int, float, bool | as above | values of that type |
| str, list, map, geojson | STRING | values of any of these; `bin_types` says of which when it is no str |
| blob, hll | BINARY | values of either; `bin_types` says when it is an hll |
"""

from collections.abc import Mapping
from typing import NamedTuple

from schemas.bins import BinType

BIN_VALUE_DDL = "STRUCT<type: STRING, value: STRING>"
BIN_MAP_DDL = f"MAP<STRING, {BIN_VALUE_DDL}>"

TYPED_COLUMN: dict[BinType, str] = {
    BinType.INT: "BIGINT",
    BinType.FLOAT: "DOUBLE",
    BinType.STR: "STRING",
    BinType.BOOL: "BOOLEAN",
    BinType.BLOB: "BINARY",
    BinType.HLL: "BINARY",
    BinType.LIST: "STRING",
    BinType.MAP: "STRING",
    BinType.GEOJSON: "STRING",
}

RESCUED = "_rescued"
FORMER_RESCUED = "other_bins"
"""What `_rescued` was called in tables of earlier builds: they get `_rescued` with the next append, and keep the other."""

_OF_COLUMN: dict[str, BinType] = {"BIGINT": BinType.INT, "DOUBLE": BinType.FLOAT, "BOOLEAN": BinType.BOOL}


def added_as(kind: BinType) -> BinType:
    """The type by which a bin of that type is known when it gets a column without being declared: the first of its column's."""
    return _OF_COLUMN.get(TYPED_COLUMN[kind], BinType.STR if TYPED_COLUMN[kind] == "STRING" else BinType.BLOB)


PARTITION_COLUMN = "lut_date"
"""UTC date of `lut_ms`; of `kafka_timestamp` for events without ordering data, so that every event has a date."""

_REFUSED_IN_COLUMN_NAMES = frozenset(" ,;{}()\n\t=\0")
"""What Delta refuses in a column name of a table without column mapping (delta: SchemaUtils), and NUL, as Arrow does."""


class BinColumns(NamedTuple):
    """How declared bins become columns. `aside`: declared, but kept in `_rescued`, because they cannot be columns here."""

    typed: dict[str, BinType]
    aside: dict[str, str]


def bin_columns(declared: Mapping[str, BinType]) -> BinColumns:
    """Which declared bins become columns of `bins`, and which stay in `_rescued`, each with the reason.

    Bins whose names differ only in case are distinct in Aerospike and one column in Spark and Delta, so none of them gets the
    column: which one wins must not depend on their order. Names with characters Delta refuses cannot be columns either.
    """
    folded: dict[str, list[str]] = {}
    for name in declared:
        folded.setdefault(name.lower(), []).append(name)
    typed: dict[str, BinType] = {}
    aside: dict[str, str] = {}
    for name, kind in declared.items():
        twins = [other for other in folded[name.lower()] if other != name]
        refused = sorted(_REFUSED_IN_COLUMN_NAMES & set(name))
        if twins:
            aside[name] = f"differs only in case from {', '.join(map(repr, twins))}"
        elif refused or not name:
            aside[name] = f"Delta refuses {''.join(refused)!r} in column names" if refused else "an empty name cannot be a column"
        else:
            typed[name] = BinType(kind)
    return BinColumns(typed, aside)


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


_IDENTITY_DDL = (
    "namespace STRING, `set` STRING, digest BINARY, user_key STRUCT<type: STRING, value: STRING>, op STRING, durable BOOLEAN, "
    "gen INT, lut_ms BIGINT, exp_s BIGINT"
)
_ORIGIN_DDL = (
    "topic STRING, `partition` INT, `offset` BIGINT, element INT, kafka_timestamp TIMESTAMP, "
    "flow STRING, output STRING, epoch STRING, batch_id BIGINT"
)


def history_ddl(declared: Mapping[str, BinType] | None) -> str:
    """Columns of a history table, one row per event.

    declared: bins and their types, or None for schemaless, where `bins` is a map of name to (type, value text).
    Columns:  identity (namespace, set, digest, user_key); op, durable; version (gen, lut_ms) and expiry (exp_s); bins; with
              declared bins also `_rescued` (what the columns cannot hold) and `bin_types` (bins whose own type is another than
              their column's, such as `list:ordered`); place in Kafka (`element`: in a message that holds several events, from
              0); flow, output, epoch and batch that wrote the row;
              `lut_date` (partition).
    """
    if declared is None:
        bins = f"bins {BIN_MAP_DDL}"
    else:
        fields = ", ".join(f"{_quoted(name)}: {TYPED_COLUMN[kind]}" for name, kind in bin_columns(declared).typed.items())
        struct = f"bins STRUCT<{fields}>, " if fields else ""
        bins = f"{struct}_rescued {BIN_MAP_DDL}, bin_types MAP<STRING, STRING>"
    return f"{_IDENTITY_DDL}, {bins}, {_ORIGIN_DDL}, {PARTITION_COLUMN} DATE"


HISTORY_STATS_COLUMNS = "namespace,`set`,gen,lut_ms,topic,`partition`,`offset`,kafka_timestamp,epoch,batch_id"
"""What Delta keeps minima and maxima of (`delta.dataSkippingStatsColumns`): what people look up by, never the bins.

Binary columns are not allowed here: Delta accepts the property at first and refuses the next change of the schema.
"""

DEAD_LETTERS_DDL = (
    "flow STRING, lane STRING, output STRING, epoch STRING, batch_id BIGINT, code STRING, detail STRING, "
    "topic STRING, `partition` INT, `offset` BIGINT, element INT, kafka_timestamp TIMESTAMP, key BINARY, value BINARY, "
    "headers ARRAY<STRUCT<key: STRING, value: BINARY>>, format STRING, format_guess STRING, namespace STRING, digest BINARY, "
    "seen_at TIMESTAMP"
)
"""One row per event that could not be decoded (`output` null) or that one output cannot hold (`output` names it).

key, value: the original bytes. headers: null when the source did not ask Kafka for them. namespace, digest: null when not known.
format: as what it was read; format_guess: what its first bytes look like (`schemas.xdr.guess`). seen_at: when it was written.
(topic, partition, offset, element, output) is a letter's identity within a flow (`schemas.letters.LetterId`). A topic that was
created again begins at offset 0 once more: kafka_timestamp tells its messages from those of the one before.
"""

DEAD_LETTERS_STATS_COLUMNS = "output,epoch,batch_id,code,topic,`partition`,`offset`,kafka_timestamp,namespace,seen_at"

LETTER_STATES_DDL = (
    "flow STRING, topic STRING, `partition` INT, `offset` BIGINT, element INT, output STRING, kafka_timestamp TIMESTAMP, "
    "epoch STRING, state STRING, code STRING, detail STRING, fates MAP<STRING, STRING>, "
    "act STRING, act_id STRING, turn BIGINT, batch_id BIGINT, at TIMESTAMP, by STRING, why STRING"
)
"""What was done about dead letters: a row per letter and act, appended and never changed. The newest row says a letter's state.

epoch: the checkpoint whose letter it was: a letter that another checkpoint has written since waits again, as its outputs may have
been made anew. state: see `schemas.letters.LetterState`; a letter without a row waits. code, detail: why it still waits after a
replay. fates: what each output made of it (`schemas.letters.Fate`). act: replay or drop; act_id, batch_id: which, and which part.
turn: grows with every act on the table, so the newest row is that of the highest (turn, batch_id). by, why: who did it, and why.
"""

LETTER_STATES_STATS_COLUMNS = "topic,`partition`,`offset`,state,act_id,turn,at"

__all__ = [
    "BIN_MAP_DDL",
    "BIN_VALUE_DDL",
    "BinColumns",
    "DEAD_LETTERS_DDL",
    "DEAD_LETTERS_STATS_COLUMNS",
    "FORMER_RESCUED",
    "HISTORY_STATS_COLUMNS",
    "LETTER_STATES_DDL",
    "LETTER_STATES_STATS_COLUMNS",
    "PARTITION_COLUMN",
    "RESCUED",
    "TYPED_COLUMN",
    "added_as",
    "bin_columns",
    "history_ddl",
]
