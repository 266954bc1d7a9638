"""Fixtures every test may use."""

from collections.abc import Iterator

import pytest
from pyspark.sql import SparkSession

from pipelines.session import close_session
from tests.support.events import NOW_MS as NOW_MS  # fixed by the first process of a run, inherited by those beside it
from tests.support.spark import start_session

pytest_plugins = ["tests.support.fixtures_stack"]


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """One Spark session per test process. Tests must not stop it; they set and restore what they change."""
    session = start_session(tmp_path_factory.mktemp("spark"))
    yield session
    close_session(session)
