"""What a mirror needs to know, as plain picklable data; secrets stay out of `repr`."""

from dataclasses import dataclass, field
from typing import Any, Literal

import aerospike

DAY_S = 86_400

AUTH_MODES: dict[str, int] = {
    "internal": aerospike.AUTH_INTERNAL,
    "external": aerospike.AUTH_EXTERNAL,
    "external_insecure": aerospike.AUTH_EXTERNAL_INSECURE,
    "pki": aerospike.AUTH_PKI,
}


@dataclass(frozen=True, slots=True)
class ClientConfig:
    """How to reach a cluster. Hashable: a worker process keeps one connected client per ClientConfig.

    hosts: (address, port, TLS name or None). tls: the client's own `tls` dictionary as sorted pairs.
    Timeouts in milliseconds: connect_timeout_ms for a new connection, socket_timeout_ms for one network wait,
    total_timeout_ms for one call without retries.
    """

    hosts: tuple[tuple[str, int, str | None], ...]
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    auth_mode: str = "internal"
    tls: tuple[tuple[str, Any], ...] = field(default=(), repr=False)
    use_services_alternate: bool = False
    rack_ids: tuple[int, ...] = ()
    compression: bool = False
    connect_timeout_ms: int = 1_000
    socket_timeout_ms: int = 2_000
    total_timeout_ms: int = 5_000
    max_connections_per_node: int = 100

    def for_client(self) -> dict[str, Any]:
        """The configuration dictionary of the `aerospike` client."""
        config: dict[str, Any] = {
            "hosts": [(h, p, tls) if tls else (h, p) for h, p, tls in self.hosts],
            "connect_timeout": self.connect_timeout_ms,
            "max_conns_per_node": self.max_connections_per_node,
            "use_services_alternate": self.use_services_alternate,
            "policies": {"auth_mode": AUTH_MODES[self.auth_mode]},
        }
        if self.user is not None:
            config["user"] = self.user
            config["password"] = self.password or ""
        if self.tls:
            config["tls"] = dict(self.tls)
        if self.rack_ids:
            config["rack_aware"] = True
            config["rack_ids"] = list(self.rack_ids)
        return config

    def batch_policy(self) -> dict[str, Any]:
        """The policy of one batch call. The client itself repeats nothing: the sink knows what is safe to repeat."""
        return {
            "total_timeout": self.total_timeout_ms,
            "socket_timeout": self.socket_timeout_ms,
            "max_retries": 0,
            "compress": self.compression,
            **({"replica": aerospike.POLICY_REPLICA_PREFER_RACK} if self.rack_ids else {}),
        }


@dataclass(frozen=True, slots=True)
class MirrorConfig:
    """A mirror: where its records live and how hard it tries.

    namespace:           target namespace; needs expiry enabled (nsup-period above 0) for tombstones and times to live.
    tombstone_set:       the side set that remembers versions of deleted and expiring records; readers never look there.
    tombstone_horizon_s: how long a delete is remembered; a write that arrives later than that may bring a record back.
    user_keys:           who has made sure that user keys fit the digests, by which alone records are addressed: "check": nobody,
                         and one that does not is refused (D206); "proved": the reader; "trust": nobody, and the record is
                         written without one that does not, since the client would write to the key's own record.
    image:               what the events carry of a record: all its bins, some, or none; see `steps` and `partial_steps`.
    batch_timeout_s:     one budget for all attempts of one micro-batch in one worker.
    max_batch_records, max_batch_bytes: limits of one call. batches_in_flight: calls under way at once per worker.
    first_backoff_ms, max_backoff_ms: pause before repeating what is safe to repeat, doubled each time, with full jitter.
    """

    name: str
    client: ClientConfig
    namespace: str
    tombstone_set: str = "_mr_tomb"
    tombstone_horizon_s: int = 7 * DAY_S
    send_key: bool = True
    user_keys: Literal["check", "proved", "trust"] = "check"
    image: Literal["full", "partial", "none"] = "full"
    batch_timeout_s: float = 30.0
    max_batch_records: int = 2_000
    max_batch_bytes: int = 8 << 20
    batches_in_flight: int = 2
    first_backoff_ms: int = 20
    max_backoff_ms: int = 1_000

    @property
    def side_set(self) -> str:
        """The set of the output's own records."""
        return self.tombstone_set


@dataclass(frozen=True, slots=True)
class CountersConfig:
    """An output of operations that count: where its records live and how hard it tries.

    writer:   `flow/output`, the name its fence has in each record.
    mark_set: the side set that remembers which checkpoint writes, and how far.
    ttl_s:    time to live that each change gives its record; None: it never expires.
    adopt:    go on with records whose batch was begun with other events, as an operator has decided.
    The rest is as in MirrorConfig.
    """

    name: str
    writer: str
    client: ClientConfig
    namespace: str
    mark_set: str = "_mr_counted"
    ttl_s: int | None = None
    adopt: bool = False
    batch_timeout_s: float = 30.0
    max_batch_records: int = 2_000
    max_batch_bytes: int = 8 << 20
    batches_in_flight: int = 2
    first_backoff_ms: int = 20
    max_backoff_ms: int = 1_000

    @property
    def side_set(self) -> str:
        """The set of the output's own records."""
        return self.mark_set


__all__ = ["AUTH_MODES", "ClientConfig", "CountersConfig", "MirrorConfig"]
