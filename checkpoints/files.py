"""Small files in a folder of any file system: read, list, and replace whole or not at all."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import fsspec


class Folder:
    """A folder by plain path, `file://` or any fsspec address. It need not exist until something is written.

    path: the address, without protocol for local folders; `local`: the same as a Path, None on other file systems.
    """

    def __init__(self, address: str | os.PathLike[str]) -> None:
        fs, path = fsspec.core.url_to_fs(_one_slash_file_url(os.fspath(address)))
        self._fs: Any = fs
        self._root: str = path.rstrip("/") or "/"
        is_local = "file" in ((fs.protocol,) if isinstance(fs.protocol, str) else fs.protocol)
        self.local: Path | None = Path(self._root) if is_local else None
        self.path: str = self._root if is_local else fs.unstrip_protocol(self._root)

    def names(self, below: str = "") -> list[str]:
        """Names of what is in the folder, sorted; hidden and temporary files left out; empty when it does not exist."""
        self._fs.invalidate_cache()
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            found = self._fs.ls(self._at(below), detail=False)
            names = (str(path).rstrip("/").rsplit("/", 1)[-1] for path in found)
            return sorted(name for name in names if not name.startswith("."))
        return []

    def exists(self, name: str) -> bool:
        """Whether a file or folder of that name is there."""
        self._fs.invalidate_cache()
        return bool(self._fs.exists(self._at(name)))

    def read_text(self, name: str) -> str | None:
        """The whole file as text, None when it is not there. Bytes that are not UTF-8 come back as replacement characters."""
        data = self.read_bytes(name)
        return None if data is None else data.decode("utf-8", errors="replace")

    def read_bytes(self, name: str) -> bytes | None:
        """The whole file, None when it is not there."""
        with contextlib.suppress(FileNotFoundError):
            return bytes(self._fs.cat_file(self._at(name)))
        return None

    def replace(self, name: str, text: str) -> None:
        """Make the file hold exactly `text`: a reader, also after a crash, sees all of it or what was there before.

        Local files: a temporary beside it, flushed to disk, then renamed. Object stores: one put, which is whole or absent.
        """
        data = text.encode("utf-8")
        if self.local is None:
            self._fs.makedirs(self._at(name).rsplit("/", 1)[0], exist_ok=True)
            self._fs.pipe_file(self._at(name), data)
            return
        target = self.local / name
        with _written_beside(target, data) as temporary:
            temporary.replace(target)

    def create(self, name: str, text: str) -> bool:
        """Write the file, whole or not at all, unless there is one already; False then. Of many who try, one makes it.

        Local files: a temporary beside it, flushed to disk, then linked. Elsewhere by the store's create-if-absent.
        """
        data = text.encode("utf-8")
        try:
            if self.local is None:
                self._fs.makedirs(self._at(name).rsplit("/", 1)[0], exist_ok=True)
                self._fs.pipe_file(self._at(name), data, mode="create")
            else:
                with _written_beside(self.local / name, data) as temporary:
                    os.link(temporary, self.local / name)
        except FileExistsError:
            return False
        return True

    def remove(self, name: str) -> None:
        """Remove the file; nothing happens when it is not there."""
        with contextlib.suppress(FileNotFoundError):
            self._fs.rm_file(self._at(name))

    def _at(self, name: str) -> str:
        return f"{self._root}/{name}" if name else self._root


@contextlib.contextmanager
def _written_beside(target: Path, data: bytes) -> Iterator[Path]:
    """A temporary file beside `target` that holds `data`, on disk; removed unless it was renamed."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{uuid4().hex}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def _one_slash_file_url(address: str) -> str:
    """Hadoop writes file:/x where others write file:///x; both mean the local path /x."""
    if address.startswith("file:/") and not address.startswith("file://"):
        return "file://" + address.removeprefix("file:")
    return address


__all__ = ["Folder"]
