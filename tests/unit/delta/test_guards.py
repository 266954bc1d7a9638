"""Which starts are refused, on evidence alone."""

import pytest

from schemas.errors import ConfigError, MillraceError, Terminal
from sinks.delta.guards import newest_of, require_checkpoint_not_older, require_distinct_writers, require_own_table
from sinks.delta.table_log import StoredTxn

Stored = dict[str, StoredTxn]


def stored(*txns: tuple[str, int, int | None]) -> Stored:
    """(epoch or whole id, version, table version)."""
    ids = [(name if "/" in name else f"millrace/f/o/{name}", version, commit) for name, version, commit in txns]
    return {app: StoredTxn(app, version, 1_767_225_600_000 + version, commit) for app, version, commit in ids}


@pytest.mark.parametrize(("held", "last_offsets"), [(4, 5), (5, 5), (0, 0)])
def test_a_table_at_or_behind_the_checkpoint_may_start(held: int, last_offsets: int) -> None:
    require_checkpoint_not_older(stored(("e", held, 1)), "f", "o", "e", last_offsets, "/t")


@pytest.mark.parametrize(("held", "last_offsets", "told"), [(6, 5, "planned batches up to 5"), (0, None, "planned no batch")])
def test_a_checkpoint_older_than_the_table_is_refused(held: int, last_offsets: int | None, told: str) -> None:
    with pytest.raises(Terminal) as error:
        require_checkpoint_not_older(stored(("e", held, 1)), "f", "o", "e", last_offsets, "/t")
    assert error.value.code == "E422"
    assert f"batches up to {held} of checkpoint e" in str(error.value) and told in str(error.value)
    assert "path=/t" in str(error.value) and "fresh checkpoint" in error.value.remedy


def test_only_our_own_id_counts_for_age() -> None:
    others = stored(("other", 99, 1), ("millrace/g/o/e", 99, 2), ("millrace/f/p/e", 99, 3), ("o/e", 99, 4))
    require_checkpoint_not_older(others, "f", "o", "e", 0, "/t")
    require_checkpoint_not_older(others, "f", "o", None, None, "/t")


@pytest.mark.parametrize("epoch", ["e2", None])
def test_another_checkpoints_table_is_refused_unless_adopted(epoch: str | None) -> None:
    held = stored(("e1", 41, 7))
    with pytest.raises(Terminal) as error:
        require_own_table(held, "f", "o", epoch, "/t", adopt=False)
    assert error.value.code == "E423"
    assert "batches up to 41 of checkpoint e1 (written 2026-01-01T00:00:00+00:00)" in str(error.value)
    assert ("this checkpoint is new" if epoch is None else "this checkpoint is e2 and wrote none") in str(error.value)
    require_own_table(held, "f", "o", epoch, "/t", adopt=True)


@pytest.mark.parametrize(
    "held",
    [
        stored(),
        stored(("e", 3, 1)),
        stored(("millrace/g/o/x", 3, 1), ("millrace/f/other/x", 3, 2), ("millrace/f/o2/x", 3, 3), ("someone/else", 3, 4)),
        stored(("e", 0, 9), ("e/mended/0", 2, 10)),
        stored(("old", 50, 3), ("e", 0, 4)),
        stored(("old", 50, None), ("e", 0, 4)),
    ],
    ids=["empty", "ours", "other writers", "mended", "adopted before", "adopted before, in the table checkpoint"],
)
def test_our_own_table_may_start(held: Stored) -> None:
    require_own_table(held, "f", "o", "e", "/t", adopt=False)


@pytest.mark.parametrize(
    "held",
    [stored(("e", 50, 3), ("new", 0, 4)), stored(("e", 50, None), ("new", 0, 4)), stored(("e", 50, None), ("new", 51, None))],
    ids=["by commit", "ours in the table checkpoint", "both in the table checkpoint, by the clock"],
)
def test_the_checkpoint_before_a_take_over_is_refused(held: Stored) -> None:
    with pytest.raises(Terminal, match=r"E423.*checkpoint new.*this checkpoint is e and last wrote batch 50"):
        require_own_table(held, "f", "o", "e", "/t", adopt=False)


def test_two_outputs_with_one_id_are_refused() -> None:
    require_distinct_writers([("/a", "o"), ("/b", "o"), ("/a", "p")])
    with pytest.raises(ConfigError, match="two outputs named 'o'"):
        require_distinct_writers([("/a", "o"), ("/b", "o"), ("/a", "o")])


def test_refusals_are_errors_a_person_can_act_on() -> None:
    try:
        require_own_table(stored(("e1", 1, 1)), "f", "o", None, "/t", adopt=False)
    except MillraceError as error:
        assert "adopt" in error.remedy
    else:
        pytest.fail("not refused")


def test_the_newest_transaction_of_a_flow_or_of_one_writer() -> None:
    held = stored(("e", 3, 7), ("e2", 0, 9), ("millrace/f/o2/e", 5, 11), ("millrace/g/o/e", 5, 12), ("e3", 9, None))
    assert newest_of(held, "f", "o/") == StoredTxn("millrace/f/o/e2", 0, 1_767_225_600_000, 9)
    assert newest_of(held, "f") == held["millrace/f/o2/e"]
    assert newest_of(held, "h") is None
