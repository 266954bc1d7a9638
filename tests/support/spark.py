"""A small local Spark session for tests: the product's own, with the jars that `make setup` resolved."""

from pathlib import Path

from pyspark.sql import SparkSession

from deploy.demo.demo import SHORT_LIVED
from pipelines.session import build_session

ROOT = Path(__file__).resolve().parents[2]


def start_session(scratch: Path) -> SparkSession:
    """local[2] and few shuffle partitions; warehouse and Derby files below `scratch`. End it with `close_session`."""
    options = f"-Xss16m {SHORT_LIVED} -Dderby.system.home={scratch / 'derby'}"
    settings = {
        "spark.sql.shuffle.partitions": "2",
        "spark.default.parallelism": "2",
        "spark.sql.warehouse.dir": str(scratch / "warehouse"),
        "spark.driver.extraJavaOptions": options,
        "spark.driver.memory": "2g",
        "spark.executorEnv.PYTHONPATH": str(ROOT),
        "spark.sql.streaming.metricsEnabled": "false",
        # Generating and compiling code for a few rows is a fifth of the CPU time; drivers that tests start have it as users do.
        "spark.sql.codegen.factoryMode": "NO_CODEGEN",
        "spark.sql.codegen.wholeStage": "false",
    }
    session = build_session("millrace-tests", settings, "local[2]")
    session.sparkContext.setLogLevel("ERROR")
    return session
