"""A mirror under test: its configuration, and what a reader of it sees."""

from dataclasses import replace
from typing import Any

import aerospike

from sinks.aerospike import AerospikeMirror, MirrorConfig
from sinks.aerospike.config import ClientConfig
from sinks.aerospike.connection import client_for

PRIVATE = "_mr_"


def mirror_config(address: str, namespace: str, **changes: Any) -> MirrorConfig:
    """A mirror with short waits, at `host:port`."""
    host, port = address.rsplit(":", 1)
    config = MirrorConfig(
        name="mirror",
        client=ClientConfig(hosts=((host, int(port), None),), socket_timeout_ms=1_000, total_timeout_ms=2_000),
        namespace=namespace,
        tombstone_horizon_s=3_600,
        max_batch_records=50,
        first_backoff_ms=5,
        max_backoff_ms=50,
    )
    return replace(config, **changes)


def reader(mirror: AerospikeMirror) -> Any:
    """A connected client of the mirror's cluster."""
    return client_for(mirror.config.client)


def visible(mirror: AerospikeMirror, digests: set[bytes]) -> dict[bytes, dict[str, Any]]:
    """Bins by digest as a reader sees them: private bins left out, absent records absent."""
    keys = [(mirror.config.namespace, None, None, bytearray(digest)) for digest in sorted(digests)]
    rows = reader(mirror).batch_read(keys).batch_records
    found = {}
    for digest, row in zip(sorted(digests), rows, strict=True):
        assert row.result in (0, 2), row.result
        if row.result == 0:
            found[digest] = {name: value for name, value in row.record[2].items() if not name.startswith(PRIVATE)}
    return found


def ttl_s(mirror: AerospikeMirror, digest: bytes) -> int:
    """Seconds the record has left; aerospike.TTL_NEVER_EXPIRE's unsigned form for never."""
    _, meta = reader(mirror).exists((mirror.config.namespace, None, None, bytearray(digest)))
    return int(meta["ttl"])


NEVER_S = aerospike.TTL_NEVER_EXPIRE & 0xFFFFFFFF
