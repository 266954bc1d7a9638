"""Every error the client can raise has a disposition: a client upgrade fails here and not at night."""

from collections.abc import Iterator

import pytest
from aerospike import exception

from sinks.aerospike.classify import ANSWER_OF_CODE, IN_DOUBT_CODES, Answer, answer

WITHOUT_CODE = {
    "AerospikeError",
    "ClientError",
    "ServerError",
    "AdminError",
    "RecordError",
    "IndexError",
    "ClusterError",
    "UDFError",
    "QueryError",
}


def exception_classes() -> Iterator[type[Exception]]:
    for name in dir(exception):
        found = getattr(exception, name)
        if isinstance(found, type) and issubclass(found, exception.AerospikeError):
            yield found


def test_the_walk_finds_the_clients_classes() -> None:
    assert len(list(exception_classes())) > 70


@pytest.mark.parametrize("kind", list(exception_classes()), ids=lambda kind: kind.__name__)
def test_every_client_error_is_classified(kind: type[Exception]) -> None:
    code = getattr(kind, "code", None)
    if code is None:
        assert kind.__name__ in WITHOUT_CODE, f"{kind.__name__} has no code: is it new?"
    else:
        assert code in ANSWER_OF_CODE, f"{kind.__name__} ({code}) has no disposition"


def test_no_code_means_two_things() -> None:
    from sinks.aerospike import classify

    listed = [code for codes in classify._ANSWERS.values() for code in codes]
    assert len(listed) == len(set(listed))


def test_what_may_have_happened_is_repeated_never_rejected() -> None:
    assert {answer(code) for code in IN_DOUBT_CODES} == {Answer.AGAIN}


def test_an_unknown_code_is_the_records_own_problem() -> None:
    assert answer(31_337) is Answer.REJECT
