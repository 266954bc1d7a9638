"""Why a message, or a part of it, cannot be read."""


class Undecodable(Exception):
    """Raised while a message is read, caught where its row is made. code: a reason of `schemas.reasons`. detail: for people."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code} {detail}")
        self.code = code
        self.detail = detail


class SchemaStop(Exception):
    """A message is not as its record type says, and the policy is to stop the flow. Caught where the message's place is known."""


__all__ = ["SchemaStop", "Undecodable"]
