"""Records of a namespace, read partition by partition: the same digests fall into the same partitions in every cluster."""

import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from aerospike import exception as ex

from schemas.bins import PRIVATE_BIN_PREFIX
from schemas.errors import Retryable, Terminal
from sinks.aerospike.classify import Answer, answer
from sinks.aerospike.config import ClientConfig
from sinks.aerospike.connection import client_for

PARTITIONS = 4_096
_NEVER = 0xFFFF_FFFF


class StoredRecord(NamedTuple):
    """A record as a reader finds it. Bins the mirror keeps for itself are left out.

    set:      None when the record has none. user_key: None when it is not stored.
    expiry_s: seconds since 1970 by this machine's clock, to the second; None for never. earlier_s: it may be so much earlier,
    for a server says how long a record has still to live, and not when during a scan it looked.
    """

    digest: bytes
    set: str | None
    user_key: int | str | bytes | None
    bins: dict[str, Any]
    expiry_s: float | None
    earlier_s: float = 0.0


def scan_partitions(config: ClientConfig, namespace: str, first: int, count: int) -> Iterator[StoredRecord]:
    """Every live record of partitions [first, first + count) of `namespace`, all sets.

    Holds that range in memory: choose it small. Raises Retryable E210, or Terminal E440 when the scan itself is refused.
    """
    query = client_for(config).query(namespace)
    policy = {"partition_filter": {"begin": first, "count": count}, "total_timeout": 0, "max_retries": 3}
    began_s = time.time()
    try:
        rows = query.results(policy=policy)
    except ex.AerospikeError as error:
        kind = Retryable if answer(error.code or -1) in (Answer.AGAIN, Answer.SLOW_DOWN) else Terminal
        code = "E210" if kind is Retryable else "E440"
        raise kind(
            code, f"scan failed: {error.msg} (code {error.code})", namespace=namespace, partitions=f"{first}+{count}"
        ) from None
    now_s = time.time()
    for (_, set_name, user_key, digest), meta, bins in rows:
        kept = {name: value for name, value in bins.items() if not name.startswith(PRIVATE_BIN_PREFIX)}
        expiry_s = None if meta["ttl"] == _NEVER else now_s + meta["ttl"]
        yield StoredRecord(bytes(digest), set_name or None, _plain_key(user_key), kept, expiry_s, max(0.0, now_s - began_s))


def _plain_key(user_key: Any) -> int | str | bytes | None:
    return bytes(user_key) if isinstance(user_key, bytearray) else user_key


__all__ = ["PARTITIONS", "StoredRecord", "scan_partitions"]
