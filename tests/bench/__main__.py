"""`make bench`: (a) mirror against per-row put, (b) history against Spark's append, (c) both, (d) latency, (e) CPU, (f) formats.

    python -m tests.bench [--only lanes|formats|latency] [--messages N] [--rounds N] [--latency-seconds N] [--output FILE]

Broker and node are processes of their own and not counted. Every ratio's two sides are measured in turn in one run, median of
the rounds. Uses MILLRACE_AEROSPIKE and MILLRACE_AEROSPIKE_NAMESPACE when set.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from pyspark.sql import SparkSession
from rich.console import Console
from rich.table import Table

from deploy.local.aerospike import start_node
from deploy.local.kafka import start_broker
from deploy.local.topics import create_topics
from pipelines.flow.model import Flow
from pipelines.session import build_session, close_session
from tests.bench import formats, jobs, latency
from tests.bench.workload import produce
from tests.support.spark import ROOT

HISTORY_PAIRS = 3
"""Runs of (b) in a round: they are short, and the JVM of both sides is warm only after some of them."""


FORMAT_ROUNDS = 3
"""Rounds of (f) for one of the others: they take seconds."""
PARTS = ("lanes", "formats", "latency")
"""(a) to (c) with (e); (f); (d)."""


def main() -> int:
    """Measure everything, print the table, write the JSON."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--only", choices=PARTS, action="append", help="this part alone; may be given twice; all when absent")
    asked.add_argument("--messages", type=int, default=200_000)
    asked.add_argument("--keys", type=int, default=100_000)
    asked.add_argument("--rounds", type=int, default=3)
    asked.add_argument("--per-batch", type=int, default=100_000)
    asked.add_argument("--latency-rate", type=float, default=1_000.0)
    asked.add_argument("--latency-seconds", type=float, default=420.0)
    asked.add_argument("--output", type=Path, default=ROOT / "artifacts" / "bench.json")
    options = asked.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="millrace-bench-"))
    broker = start_broker(folder / "kafka")
    given = os.environ.get("MILLRACE_AEROSPIKE")
    node = None if given else start_node(folder / "node", ("mirror,nsup-period=10", "baseline,nsup-period=10"))
    try:
        address = given or (node.address if node else "")
        namespace = os.environ.get("MILLRACE_AEROSPIKE_NAMESPACE", "test") if given else "mirror"
        result = measure(options, folder, broker.address, address, namespace, namespace if given else "baseline")
    finally:
        if node is not None:
            node.stop()
        broker.stop()
        shutil.rmtree(folder, ignore_errors=True)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(result, indent=1) + "\n")
    show(result)
    return 0


def measure(options: argparse.Namespace, folder: Path, kafka: str, aerospike: str, mirror: str, baseline: str) -> dict[str, Any]:
    """All measurements as plain data."""
    parts = options.only or PARTS
    result: dict[str, Any] = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _git("rev-parse", "--short", "HEAD"),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
        "command": "make bench",
        "messages": options.messages,
        "rounds": options.rounds,
    }
    if "lanes" in parts or "formats" in parts:
        session = build_session("millrace-bench", {"spark.driver.memory": "2g"}, "local[2]")
        try:
            if "lanes" in parts:
                result |= _lanes(session, options, folder, kafka, aerospike, mirror, baseline)
            if "formats" in parts:
                result["formats"] = _formats(session, options, kafka)
        finally:
            close_session(session)
    if "latency" in parts:
        create_topics(kafka, ["live"], partitions=2)
        say(f"latency at {options.latency_rate:g} changes/s for {options.latency_seconds:g} s, history on")
        live = _live(folder, kafka, aerospike, mirror)
        result["d_latency"] = latency.measure(*live, "live", options.latency_rate, options.latency_seconds)._asdict()
    return result


