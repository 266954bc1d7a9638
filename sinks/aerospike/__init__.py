"""Exact mirrors in Aerospike: records by digest, guarded on the server by the version they hold."""

from sinks.aerospike.config import MirrorConfig
from sinks.aerospike.mirror import AerospikeMirror

__all__ = ["AerospikeMirror", "MirrorConfig"]
