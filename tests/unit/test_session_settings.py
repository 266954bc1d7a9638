"""What Millrace chooses of Spark's settings: the flow's own win, and what suits one machine is chosen for one machine only."""

from pathlib import Path

import pytest

from pipelines.session import LOCAL_FILES, ON_ONE_MACHINE, resolve_settings, with_jars


def test_a_cluster_is_left_to_find_the_driver_and_to_start_its_workers() -> None:
    here, there = resolve_settings({}, "local[4]"), resolve_settings({}, "yarn")
    names = {setting.name for setting in ON_ONE_MACHINE}
    assert here.keys() - there.keys() == names
    assert here["spark.driver.host"] == "127.0.0.1", "executors elsewhere could not reach a driver that says so"


def test_the_flow_wins() -> None:
    given = {"spark.python.daemon.module": "pyspark.daemon", "spark.sql.shuffle.partitions": "200"}
    assert given.items() <= resolve_settings(given, "local[4]").items()
    assert given.items() <= resolve_settings(given, "k8s://https://example").items()


def test_nothing_that_needs_a_jar_is_chosen_under_spark_submit() -> None:
    assert LOCAL_FILES in resolve_settings({}, "local[4]")
    assert LOCAL_FILES not in resolve_settings({}, "local[4]", own_jars=False)
    assert resolve_settings({LOCAL_FILES: "mine"}, "local[4]", own_jars=False)[LOCAL_FILES] == "mine"


@pytest.mark.parametrize(
    ("jars", "given", "files", "class_path"),
    [
        (["hadoop-bare-naked-local-fs-0.1.0.jar"], {}, True, "{jars}/hadoop-bare-naked-local-fs-0.1.0.jar"),
        (
            ["hadoop-bare-naked-local-fs-0.1.0.jar"],
            {"spark.driver.extraClassPath": "/a.jar"},
            True,
            "/a.jar:{jars}/hadoop-bare-naked-local-fs-0.1.0.jar",
        ),
        (["other.jar"], {}, False, None),
        (["other.jar"], {LOCAL_FILES: "mine"}, True, None),
    ],
)
def test_a_file_system_whose_jar_is_not_there_is_not_asked_for(
    jars: list[str], given: dict[str, str], files: bool, class_path: str | None, tmp_path: Path
) -> None:
    """A JVM told to use it would not start."""
    for name in jars:
        (tmp_path / name).touch()
    settings = with_jars(resolve_settings(given, "local[4]"), tmp_path)
    assert (LOCAL_FILES in settings) == files
    assert settings.get("spark.driver.extraClassPath") == (class_path and class_path.format(jars=tmp_path))
