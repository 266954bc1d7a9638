"""Every Kafka offset accounted for: in the history, among the dead letters, or unselected by the flow; none twice."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from schemas.ledger import LedgerRow


class OffsetAccount(NamedTuple):
    """What became of the offsets a lane has read.

    events:    offsets read, from the first of the checkpoint to the end of the last finished batch.
    doubled:   offsets (and elements of messages that hold several events) that stand more than once in the history or among one
               output's dead letters.
    lost:      offsets that no batch has read as a message, and rows read that are neither in the history, nor among the dead
               letters, nor unselected; 0 when nothing is missing.
    """

    events: int
    doubled: int
    lost: int


def account_offsets(
    history: DataFrame,
    dead_letters: DataFrame,
    ledger: Sequence[LedgerRow],
    start: Mapping[str, Mapping[int, int]],
    end: Mapping[str, Mapping[int, int]],
) -> OffsetAccount:
    """The account of [start, end) per topic and partition. Topics without transactions: every offset is a message.

    history, dead_letters: tables of `schemas.tables`; dead letters are decode failures only (`output` is null).
    ledger: the accounts of the history's batches in this range.
    """
    events = sum(
        offset - start.get(topic, {}).get(partition, 0) for topic, ends in end.items() for partition, offset in ends.items()
    )
    place = ["topic", "partition", "offset", "element"]
    counted = (
        history.select(*place)
        .unionAll(dead_letters.where(F.col("output").isNull()).select(*place))
        .groupBy(*place)
        .agg(F.count("*").alias("times"))
        .agg(F.count("*").alias("distinct"), F.sum(F.col("times") - 1).alias("again"))
        .first()
    )
    distinct, again = (counted["distinct"], counted["again"] or 0) if counted else (0, 0)
    unread = events - sum(row.messages for row in ledger)
    return OffsetAccount(events, again, unread + sum(row.rows_read - row.unselected for row in ledger) - distinct)


__all__ = ["OffsetAccount", "account_offsets"]