def _lanes(
    session: SparkSession, options: argparse.Namespace, folder: Path, kafka: str, aerospike: str, mirror: str, baseline: str
) -> dict[str, Any]:
    """(a) to (c), with the CPU seconds of each."""
    create_topics(kafka, ["load", "bench", "warm"], partitions=2)
    say(f"producing {options.messages:,} messages over {options.keys:,} records")
    produce(kafka, "load", options.keys, options.keys, seed=1, new=True)
    size = produce(kafka, "bench", options.messages, options.keys, seed=2)
    produce(kafka, "warm", 20_000, 5_000, seed=3)
    runs: dict[str, list[jobs.Run]] = {}
    for number in range(options.rounds + 1):
        warm = number == 0
        say("warming up" if warm else f"round {number} of {options.rounds}")

        def flow(name: str, topic: str, root: Path = folder / f"round-{number}", warm: bool = warm) -> Flow:
            return jobs.flow(kafka, "warm" if warm else topic, aerospike, mirror, root / name, options.per_batch)

        for name, run in _round(session, flow, mirror, baseline):
            say(f"  {name:<8} {run.rate:>9,.0f} rows/s  {run.cpu_per_million:>6.1f} CPU s per million")
            if not warm:
                runs.setdefault(name, []).append(run)
    return {
        "bytes_per_message": round(size),
        "runs": {name: [run._asdict() | {"rate": run.rate} for run in found] for name, found in runs.items()},
        "rates": {name: _median(run.rate for run in found) for name, found in runs.items()},
        "cpu_s_per_million": {name: _median(run.cpu_per_million for run in found) for name, found in runs.items()},
        "ratios": {
            "a_mirror_to_put": _ratio(runs["mirror"], runs["put"]),
            "a_new_records": _ratio(runs["new"], runs["put-new"]),
            "b_history_to_append": _ratio(runs["history"], runs["append"]),
        },
        "c_cpu_both_to_sum": _median(
            both.cpu_s / (one.cpu_s + other.cpu_s)
            for both, one, other in zip(
                runs["both"], runs["mirror"], runs["history"][HISTORY_PAIRS - 1 :: HISTORY_PAIRS], strict=True
            )
        ),
    }


def _formats(session: SparkSession, options: argparse.Namespace, kafka: str) -> dict[str, Any]:
    """(f): messages a second of each format, and the ratio to `from_json`: the median of runs one right after the other."""
    say(f"formats, {options.messages:,} messages each")
    pairs = formats.measure(session, kafka, options.messages, FORMAT_ROUNDS * options.rounds, say)
    ours = {name: [pair.ours for pair in found] for name, found in pairs.items()}
    theirs = {name: [pair.theirs for pair in found] for name, found in pairs.items()}
    return {
        name: {
            "rate": _median(run.rate for run in found),
            "cpu_s_per_million": _median(run.cpu_per_million for run in found),
            "ratio": _ratio(found, theirs[name]) if name in theirs else 1.0,
        }
        for name, found in {
            f"{formats.SPARK} of json": theirs["json"],
            f"{formats.SPARK} of flat-json": [run for name, found in theirs.items() if name != "json" for run in found],
            **ours,
        }.items()
    }


def _round(session: SparkSession, flow: Callable[[str, str], Flow], mirror: str, baseline: str) -> Iterator[tuple[str, jobs.Run]]:
    """Each job once: records that are new (the topic `load`), then changes of records that are there (the topic `bench`)."""
    load, bench, both = flow("load", "load"), flow("bench", "bench"), flow("both", "bench")
    for namespace in {mirror, baseline}:
        jobs.empty(jobs.address_of(bench), namespace)  # the same messages again would be duplicates, and nothing would be written
    yield "new", jobs.millrace(session, load, ["fast"])
    if mirror == baseline:
        jobs.empty(jobs.address_of(bench), baseline)
    yield "put-new", jobs.per_row_put(session, load, baseline)
    if mirror == baseline:  # what the plain puts wrote has no versions: the mirror's own records, as before
        jobs.empty(jobs.address_of(bench), mirror)
        jobs.millrace(session, flow("again", "load"), ["fast"])
    yield "mirror", jobs.millrace(session, bench, ["fast"])
    yield "put", jobs.per_row_put(session, bench, baseline)
    for pair in range(HISTORY_PAIRS):
        again = flow(f"bench-{pair}", "bench")
        yield "history", jobs.millrace(session, again, ["bulk"])
        yield "append", jobs.spark_delta(session, again)
    jobs.empty(jobs.address_of(bench), mirror)
    jobs.millrace(session, flow("reload", "load"), ["fast"])
    yield "both", jobs.millrace(session, both, ["fast", "bulk"])


