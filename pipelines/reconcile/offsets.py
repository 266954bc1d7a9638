"""Every Kafka offset accounted for: in the history, among the dead letters, or unselected by the flow; none twice.

Rows that came out of dead letters later (`millrace dead-letters replay`) carry the replay's id instead of the checkpoint's: they
are no part of what the lane has read, and are accounted for apart.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipelines.kafka_offsets import count
from pipelines.reconcile.gaps import Gaps
from schemas.ledger import LedgerRow


class OffsetAccount(NamedTuple):
    """What became of the offsets a lane has read.

    events:    offsets read that hold a message, from the first of the checkpoint to the end of the last finished batch.
    doubled:   offsets (and elements of messages that hold several events) that stand more than once in the history or among one
               output's dead letters.
    lost:      messages that no batch has read, and rows read that are neither in the history, nor among the dead
               letters, nor unselected; 0 when nothing is missing.
    """

    events: int
    doubled: int
    lost: int
    gaps: Gaps = Gaps()


def account_offsets(
    history: DataFrame,
    dead_letters: DataFrame,
    ledger: Sequence[LedgerRow],
    start: Mapping[str, Mapping[int, int]],
    end: Mapping[str, Mapping[int, int]],
    gaps: Gaps | None = None,
) -> OffsetAccount:
    """The account of [start, end) per topic and partition.

    history, dead_letters: tables of `schemas.tables`; dead letters are decode failures only (`output` is null).
    ledger: the accounts of the history's batches in this range.
    gaps:   what became of offsets that are no message in the ledger; None when every offset is a message.
    """
    offsets = count(end, since=start)
    gaps = gaps or Gaps(missing=offsets - sum(row.messages for row in ledger))
    place = ["topic", "partition", "offset", "element"]
    # A batch repeated after a decoder was mended may have given an event to the history whose letter was written before.
    letters = dead_letters.where(F.col("output").isNull()).select(*place).join(history.select(*place), place, "left_anti")
    counted = (
        history.select(*place)
        .unionAll(letters)
        .groupBy(*place)
        .agg(F.count("*").alias("times"))
        .agg(F.count("*").alias("distinct"), F.sum(F.col("times") - 1).alias("again"))
        .first()
    )
    distinct, again = (counted["distinct"], counted["again"] or 0) if counted else (0, 0)
    lost = gaps.missing + sum(row.rows_read - row.unselected for row in ledger) - distinct
    return OffsetAccount(offsets - gaps.empty - gaps.unconfirmed, again, lost, gaps)


class LateAccount(NamedTuple):
    """What became of events that replays have given to a history.

    doubled: events a replay added that the history has from elsewhere, too. lost: letters a replay has settled with this history
             whose message is not in it.
    """

    doubled: int
    lost: int


def account_late(history: DataFrame, late: DataFrame, states: DataFrame, output: str) -> LateAccount:
    """The account of a history's late rows.

    history: all its rows; late: those of replays; states: table of `schemas.tables.LETTER_STATES_DDL`.
    """
    message = ["topic", "partition", "offset", "kafka_timestamp"]
    place = [*message, "element"]
    times = history.select(*place).groupBy(*place).agg(F.count("*").alias("times"))
    doubled = late.select(*place).distinct().join(times, place).where("times > 1").count()
    settled = states.where(F.col("fates")[output].isin("applied", "duplicate")).select(*message).distinct()
    return LateAccount(doubled, settled.join(history.select(*message), message, "left_anti").count())


__all__ = ["LateAccount", "OffsetAccount", "account_late", "account_offsets"]
