"""What the node tells a change shipper: current images of records and images of deletes.

A change is announced by digest only; the shipper fetches the image when it ships, so several writes of a hot record between two
fetches become one event, as the real shipper does it. A deleted record has no current image, so deletes travel with their own.
"""

from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple, Protocol

Particle = tuple[int, bytes]
"""(particle type, raw value bytes as on the wire)."""

ChangeKind = Literal["write", "delete", "expire"]


class RecordImage(NamedTuple):
    """A record as it is now.

    set_name:   None when the record has no set.
    digest:     20 bytes.
    key:        the stored user key, or None when none was sent.
    generation: 1..65535.
    lut_ms:     last-update time, ms since 1970.
    exp_s:      expiry, Unix seconds, 0 for never.
    bins:       by name; never changed after the image was taken.
    """

    namespace: str
    set_name: str | None
    digest: bytes
    key: Particle | None
    generation: int
    lut_ms: int
    exp_s: int
    bins: Mapping[str, Particle]


class DeletedImage(NamedTuple):
    """A record that went: by a client (`delete`), or by expiry (`expire`).

    generation: the record's last generation + 1, wrapped 65535 -> 1.
    lut_ms:     when it was deleted, ms since 1970; later than every update of the record before.
    durable:    a durable delete was asked for and is permitted in the namespace.
    """

    namespace: str
    set_name: str | None
    digest: bytes
    key: Particle | None
    generation: int
    lut_ms: int
    durable: bool
    kind: ChangeKind


class ChangeListener(Protocol):
    """Told after every change is in memory and before its reply is sent; must return at once and never raise."""

    def __call__(self, namespace: str, digest: bytes, kind: ChangeKind, deleted: DeletedImage | None) -> None:
        """`deleted` is given for `delete` and `expire`. Truncation announces nothing."""


class ChangeSource(Protocol):
    """What a shipper may ask a namespace."""

    name: str
    listeners: list[ChangeListener]

    def image(self, digest: bytes) -> RecordImage | None:
        """The record as it is now; None when it is gone or expired."""

    def changes_since(self, lut_ms: int) -> Iterator[RecordImage | DeletedImage]:
        """Every record and every remembered delete with `lut_ms` at or after the given time, oldest first.

        Last-update times never go backwards within a namespace, also across restarts. Deletes are remembered for the namespace's
        `delete-history` seconds (default one hour), persisted, so that what was not shipped before a kill is shipped after it.
        """


__all__ = ["ChangeKind", "ChangeListener", "ChangeSource", "DeletedImage", "Particle", "RecordImage"]
