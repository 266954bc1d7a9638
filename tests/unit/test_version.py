"""The version order: by last-update time, then by generation with wrap-around."""

from hypothesis import given
from hypothesis import strategies as st

from schemas.version import HALF, MAX_LUT_MS, Version, is_older, pack, packed_is_older, unpack

versions = st.builds(Version, st.integers(0, MAX_LUT_MS), st.integers(0, 65_535))


def test_later_time_wins_whatever_the_generation() -> None:
    assert is_older(Version(1, 65_535), Version(2, 1))
    assert not is_older(Version(2, 1), Version(1, 65_535))


def test_generation_wraps_from_65535_to_1() -> None:
    assert is_older(Version(5, 65_535), Version(5, 1))
    assert not is_older(Version(5, 1), Version(5, 65_535))


@given(versions, versions)
def test_at_most_one_of_two_is_older_and_equals_are_not(a: Version, b: Version) -> None:
    assert not (is_older(a, b) and is_older(b, a))
    assert not is_older(a, a)
    if a.lut_ms != b.lut_ms or (a.gen - b.gen) % 65_536 not in (0, HALF):
        assert is_older(a, b) != is_older(b, a)


@given(versions, versions)
def test_packing_keeps_the_order_and_fits_64_bits(a: Version, b: Version) -> None:
    assert unpack(pack(*a)) == a
    assert pack(*a) < 1 << 63
    assert packed_is_older(pack(*a), pack(*b)) == is_older(a, b)
