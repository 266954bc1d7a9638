"""A namespace as the shipper sees it, and short ways to make its records."""

import struct
from collections.abc import Iterator
from hashlib import blake2b

from deploy.local.node.changes import ChangeListener, DeletedImage, Particle, RecordImage

BASE_LUT_MS = 1_764_633_600_000


def digest_of(name: str) -> bytes:
    return blake2b(name.encode(), digest_size=20).digest()


def integer(number: int) -> Particle:
    return 1, number.to_bytes(8, "big", signed=True)


def double(number: float) -> Particle:
    return 2, struct.pack(">d", number)


def string(text: str) -> Particle:
    return 3, text.encode()


class Clock:
    """Milliseconds that pass only when told."""

    def __init__(self) -> None:
        self.ms = 1_000.0

    def __call__(self) -> float:
        return self.ms


class FakeNamespace:
    """Records in memory, with the node's rules for generation, last-update time and listeners."""

    def __init__(self, name: str = "payments") -> None:
        self.name = name
        self.listeners: list[ChangeListener] = []
        self.records: dict[bytes, RecordImage] = {}
        self.deleted: dict[bytes, DeletedImage] = {}
        self.lut_ms = BASE_LUT_MS

    def image(self, digest: bytes) -> RecordImage | None:
        return self.records.get(digest)

    def changes_since(self, lut_ms: int) -> Iterator[RecordImage | DeletedImage]:
        found = [image for image in (*self.records.values(), *self.deleted.values()) if image.lut_ms >= lut_ms]
        return iter(sorted(found, key=lambda image: image.lut_ms))

    def write(self, name: str, exp_s: int = 0, **bins: Particle) -> RecordImage:
        digest = digest_of(name)
        self.lut_ms += 1
        old = self.records.get(digest)
        self.deleted.pop(digest, None)
        generation = old.generation + 1 if old else 1
        image = RecordImage(self.name, "cards", digest, string(name), generation, self.lut_ms, exp_s, bins)
        self.records[digest] = image
        self._tell(digest, "write", None)
        return image

    def remove(self, name: str, *, kind: str = "delete", durable: bool = False) -> DeletedImage:
        digest = digest_of(name)
        self.lut_ms += 1
        old = self.records.pop(digest)
        gone = DeletedImage(self.name, old.set_name, digest, old.key, old.generation + 1, self.lut_ms, durable, kind)  # type: ignore[arg-type]
        self.deleted[digest] = gone
        self._tell(digest, kind, gone)
        return gone

    def truncate(self) -> None:
        self.records.clear()

    def _tell(self, digest: bytes, kind: str, deleted: DeletedImage | None) -> None:
        for listener in self.listeners:
            listener(self.name, digest, kind, deleted)  # type: ignore[arg-type]
