"""The Spark session of a flow: settings for small fast batches, each with its reason, each one overridable by the flow.

The driver's JVM gets its own session (setsid), so that Ctrl-C in a terminal reaches Python alone and a stop is graceful. It still
dies with the driver: it reads its standard input and exits when that closes.
"""

import logging
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from pyspark import SparkConf, SparkContext
from pyspark.java_gateway import launch_gateway
from pyspark.sql import SparkSession

from pipelines.spark_submit import under_spark_submit
from schemas.errors import ConfigError


class Setting(NamedTuple):
    """One Spark setting Millrace chooses, and why."""

    name: str
    value: str
    reason: str


_STREAMING = "spark.sql.streaming"
LOCAL_FILES = "spark.hadoop.fs.file.impl"
_BARE_LOCAL_FILES = "com.globalmentor.apache.hadoop.fs.BareLocalFileSystem"
DEFAULTS: tuple[Setting, ...] = (
    Setting("spark.sql.session.timeZone", "UTC", "dates of partitions do not depend on where the driver runs"),
    Setting("spark.sql.shuffle.partitions", "4", "no lane shuffles much; 200 tiny tasks cost seconds per batch"),
    Setting("spark.default.parallelism", "4", "as above"),
    Setting("spark.sql.adaptive.enabled", "false", "re-planning a plan without a shuffle only costs time in batches this small"),
    Setting("spark.sql.extensions", "io.delta.sql.DeltaSparkSessionExtension", "Delta"),
    Setting("spark.sql.catalog.spark_catalog", "org.apache.spark.sql.delta.catalog.DeltaCatalog", "Delta"),
    Setting("spark.databricks.delta.v2.enableMode", "NONE", "keep path tables on the proven write path"),
    Setting("spark.databricks.delta.snapshotPartitions", "2", "Delta's 50 tasks per table snapshot cost more than the snapshot"),
    Setting(
        f"{_STREAMING}.checkpointFileManagerClass",
        "org.apache.spark.sql.execution.streaming.checkpointing.FileSystemBasedCheckpointFileManager",
        "the default forks some 20 processes per batch on a local disk; left to Spark for checkpoints on object stores",
    ),
    Setting(
        f"{_STREAMING}.stopActiveRunOnRestart", "false", "a second start on one checkpoint is an error, not a silent take-over"
    ),
    Setting(f"{_STREAMING}.stopTimeout", "5s", "a stop in the middle of a batch does not wait for Python code that hangs"),
    Setting(f"{_STREAMING}.metricsEnabled", "true", "rates and latency per lane as Spark metrics"),
    Setting(f"{_STREAMING}.pollingDelay", "20ms", "how often an idle lane looks for new offsets"),
    Setting("spark.sql.execution.arrow.maxRecordsPerBatch", "10000", "rows per Arrow batch on the way to a Python worker"),
    Setting("spark.sql.execution.arrow.maxBytesPerBatch", "16777216", "large records must not fill a worker's memory"),
    Setting("spark.python.worker.reuse", "true", "a worker keeps its sink's connections from batch to batch"),
    Setting("spark.scheduler.mode", "FAIR", "a large batch of one lane must not starve the others"),
    Setting("spark.locality.wait", "0s", "waiting 3 s for the executor with the cached consumer is longer than a batch"),
    Setting("spark.ui.enabled", "false", "costs a port; turn on with spark.ui.enabled: true"),
    Setting("spark.ui.showConsoleProgress", "false", "the runner prints its own progress"),
    Setting("spark.ui.retainedJobs", "200", "a sub-second trigger makes over 100,000 jobs a day"),
    Setting("spark.ui.retainedStages", "200", "as above"),
    Setting("spark.ui.retainedTasks", "2000", "as above"),
    Setting("spark.sql.ui.retainedExecutions", "50", "as above: every execution keeps its plan in memory"),
    Setting(
        "spark.redaction.regex", "(?i)secret|password|passwd|token|access[.]?key|jaas|credential", "no secret in logs or the UI"
    ),
    Setting("spark.sql.redaction.options.regex", "(?i)url|password|secret|token|jaas|credential", "nor among a source's options"),
    Setting("spark.driver.memory", "1g", "rows stay in the executors; with a local master this is all the memory Spark gets"),
    Setting("spark.driver.extraJavaOptions", "-Xss16m", "stopping a query during a batch can overflow the default stack"),
)
"""Every setting the runner chooses. `millrace explain` prints it; `spark:` in a flow replaces any line."""

