"""The one way this package refuses: an Aerospike result code."""


class ServerError(Exception):
    """An operation the server refuses; `code` is the Aerospike result code of the reply.

    Codes raised here: 1 unreadable value, 4 parameter, 6 bin exists, 12 incompatible type, 16 unsupported feature,
    17 bin not found, 23 element not found, 24 element exists, 26 operation not applicable.
    """

    def __init__(self, code: int, why: str = "") -> None:
        super().__init__(f"result code {code}" + (f": {why}" if why else ""))
        self.code = code


UNREADABLE_VALUE = 1
PARAMETER = 4
BIN_EXISTS = 6
INCOMPATIBLE_TYPE = 12
UNSUPPORTED_FEATURE = 16
BIN_NOT_FOUND = 17
ELEMENT_NOT_FOUND = 23
ELEMENT_EXISTS = 24
OP_NOT_APPLICABLE = 26

__all__ = [
    "BIN_EXISTS",
    "BIN_NOT_FOUND",
    "ELEMENT_EXISTS",
    "ELEMENT_NOT_FOUND",
    "INCOMPATIBLE_TYPE",
    "OP_NOT_APPLICABLE",
    "PARAMETER",
    "ServerError",
    "UNREADABLE_VALUE",
    "UNSUPPORTED_FEATURE",
]