def _live(folder: Path, kafka: str, aerospike: str, mirror: str) -> tuple[Any, Path]:
    """The measured flow as users write it: 100 ms and 10 s triggers, from now on."""
    flow = jobs.flow(kafka, "live", aerospike, mirror, folder / "live", 20_000)
    text = flow.model_dump(mode="json", exclude_defaults=True)
    text["lanes"]["fast"]["trigger"] = {"interval_ms": 100}
    text["lanes"]["bulk"]["trigger"] = {"interval_ms": 10_000}
    for lane in text["lanes"].values():
        for name, output in lane["outputs"].items():
            output["type"] = "aerospike" if name == "mirror" else "delta_history"
    path = folder / "live.yaml"
    path.write_text(yaml.safe_dump(text))
    return flow, path


def _ratio(ours: list[jobs.Run], theirs: list[jobs.Run]) -> float:
    """Median over the rounds of ours to theirs, each pair from one round."""
    return _median(a.rate / b.rate for a, b in zip(ours, theirs, strict=True))


def _median(values: Any) -> float:
    return round(statistics.median(values), 3)


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def say(text: str) -> None:
    """Progress, on standard error."""
    print(f"{time.strftime('%H:%M:%S')}  {text}", file=sys.stderr, flush=True)


def show(result: dict[str, Any]) -> None:
    """The tables a person reads, of the parts that were measured."""
    title = f"Millrace bench, {result['at']}, commit {result['commit']}, {result['machine']}"
    if "ratios" in result:
        Console().print(_lanes_table(title, result))
    if "formats" in result:
        Console().print(_formats_table(title, result["formats"]))
    if "d_latency" in result:
        seen = result["d_latency"]
        print(
            f"(d) change to visible at {seen['rate']:g}/s: p50 {seen['p50_s']:.3f} s, p90 {seen['p90_s']:.3f} s, "
            f"p99 {seen['p99_s']:.3f} s, max {seen['max_s']:.3f} s ({seen['samples']} samples; target p99 < 1 s); "
            f"of the machine, its host gave {seen['stolen']:.0%} to others, {seen['stolen_worst']:.0%} in the worst ten seconds"
        )


def _lanes_table(title: str, result: dict[str, Any]) -> Table:
    table = _table(title, "what", "rows/s", "CPU s per million rows", "against", "ratio", "target")
    ratios, rates, cpu = result["ratios"], result["rates"], result["cpu_s_per_million"]
    rows = [
        ("(a) guarded mirror", "mirror", "per-row put, unguarded", f"{ratios['a_mirror_to_put']:.2f}", ">= 3, aim 4"),
        ("    per-row put", "put", "", "", ""),
        ("    mirror, new records", "new", "the same of new ones", f"{ratios['a_new_records']:.2f}", ""),
        ("    put, new records", "put-new", "", "", ""),
        ("(b) history", "history", "Spark's Kafka to Delta", f"{ratios['b_history_to_append']:.2f}", ">= 0.85"),
        ("    Spark's append", "append", "", "", ""),
        ("(c) both lanes", "both", "CPU of the two alone", f"{result['c_cpu_both_to_sum']:.2f}", "<= 1"),
    ]
    for what, name, against, ratio, target in rows:
        table.add_row(what, f"{rates[name]:,.0f}", f"{cpu[name]:.1f}", against, ratio, target)
    return table


def _formats_table(title: str, found: dict[str, Any]) -> Table:
    table = _table(title, "(f) format", "messages/s", "CPU s per million", "ratio to from_json", "aim")
    for name, one in found.items():
        aim = f">= {formats.AIMS[name]}" if name in formats.AIMS else ""
        ratio = f"{one['ratio']:.2f}" if aim else ""
        table.add_row(name, f"{one['rate']:,.0f}", f"{one['cpu_s_per_million']:.1f}", ratio, aim)
    return table


def _table(title: str, *names: str) -> Table:
    table = Table(title=title)
    for name in names:
        table.add_column(name, justify="left" if name in ("what", "against", "target", "(f) format", "aim") else "right")
    return table


if __name__ == "__main__":
    sys.exit(main())