ON_ONE_MACHINE: tuple[Setting, ...] = (
    Setting("spark.driver.bindAddress", "127.0.0.1", "nobody else is to reach the driver"),
    Setting("spark.driver.host", "127.0.0.1", "as above"),
    Setting(
        "spark.python.daemon.module",
        "pipelines.worker_daemon",
        "Python workers start in milliseconds, and end a task without 50 ms of looking for garbage",
    ),
    Setting(
        LOCAL_FILES,
        _BARE_LOCAL_FILES,
        "Hadoop's own starts a `chmod` for every file and folder it makes, four in every micro-batch",
    ),
)
"""What it chooses for a local master only: elsewhere Millrace may reach the executors in ways a daemon cannot import it from."""

CLASS_ARCHIVE = "driver-classes.jsa"
"""Beside the jars, when `make setup` made it: the driver's classes as the JVM has read them (class data sharing).

With it a driver starts, and works its first batch, in about two thirds of the time. A JVM of another build, or other jars,
leave it unused. Source: https://docs.oracle.com/en/java/javase/17/vm/class-data-sharing.html
"""
_QUIET_WHEN_UNUSED = "-Xlog:cds=off -Xlog:cds+dynamic=off"
_WARNS_ON_STDERR = "-Xlog:disable -Xlog:all=warning:stderr -XX:+DisplayVMOutputToStderr"
"""A JVM prints warnings of its own, a full code cache for one, on standard output: that belongs to Millrace, and may be JSON."""

_OF_THE_JVM = ("spark.driver.", "spark.jars", "spark.master", "spark.submit.", LOCAL_FILES)
"""Settings that must be on the JVM's command line: the file system's, because Hadoop keeps the first one it makes.

Nothing else goes there: any user of the machine can read it.
"""


def jar_paths(folder: Path | None = None) -> list[Path]:
    """The jars for Kafka, Avro and Delta: from `folder`, MILLRACE_JARS, or .millrace/jars/spark here or beside the packages.

    Raises ConfigError E110 when there are none.
    """
    named = folder or (Path(os.environ["MILLRACE_JARS"]) if os.environ.get("MILLRACE_JARS") else None)
    ours = Path(".millrace") / "jars" / "spark"
    places = [named] if named else [Path.cwd() / ours, Path(__file__).resolve().parents[1] / ours]
    for place in places:
        jars = sorted(place.glob("*.jar"))
        if jars:
            return jars
    raise ConfigError("E110", "no Spark jars (Kafka, Avro, Delta) in " + " or ".join(str(place) for place in places))


def resolve_settings(
    overrides: Mapping[str, str], master: str, *, local_checkpoint: bool = True, own_jars: bool = True
) -> dict[str, str]:
    """DEFAULTS, for a local master ON_ONE_MACHINE too, with the flow's `overrides` on top, and what depends on all of them.

    local_checkpoint: False leaves the checkpoint file manager to Spark or the flow: an object store needs another one.
    own_jars:         False, under spark-submit, chooses nothing that needs a jar the user may not have named there.
    """
    chosen = DEFAULTS + ON_ONE_MACHINE if master.startswith("local") else DEFAULTS
    settings = {setting.name: setting.value for setting in chosen if own_jars or setting.name != LOCAL_FILES}
    if not local_checkpoint:
        del settings[f"{_STREAMING}.checkpointFileManagerClass"]
    settings |= {name: str(value) for name, value in overrides.items()}
    quiet = f"-Dlog4j2.configurationFile={(Path(__file__).with_name('log4j2.xml')).as_uri()}"
    options = f"{_WARNS_ON_STDERR} {settings['spark.driver.extraJavaOptions']}"  # first: the last word on a log is the flow's
    settings["spark.driver.extraJavaOptions"] = options if "log4j2.configurationFile" in options else f"{options} {quiet}"
    return settings


