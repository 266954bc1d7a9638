"""One account against what the tables hold of its batch. Pure."""

from collections.abc import Iterator, Mapping

from pipelines.kafka_offsets import Offsets
from pipelines.ledger_check.history_rows import Held
from pipelines.ledger_check.letter_rows import Letters
from pipelines.ledger_check.misfit import Misfit, counted
from schemas.ledger import LedgerRow


def judge_history(row: LedgerRow, held: Mapping[tuple[str, int], Held], start: Offsets, end: Offsets) -> Iterator[Misfit]:
    """The misfits of a history's account. held: what the table has of the batch; start, end: empty for a replay.

    A batch that was repeated with a decoder that reads more has rows for events that have letters, too: more than `applied`.
    """
    again = sum(one.again for one in held.values())
    if again:
        (topic, partition), one = next((place, one) for place, one in held.items() if one.example)
        where = f"{topic}[{partition}]@{one.example[0]}" if one.example else ""
        yield _misfit(
            row, f"{counted(again, 'row')} of the history stand there twice, such as {where}", "events were added again"
        )
    for (topic, partition), one in sorted(held.items()) if end else ():
        first, stop = start.get(topic, {}).get(partition, 0), end.get(topic, {}).get(partition, 0)
        if one.lowest < first or one.highest >= stop:
            what = (
                f"rows of {topic}[{partition}]@{one.lowest:,} to @{one.highest:,}, but the batch read @{first:,} to @{stop - 1:,}"
            )
            yield _misfit(row, what, "rows of another batch carry this one's number, or the account was changed")
    found = sum(one.rows for one in held.values()) - again
    lettered = sum(one.lettered for one in held.values())
    if found not in (row.applied, row.applied + lettered):
        what = f"the history holds {counted(found, 'event')}, its account says {row.applied:,} applied"
        means = "rows were taken from the history" if found < row.applied else "rows were added to the history"
        yield _misfit(row, what, f"{means}, or the account was changed")


def judge_letters(
    row: LedgerRow, own: Letters, undecoded: Letters, between: Letters, *, keeps: bool, settled: bool, lettered: int = 0
) -> Iterator[Misfit]:
    """The misfits of an account's dead events.

    own: letters the batch made for this output. undecoded: those it made of messages nobody can read, where its lane keeps them
    (keeps); between: such letters of its span of offsets, whichever lane keeps them. settled: whether that lane has read so far.
    lettered: events that have a letter and are in the history, too.
    """
    here = own | undecoded
    if here.again:
        yield _misfit(row, f"{counted(here.again, 'dead letter')} stand there twice", "letters were added again")
    exact, wide = len(here.places), len(here.places | between.places)
    found = exact if keeps or undecoded.places else wide
    if row.dead == found or exact < row.dead == wide:  # the latter: another lane kept them then
        return
    if wide < row.dead:
        if settled:
            what = f"there are letters of {counted(wide, 'event')}, the account says {row.dead:,} dead"
            yield _misfit(row, what, "letters were taken away, or the account was changed")
        return
    surplus = (found if found > row.dead else wide) - row.dead
    if surplus > max(lettered, len(here.passing | between.passing)):
        what = f"there are letters of {counted(row.dead + surplus, 'event')}, the account says {row.dead:,} dead"
        means = (
            "letters were added, or the account was changed. A batch that was cut may leave a letter of an event that its "
            "repetition could use: replaying that letter does no harm"
        )
        yield _misfit(row, what, means)


def _misfit(row: LedgerRow, what: str, means: str) -> Misfit:
    return Misfit("E413", row.lane, row.output, row.epoch, row.batch_id, row.committed_at, what, means)


__all__ = ["judge_history", "judge_letters"]
