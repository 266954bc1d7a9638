"""A namespace's files: an append log and snapshots, so that an acknowledged write survives a kill of the process.

    DIR/<namespace>/log-<n>        entries since snapshot n began
    DIR/<namespace>/snapshot-<n>   everything before log n (and possibly some of what is in it)

A file is a magic, then blocks: payload length, the payload's CRC-32, the CRC-32 of these two (4 bytes BE each), payload. The
second checksum tells a damaged length from a block that was cut short. A block is what one command, or one batch, changed; it is
handed to the operating system in one write before the reply goes out. (Nothing is fsynced: a kill of the process loses nothing,
a loss of power may.) A snapshot ends with a block that says so and takes its name only when it is whole.

Loading reads the newest snapshot and every log from its number on. A snapshot is taken while writes go on, so it may hold changes
its log holds too: replaying entries in order over a later state ends in the same state, because every entry is absolute.
A torn block at the end of the newest log is a write nobody was told of: it is cut off. Damage anywhere else refuses the start.
"""

import os
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

LOG_MAGIC = b"MRNLOG01"
SNAPSHOT_MAGIC = b"MRNSNP01"
END_OF_SNAPSHOT = b"\x00end"
_HEAD = struct.Struct(">II")
HEAD_BYTES = _HEAD.size + 4


class DamagedFile(Exception):
    """A data file is damaged in a way no kill leaves behind; the message names file and offset, and what to do."""

    def __init__(self, path: Path, offset: int, what: str) -> None:
        super().__init__(
            f"{path} at byte {offset}: {what}. Restore the folder from a copy, or move it away to start with an empty namespace."
        )


class Log:
    """The files of one namespace. Not for use by two processes: the caller holds the data folder's lock."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pending: list[bytes] = []
        """Entries of the running command; `flush` writes them as one block."""
        self.log_bytes = 0
        self.snapshot_bytes = 0
        self._number = 0
        self._fd = -1

    def load(self, apply: Callable[[bytes], None]) -> None:
        """Give every block's payload to `apply`, oldest first, then stand ready to append. Raises DamagedFile."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for unfinished in self.folder.glob("*.tmp"):
            unfinished.unlink()
        snapshots = _numbered(self.folder, "snapshot")
        first = max(snapshots, default=0)
        if snapshots:
            self._load_snapshot(snapshots[first], apply)
        logs = _numbered(self.folder, "log")
        current = sorted(number for number in logs if number >= first)
        last = max(current, default=first)
        if current != list(range(first, last + 1)) and (current or snapshots):
            raise DamagedFile(self.folder / f"log-{last}", 0, f"logs {first} to {last} are not all there")
        for number in current:
            self._load_log(logs[number], apply, newest=number == last)
        self._number = last
        self._open()
        self._drop_before(first)

    def append(self, entry: bytes) -> None:
        """Queue an entry for the next `flush`."""
        self.pending.append(entry)

    def flush(self) -> None:
        """Hand what is pending to the operating system as one block.

        Raises OSError when the disk does not take it: memory is then ahead of the file; the caller stops without a reply.
        """
        if not self.pending:
            return
        payload = b"".join(self.pending)
        self.pending.clear()
        block = _block(payload)
        try:
            self._write(self._fd, block)
        except OSError:
            # Half a block in the middle would make everything after it unreadable.
            os.ftruncate(self._fd, self.log_bytes)
            raise
        self.log_bytes += len(block)

    def snapshot(self, entries: Iterable[list[bytes]]) -> Iterator[None]:
        """Write a snapshot in steps, one list of entries per step; writes may go on between steps.

        The log is continued in a new file first. When the last step is done the older files are gone.
        """
        self.flush()
        os.close(self._fd)
        self._number += 1
        self._open()
        number = self._number
        unfinished = self.folder / f"snapshot-{number}.tmp"
        size = 0
        fd = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        try:
            self._write(fd, SNAPSHOT_MAGIC)
            for part in entries:
                block = _block(b"".join(part))
                self._write(fd, block)
                size += len(block)
                yield
            self._write(fd, _block(END_OF_SNAPSHOT))
            with ThreadPoolExecutor(1) as aside:  # a disk may take a second
                synced = aside.submit(os.fsync, fd)
                while not synced.done():
                    yield
                synced.result()
        finally:
            os.close(fd)
        unfinished.replace(self.folder / f"snapshot-{number}")
        self.snapshot_bytes = size
        self._drop_before(number)

    def close(self) -> None:
        """Flush and close; the log can be loaded again."""
        if self._fd >= 0:
            self.flush()
            os.close(self._fd)
            self._fd = -1

    def _open(self) -> None:
        path = self.folder / f"log-{self._number}"
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self.log_bytes = os.fstat(self._fd).st_size
        if self.log_bytes == 0:
            self._write(self._fd, LOG_MAGIC)
            self.log_bytes = len(LOG_MAGIC)

    def _write(self, fd: int, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]

    def _drop_before(self, number: int) -> None:
        for kind in ("log", "snapshot"):
            for old, path in _numbered(self.folder, kind).items():
                if old < number:
                    path.unlink()

    def _load_snapshot(self, path: Path, apply: Callable[[bytes], None]) -> None:
        data = path.read_bytes()
        if not data.startswith(SNAPSHOT_MAGIC):
            raise DamagedFile(path, 0, "not a snapshot of this version")
        ended = False
        for offset, payload in _blocks(data):
            if payload is None or ended:
                raise DamagedFile(path, offset, "a block's checksum or length is wrong")
            if payload == END_OF_SNAPSHOT:
                ended = True
            else:
                apply(payload)
        if not ended:
            raise DamagedFile(path, len(data), "the snapshot's end is missing")
        self.snapshot_bytes = len(data)

    def _load_log(self, path: Path, apply: Callable[[bytes], None], *, newest: bool) -> None:
        data = path.read_bytes()
        if newest and len(data) < len(LOG_MAGIC) and LOG_MAGIC.startswith(data):
            path.unlink()
            return
        if not data.startswith(LOG_MAGIC):
            raise DamagedFile(path, 0, "not a log of this version")
        for offset, payload in _blocks(data):
            if payload is None:
                if not newest or not _is_torn(data, offset):
                    raise DamagedFile(path, offset, "a block's checksum or length is wrong, with more data after it")
                os.truncate(path, offset)
                return
            apply(payload)