def build_session(
    app_name: str,
    overrides: Mapping[str, str] | None = None,
    master: str = "local[*]",
    *,
    jars: Path | None = None,
    local_checkpoint: bool = True,
    inherit_fds: Sequence[int] = (),
) -> SparkSession:
    """Start the driver's JVM and a session with Millrace's settings.

    overrides:   Spark settings of the flow; win over DEFAULTS.
    inherit_fds: file descriptors the JVM keeps open too. With the lease's among them the lease ends when Python *and* the JVM are
                 gone, so that a JVM that outlives a killed driver by a second still holds it.
    Raises:      ConfigError E110 without jars or Java.
    """
    # A batch that raises is reported by whoever runs it; py4j would print each such error once more, with its traceback.
    logging.getLogger("py4j.clientserver").setLevel(logging.CRITICAL)
    os.environ["PYSPARK_PYTHON"] = os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
    os.environ.pop("PYSPARK_SUBMIT_ARGS", None)
    submitted = under_spark_submit()
    settings = {} if submitted else with_jars(resolve_settings(overrides or {}, master, local_checkpoint=local_checkpoint), jars)
    launch = SparkConf(loadDefaults=False)
    for name, value in settings.items():
        if name.startswith(_OF_THE_JVM):
            launch.set(name, value)
    launch.set("spark.master", master)
    try:
        gateway = launch_gateway(  # type: ignore[no-untyped-call]
            launch, {"start_new_session": True, "pass_fds": tuple(inherit_fds)}
        )
    except Exception as error:  # the gateway's own error names no cause; Java's message is on standard error
        raise ConfigError("E110", f"the driver's JVM did not start: {error}") from error
    conf = SparkConf(loadDefaults=submitted, _jvm=gateway.jvm)
    conf.setIfMissing("spark.master", master)
    if submitted:  # what was said to spark-submit stands: the master first, and with it what is chosen for one
        master = str(conf.get("spark.master"))
        settings = resolve_settings(overrides or {}, master, local_checkpoint=local_checkpoint, own_jars=False)
    for name, value in settings.items():
        conf.setIfMissing(name, value)
    conf.setAppName(app_name)
    context = SparkContext(conf=conf, gateway=gateway)
    return SparkSession(context)


def with_jars(settings: Mapping[str, str], jars: Path | None = None) -> dict[str, str]:
    """The settings with the jars in them, what depends on these, and the archive of their classes.

    Raises ConfigError E110 without jars.
    """
    paths = jar_paths(jars)
    given = {"spark.jars": ",".join(str(path) for path in paths), **settings}
    jar = next((path for path in paths if path.name.startswith("hadoop-bare-naked-local-fs")), None)
    if jar is not None:
        # spark-submit makes files before it reads spark.jars; whoever uses it, the archive's class path begins so.
        theirs = given.get("spark.driver.extraClassPath")
        given["spark.driver.extraClassPath"] = f"{theirs}{os.pathsep}{jar}" if theirs else str(jar)
    elif given.get(LOCAL_FILES) == _BARE_LOCAL_FILES:  # jars of the user's own; Hadoop's file system does the same, only slower
        del given[LOCAL_FILES]
    archive = paths[0].with_name(CLASS_ARCHIVE)
    if archive.exists() and "-XX:ArchiveClassesAtExit" not in given["spark.driver.extraJavaOptions"]:
        given["spark.driver.extraJavaOptions"] += f" -XX:SharedArchiveFile={archive} {_QUIET_WHEN_UNUSED}"
    return given


def jvm_pid(session: SparkSession) -> int | None:
    """Process id of the driver's JVM: this process's child, or, under spark-submit, its parent."""
    process = getattr(session.sparkContext._gateway, "proc", None)
    if process is not None:
        return int(process.pid)
    with suppress(Exception):
        return int(session.sparkContext._jvm.java.lang.ProcessHandle.current().pid())  # type: ignore[union-attr]
    return None


def jvm_is_gone(session: SparkSession) -> bool:
    """Whether the driver's JVM has ended."""
    process = getattr(session.sparkContext._gateway, "proc", None)
    return process.poll() is not None if process is not None else jvm_pid(session) is None


def close_session(session: SparkSession, timeout_s: float = 20.0) -> None:
    """Stop the session and end its JVM; returns when it is gone. After `timeout_s` it is killed. Safe when it died before."""
    gateway = session.sparkContext._gateway
    with suppress(Exception):  # a dead JVM cannot be asked to stop
        session.stop()
    with suppress(Exception):
        if gateway is not None:
            gateway.shutdown()
    process = getattr(gateway, "proc", None)
    if process is not None:
        process.stdin.close()
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    SparkContext._gateway = SparkContext._jvm = None  # the next session of this process starts a JVM of its own


__all__ = [
    "CLASS_ARCHIVE",
    "DEFAULTS",
    "LOCAL_FILES",
    "ON_ONE_MACHINE",
    "Setting",
    "build_session",
    "close_session",
    "jar_paths",
    "jvm_is_gone",
    "jvm_pid",
    "resolve_settings",
    "with_jars",
]
