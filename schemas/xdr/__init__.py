"""XDR change messages as they arrive in Kafka, read (`schemas.xdr.reader`) into events or into the form of `schemas.events`.

Of every encoding there is a thorough reader, which says of any bytes what they are or why they are a dead letter, and a quick one
for what nearly all messages look like. No module here needs Spark.
"""

from schemas.xdr.options import DecodeOptions, RecordType

__all__ = ["DecodeOptions", "RecordType"]
