"""A letter's name, and how it ends."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.letters import Fate, Fates, LetterId, LetterState, state_of

TOPICS = st.text("abcXYZ019._-", min_size=1, max_size=20)
OUTPUTS = st.none() | st.from_regex(r"[a-z][a-z0-9_-]{0,10}", fullmatch=True)
NUMBERS = st.integers(0, 2**63 - 1)


@given(TOPICS, st.integers(0, 2**31 - 1), NUMBERS, st.integers(0, 2**31 - 1), OUTPUTS)
def test_a_name_spells_one_letter(topic: str, partition: int, offset: int, element: int, output: str | None) -> None:
    letter = LetterId(topic, partition, offset, element, output)
    assert LetterId.parse(str(letter)) == letter


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("t/1/2", LetterId("t", 1, 2, 0, None)),
        ("t/1/2/3", LetterId("t", 1, 2, 3, None)),
        ("t/1/2/0/@decode", LetterId("t", 1, 2, 0, None)),
        ("t/1/2/0/mirror", LetterId("t", 1, 2, 0, "mirror")),
    ],
)
def test_element_and_output_may_be_left_out(text: str, letter: LetterId) -> None:
    assert LetterId.parse(text) == letter


@pytest.mark.parametrize("text", ["", "t", "t/1", "/1/2", "t/one/2", "t/1/2/3/m/x"])
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        LetterId.parse(text)


@pytest.mark.parametrize(
    ("fates", "state"),
    [
        ({"mirror": Fate.APPLIED, "history": Fate.APPLIED}, LetterState.REPLAYED),
        ({"mirror": Fate.DUPLICATE, "history": Fate.DUPLICATE}, LetterState.REPLAYED),
        ({"mirror": Fate.SUPERSEDED, "history": Fate.APPLIED}, LetterState.SUPERSEDED),
        ({"mirror": Fate.SUPERSEDED, "second": Fate.APPLIED}, LetterState.REPLAYED),
        ({"mirror": Fate.SUPERSEDED, "second": Fate.DEAD}, LetterState.WAITING),
        ({"mirror": Fate.APPLIED, "history": Fate.DEAD}, LetterState.WAITING),
        ({"history": Fate.APPLIED}, LetterState.REPLAYED),
        ({"mirror": Fate.UNSELECTED, "history": Fate.UNSELECTED}, LetterState.REPLAYED),
    ],
)
def test_the_state_after_a_replay(fates: dict[str, Fate], state: LetterState) -> None:
    assert state_of(Fates(fates), frozenset({"mirror", "second"})) is state
