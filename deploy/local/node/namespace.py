"""A namespace: its records by partition and digest, its sets, its truncations, its memory of deletes; all of it logged.

Everything here runs on one thread, so a command is atomic. A change is made in memory and queued in the log; the server flushes
the log before it replies.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from deploy.local.node import entries
from deploy.local.node.changes import ChangeKind, ChangeListener, DeletedImage, Particle, RecordImage
from deploy.local.node.config import NamespaceConfig
from deploy.local.node.entries import Delete, Kind, Put, Text
from deploy.local.node.log import Log
from deploy.local.node.record import Record, next_generation, size_bytes
from deploy.local.node.sindex import SecondaryIndex
from deploy.local.node.wire import EPOCH_S, OP_WRITE, name_bytes, op_bytes, parse_ops

PARTITIONS = 4096
SNAPSHOT_STEP_RECORDS = 200
"""Some two milliseconds, in which nobody is answered."""
_pack_put = entries.PUT.pack
_new = tuple.__new__


def now_ms() -> int:
    """Unix milliseconds."""
    return time.time_ns() // 1_000_000


@dataclass(slots=True)
class BackgroundJob:
    """How far a background query is, for `query-show`."""

    number: int
    set_name: str
    partitions_done: int = 0
    succeeded: int = 0
    filtered: int = 0
    failed: int = 0


class Namespace:
    """Records, sets and indexes of one namespace. `load` first; single-threaded."""

    def __init__(self, config: NamespaceConfig, folder: Path) -> None:
        self.name = config.name
        self.config = config
        self.partitions: list[dict[bytes, Record]] = [{} for _ in range(PARTITIONS)]
        self.objects = 0
        self.set_objects: dict[str, int] = {}
        """Records per set; a set stays known when its last record goes."""
        self.truncated_ms: dict[str, int] = {}
        """The last truncation of each set, "" for the whole namespace."""
        self.indexes: dict[str, SecondaryIndex] = {}
        self.deleted: dict[bytes, DeletedImage] = {}
        """Recent deletes, oldest first."""
        self.listeners: list[ChangeListener] = []
        self.expired_objects = 0
        self.jobs: dict[int, BackgroundJob] = {}
        """Background queries by their number, the oldest forgotten."""
        self.log = Log(folder)
        self._clock_ms = 0
        self._snapshot: Iterator[None] | None = None

    # ------------------------------------------------------------------ reading
    def find(self, digest: bytes, at_ms: int) -> Record | None:
        """The record, or None when it does not exist or has expired."""
        record = self.partitions[(digest[0] | digest[1] << 8) & 4095].get(digest)
        if record is None or (record.void_time and record.void_time + EPOCH_S <= at_ms // 1000):
            return None
        return record

    def image(self, digest: bytes) -> RecordImage | None:
        """What a change shipper ships for this digest now; None when it is gone or expired."""
        record = self.find(digest, now_ms())
        return None if record is None else self._image(digest, record)

    def changes_since(self, lut_ms: int) -> Iterator[RecordImage | DeletedImage]:
        """Records and remembered deletes last changed at or after `lut_ms`, oldest first."""
        at_ms = now_ms()
        found: list[RecordImage | DeletedImage] = [
            self._image(digest, record)
            for part in self.partitions
            for digest, record in part.items()
            if record.lut_ms >= lut_ms and not (record.void_time and record.void_time + EPOCH_S <= at_ms // 1000)
        ]
        found += [image for image in self.deleted.values() if image.lut_ms >= lut_ms]
        found.sort(key=lambda image: image.lut_ms)
        return iter(found)

    def _image(self, digest: bytes, record: Record) -> RecordImage:
        exp_s = record.void_time + EPOCH_S if record.void_time else 0
        return RecordImage(self.name, record.set_name, digest, record.key, record.generation, record.lut_ms, exp_s, record.bins)

    # ------------------------------------------------------------------ writing
    def tick(self) -> int:
        """The time of a change, Unix ms: never earlier than any change of this namespace before, also across restarts."""
        at_ms = time.time_ns() // 1_000_000
        if at_ms < self._clock_ms:
            return self._clock_ms
        self._clock_ms = at_ms
        return at_ms

    def store(
        self,
        digest: bytes,
        old: Record | None,
        lut_ms: int,
        void_time: int,
        set_name: str | None,
        key: Particle | None,
        bins: dict[str, Particle],
        size_bound: int,
        merge: bool,
        op_count: int,
        ops: bytes,
    ) -> int:
        """Make `bins` the record's bins; answers the new generation.

        old:    what `find` gave; None creates.
        lut_ms: from `tick`, moved up when the record's delete is as young.
        ops:    `op_count` null-free WRITE ops that, over the old bins (`merge`) or over none, give `bins`: what the log keeps.
        """
        part = self.partitions[(digest[0] | digest[1] << 8) & 4095]
        if old is None:
            generation = 1
            expired = part.get(digest)
            if expired is not None:
                self._forget(part, digest, expired)
            if self.deleted:
                gone = self.deleted.pop(digest, None)
                if gone is not None:
                    # A re-created record must rank above its delete, which may be of the same millisecond.
                    if lut_ms <= gone.lut_ms:
                        lut_ms = self._clock_ms = gone.lut_ms + 1
                    if gone.durable:
                        generation = next_generation(gone.generation)
            self.objects += 1
            known = set_name or ""
            self.set_objects[known] = self.set_objects.get(known, 0) + 1
            merge = False
        else:
            generation = old.generation + 1 if old.generation < 65_535 else 1
            if lut_ms < old.lut_ms:
                lut_ms = old.lut_ms
        part[digest] = _new(Record, (generation, void_time, lut_ms, set_name, key, bins, size_bound))
        set_raw = set_name.encode("utf-8", "surrogateescape") if set_name else b""
        key_raw = b"" if key is None else bytes((key[0],)) + key[1]
        self.log.pending.append(
            _pack_put(
                1 if merge else 2,
                digest,
                generation,
                void_time,
                lut_ms,
                len(set_raw),
                len(key_raw),
                op_count,
                len(ops),
            )
            + set_raw
            + key_raw
            + ops
        )
        if self.listeners:
            for listener in self.listeners:
                listener(self.name, digest, "write", None)
        return generation

    def remove(self, digest: bytes, record: Record, *, durable: bool = False, kind: ChangeKind = "delete") -> None:
        """Take an existing record away and tell the listeners."""
        part = self.partitions[(digest[0] | digest[1] << 8) & 4095]
        self._forget(part, digest, record)
        lut_ms = max(self.tick(), record.lut_ms)
        generation = next_generation(record.generation)
        image = DeletedImage(self.name, record.set_name, digest, record.key, generation, lut_ms, durable, kind)
        self._remember_delete(image)
        flags = (entries.DURABLE if durable else 0) | (entries.EXPIRED if kind == "expire" else 0)
        self.log.append(entries.delete_entry(Delete(digest, generation, lut_ms, flags, record.set_name, record.key)))
        for listener in self.listeners:
            listener(self.name, digest, kind, image)

    def truncate(self, set_name: str, before_ms: int | None) -> int:
        """Drop every record of the set ("": of the namespace) last updated at or before `before_ms` (None: until now).

        Answers how many went. No listener is told: a change shipper ships no truncation. Records written afterwards stay.
        """
        threshold = self.tick() if before_ms is None else before_ms
        self._clock_ms = max(self._clock_ms, threshold + 1) if before_ms is None else self._clock_ms
        self.log.append(entries.text_entry(Kind.TRUNCATE, threshold, set_name))
        return self._truncate(set_name, threshold)

    def expire(self, first: int, last: int) -> int:
        """Remove what has expired in partitions `first` to `last` - 1; answers how many records went."""
        now_void = now_ms() // 1000 - EPOCH_S
        gone = 0
        for part in self.partitions[first:last]:
            due = [(digest, record) for digest, record in part.items() if record.void_time and record.void_time <= now_void]
            for digest, record in due:
                self.remove(digest, record, kind="expire")
            gone += len(due)
        self.expired_objects += gone
        return gone

    def forget_old_deletes(self) -> None:
        """Drop remembered deletes older than the namespace's delete-history."""
        oldest = now_ms() - self.config.delete_history_s * 1000
        while self.deleted:
            digest = next(iter(self.deleted))
            if self.deleted[digest].lut_ms >= oldest:
                return
            del self.deleted[digest]

    def create_index(self, index: SecondaryIndex) -> None:
        """Define an index, or rename the one with the same definition."""
        for name in [name for name, other in self.indexes.items() if other.definition == index.definition]:
            del self.indexes[name]
            self.log.append(entries.text_entry(Kind.INDEX_DELETE, 0, name))
        self.indexes[index.name] = index
        self.log.append(entries.text_entry(Kind.INDEX_CREATE, 0, index.to_json()))

    def delete_index(self, name: str) -> None:
        """Forget an index; nothing when there is none of that name."""
        if self.indexes.pop(name, None) is not None:
            self.log.append(entries.text_entry(Kind.INDEX_DELETE, 0, name))

    # ------------------------------------------------------------------ files
    def load(self) -> None:
        """Read the files back. Raises `log.DamagedFile`."""
        self.log.load(self._replay)
        self.forget_old_deletes()

    def snapshot_step(self) -> bool:
        """Do a piece of snapshot work if one is running or due; False when there is nothing to do."""
        if self._snapshot is None:
            if self.log.log_bytes <= max(self.config.snapshot_log_bytes, self.log.snapshot_bytes):
                return False
            self._snapshot = self.log.snapshot(self._snapshot_entries())
        if next(self._snapshot, True):
            self._snapshot = None
            return False
        return True

    def close(self) -> None:
        """Flush and close the files; a running snapshot is given up, its log files keep everything."""
        if self._snapshot is not None:
            self._snapshot.close()  # type: ignore[attr-defined]
        self.log.close()

    def _snapshot_entries(self) -> Iterator[list[bytes]]:
        step = [entries.text_entry(Kind.CLOCK, self._clock_ms, "")]
        step += [entries.text_entry(Kind.TRUNCATE, lut_ms, name) for name, lut_ms in self.truncated_ms.items()]
        step += [entries.text_entry(Kind.INDEX_CREATE, 0, index.to_json()) for index in self.indexes.values()]
        for image in list(self.deleted.values()):
            flags = (entries.DURABLE if image.durable else 0) | (entries.EXPIRED if image.kind == "expire" else 0)
            gone = Delete(image.digest, image.generation, image.lut_ms, flags, image.set_name, image.key)
            step.append(entries.delete_entry(gone))
            if len(step) >= SNAPSHOT_STEP_RECORDS:
                yield step
                step = []
        for part in self.partitions:
            for digest, record in part.items():
                ops = b"".join(op_bytes(OP_WRITE, name, particle) for name, particle in record.bins.items())
                set_raw, key_raw = name_bytes(record.set_name or ""), entries.key_bytes(record.key)
                sizes = (len(set_raw), len(key_raw), len(record.bins), len(ops))
                put = _pack_put(Kind.REPLACE, digest, record.generation, record.void_time, record.lut_ms, *sizes)
                step.append(put + set_raw + key_raw + ops)
            if len(step) >= SNAPSHOT_STEP_RECORDS:
                yield step
                step = []
        if step:
            yield step

    def _replay(self, payload: bytes) -> None:
        for entry in entries.parse(payload):
            if isinstance(entry, Put):
                self._replay_put(entry)
            elif isinstance(entry, Delete):
                self._replay_delete(entry)
            else:
                self._replay_text(entry)

    def _replay_put(self, put: Put) -> None:
        part = self.partitions[(put.digest[0] | put.digest[1] << 8) & 4095]
        old = part.get(put.digest)
        bins = dict(old.bins) if old is not None and put.kind == Kind.MERGE else {}
        for op in parse_ops(put.ops, 0, put.op_count)[0]:
            bins[op.name] = (op.type, op.value)
        if old is not None and old.set_name != put.set_name:
            self._forget(part, put.digest, old)
            old = None
        if old is None:
            self.objects += 1
            known = put.set_name or ""
            self.set_objects[known] = self.set_objects.get(known, 0) + 1
            self.deleted.pop(put.digest, None)
        bound = size_bytes(put.set_name, put.key, bins)
        part[put.digest] = Record(put.generation, put.void_time, put.lut_ms, put.set_name, put.key, bins, bound)
        self._clock_ms = max(self._clock_ms, put.lut_ms)

    def _replay_delete(self, gone: Delete) -> None:
        part = self.partitions[(gone.digest[0] | gone.digest[1] << 8) & 4095]
        record = part.get(gone.digest)
        if record is not None:
            self._forget(part, gone.digest, record)
        kind: ChangeKind = "expire" if gone.flags & entries.EXPIRED else "delete"
        durable = bool(gone.flags & entries.DURABLE)
        image = DeletedImage(self.name, gone.set_name, gone.digest, gone.key, gone.generation, gone.lut_ms, durable, kind)
        self._remember_delete(image)
        self._clock_ms = max(self._clock_ms, gone.lut_ms)

    def _replay_text(self, entry: Text) -> None:
        if entry.kind == Kind.TRUNCATE:
            self._truncate(entry.text, entry.number)
            self._clock_ms = max(self._clock_ms, entry.number + 1)
        elif entry.kind == Kind.INDEX_CREATE:
            index = SecondaryIndex.from_json(entry.text)
            self.indexes[index.name] = index
        elif entry.kind == Kind.INDEX_DELETE:
            self.indexes.pop(entry.text, None)
        else:
            self._clock_ms = max(self._clock_ms, entry.number)

    # ------------------------------------------------------------------ shared by writing and replaying
    def _forget(self, part: dict[bytes, Record], digest: bytes, record: Record) -> None:
        del part[digest]
        self.objects -= 1
        self.set_objects[record.set_name or ""] -= 1

    def _remember_delete(self, image: DeletedImage) -> None:
        self.deleted.pop(image.digest, None)
        self.deleted[image.digest] = image

    def _truncate(self, set_name: str, threshold_ms: int) -> int:
        self.truncated_ms[set_name] = max(self.truncated_ms.get(set_name, 0), threshold_ms)
        gone = 0
        for part in self.partitions:
            due = [
                (digest, record)
                for digest, record in part.items()
                if record.lut_ms <= threshold_ms and (not set_name or record.set_name == set_name)
            ]
            for digest, record in due:
                self._forget(part, digest, record)
            gone += len(due)
        return gone
