"""A stored record, and how filters and expressions see one."""

from collections.abc import Mapping
from typing import NamedTuple

from deploy.local.node.changes import Particle
from deploy.local.node.wire import EPOCH_S, name_bytes

RECORD_OVERHEAD_BYTES = 40
BIN_OVERHEAD_BYTES = 6
MAX_GENERATION = 65_535


class Record(NamedTuple):
    """One version of a record; a write makes a new one, so an image taken earlier never changes.

    void_time:  seconds since 2010, 0 never.
    lut_ms:     last-update time, ms since 1970.
    bins:       by name; never changed in place.
    size_bound: at least the stored size; what `size_bytes` counts exactly.
    """

    generation: int
    void_time: int
    lut_ms: int
    set_name: str | None
    key: Particle | None
    bins: dict[str, Particle]
    size_bound: int


def size_bytes(set_name: str | None, key: Particle | None, bins: Mapping[str, Particle]) -> int:
    """The stored size: bins, names, key and set, and some bytes for the record itself."""
    total = RECORD_OVERHEAD_BYTES + (len(set_name) if set_name else 0) + (1 + len(key[1]) if key else 0)
    for name, (_, value) in bins.items():
        total += BIN_OVERHEAD_BYTES + (len(name) if name.isascii() else len(name_bytes(name))) + len(value)
    return total


def next_generation(generation: int) -> int:
    """The generation after this one: 16 bits, 65535 is followed by 1."""
    return generation + 1 if generation < MAX_GENERATION else 1


class View:
    """A record as expressions see it (`algebra.view.RecordView`). `bins` may be a working copy that ops are changing."""

    __slots__ = ("bins", "digest", "key", "last_update_ms", "now_ms", "set_name", "void_time_s")

    def __init__(self, digest: bytes, record: Record, bins: Mapping[str, Particle], now_ms: int) -> None:
        self.bins = bins
        self.digest = digest
        self.key = record.key
        self.set_name = record.set_name or ""
        self.last_update_ms = record.lut_ms
        self.void_time_s = record.void_time + EPOCH_S if record.void_time else 0
        self.now_ms = now_ms

    @property
    def size_bytes(self) -> int:
        """The stored size as it is now."""
        return size_bytes(self.set_name, self.key, self.bins)
