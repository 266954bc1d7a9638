"""Whether two paths or two clusters are the same place, as far as their names tell."""

import posixpath
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

from pipelines.flow.aerospike import Address

_LOOPBACK = {"localhost", "127.0.0.1", "::1", "0.0.0.0"}


def normal(path: str) -> str:
    """A path in one spelling: local ones absolute and without links, URLs without `..` and double slashes."""
    parts = urlsplit(path)
    if parts.scheme in ("", "file") or len(parts.scheme) == 1:
        return str(Path(parts.path if parts.scheme == "file" else path).expanduser().resolve())
    scheme = "s3" if parts.scheme in ("s3a", "s3n") else parts.scheme
    return f"{scheme}://{parts.netloc}{posixpath.normpath('/' + parts.path.lstrip('/'))}"


def same_place(a: str, b: str) -> bool:
    """Whether two paths name one folder."""
    return normal(a) == normal(b)


def inside(inner: str, outer: str) -> bool:
    """Whether `inner` lies below `outer`."""
    return normal(inner).startswith(normal(outer).rstrip("/") + "/")


def same_hosts(a: Iterable[Address], b: Iterable[Address]) -> bool:
    """Whether two lists of seed nodes share a node. Different names of one machine are not noticed, loopback's are."""

    def nodes(addresses: Iterable[Address]) -> set[tuple[str, int]]:
        return {("loopback" if x.host.lower() in _LOOPBACK else x.host.lower(), x.port) for x in addresses}

    return not nodes(a).isdisjoint(nodes(b))


__all__ = ["inside", "normal", "same_hosts", "same_place"]
