"""What each answer of the client means for one record. Complete: a test walks the client's exception classes.

Codes: aerospike-server as/include/base/proto.h, aerospike-client-c src/include/aerospike/as_status.h.
"""

from enum import Enum, auto


class Answer(Enum):
    """What to do with a record after one attempt at one step."""

    OK = auto()
    NOT_FOUND = auto()
    EXISTS = auto()
    FILTERED = auto()  # the version guard said no
    AGAIN = auto()  # nothing happened, or the step is guarded: repeat with back-off
    SLOW_DOWN = auto()  # as AGAIN, and the cluster is asking for less
    REJECT = auto()  # this record cannot be stored as written
    SETUP = auto()  # no record can be stored: stop and say which setting is wrong


_ANSWERS: dict[Answer, tuple[int, ...]] = {
    Answer.OK: (0,),
    Answer.NOT_FOUND: (2,),
    Answer.EXISTS: (5,),
    Answer.FILTERED: (27,),
    # 1 unknown server error, 7 cluster change, 9 timeout, 11 unavailable, 15/210-213 scan or query stopped (a batch read may
    # share its queues), 28 lost conflict, 150-152 batch queues; negative: the client's own network and abort codes. Every step
    # of the mirror is guarded by version, so repeating one that did take effect changes nothing.
    Answer.AGAIN: (1, 7, 9, 11, 15, 28, 150, 151, 152, 210, 211, 212, 213, -3, -5, -6, -7, -8, -10, -12, -14, -15, -16),
    Answer.SLOW_DOWN: (8, 14, 18, 83),
    # Of this record: 3 generation, 6 and 17 bin exists or not, 12 type, 13 too big, 19 key mismatch, 21 bin name, 22 forbidden,
    # 23 and 24 elements, 26 not applicable, 160 GeoJSON, 4 parameter; -1 and -2: the client could not encode it.
    Answer.REJECT: (-2, -1, 3, 4, 6, 12, 13, 17, 19, 21, 22, 23, 24, 26, 160),
    # 10 always forbidden, 16 unsupported, 20 namespace, 25 Enterprise only; 5x-8x security; 100 and 13xx UDF; 20x secondary
    # index; -4 host name, -9 TLS, -17 to -19 transactions, which the mirror never opens.
    Answer.SETUP: (
        *(10, 16, 20, 25, 51, 52, 53, 54, 55, 56, 60, 61, 62, 63, 64, 65, 66, 70, 71, 72, 73, 74, 75, 80, 81, 82),
        *(100, 200, 201, 202, 203, 204, 205, 206, 1301, 1302, -4, -9, -17, -18, -19),
    ),
}

ANSWER_OF_CODE: dict[int, Answer] = {code: answer for answer, codes in _ANSWERS.items() for code in codes}

IN_DOUBT_CODES = frozenset({9, -10, -15, -16})
"""Codes after which a write may have taken effect."""

_REJECT_REASON: dict[int, str] = {13: "D204", 21: "D201"}


def answer(code: int) -> Answer:
    """The meaning of a result code. A code nobody has listed is the record's own problem: it is rejected, never dropped."""
    return ANSWER_OF_CODE.get(code, Answer.REJECT)


def reject_reason(code: int) -> str:
    """The dead-letter reason for a code whose answer is REJECT."""
    return _REJECT_REASON.get(code, "D205")


__all__ = ["ANSWER_OF_CODE", "Answer", "IN_DOUBT_CODES", "answer", "reject_reason"]
