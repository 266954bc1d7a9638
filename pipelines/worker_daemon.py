"""The process that Spark's Python workers are forked from, with what they need already in it: a worker starts in milliseconds.

Spark runs it as `python -m pipelines.worker_daemon` (setting spark.python.daemon.module) in place of its own pyspark.daemon, and
it leaves the work to that. A worker of the plain daemon imports everything for itself, a second of CPU each, and looks through it
all for garbage after every task: 50 ms a task where it was measured, for every partition of every micro-batch.
"""

import gc

import pyarrow as pa
from pyspark import daemon, worker

from pipelines import counters_worker, decoding, mirror_worker
from sinks.delta import data_files

PRELOADED = (worker, decoding, mirror_worker, counters_worker, data_files)


def main() -> None:
    """Serve Spark until it closes the standard input."""
    pa.array([0])  # with the first list it is given, Arrow imports pandas
    gc.collect()
    gc.freeze()
    daemon.manager()


if __name__ == "__main__":
    main()

__all__ = ["PRELOADED", "main"]
