"""Outputs to Aerospike: exact mirrors, guarded by the version a record holds, and operations that count, each batch once."""

from sinks.aerospike.config import CountersConfig, MirrorConfig
from sinks.aerospike.counters import AerospikeCounters
from sinks.aerospike.mirror import AerospikeMirror

__all__ = ["AerospikeCounters", "AerospikeMirror", "CountersConfig", "MirrorConfig"]
