"""Where the writer schema comes from of an Avro message that names it by a number: asked by readers, answered by a registry."""

from typing import Protocol


class UnknownSchema(LookupError):
    """There is no schema of this id: asking again does not help, and the message cannot be read."""


class SchemaSource(Protocol):
    """Writer schemas by id. An id's schema never changes, so an answer may be kept for good."""

    def schema(self, schema_id: int) -> str:
        """The Avro schema as JSON text.

        Raises UnknownSchema when there is none; a Retryable error when nobody answers, which is no fault of the message.
        """


__all__ = ["SchemaSource", "UnknownSchema"]
