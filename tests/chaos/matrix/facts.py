"""The facts for the oracle: the topic by a plain consumer, tables by delta-rs, nodes by scans. No Spark, none of the flow's code.

What it takes from the product is how a scanned value is compared with another (`pipelines.reconcile.compare`), and table formats.
"""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from deltalake import DeltaTable

from deploy.local.aerospike import Node
from deploy.simulate.verify import compare as compare_account
from pipelines.reconcile.compare import Form, compare
from sinks.aerospike.scan import StoredRecord, scan_partitions
from tests.chaos.matrix.oracle import Counted, Entry, Facts, Letter, Row, parse_message
from tests.chaos.matrix.site import COUNTS, COUNTS_SET, MIRROR, SOURCE, TOPIC, Site, client_config
from tests.chaos.matrix.traffic import Traffic
from tests.support.kafka import read_all

TOMBSTONES = "_mr_tomb"
TOLERANCE_S = 3.0
TYPED_JSON = Form(typed=True, declared=None)


def gather(site: Site, traffic: Traffic, mirror_held_s: float = 0.0) -> Facts:
    """All facts, once traffic and drivers have ended and everything is shipped.

    mirror_held_s: so long the mirror's node may have kept a write before it took it up; its times to live count from then.
    """
    account = compare_account(traffic.client, SOURCE, traffic.account)
    source_differs = list(account.wrong) + traffic.account.contradictions
    source_differs += [
        f"operation without a known outcome: {state.key}" for state in traffic.account.states() if not state.certain
    ]
    if account.strangers:
        source_differs.append(f"{account.strangers} records in the source that nobody wrote")
    source = _scanned(site.source, SOURCE)
    mirror = _scanned(site.mirror, MIRROR)
    _, findings = compare(source, mirror, TYPED_JSON, time.time(), TOLERANCE_S + mirror_held_s)
    messages = read_all(site.broker.address, TOPIC, timeout_s=120)
    return Facts(
        sent=[parse_message((message.partition, message.offset), message.value) for message in messages],
        bad=list(traffic.bad),
        history=list(_history(site.tables / "history")),
        letters=list(_letters(site.letters)),
        mirror={digest: record.bins.get("rev") for digest, record in mirror.items()},
        counts={
            digest: Counted(*(record.bins.get(name) for name in Counted._fields))
            for digest, record in _scanned(site.mirror, COUNTS).items()
            if record.set == COUNTS_SET
        },
        ledger=list(_ledger(site)),
        source_differs=source_differs,
        mirror_differs=[f"{finding.kind.value} {finding.set}/{finding.digest.hex()} {finding.detail}" for finding in findings],
    )


def _scanned(node: Node, namespace: str) -> dict[bytes, StoredRecord]:
    rows = scan_partitions(client_config(node), namespace, 0, 4096)
    return {row.digest: row for row in rows if row.set != TOMBSTONES}


def _history(path: Path) -> Iterator[Row]:
    columns = ["partition", "offset", "digest", "op", "gen", "lut_ms", "element"]
    for row in DeltaTable(str(path)).to_pyarrow_table(columns=columns).to_pylist():
        assert row["element"] == 0, "one event a message in this topic"
        yield Row((row["partition"], row["offset"]), row["digest"], row["op"], row["gen"], row["lut_ms"])


def _letters(path: Path) -> Iterator[Letter]:
    for row in DeltaTable(str(path)).to_pyarrow_table(columns=["partition", "offset", "output", "value"]).to_pylist():
        yield Letter((row["partition"], row["offset"]), row["output"], row["value"])


def _ledger(site: Site) -> Iterator[Entry]:
    rows: list[dict[str, Any]] = DeltaTable(str(site.tables / "ledger")).to_pyarrow_table().to_pylist()
    for file in (site.checkpoint / "_millrace" / "journal").rglob("*.json"):
        rows += json.loads(file.read_text())["rows"]
    for row in rows:
        named = {name: row[name] for name in Entry._fields if name not in ("start", "end")}
        yield Entry(**named, start=_offsets(row["start_offsets"]), end=_offsets(row["end_offsets"]))


def _offsets(text: str) -> dict[int, int]:
    return {int(partition): int(offset) for partition, offset in json.loads(text)[TOPIC].items()}


__all__ = ["gather"]
