"""A small local Spark session for tests, with the jars that `make setup` resolved."""

import os
import sys
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

ROOT = Path(__file__).resolve().parents[2]
JARS = ROOT / ".millrace" / "jars" / "spark"


def jar_paths() -> list[str]:
    """The resolved Spark jars. Fails the test, saying what to run, when they are missing."""
    jars = sorted(str(path) for path in JARS.glob("*.jar"))
    if not jars:
        pytest.fail(f"no Spark jars in {JARS.relative_to(ROOT)}: run `make setup`", pytrace=False)
    return jars


def start_session(scratch: Path) -> SparkSession:
    """local[2], Delta, UTC, two shuffle partitions, no UI; warehouse and Derby files below `scratch`."""
    os.environ["PYSPARK_PYTHON"] = os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
    settings = {
        "spark.jars": ",".join(jar_paths()),
        "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
        "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
        "spark.databricks.delta.snapshotPartitions": "2",
        "spark.sql.shuffle.partitions": "2",
        "spark.default.parallelism": "2",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.warehouse.dir": str(scratch / "warehouse"),
        # Tests live for seconds: on two cores the optimising compiler costs more than its code gives back.
        "spark.driver.extraJavaOptions": f"-XX:TieredStopAtLevel=1 -Dderby.system.home={scratch / 'derby'}",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.memory": "2g",
        "spark.executorEnv.PYTHONPATH": str(ROOT),
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.streaming.metricsEnabled": "false",
    }
    builder = SparkSession.Builder().appName("millrace-tests").master("local[2]")
    for name, value in settings.items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    return session
