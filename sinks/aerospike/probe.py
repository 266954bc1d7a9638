"""The check before the first write: do once, without data, what writing will do."""

import math
import time
from typing import Any
from uuid import uuid4

import aerospike
from aerospike import exception as ex

from schemas.errors import ConfigError, MillraceError, Retryable
from sinks.aerospike.classify import Answer, answer
from sinks.aerospike.config import CountersConfig, MirrorConfig
from sinks.aerospike.connection import client_for
from sinks.aerospike.guards import VERSION_BIN, older


def probe(config: MirrorConfig) -> int:
    """Write and remove a tombstone as the mirror would: with a guard, a time to live and a stored key.

    Returns by how many seconds this machine's clock is ahead of the server's: the server keeps the point in time at which a
    record expires, and the client tells what is left until then by its own clock. Right to a second.
    Raises: ConfigError E120 naming the setting to change, Retryable E210 when the cluster cannot answer now.
    """
    client = client_for(config.client)
    key = (config.namespace, config.tombstone_set, f"millrace probe {uuid4()}")
    policy: dict[str, Any] = {
        "expressions": older(1 << 16),
        "key": aerospike.POLICY_KEY_SEND,
        "ttl": config.tombstone_horizon_s,
        "total_timeout": config.client.total_timeout_ms,
    }
    try:
        began = time.monotonic()
        client.put(key, {VERSION_BIN: 0}, None, policy)
        _, meta, _ = client.get(key, {"total_timeout": config.client.total_timeout_ms})
        took_s = math.ceil(time.monotonic() - began)
        client.remove(key)
    except ex.AerospikeError as error:
        raise explained(error, config) from None
    gone_s = config.tombstone_horizon_s - int(meta["ttl"])  # by the two clocks, the time between the two requests included
    return max(0, gone_s - took_s) if gone_s > 0 else gone_s


def explained(error: ex.AerospikeError, config: MirrorConfig | CountersConfig) -> MillraceError:
    """What a refused request means: ConfigError E120 naming the setting to change, or Retryable E210."""
    where = {"output": config.name, "namespace": config.namespace}
    if isinstance(error, ex.NamespaceNotFound):
        return ConfigError("E120", f"the cluster has no namespace {config.namespace!r}", **where)
    if isinstance(error, ex.ForbiddenError):
        return ConfigError(
            "E120",
            f"namespace {config.namespace!r} refuses records with a time to live",
            remedy="Set nsup-period of the namespace above 0: tombstones and records that expire need it.",
            **where,
        )
    if isinstance(error, ex.RoleViolation | ex.AdminError):
        return ConfigError("E120", f"the user may not write: {error.msg} (code {error.code})", **where)
    if answer(error.code or -1) in (Answer.AGAIN, Answer.SLOW_DOWN):
        return Retryable("E210", f"Aerospike cannot take a write now: {error.msg} (code {error.code})", **where)
    return ConfigError("E120", f"a probing write was refused: {error.msg} (code {error.code})", **where)


__all__ = ["explained", "probe"]
