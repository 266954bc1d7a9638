"""The one ordering rule: versions of a record are ordered by (lut, gen), generation compared with wrap-around.

`lut` is the source's last-update time in milliseconds since 1970; it never decreases, but repeats. `gen` is 16 bits,
starts at 1 and wraps 65535 -> 1; within one lut, `a` is older than `b` iff ((a - b) mod 65536) >= 32768, the server's own
rule (aerospike-server: as/include/base/datamodel.h, as_gen_less_than).

At one version a delete ranks above a write, so that any order of arrival ends in the same state.
"""

from typing import NamedTuple

GENERATIONS = 1 << 16
HALF = 1 << 15
MAX_LUT_MS = (1 << 46) - 1
"""Room for the packed form in a signed 64-bit integer; the server itself keeps 40 bits since 2010."""


class Version(NamedTuple):
    """A record's version. NamedTuple comparison is NOT the version order: use `is_older`."""

    lut_ms: int
    gen: int


def generation_is_older(a: int, b: int) -> bool:
    """Whether generation `a` is older than `b`, both 16-bit, within one last-update time."""
    return (a - b) % GENERATIONS >= HALF


def is_older(a: Version, b: Version) -> bool:
    """Whether `a` is strictly older than `b`. False for equal versions, either way round."""
    if a.lut_ms != b.lut_ms:
        return a.lut_ms < b.lut_ms
    return generation_is_older(a.gen, b.gen)


def pack(lut_ms: int, gen: int) -> int:
    """A version as one integer, lut * 65536 + gen. Integer order equals version order except across a wrapped generation."""
    return (lut_ms << 16) | gen


def unpack(packed: int) -> Version:
    """The inverse of `pack`."""
    return Version(packed >> 16, packed & 0xFFFF)


def packed_is_older(a: int, b: int) -> bool:
    """`is_older` on packed versions."""
    if a >> 16 != b >> 16:
        return a < b
    return generation_is_older(a & 0xFFFF, b & 0xFFFF)


__all__ = ["GENERATIONS", "HALF", "MAX_LUT_MS", "Version", "generation_is_older", "is_older", "pack", "packed_is_older", "unpack"]
