"""What Millrace chooses of Spark's settings: the flow's own win, and what suits one machine is chosen for one machine only."""

from pipelines.session import ON_ONE_MACHINE, resolve_settings


def test_a_cluster_is_left_to_find_the_driver_and_to_start_its_workers() -> None:
    here, there = resolve_settings({}, "local[4]"), resolve_settings({}, "yarn")
    names = {setting.name for setting in ON_ONE_MACHINE}
    assert here.keys() - there.keys() == names
    assert here["spark.driver.host"] == "127.0.0.1", "executors elsewhere could not reach a driver that says so"


def test_the_flow_wins() -> None:
    given = {"spark.python.daemon.module": "pyspark.daemon", "spark.sql.shuffle.partitions": "200"}
    assert given.items() <= resolve_settings(given, "local[4]").items()
    assert given.items() <= resolve_settings(given, "k8s://https://example").items()