def _block(payload: bytes) -> bytes:
    head = _HEAD.pack(len(payload), zlib.crc32(payload))
    return head + zlib.crc32(head).to_bytes(4, "big") + payload


def _blocks(data: bytes) -> Iterator[tuple[int, bytes | None]]:
    """(offset, payload) of each block after the magic; a payload of None is the first bad block, and the last answer."""
    offset, end = len(LOG_MAGIC), len(data)
    while offset < end:
        size = _payload_bytes(data, offset)
        after = offset + HEAD_BYTES + (size or 0)
        payload = data[offset + HEAD_BYTES : after]
        if not size or after > end or zlib.crc32(payload) != _HEAD.unpack_from(data, offset)[1]:
            yield offset, None
            return
        yield offset, payload
        offset = after


def _payload_bytes(data: bytes, offset: int) -> int | None:
    """The length a block's head gives; None when the head is cut off or damaged."""
    head = data[offset : offset + _HEAD.size]
    if len(data) < offset + HEAD_BYTES or zlib.crc32(head) != int.from_bytes(data[offset + 8 : offset + 12], "big"):
        return None
    size: int = _HEAD.unpack(head)[0]
    return size


def _is_torn(data: bytes, offset: int) -> bool:
    """Whether the bad block at `offset` is the file's last: cut short, of wrong content, or never filled."""
    size = _payload_bytes(data, offset)
    if size is None:
        return len(data) < offset + HEAD_BYTES or not any(data[offset:])
    return offset + HEAD_BYTES + size >= len(data)


def _numbered(folder: Path, kind: str) -> dict[int, Path]:
    found = {}
    for path in folder.glob(f"{kind}-*"):
        number = path.name.removeprefix(f"{kind}-")
        if number.isdecimal():
            found[int(number)] = path
    return found
