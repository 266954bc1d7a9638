"""What Millrace chooses of Spark's settings: the flow's own win, and what suits one machine is chosen for one machine only."""

import subprocess
from pathlib import Path

import pyspark
import pytest

from deploy.local.java import java_command
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


JAR = "hadoop-bare-naked-local-fs-0.1.0.jar"


@pytest.mark.parametrize("master", ["local[4]", "spark://host:7077"])
def test_the_class_path_begins_as_the_archive_of_classes_does(master: str, tmp_path: Path) -> None:
    """Whether the master or the flow wants that jar or not: a driver that begins otherwise cannot use the archive."""
    (tmp_path / JAR).touch()
    for given in ({}, {LOCAL_FILES: "mine"}):
        settings = with_jars(resolve_settings(given, master), tmp_path)
        assert settings["spark.driver.extraClassPath"] == str(tmp_path / JAR)
        assert settings.get(LOCAL_FILES) == resolve_settings(given, master).get(LOCAL_FILES)
    theirs = with_jars(resolve_settings({"spark.driver.extraClassPath": "/a.jar"}, master), tmp_path)
    assert theirs["spark.driver.extraClassPath"] == f"/a.jar:{tmp_path / JAR}"


def test_a_file_system_whose_jar_is_not_there_is_not_asked_for(tmp_path: Path) -> None:
    """A JVM told to use it would not start."""
    (tmp_path / "other.jar").touch()
    settings = with_jars(resolve_settings({}, "local[4]"), tmp_path)
    assert LOCAL_FILES not in settings and "spark.driver.extraClassPath" not in settings
    assert with_jars(resolve_settings({LOCAL_FILES: "mine"}, "local[4]"), tmp_path)[LOCAL_FILES] == "mine"


def test_what_the_jvm_says_itself_is_not_on_standard_output() -> None:
    """There it would stand among the lines of `--output json`. A JVM whose code cache is too small says so in three ways."""
    options = resolve_settings({}, "local[4]")["spark.driver.extraJavaOptions"].split()
    small = ["-XX:ReservedCodeCacheSize=2496k", "-XX:TieredStopAtLevel=1", "-XX:CompileThresholdScaling=0.01"]
    command = [
        java_command(),
        *options,
        *small,
        "-cp",
        f"{Path(pyspark.__file__).parent}/jars/*",
        "org.apache.spark.deploy.SparkSubmit",
    ]
    said = subprocess.run([*command, "--version"], capture_output=True, text=True, check=False)
    assert "CodeCache is full" in said.stderr, "the case is not the one it should be"
    assert said.stdout == ""


def test_the_flow_has_the_last_word_on_what_the_jvm_logs() -> None:
    options = resolve_settings({"spark.driver.extraJavaOptions": "-Xlog:gc:stdout"}, "local[4]")["spark.driver.extraJavaOptions"]
    assert options.split().index("-Xlog:gc:stdout") > options.split().index("-Xlog:all=warning:stderr")
