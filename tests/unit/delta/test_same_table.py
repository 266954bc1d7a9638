"""Whether a table is still the one written so far, and whole: on evidence alone."""

import pytest

from schemas.errors import Terminal
from sinks.delta.same_table import require_finished_batches, require_not_set_back, require_same_table
from sinks.delta.table_log import SetBack, StoredTxn, TableLog


def log(version: int = 9, table_id: str | None = "A", set_back: int | None = None, looked_from: int = 0) -> TableLog:
    backs = () if set_back is None else (SetBack(1, "a CLONE"), SetBack(set_back, "a RESTORE"))
    return TableLog({}, backs, version, looked_from, table_id)


@pytest.mark.parametrize("version", [9, 10])
def test_the_same_table_no_older_may_start(version: int) -> None:
    require_same_table("A", 9, log(version), "/t")


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (log(-1, None), "there is no table any more; it was at version 9 when last looked at"),
        (log(0, "B"), r"this is another table: its id is B, and that of the one written so far A \(version 9"),
        (log(99, "B"), "this is another table"),
        (log(8), "the table is at version 8, and was at 9 when last looked at: an older copy is in its place"),
    ],
)
def test_another_table_or_an_older_copy_is_refused(found: TableLog, told: str) -> None:
    with pytest.raises(Terminal, match=rf"E441.*{told}.*path=/t table=history") as error:
        require_same_table("A", 9, found, "/t", table="history")
    assert "--adopt-tables" in error.value.remedy


def ours(batch: int, committed: int | None = 7) -> StoredTxn:
    return StoredTxn("millrace/f/o/e", batch, 1, committed)


@pytest.mark.parametrize(
    ("held", "last_commit", "accepted"),
    [(ours(5), 5, None), (ours(6), 5, None), (None, None, None), (None, 5, 5), (ours(5), 5, 3), (ours(0), 5, 9)],
    ids=["level", "a batch ahead, after a kill", "new", "accepted", "grown since", "an older checkpoint"],
)
def test_a_table_with_every_finished_batch_may_start(
    held: StoredTxn | None, last_commit: int | None, accepted: int | None
) -> None:
    require_finished_batches(held, last_commit, accepted, "/t")


@pytest.mark.parametrize(
    ("held", "accepted", "told"),
    [
        (None, None, "finished batches up to 5, and the table holds none of them"),
        (ours(3), None, "finished batches up to 5, and the table holds those up to 3"),
        (ours(3), 4, "those up to 3"),
    ],
)
def test_a_table_that_lacks_finished_batches_is_refused(held: StoredTxn | None, accepted: int | None, told: str) -> None:
    with pytest.raises(Terminal, match=rf"E441.*{told}.*output=o path=/t"):
        require_finished_batches(held, 5, accepted, "/t", output="o")


@pytest.mark.parametrize(("committed", "seen"), [(5, None), (None, None), (5, 5), (7, 5), (None, 5)])
def test_a_table_set_back_after_it_was_last_looked_at_is_refused(committed: int | None, seen: int | None) -> None:
    with pytest.raises(Terminal, match=r"E426.*table version 6 is a RESTORE, after"):
        require_not_set_back(log(set_back=6, looked_from=0), ours(3, committed), seen, "/t")


def test_a_table_set_back_while_the_flow_went_on_is_noticed_by_its_next_start() -> None:
    """Batch 9 was appended after the RESTORE: without memory the newest transaction hides it."""
    after = log(set_back=6)
    require_not_set_back(after, ours(9, committed=8), None, "/t")
    with pytest.raises(Terminal, match=r"E426.*after version 5, the last one looked at"):
        require_not_set_back(after, ours(9, committed=8), 5, "/t")


@pytest.mark.parametrize(
    ("found", "mine", "seen"),
    [
        (log(set_back=6), ours(3, 7), None),
        (log(), ours(3, 7), 5),
        (log(set_back=6), None, 5),
        (log(set_back=6), ours(3, 7), 6),
        (log(looked_from=6), ours(3, 7), 5),
    ],
    ids=["before our last batch", "never", "nothing of ours", "looked at before", "all looked at"],
)
def test_other_tables_may_start(found: TableLog, mine: StoredTxn | None, seen: int | None) -> None:
    require_not_set_back(found, mine, seen, "/t")


def test_a_log_that_was_cleaned_before_anybody_looked_is_refused() -> None:
    with pytest.raises(Terminal, match=r"E426.*versions 6 to 7 of the table are cleaned out of its log"):
        require_not_set_back(log(looked_from=8), ours(3, 9), 5, "/t")
