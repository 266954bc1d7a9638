"""XDR change messages as they arrive in Kafka, decoded in the JVM (`schemas.xdr.decode`) to the normal form of `schemas.events`,
and from there into Python objects in a worker (`schemas.xdr.arrow`).
"""

from schemas.xdr.options import DecodeOptions, RecordType

__all__ = ["DecodeOptions", "RecordType"]
