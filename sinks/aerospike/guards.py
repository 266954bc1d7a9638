"""Version guards as server-side filter expressions: the server itself refuses what is not newer.

A filter is applied to existing records only, and a record without a version (written by somebody else) counts as older than
every event. A rank is `schemas.version.pack(lut_ms, gen)`; events without ordering data rank below every packed version
(negative numbers, see `sinks.aerospike.rank`) and compare as plain integers.

A compiled expression is a plain list of tuples in the client: each guard is compiled once, with marked constants, and a copy is
patched per record (1 us instead of 35 us to build).
"""

from typing import Any, NamedTuple

from aerospike_helpers import expressions as exp

VERSION_BIN = "_mr_v"
BATCH_BIN = "_mr_b"
KIND_BIN = "_mr_k"
STAMP_BIN = "_mr_n"
STATE_BIN = "_mr_m"
"""The last two are those of partial images: a number that changes with every write, and what is known of each bin."""

_GENERATION_MASK = 0xFFFF
_HALF = 1 << 15

_RANK, _FLOOR, _CEILING, _KIND = (0x5A5A_0000_0000_0001 + n for n in range(4))  # marks, found again in the compiled form


class _Template:
    """A compiled expression whose marked constants are filled in per use."""

    def __init__(self, expression: Any) -> None:
        self._compiled: list[tuple[Any, ...]] = expression.compile()
        self._holes = [
            (index, entry[2]["val"])
            for index, entry in enumerate(self._compiled)
            if isinstance(entry[2], dict) and entry[2].get("val") in (_RANK, _FLOOR, _CEILING, _KIND)
        ]

    def fill(self, constants: dict[int, int]) -> list[tuple[Any, ...]]:
        """A copy with every mark replaced."""
        filled = self._compiled.copy()
        for index, mark in self._holes:
            code, result, _, children = filled[index]
            filled[index] = (code, result, {"val": constants[mark]}, children)
        return filled


_STORED = exp.IntBin(VERSION_BIN)
_UNVERSIONED = exp.Not(exp.BinExists(VERSION_BIN))
_EARLIER = exp.LT(_STORED, _FLOOR)
_OLDER = exp.Or(
    _EARLIER,
    exp.And(exp.LE(_STORED, _CEILING), exp.GE(exp.IntAnd(exp.Sub(_STORED, _RANK), _GENERATION_MASK), _HALF)),
)
_SAME = exp.Eq(_STORED, _RANK)
_LOWER_KIND = exp.And(_SAME, exp.LT(exp.IntBin(KIND_BIN), _KIND))


class _Guard(NamedTuple):
    """One guard twice: for ranks with a version (wrapped generations), and for Kafka's order (plain integers)."""

    versioned: _Template
    unversioned: _Template

    def fill(self, rank: int, kind: int = 0) -> list[tuple[Any, ...]]:
        if rank < 0:
            return self.unversioned.fill({_RANK: rank, _FLOOR: rank, _KIND: kind})
        floor = rank & ~_GENERATION_MASK
        return self.versioned.fill({_RANK: rank, _FLOOR: floor, _CEILING: floor | _GENERATION_MASK, _KIND: kind})


_SURELY_OLDER = _Guard(*[_Template(exp.Or(_UNVERSIONED, _EARLIER))] * 2)
_IS_OLDER = _Guard(_Template(exp.Or(_UNVERSIONED, _OLDER)), _Template(exp.Or(_UNVERSIONED, _EARLIER)))
_NOT_NEWER = _Guard(_Template(exp.Or(_UNVERSIONED, _SAME, _OLDER)), _Template(exp.Or(_UNVERSIONED, _SAME, _EARLIER)))
_OUTRANKED = _Guard(_Template(exp.Or(_UNVERSIONED, _LOWER_KIND, _OLDER)), _Template(exp.Or(_UNVERSIONED, _LOWER_KIND, _EARLIER)))
_STAMPED = _Template(exp.Eq(exp.IntBin(STAMP_BIN), _RANK))
_UNSTAMPED = exp.Not(exp.BinExists(STAMP_BIN)).compile()


def surely_older(rank: int) -> Any:
    """Stored version older than `rank` by its last-update time alone: one guard for a whole call, given its smallest rank.

    It lets through only what is certainly older; what it filters out is read back and decided one by one.
    """
    return _SURELY_OLDER.fill(rank)


def older(rank: int) -> Any:
    """Stored version strictly older than `rank`, wrapped generations included."""
    return _IS_OLDER.fill(rank)


def older_or_equal(rank: int) -> Any:
    """Stored version not newer than `rank`: what a delete may remove."""
    return _NOT_NEWER.fill(rank)


def outranked(rank: int, kind: int) -> Any:
    """Stored tombstone below (`rank`, `kind`): older, or of the same version and lower kind."""
    return _OUTRANKED.fill(rank, kind)


def stamped(stamp: int | None) -> Any:
    """The record still carries `stamp`, or still none: nobody of us has written it since it was read.

    A generation would not do: it begins again at 1 when a record is removed and created anew.
    """
    return _UNSTAMPED if stamp is None else _STAMPED.fill({_RANK: stamp})


__all__ = [
    "BATCH_BIN",
    "KIND_BIN",
    "STAMP_BIN",
    "STATE_BIN",
    "VERSION_BIN",
    "older",
    "older_or_equal",
    "outranked",
    "stamped",
    "surely_older",
]
