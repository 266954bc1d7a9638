"""What a batch call's answer is worth: only a record that has an answer of its own counts as done."""

from typing import Any

import pytest
from aerospike import exception as ex
from aerospike_helpers.batch.records import BatchRecords, Remove

from sinks.aerospike.batch_call import NO_RESPONSE, CallFailed, batch_write


class Client:
    """Answers a call with these results, as the official client does: rows in place, the call's own result beside them."""

    def __init__(self, call: int, *rows: int) -> None:
        self.call, self.rows = call, rows

    def batch_write(self, batch: BatchRecords, policy: dict[str, Any]) -> BatchRecords:
        batch.result = self.call
        for row, result in zip(batch.batch_records, self.rows, strict=True):
            row.result = result
        return batch


class Broken:
    def __init__(self, error: ex.AerospikeError) -> None:
        self.error = error

    def batch_write(self, batch: BatchRecords, policy: dict[str, Any]) -> BatchRecords:
        raise self.error


def sent(client: Any, rows: int) -> tuple[CallFailed | None, list[int]]:
    batch = BatchRecords([Remove(("test", "s", number)) for number in range(rows)])
    failed = batch_write(client, batch, {})
    return failed, [row.result for row in batch.batch_records]


@pytest.mark.parametrize("call", [0, -16], ids=["all done", "some refused"])
def test_rows_are_taken_at_their_word_when_all_were_answered(call: int) -> None:
    assert sent(Client(call, 0, 27, 0), 3) == (None, [0, 27, 0])


def test_an_empty_cluster_is_a_failed_call_not_three_writes() -> None:
    assert sent(Client(1, 0, 0, 0), 3)[0] == CallFailed(1, "")


def test_a_call_that_broke_off_leaves_nothing_undecided_as_done() -> None:
    failed, rows = sent(Client(-10, 0, NO_RESPONSE, 2), 3)
    assert failed is None and rows == [NO_RESPONSE, NO_RESPONSE, 2]


def test_a_call_that_never_left_is_failed_also_when_its_first_rows_say_no_response() -> None:
    assert sent(Client(-2, NO_RESPONSE, NO_RESPONSE, 0), 3)[0] == CallFailed(-2, "")


def test_an_error_of_the_client_is_a_failed_call() -> None:
    error = ex.ParamError()
    error.code, error.msg = -2, "bad value"
    assert sent(Broken(error), 1)[0] == CallFailed(-2, "bad value")
