"""The measured jobs: Millrace's lanes, and what people would write without it, each as one available-now query."""

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql import functions as F

from pipelines.failpoints import Failpoints, Victims
from pipelines.flow.model import Flow
from pipelines.flow.outputs import AerospikeMirror
from pipelines.progress import BatchReport
from pipelines.table_guards import TableGuards
from pipelines.wiring import FlowParts
from tests.bench.cpu import cpu_spent, cpu_times
from tests.bench.workload import BASELINE_DDL, BINS, NAMESPACE

TIMEOUT_S = 600


class Run(NamedTuple):
    """One measured query: wall seconds from start to end, CPU seconds of driver, JVM and workers, rows read."""

    rows: int
    wall_s: float
    cpu_s: float

    @property
    def rate(self) -> float:
        """Rows per second."""
        return self.rows / self.wall_s

    @property
    def cpu_per_million(self) -> float:
        """CPU seconds for a million rows."""
        return self.cpu_s / self.rows * 1e6


class Silent:
    """A report nobody reads; counts rows."""

    def __init__(self) -> None:
        self.rows = 0

    def batch(self, report: BatchReport) -> None:
        """Count."""
        self.rows += report.outputs[0].rows_read

    def event(self, kind: str, message: str, **fields: object) -> None:
        """Nothing."""

    def flush(self) -> None:
        """Nothing."""

    def tick(self) -> None:
        """Nothing."""


def flow(bootstrap: str, topic: str, aerospike: str, namespace: str, folder: Path, per_batch: int) -> Flow:
    """The measured flow: a mirror lane and a history lane."""
    return Flow.model_validate(
        {
            "name": "bench",
            "source": {"bootstrap_servers": bootstrap, "topics": [topic], "max_offsets_per_trigger": per_batch},
            "records": [{"namespace": NAMESPACE, "bins": BINS}],
            "lanes": {
                "fast": {"outputs": {"mirror": {"type": "aerospike", "hosts": [aerospike], "namespace": namespace}}},
                "bulk": {"outputs": {"history": {"type": "delta_history", "path": str(folder / "history")}}},
            },
            "dead_letters": {"path": str(folder / "dead_letters")},
            "checkpoint": str(folder / "checkpoint"),
        }
    )


def millrace(session: SparkSession, flow: Flow, lanes: Iterable[str]) -> Run:
    """The flow's lanes side by side, until everything there is written. Rows are counted once, however many lanes."""
    parts = FlowParts(flow)
    TableGuards(parts.flow, parts.tables).require()
    return run_lanes(session, parts, lanes)


def run_lanes(session: SparkSession, parts: FlowParts, lanes: Iterable[str]) -> Run:
    """As `millrace`, of parts already put together."""
    said = Silent()
    starts = []
    for lane in lanes:
        batch = parts.micro_batch(lane, _nothing, said, _nothing, Failpoints(None, Victims(0)))
        starts.append(parts.starter(lane, session, batch, once=True, before=_nothing))
    return _measured(lambda: [start() for start in starts], lambda: said.rows // len(starts))


def _nothing() -> None:
    return None


def empty(aerospike: str, namespace: str) -> None:
    """Truncate the namespace, and return when nothing is left."""
    host, _, port = aerospike.rpartition(":")
    client = _client(host, int(port))
    client.truncate(namespace, None, 0)
    give_up = time.monotonic() + 60
    while client.query(namespace).results():
        if time.monotonic() > give_up:
            raise TimeoutError(f"namespace {namespace} does not become empty")
        time.sleep(0.05)


def address_of(flow: Flow) -> str:
    """host:port of the flow's mirror."""
    mirror = flow.lanes["fast"].outputs["mirror"]
    assert isinstance(mirror, AerospikeMirror)
    return mirror.hosts[0]


def per_row_put(session: SparkSession, flow: Flow, namespace: str) -> Run:
    """What people write first: from_json, foreachPartition, one unguarded put per row."""
    host, _, port = address_of(flow).rpartition(":")

    def batch(frame: DataFrame, _: int) -> None:
        frame.foreachPartition(lambda rows: put_rows(rows, host, int(port), namespace))

    frame = _parsed(session, flow, "fast")
    return _query(frame.writeStream.foreachBatch(batch), Path(flow.checkpoint).with_name("put"))


def put_rows(rows: Iterable[Row], host: str, port: int, namespace: str) -> None:
    """One put per row with a client kept by the worker process."""
    client = _client(host, port)
    for row in rows:
        key = (namespace, row.key[1], int(row.key[3]))
        client.put(key, {entry.name: _typed(entry.type, entry.value) for entry in row.bins})


_clients: dict[tuple[str, int], Any] = {}


def _client(host: str, port: int) -> Any:
    import aerospike

    if (host, port) not in _clients:
        _clients[host, port] = aerospike.client(
            {"hosts": [(host, port)], "policies": {"write": {"total_timeout": 30_000}}}
        ).connect()
    return _clients[host, port]


def _typed(kind: str, text: str) -> Any:
    return int(text) if kind == "int" else float(text) if kind == "float" else text


def spark_delta(session: SparkSession, flow: Flow) -> Run:
    """Spark's own way to a Delta table: from_json, the built-in sink, the same rows and place columns."""
    frame = _parsed(session, flow, "bulk").withColumn("day", F.to_date(F.timestamp_millis("lut")))
    frame = frame.select("topic", "partition", "offset", "timestamp", "msg", "key", "gen", "lut", "exp", "bins", "day")
    writer = frame.writeStream.format("delta").partitionBy("day").option("path", str(Path(flow.checkpoint).with_name("plain")))
    return _query(writer, Path(flow.checkpoint).with_name("plain-checkpoint"))


def _parsed(session: SparkSession, flow: Flow, lane: str) -> DataFrame:
    frame = session.readStream.format("kafka").options(**flow.reader_options(lane)).load()
    parsed = F.from_json(F.col("value").cast("string"), BASELINE_DDL)
    return frame.select("topic", "partition", "offset", "timestamp", parsed.alias("o")).select(
        "topic", "partition", "offset", "timestamp", "o.*"
    )


def _query(writer: Any, checkpoint: Path) -> Run:
    queries: list[Any] = []

    def start() -> list[Any]:
        queries.append(writer.option("checkpointLocation", str(checkpoint)).trigger(availableNow=True).start())
        return queries

    return _measured(start, lambda: sum(progress.numInputRows for progress in queries[0].recentProgress))


def _measured(start: Callable[[], list[Any]], rows: Callable[[], int]) -> Run:
    before, began = cpu_times(), time.monotonic()
    for query in start():
        if not query.awaitTermination(TIMEOUT_S):
            raise TimeoutError("a measured query did not end")
    return Run(rows(), time.monotonic() - began, cpu_spent(before, cpu_times()))


__all__ = ["Run", "address_of", "flow", "millrace", "per_row_put", "put_rows", "spark_delta"]
