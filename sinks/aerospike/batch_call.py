"""One batch call whose answers can be believed: a record that got none never looks like one that was written.

The client's own answer does not say so. When the cluster is known to be empty, and when a key in the middle of a call cannot be
used, `batch_write` of version 19.3 returns without an error and leaves the records it did not come to at result 0, which is also
"done" (aerospike-client-c src/main/aerospike/aerospike_batch.c, as_batch_records_execute: records are set to "no response" one
by one, after those two ways out). Only the result of the call as a whole tells the two apart.
"""

from typing import Any, NamedTuple

from aerospike import exception as ex
from aerospike_helpers.batch.records import BatchRecords

NO_RESPONSE = -15
_SOME_FAILED = -16
_ALL_ANSWERED = frozenset({0, _SOME_FAILED})
"""Results of a call whose records all carry an answer of their own."""


class CallFailed(NamedTuple):
    """A call of which no record has an answer."""

    code: int
    message: str


def batch_write(client: Any, batch: BatchRecords, policy: dict[str, Any]) -> CallFailed | None:
    """Send `batch`. Returns CallFailed when no record got an answer, else None: every `result` then says what is known.

    A record without an answer in a call that did answer others has result NO_RESPONSE; it may have been written. So may one that
    was answered, if the call broke off: its 0 cannot be told from silence, and it is given up for NO_RESPONSE, too.
    """
    try:
        client.batch_write(batch, policy)
    except ex.AerospikeError as error:
        return CallFailed(-1 if error.code is None else error.code, str(error.msg))
    if batch.result in _ALL_ANSWERED:
        return None
    answered = False
    for row in batch.batch_records:
        if row.result == 0:
            row.result = NO_RESPONSE
        answered = answered or row.result != NO_RESPONSE
    return None if answered else CallFailed(batch.result, "")


__all__ = ["CallFailed", "NO_RESPONSE", "batch_write"]
