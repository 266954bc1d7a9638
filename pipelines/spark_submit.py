"""Under spark-submit the JVM is the parent: it gets the signals, and takes a second to die, whatever Python is doing.

Python's own handlers never see them. So the JVM's shutdown is held: its first hook asks the flow to stop and waits until every
lane has finished its batch and the ledger is flushed; only then may Spark's own hooks stop the context.
"""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from py4j.protocol import Py4JError
from pyspark.java_gateway import ensure_callback_server_started
from pyspark.sql import SparkSession

_BEFORE_SPARK = 100
"""Hadoop runs hooks by falling priority, one after the other; Spark's are at 40."""
_GRACE_S = 30
"""Beyond the drain time: to end queries and flush the ledger."""


def under_spark_submit() -> bool:
    """Whether spark-submit has started this process."""
    return "PYSPARK_GATEWAY_PORT" in os.environ


class _Hook:
    """What the JVM runs first when it shuts down."""

    class Java:
        """For py4j: the Java interface."""

        implements = ("java.lang.Runnable",)

    def __init__(self, ask: Callable[[str], None], patience_s: float) -> None:
        self.done = threading.Event()
        self._ask = ask
        self._patience_s = patience_s

    def run(self) -> None:
        """Ask the flow to stop, and wait for it."""
        if not self.done.is_set():
            self._ask("SIGTERM")
            self.done.wait(self._patience_s)


@contextmanager
def shutdown_held(session: SparkSession, ask: Callable[[str], None], drain_s: float) -> Iterator[None]:
    """While the context is open, and under spark-submit only: the JVM's shutdown waits for the end of the context.

    ask:     called, once, when the JVM begins to shut down; returns at once.
    drain_s: how long batches may take; the shutdown goes on half a minute later, whatever happens.
    """
    if not under_spark_submit():
        yield
        return
    gateway = session.sparkContext._gateway
    ensure_callback_server_started(gateway)  # type: ignore[no-untyped-call]
    hook = _Hook(ask, drain_s + _GRACE_S)
    jvm = session.sparkContext._jvm
    assert jvm is not None
    thread = jvm.java.lang.Thread(hook)
    hooks = jvm.org.apache.hadoop.util.ShutdownHookManager.get()
    hooks.addShutdownHook(thread, _BEFORE_SPARK, int(drain_s) + _GRACE_S, jvm.java.util.concurrent.TimeUnit.SECONDS)
    try:
        yield
    finally:
        hook.done.set()
        with suppress(Py4JError, ConnectionError):  # in the middle of a shutdown nothing is taken out, and need not be
            hooks.removeShutdownHook(thread)


__all__ = ["shutdown_held", "under_spark_submit"]
