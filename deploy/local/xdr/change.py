"""One change as it is about to be shipped, whatever the encoding."""

from collections.abc import Mapping
from typing import Literal, NamedTuple

from deploy.local.node.changes import DeletedImage, Particle, RecordImage


class Change(NamedTuple):
    """A write's image or a delete, read from the node at ship time.

    set_name: None when the record has none.
    key:      the user key, only when the record stores it.
    gen:      16-bit generation; lut_ms: milliseconds since 1970; exp_s: seconds since 1970, 0 = never, 0 in deletes.
    durable:  deletes only: the delete left a tombstone.
    bins:     name -> particle; None stands for a bin deleted since the last shipment (bin policy only-changed).
    """

    op: Literal["write", "delete"]
    namespace: str
    set_name: str | None
    digest: bytes
    key: Particle | None
    gen: int
    lut_ms: int
    exp_s: int
    durable: bool
    bins: Mapping[str, Particle | None]


class Message(NamedTuple):
    """What Kafka stores: record key and value."""

    key: bytes
    value: bytes


class Unserialisable(Exception):
    """A record that its format cannot express. The connector skips such a record; so do we, and count it."""


def write_of(image: RecordImage, bins: Mapping[str, Particle | None] | None = None) -> Change:
    """The write that ships `image`; with `bins`, only those."""
    return Change(
        "write",
        image.namespace,
        image.set_name,
        image.digest,
        image.key,
        image.generation,
        image.lut_ms,
        image.exp_s,
        False,
        image.bins if bins is None else bins,
    )


def delete_of(image: DeletedImage) -> Change:
    """The delete that ships a removal or an expiry; the two cannot be told apart afterwards, as with real output."""
    return Change(
        "delete",
        image.namespace,
        image.set_name,
        image.digest,
        image.key,
        image.generation,
        image.lut_ms,
        0,
        image.durable,
        {},
    )


__all__ = ["Change", "Message", "Unserialisable", "delete_of", "write_of"]
