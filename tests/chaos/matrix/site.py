"""What one scenario strikes at: a broker, a source node that ships to it, a mirror node, and a flow with a mirror, counters and
a history.

All of it lives in one folder and belongs to one scenario, so that nothing of an earlier one can hide or cause a fault.
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

from deploy.local.aerospike import Node, launch_node
from deploy.local.kafka import Broker, launch_broker
from deploy.local.ports import free_ports
from deploy.local.topics import create_topics
from sinks.aerospike.config import ClientConfig

TOPIC = "chaos"
PARTITIONS = 2
SOURCE, MIRROR, COUNTS = "payments", "mirror", "counts"
"""Namespaces: of the source node; and two of the mirror node, of the mirror and of the counters."""
COUNTS_SET = "by_record"
FLOW = """\
name: chaos
source:
  {{bootstrap_servers: "{kafka}", topics: {topic}, format: json, max_offsets_per_trigger: {per_batch}}}
records:
  - {{namespace: {source}}}
lanes:
  fast:
    trigger: {{interval_ms: 100}}
    outputs:
      mirror: {{type: aerospike, hosts: "{mirror_at}", namespace: {mirror}, batch_timeout_s: {batch_timeout_s}}}
      counts:
        type: aerospike_counters
        hosts: "{mirror_at}"
        namespace: {counts}
        set: {counts_set}
        key: {{record: digest}}
        batch_timeout_s: {batch_timeout_s}
        bins:
          n: count
          sum: {{do: sum, of: rev}}
          revs: {{do: append, of: rev}}
          by: {{do: count, by: rev}}
  bulk:
    trigger: {{interval_ms: 300}}
    max_offsets_per_trigger: 20000  # between two kills it does one batch or two: it must catch up with each
    outputs:
      history: {{type: delta_history, path: {tables}/history}}
dead_letters: {letters}
checkpoint: {checkpoint}
ledger: {tables}/ledger
restart: {{first_delay_ms: 100, max_delay_ms: 1000}}
spark: {spark}
{more}"""
SPARK_CONF = {"spark.sql.codegen.wholeStage": "false", "spark.sql.codegen.factoryMode": "NO_CODEGEN"}
"""Drivers live for seconds here; compiling their plans would take a good part of each life."""


class Site:
    """Servers, flow and folders of one scenario. tables, checkpoint: may be moved before `write_flow`, say to a small disk.

    The servers are attributes because a restart makes new objects of them.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.flow = folder / "flow.yaml"
        self.tables = folder / "tables"
        self.checkpoint = folder / "checkpoint"
        self.armed = folder / "failpoints"
        self.broker: Broker
        self.source: Node
        self.mirror: Node

    @property
    def fired(self) -> Path:
        """Where fail points leave their evidence."""
        return self.armed.with_name(self.armed.name + ".fired")

    @property
    def letters(self) -> Path:
        """The dead-letter table."""
        return self.tables / "dead_letters"

    def start(self, seed: int) -> None:
        """Start the servers and create the topic."""
        kafka, controller, source, mirror = free_ports(4)
        self.broker = launch_broker(self.folder / "kafka", kafka, controller)
        self.mirror = launch_node(self.folder / "mirror", (f"{MIRROR},nsup-period=1", COUNTS), mirror)
        self.mirror.wait_ready()
        self.broker.wait_ready()
        create_topics(self.broker.address, [TOPIC], partitions=PARTITIONS)
        xdr = f"namespace={SOURCE},topic={TOPIC},format=json,duplicates=0.05,reorder=0.1,reorder-window-ms=1500,seed={seed}"
        self.source = launch_node(
            self.folder / "source", (f"{SOURCE},nsup-period=1",), source, kafka=self.broker.address, xdr=(xdr,)
        )
        self.source.wait_ready()

    def stop(self) -> None:
        """End the servers."""
        for server in (getattr(self, name, None) for name in ("source", "mirror", "broker")):
            if server is not None:
                server.stop(5.0)

    def write_flow(
        self,
        per_batch: int = 1000,
        batch_timeout_s: float = 60,
        more: str = "",
        master: str = "local[*]",
        conf: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """Write the flow file. more: lines at its end; master, conf: Spark's."""
        self.flow.write_text(
            FLOW.format(
                kafka=self.broker.address,
                topic=TOPIC,
                per_batch=per_batch,
                source=SOURCE,
                mirror_at=self.mirror.address,
                mirror=MIRROR,
                counts=COUNTS,
                counts_set=COUNTS_SET,
                batch_timeout_s=batch_timeout_s,
                tables=self.tables,
                letters=self.letters,
                checkpoint=self.checkpoint,
                spark=json.dumps({"master": master, "conf": SPARK_CONF | dict(conf)}),
                more=more,
            )
        )


def client_config(node: Node) -> ClientConfig:
    """How to reach a node; patient, for scans."""
    return ClientConfig(hosts=((node.host, node.port, None),), total_timeout_ms=20_000, socket_timeout_ms=10_000)


@contextmanager
def site_in(folder: Path, seed: int) -> Iterator[Site]:
    """A site with its servers running, in a folder that is emptied first. The servers end with the context; the files stay."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    site = Site(folder)
    try:
        site.start(seed)
        yield site
    finally:
        site.stop()


__all__ = ["COUNTS", "COUNTS_SET", "MIRROR", "PARTITIONS", "SOURCE", "Site", "TOPIC", "client_config", "site_in"]
