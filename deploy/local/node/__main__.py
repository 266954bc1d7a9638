"""`python -m deploy.local.node`: run a node in the foreground until SIGTERM or SIGINT.

Prints one JSON line with its address when it is ready. Exit status 0 after a clean end, 2 when it could not start.
"""

import argparse
import asyncio
import json
import os
import signal
import sys
from pathlib import Path

from deploy.local.node.config import NodeConfig, parse_namespace
from deploy.local.node.faults import FaultBoard
from deploy.local.node.hooks import Extension
from deploy.local.node.log import DamagedFile
from deploy.local.node.server import DataInUse, Node
from deploy.local.xdr import Shipper, parse_settings
from schemas.errors import ConfigError


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m deploy.local.node", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=3000, help="0 picks a free one")
    parser.add_argument("--data", type=Path, required=True, help="folder for logs and snapshots")
    parser.add_argument(
        "--namespace", action="append", required=True, metavar="NAME[,OPTION=VALUE...]", help="repeat for several namespaces"
    )
    parser.add_argument("--node-name", default="BB9EMBEDDED0001")
    parser.add_argument("--cluster-name", default="")
    parser.add_argument("--advertise", default="", metavar="HOST:PORT", help="address given to clients instead of host and port")
    parser.add_argument("--security", choices=("off", "refuse"), default="off", help="what clients with credentials are told")
    parser.add_argument("--pid-file", type=Path, help="written when ready: process id, then the port")
    parser.add_argument("--kafka", default="", metavar="HOST:PORT[,...]", help="where change events go")
    parser.add_argument(
        "--xdr",
        action="append",
        default=[],
        metavar="namespace=NAME,topic=TOPIC[,OPTION=VALUE...]",
        help="ship the changes of a namespace; repeat for several (docs/embedded-node.md)",
    )
    return parser


def extensions(kafka: str, xdr: list[str]) -> list[Extension]:
    """What lives in the node's process: faults on demand always, change events when asked for. Raises ConfigError."""
    if bool(kafka) != bool(xdr):
        raise ConfigError("E143", "--kafka and --xdr go together: one says where change events go, the other which")
    chosen: list[Extension] = [FaultBoard()]
    if xdr:
        chosen.append(Shipper([parse_settings(one) for one in xdr], kafka))
    return chosen


async def serve(config: NodeConfig, attached: list[Extension], pid_file: Path | None) -> None:
    """Run a node until a signal. Raises what `Node.start` raises."""
    node = Node(config, attached)
    await node.start()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, node.stop)
    if pid_file is not None:
        unfinished = pid_file.with_suffix(".tmp")
        unfinished.write_text(f"{os.getpid()}\n{node.port}\n")
        unfinished.replace(pid_file)
    print(json.dumps({"host": config.host, "port": node.port, "pid": os.getpid()}), flush=True)
    await node.run()


def main() -> int:
    """Parse, run, answer the exit status."""
    given = arguments().parse_args()
    try:
        config = NodeConfig(
            data=given.data,
            namespaces=tuple(parse_namespace(one) for one in given.namespace),
            host=given.host,
            port=given.port,
            name=given.node_name,
            cluster_name=given.cluster_name,
            security=given.security,
            advertise=given.advertise,
        )
        asyncio.run(serve(config, extensions(given.kafka, given.xdr), given.pid_file))
    except (DamagedFile, DataInUse, ConfigError, OSError, ValueError) as error:
        print(f"the node cannot run: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
