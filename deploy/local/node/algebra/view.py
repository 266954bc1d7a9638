"""What an expression may see of a record."""

from collections.abc import Mapping
from typing import Protocol, TypeAlias

Particle: TypeAlias = tuple[int, bytes]
"""(particle type, raw wire value), as stored in a bin."""

NULL = 0
INTEGER = 1
FLOAT = 2
STRING = 3
BLOB = 4
BOOL = 17
HLL = 18
MAP = 19
LIST = 20
GEOJSON = 23


class RecordView(Protocol):
    """One record as it is now: what filters and expression operations are evaluated over.

    bins:           by name, UTF-8 decoded with surrogateescape; a missing bin is absent
    set_name:       empty without a set
    digest:         20 bytes
    key:            the user key as a particle, None when it was not stored
    last_update_ms: Unix milliseconds of the last update
    void_time_s:    Unix seconds; 0 = never expires
    size_bytes:     stored size
    now_ms:         Unix milliseconds: the time this evaluation counts as now
    """

    @property
    def bins(self) -> Mapping[str, Particle]: ...  # noqa: D102
    @property
    def set_name(self) -> str: ...  # noqa: D102
    @property
    def digest(self) -> bytes: ...  # noqa: D102
    @property
    def key(self) -> Particle | None: ...  # noqa: D102
    @property
    def last_update_ms(self) -> int: ...  # noqa: D102
    @property
    def void_time_s(self) -> int: ...  # noqa: D102
    @property
    def size_bytes(self) -> int: ...  # noqa: D102
    @property
    def now_ms(self) -> int: ...  # noqa: D102


__all__ = ["BLOB", "BOOL", "FLOAT", "GEOJSON", "HLL", "INTEGER", "LIST", "MAP", "NULL", "Particle", "RecordView", "STRING"]
