"""How many tasks a micro-batch is worth."""

import pytest

from pipelines.micro_batch import tasks_for


@pytest.mark.parametrize(("messages", "tasks"), [(0, 1), (1, 1), (1_000, 1), (1_001, 2), (9_999, 10), (10_000, 10)])
def test_a_task_for_every_so_many_messages_and_never_none(messages: int, tasks: int) -> None:
    assert tasks_for(messages, 1_000) == tasks
