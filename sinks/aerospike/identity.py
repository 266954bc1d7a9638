"""The mirror's identity: one record beside the tombstones, by which an emptied or exchanged mirror is noticed.

It is written once per flow and output and never expires. A cluster that was exchanged, restarted without its data or truncated
does not have it, or has another; one restored from a backup has it. Readers and scans of data never meet it: it lies in the
side set that they leave out.
"""

import time
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import uuid4

import aerospike
from aerospike import exception as ex

from schemas.errors import MillraceError, Retryable
from sinks.aerospike.classify import Answer, answer
from sinks.aerospike.config import MirrorConfig
from sinks.aerospike.connection import client_for
from sinks.aerospike.probe import explained

_ID, _SINCE, _FLOW, _OUTPUT = "_mr_id", "_mr_since", "_mr_flow", "_mr_output"
_LOOKS = 3
_PAUSE_S = 1.0


class Identity(NamedTuple):
    """id: random. since: when it was given, ISO 8601 UTC, by the clock of the driver that gave it."""

    id: str
    since: str


def read_identity(config: MirrorConfig, flow: str, looks: int = _LOOKS) -> Identity | None:
    """The identity of the mirror `config` names for `flow`, or None when it has none.

    "Not there" is believed only after `looks` looks a second apart: a cluster that is putting itself together says so, too.
    Raises Retryable E210 when no node answers, E211 when one asks for less; ConfigError E120 when we may not read.
    """
    client = client_for(config.client)
    for look in range(looks):
        if look:
            time.sleep(_PAUSE_S)
        try:
            _, _, bins = client.get(_key(config, flow), {"total_timeout": config.client.total_timeout_ms})
        except ex.RecordNotFound:
            continue
        except ex.AerospikeError as error:
            raise _judged(error, config) from None
        return Identity(str(bins[_ID]), str(bins[_SINCE]))
    return None


def give_identity(config: MirrorConfig, flow: str) -> Identity:
    """Give the mirror an identity unless it has one by now; the one it has. Raises as `read_identity`."""
    made = Identity(uuid4().hex, datetime.now(UTC).isoformat(timespec="seconds"))
    policy: dict[str, Any] = {
        "exists": aerospike.POLICY_EXISTS_CREATE,
        "key": aerospike.POLICY_KEY_SEND,
        "ttl": aerospike.TTL_NEVER_EXPIRE,
        "total_timeout": config.client.total_timeout_ms,
    }
    try:
        client_for(config.client).put(
            _key(config, flow), {_ID: made.id, _SINCE: made.since, _FLOW: flow, _OUTPUT: config.name}, None, policy
        )
    except ex.RecordExistsError:
        return read_identity(config, flow) or give_identity(config, flow)
    except ex.AerospikeError as error:
        raise _judged(error, config) from None
    return made


def _judged(error: ex.AerospikeError, config: MirrorConfig) -> MillraceError:
    """As a probe's error; but here nothing is wrong with the request, so the client's own codes mean a cluster that is away."""
    code = -1 if error.code is None else error.code
    where = {"output": config.name, "namespace": config.namespace}
    if answer(code) is Answer.SLOW_DOWN:
        return Retryable("E211", f"the cluster asks for less: {error.msg} (code {code})", **where)
    if code < 0:
        return Retryable("E210", f"no answer: {error.msg} (code {code})", **where)
    return explained(error, config)


def _key(config: MirrorConfig, flow: str) -> tuple[str, str, str]:
    return (config.namespace, config.tombstone_set, f"millrace identity of {flow}/{config.name}")


__all__ = ["Identity", "give_identity", "read_identity"]
